//! Binds crate `nexkey-lock` for simulators and tests: the very code that firmware embeds. The law is the crate's; codes become exceptions in `errors`.
use std::sync::{Mutex, PoisonError};

use nexkey_lock::{Command, Refusal, Report, ReportKind};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;

/// A command that the lock is to obey now.
#[pyclass(frozen, module = "py_service._core_rs")]
pub struct DoorCommand(Command);

#[pymethods]
impl DoorCommand {
    #[getter]
    fn id(&self) -> &str {
        &self.0.id
    }

    #[getter]
    fn door(&self) -> &str {
        &self.0.door
    }

    #[getter]
    fn action(&self) -> &str {
        &self.0.action
    }

    #[getter]
    fn issued_at_ms(&self) -> i64 {
        self.0.issued_at_ms
    }

    #[getter]
    fn expires_at_ms(&self) -> i64 {
        self.0.expires_at_ms
    }
}

/// The verifier that firmware embeds. One lock has one; the mutex only serves Python's threads.
#[pyclass(frozen, module = "py_service._core_rs")]
pub struct LockVerifier(Mutex<nexkey_lock::LockVerifier>);

impl LockVerifier {
    /// INVARIANT: the mutex is free again before anything of Python is made. Making an exception may pass the interpreter to another thread,
    /// and that one would then wait for the mutex while we wait for the interpreter.
    fn with<T>(
        &self,
        ask: impl FnOnce(&mut nexkey_lock::LockVerifier) -> Result<T, Refusal>,
    ) -> PyResult<T> {
        let answer = ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        answer.map_err(|refusal| errors::lock_refusal(refusal.code()))
    }
}

#[pymethods]
impl LockVerifier {
    #[new]
    fn new(
        organization: &str,
        lock: &str,
        key_id: &str,
        public_key: &[u8],
        memory_commands_max: usize,
    ) -> PyResult<Self> {
        nexkey_lock::LockVerifier::new(organization, lock, key_id, public_key, memory_commands_max)
            .map(|verifier| Self(Mutex::new(verifier)))
            .map_err(|_| errors::lock_refusal("lock_configuration"))
    }

    fn begin_time(&self, nonce: &[u8], monotonic_ms: u64) -> PyResult<()> {
        self.with(|lock| lock.begin_time(nonce, monotonic_ms))
    }

    fn accept_time(&self, message: &[u8], monotonic_ms: u64) -> PyResult<u64> {
        self.with(|lock| lock.accept_time(message, monotonic_ms))
    }

    fn now_ms(&self, monotonic_ms: u64) -> PyResult<i64> {
        self.with(|lock| lock.now_ms(monotonic_ms))
    }

    fn uncertainty_ms(&self, monotonic_ms: u64) -> PyResult<u64> {
        self.with(|lock| lock.uncertainty_ms(monotonic_ms))
    }

    fn verify(&self, command: &[u8], monotonic_ms: u64) -> PyResult<DoorCommand> {
        self.with(|lock| lock.verify(command, monotonic_ms))
            .map(DoorCommand)
    }

    fn take_lease(&self, lease: &[u8], monotonic_ms: u64) -> PyResult<DoorCommand> {
        self.with(|lock| lock.take_lease(lease, monotonic_ms))
            .map(DoorCommand)
    }

    fn holds(&self, monotonic_ms: u64) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .holds(monotonic_ms)
    }

    fn release_hold(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .release_hold();
    }
}

/// A device's own key.
#[pyclass(frozen, module = "py_service._core_rs")]
pub struct DeviceKey(nexkey_lock::DeviceKey);

#[pymethods]
impl DeviceKey {
    #[staticmethod]
    fn generate() -> PyResult<Self> {
        let seed =
            nexkey_tokens::random_seed().map_err(|error| errors::key_ring_error(error.code()))?;
        Ok(Self(nexkey_lock::DeviceKey::from_seed(&seed)))
    }

    #[staticmethod]
    fn from_seed(seed: &[u8]) -> PyResult<Self> {
        let seed = seed
            .try_into()
            .map_err(|_| errors::key_ring_error("key_seed_invalid"))?;
        Ok(Self(nexkey_lock::DeviceKey::from_seed(seed)))
    }

    fn seed<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.seed())
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.public_key())
    }

    fn sign_assertion(
        &self,
        organization: &str,
        device: &str,
        issued_at_ms: i64,
        expires_at_ms: i64,
    ) -> PyResult<String> {
        self.0
            .sign_assertion(organization, device, issued_at_ms, expires_at_ms)
            .map_err(|_| errors::device_assertion_error("token_malformed"))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the claims, as the stub names them"
    )]
    #[pyo3(signature = (lock, number, kind, command, result, reason, at_ms))]
    fn sign_report<'py>(
        &self,
        py: Python<'py>,
        lock: &str,
        number: u64,
        kind: &str,
        command: Option<&str>,
        result: &str,
        reason: Option<&str>,
        at_ms: i64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let malformed = || errors::report_error("report_malformed");
        let report = Report {
            lock: lock.into(),
            number,
            kind: ReportKind::parse(kind).ok_or_else(malformed)?,
            command: command.map(Into::into),
            result: result.into(),
            reason: reason.map(Into::into),
            at_ms,
        };
        Ok(PyBytes::new(
            py,
            &self.0.sign_report(&report).map_err(|_| malformed())?,
        ))
    }
}

/// Puts this room into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<DoorCommand>()?;
    module.add_class::<LockVerifier>()?;
    module.add_class::<DeviceKey>()
}
