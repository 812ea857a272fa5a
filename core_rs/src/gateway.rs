//! The gateway for Python: starts it and stays out of its way.
use nexkey_gateway::GatewayError;
use pyo3::prelude::*;

use crate::errors;

/// Serves until SIGTERM or SIGINT, then drains. The interpreter is let go once, for good: no thread of the gateway ever takes it.
#[pyfunction]
fn run_gateway(py: Python<'_>, config: Vec<u8>) -> PyResult<()> {
    py.detach(|| nexkey_gateway::run(&config))
        .map_err(|error: GatewayError| errors::gateway_error(error.code()))
}

/// Puts the gateway into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(run_gateway, module)?)
}
