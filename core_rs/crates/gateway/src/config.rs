//! The gateway's configuration: JSON in, checked once, refused loudly.
use serde::Deserialize;

use crate::error::GatewayError;
use crate::protocol::is_identifier;

/// A configuration may have this many bytes.
const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// What `run` needs to know.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// May hold a password: never logged.
    pub redis_url: String,
    /// Where the JSON Web Key Set is.
    pub jwks_url: String,
    /// Names this gateway on the bus.
    pub gateway_id: String,
    /// Threads that serve, each with its own runtime and listener.
    pub threads: usize,
    /// WebSocket connections at once, over all threads.
    pub connections_max: usize,
    /// Seconds that a drain may take.
    pub drain_seconds: u64,
    /// A file descriptor that gets the port as one line once the gateway listens.
    pub ready_fd: Option<u32>,
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// `GatewayError::Config` names the field.
    pub fn parse(bytes: &[u8]) -> Result<Self, GatewayError> {
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err(GatewayError::Config("size"));
        }
        let config: Self =
            serde_json::from_slice(bytes).map_err(|_| GatewayError::Config("json"))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), GatewayError> {
        let jwks_known =
            self.jwks_url.starts_with("http://") || self.jwks_url.starts_with("https://");
        let checks = [
            ("jwks_url", jwks_known),
            ("gateway_id", is_identifier(&self.gateway_id)),
            ("threads", (1..=64).contains(&self.threads)),
            (
                "connections_max",
                (1..=1_000_000).contains(&self.connections_max),
            ),
            ("drain_seconds", self.drain_seconds <= 3_600),
            (
                "redis_url",
                redis::Client::open(self.redis_url.as_str()).is_ok(),
            ),
        ];
        match checks.iter().find(|(_, held)| !held) {
            Some((field, _)) => Err(GatewayError::Config(field)),
            None => Ok(()),
        }
    }
}
