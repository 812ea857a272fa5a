//! Why the gateway could not serve. What happens to single connections is in `protocol::Close`.
use thiserror::Error;

/// Ends `run`.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// A setting is missing or wrong; names the field, never its value.
    #[error("the configuration is refused at `{0}`")]
    Config(&'static str),
    /// The address can't be bound.
    #[error("cannot listen: {0}")]
    Bind(std::io::Error),
    /// A thread or a runtime failed.
    #[error("the gateway failed: {0}")]
    Failed(&'static str),
}

impl GatewayError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "gateway_config",
            Self::Bind(_) => "gateway_bind",
            Self::Failed(_) => "gateway_failed",
        }
    }
}
