//! The only error map between the crates and Python: one exception per room, one sentence per code.
//!
//! A binding file turns its crate's error into a code (`&'static str`) and calls the helper of its room. The code is
//! stable and part of the API; the sentence is for people. Neither ever holds a secret or a piece of the input.
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    py_service._core_rs,
    CoreError,
    PyException,
    "Root of everything the core raises; `code` is stable."
);
create_exception!(
    py_service._core_rs,
    TokenError,
    CoreError,
    "A token was refused."
);
create_exception!(
    py_service._core_rs,
    DeviceAssertionError,
    TokenError,
    "A device assertion was refused."
);
create_exception!(
    py_service._core_rs,
    KeyRingError,
    CoreError,
    "A signing key cannot be used."
);
create_exception!(
    py_service._core_rs,
    SnapshotError,
    CoreError,
    "A snapshot or a change record cannot be taken in."
);
create_exception!(
    py_service._core_rs,
    LockRefusal,
    CoreError,
    "The verifier of a lock refused."
);
create_exception!(
    py_service._core_rs,
    ReportError,
    CoreError,
    "The report of a lock was refused."
);
create_exception!(
    py_service._core_rs,
    GatewayError,
    CoreError,
    "The gateway cannot serve."
);

/// A refused token.
pub fn token_error(code: &'static str) -> PyErr {
    coded(PyErr::new::<TokenError, _>(message(code)), code)
}

/// A refused device assertion; the codes are those of tokens.
pub fn device_assertion_error(code: &'static str) -> PyErr {
    coded(PyErr::new::<DeviceAssertionError, _>(message(code)), code)
}

/// A signing key that cannot be used.
pub fn key_ring_error(code: &'static str) -> PyErr {
    coded(PyErr::new::<KeyRingError, _>(message(code)), code)
}

/// A snapshot or change record that cannot be taken in.
pub fn snapshot_error(code: &'static str) -> PyErr {
    coded(PyErr::new::<SnapshotError, _>(message(code)), code)
}

/// What the verifier of a lock refused.
pub fn lock_refusal(code: &'static str) -> PyErr {
    coded(PyErr::new::<LockRefusal, _>(message(code)), code)
}

/// A refused report of a lock.
pub fn report_error(code: &'static str) -> PyErr {
    coded(PyErr::new::<ReportError, _>(message(code)), code)
}

/// A gateway that cannot serve.
pub fn gateway_error(code: &'static str) -> PyErr {
    coded(PyErr::new::<GatewayError, _>(message(code)), code)
}

/// Puts the exceptions into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("CoreError", py.get_type::<CoreError>())?;
    module.add("TokenError", py.get_type::<TokenError>())?;
    module.add(
        "DeviceAssertionError",
        py.get_type::<DeviceAssertionError>(),
    )?;
    module.add("KeyRingError", py.get_type::<KeyRingError>())?;
    module.add("SnapshotError", py.get_type::<SnapshotError>())?;
    module.add("LockRefusal", py.get_type::<LockRefusal>())?;
    module.add("ReportError", py.get_type::<ReportError>())?;
    module.add("GatewayError", py.get_type::<GatewayError>())
}

/// Hangs `code` on the exception. Should that fail, the failure itself is raised: an error never turns into none.
fn coded(error: PyErr, code: &'static str) -> PyErr {
    Python::attach(|py| match error.value(py).setattr("code", code) {
        Ok(()) => error,
        Err(failure) => failure,
    })
}

fn message(code: &'static str) -> String {
    format!("{} ({code})", sentence(code))
}

fn sentence(code: &str) -> &'static str {
    match code {
        "token_malformed" => "the token is not well formed",
        "token_algorithm" => "the token names an algorithm that is not accepted",
        "token_key_unknown" => "the token names a key that is not known",
        "token_signature" => "the signature of the token does not hold",
        "token_expired" => "the token has expired",
        "token_not_yet_valid" => "the token is not valid yet",
        "token_audience" => "the token is meant for somebody else",
        "token_issuer" => "the token was issued by somebody else",
        "token_too_long" => "the token is too long",
        "key_unknown" => "there is no such key",
        "key_sealed_wrongly" => "what was sealed cannot be opened",
        "key_purpose" => "the key serves another purpose",
        "content_too_long" => "the content to seal is longer than 1 MiB",
        "snapshot_malformed" => "the snapshot is not well formed",
        "change_malformed" => "the change record is not well formed",
        "revision_gap" => "change records before this one are missing",
        "revision_old" => "a newer revision is already in memory",
        "organization_unknown" => "the organization is not loaded",
        "command_malformed" => "the command is not well formed",
        "command_algorithm" => "the command names an algorithm that is not accepted",
        "command_key_unknown" => "the command names a key that is not pinned",
        "command_signature" => "the signature of the command does not hold",
        "command_wrong_lock" => "the command is meant for another lock",
        "command_expired" => "the command has expired",
        "command_not_yet_valid" => "the command is not valid yet",
        "command_before_start" => "the command was issued before the lock knew the time",
        "command_replayed" => "the command was seen before",
        "command_action_unknown" => "the command asks for an action that is not known",
        "memory_full" => "the memory of live commands is full",
        "clock_unsure" => "the lock is not sure of the time",
        "time_malformed" => "the time message is not well formed",
        "time_nonce" => "the time message does not answer the open question",
        "time_signature" => "the signature of the time message does not hold",
        "report_malformed" => "the report is not well formed",
        "report_signature" => "the signature of the report does not hold",
        "report_algorithm" => "the report names an algorithm that is not accepted",
        "report_wrong_lock" => "the report comes from another lock",
        "gateway_config" => "the configuration of the gateway is not valid",
        "gateway_bind" => "the gateway cannot listen on its address",
        "gateway_failed" => "the gateway failed",
        _ => "the core refused",
    }
}
