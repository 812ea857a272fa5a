//! Binds crate `nexkey-tokens`: arguments in, one call, answer out. Rules, limits and signatures are the crate's; codes become exceptions in `errors`.
use std::sync::Arc;

use nexkey_tokens::{Command, KeyRingError, SignedTime, SubjectKind};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyBytes;

use crate::errors;

/// What an access token says.
#[pyclass(frozen, module = "py_service._core_rs")]
pub struct Claims(Arc<nexkey_tokens::Claims>);

#[pymethods]
impl Claims {
    #[getter]
    fn organization(&self) -> &str {
        &self.0.organization
    }

    #[getter]
    fn subject(&self) -> &str {
        &self.0.subject
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.as_str()
    }

    #[getter]
    fn session(&self) -> &str {
        &self.0.session
    }

    #[getter]
    fn key_id(&self) -> &str {
        &self.0.key_id
    }

    #[getter]
    fn issued_at_ms(&self) -> i64 {
        self.0.issued_at_ms
    }

    #[getter]
    fn expires_at_ms(&self) -> i64 {
        self.0.expires_at_ms
    }

    #[getter]
    fn topics(&self) -> Vec<String> {
        self.0.topics.clone()
    }
}

/// What a lock signed.
#[pyclass(frozen, module = "py_service._core_rs")]
pub struct Report(nexkey_tokens::Report);

#[pymethods]
impl Report {
    #[getter]
    fn lock(&self) -> &str {
        &self.0.lock
    }

    #[getter]
    fn number(&self) -> u64 {
        self.0.number
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.as_str()
    }

    #[getter]
    fn command(&self) -> Option<&str> {
        self.0.command.as_deref()
    }

    #[getter]
    fn result(&self) -> &str {
        &self.0.result
    }

    #[getter]
    fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    #[getter]
    fn at_ms(&self) -> i64 {
        self.0.at_ms
    }
}

/// Signing keys by purpose and `kid`.
#[pyclass(frozen, module = "py_service._core_rs")]
pub struct KeyRing(nexkey_tokens::KeyRing);

#[pymethods]
impl KeyRing {
    #[new]
    fn new(master_key: &[u8]) -> PyResult<Self> {
        nexkey_tokens::KeyRing::new(master_key)
            .map(Self)
            .map_err(refused)
    }

    fn generate<'py>(
        &self,
        py: Python<'py>,
        purpose: &str,
        organization: &str,
        key_id: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let sealed = self
            .0
            .generate(purpose, organization, key_id)
            .map_err(refused)?;
        Ok(PyBytes::new(py, &sealed))
    }

    fn load(&self, purpose: &str, organization: &str, key_id: &str, sealed: &[u8]) -> PyResult<()> {
        self.0
            .load(purpose, organization, key_id, sealed)
            .map_err(refused)
    }

    fn activate(&self, purpose: &str, organization: &str, key_id: &str) -> PyResult<()> {
        self.0
            .activate(purpose, organization, key_id)
            .map_err(refused)
    }

    fn retire(&self, purpose: &str, organization: &str, key_id: &str) -> PyResult<()> {
        self.0
            .retire(purpose, organization, key_id)
            .map_err(refused)
    }

    fn public_key<'py>(
        &self,
        py: Python<'py>,
        purpose: &str,
        organization: &str,
        key_id: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let key = self
            .0
            .public_key(purpose, organization, key_id)
            .map_err(refused)?;
        Ok(PyBytes::new(py, &key))
    }

    fn active_key_id(&self, purpose: &str, organization: &str) -> PyResult<Option<String>> {
        self.0.active_key_id(purpose, organization).map_err(refused)
    }

    fn jwks<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.jwks())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the claims, as the stub names them"
    )]
    #[pyo3(signature = (audience, organization, subject, kind, session, topics, issued_at_ms, expires_at_ms, revision=0))]
    fn sign_access_token(
        &self,
        audience: &str,
        organization: &str,
        subject: &str,
        kind: &str,
        session: &str,
        topics: Vec<PyBackedStr>,
        issued_at_ms: i64,
        expires_at_ms: i64,
        revision: u64,
    ) -> PyResult<String> {
        let kind = SubjectKind::parse(kind).ok_or_else(|| refused(KeyRingError::ClaimsInvalid))?;
        let claims = nexkey_tokens::Claims {
            audience: audience.into(),
            organization: organization.into(),
            subject: subject.into(),
            kind,
            session: session.into(),
            key_id: String::new(),
            issued_at_ms,
            expires_at_ms,
            topics: topics.iter().map(|topic| topic.to_string()).collect(),
            revision,
        };
        self.0.sign_access_token(&claims).map_err(refused)
    }

    fn verify_access_token(&self, token: &str, audience: &str, now_ms: i64) -> PyResult<Claims> {
        let claims = self.0.verify_access_token(token, audience, now_ms);
        claims
            .map(Claims)
            .map_err(|error| errors::token_error(error.code()))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the claims, as the stub names them"
    )]
    fn sign_command<'py>(
        &self,
        py: Python<'py>,
        organization: &str,
        lock: &str,
        door: &str,
        action: &str,
        command_id: &str,
        issued_at_ms: i64,
        expires_at_ms: i64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let command = Command {
            organization: organization.into(),
            lock: lock.into(),
            door: door.into(),
            action: action.into(),
            id: command_id.into(),
            issued_at_ms,
            expires_at_ms,
        };
        Ok(PyBytes::new(
            py,
            &self.0.sign_command(&command).map_err(refused)?,
        ))
    }

    fn sign_time<'py>(
        &self,
        py: Python<'py>,
        organization: &str,
        lock: &str,
        nonce: &[u8],
        now_ms: i64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let time = SignedTime {
            organization: organization.into(),
            lock: lock.into(),
            now_ms,
            nonce: nonce.into(),
        };
        Ok(PyBytes::new(py, &self.0.sign_time(&time).map_err(refused)?))
    }

    fn seal<'py>(
        &self,
        py: Python<'py>,
        purpose: &str,
        organization: &str,
        name: &str,
        content: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let sealed = self
            .0
            .seal(purpose, organization, name, content)
            .map_err(refused)?;
        Ok(PyBytes::new(py, &sealed))
    }

    fn open<'py>(
        &self,
        py: Python<'py>,
        purpose: &str,
        organization: &str,
        name: &str,
        sealed: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let content = self
            .0
            .open(purpose, organization, name, sealed)
            .map_err(refused)?;
        Ok(PyBytes::new(py, &content))
    }
}

/// Whether a device can ever prove itself with it.
#[pyfunction]
fn check_device_key(public_key: &[u8]) -> PyResult<()> {
    nexkey_tokens::check_device_key(public_key)
        .map_err(|error| errors::device_assertion_error(error.code()))
}

/// A device proves itself.
#[pyfunction]
fn verify_device_assertion(
    public_key: &[u8],
    assertion: &str,
    organization: &str,
    device: &str,
    now_ms: i64,
) -> PyResult<()> {
    nexkey_tokens::verify_device_assertion(public_key, assertion, organization, device, now_ms)
        .map_err(|error| errors::device_assertion_error(error.code()))
}

/// What a lock signed.
#[pyfunction]
fn verify_report(public_key: &[u8], report: &[u8], lock: &str) -> PyResult<Report> {
    nexkey_tokens::verify_report(public_key, report, lock)
        .map(Report)
        .map_err(|error| errors::report_error(error.code()))
}

fn refused(error: KeyRingError) -> PyErr {
    errors::key_ring_error(error.code())
}

/// Puts this room into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Claims>()?;
    module.add_class::<Report>()?;
    module.add_class::<KeyRing>()?;
    module.add_function(wrap_pyfunction!(check_device_key, module)?)?;
    module.add_function(wrap_pyfunction!(verify_device_assertion, module)?)?;
    module.add_function(wrap_pyfunction!(verify_report, module)?)
}
