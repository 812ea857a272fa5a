//! The table of exports of the extension. One file per room binds a crate; `errors` is the only error map.
use pyo3::prelude::*;

mod errors;
mod gateway;
mod lock;
mod permissions;
mod tokens;

const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

/// The compiled core.
#[pymodule]
fn _core_rs(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("__build_profile__", BUILD_PROFILE)?;
    errors::register(module)?;
    permissions::register(module)?;
    tokens::register(module)?;
    lock::register(module)?;
    gateway::register(module)?;
    // PyO3 lists what it adds; what is public is said by the stub alone.
    module.delattr("__all__")
}
