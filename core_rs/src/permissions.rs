//! Binds the crate `nexkey-permissions`: arguments in, questions asked, answers out. No rule lives here.
use crate::errors::snapshot_error;
use nexkey_permissions as core;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};
use std::sync::{Mutex, PoisonError};

/// The reasons as Python strings, made once: every decision of a process shares them.
static REASONS: PyOnceLock<Vec<Py<PyString>>> = PyOnceLock::new();

fn reason_text(py: Python<'_>, reason: core::Reason) -> Py<PyString> {
    let texts = REASONS.get_or_init(py, || {
        core::Reason::ALL
            .iter()
            .map(|reason| PyString::intern(py, reason.as_str()).unbind())
            .collect()
    });
    // `ALL` is in the order of the declaration; a test in Python holds every reason against its name.
    texts.get(reason as usize).map_or_else(
        || PyString::new(py, reason.as_str()).unbind(),
        |text| text.clone_ref(py),
    )
}

/// Outcome of one check.
#[pyclass(frozen, module = "py_service._core_rs")]
struct Decision(core::Decision);

#[pymethods]
impl Decision {
    #[getter]
    fn allowed(&self) -> bool {
        self.0.is_allowed()
    }

    #[getter]
    fn reason(&self, py: Python<'_>) -> Py<PyString> {
        reason_text(py, self.0.reason)
    }

    #[getter]
    fn rule(&self) -> Option<&str> {
        self.0.rule.as_ref().map(core::Identifier::as_str)
    }

    #[getter]
    fn revision(&self) -> i64 {
        self.0.revision
    }

    #[getter]
    fn stateful(&self) -> bool {
        self.0.needs.is_some()
    }

    fn __repr__(&self) -> String {
        let core::Decision {
            reason,
            rule,
            revision,
            needs: _,
        } = &self.0;
        let rule = rule.as_ref().map_or("None", |rule| rule.as_str());
        format!(
            "Decision(allowed={}, reason={}, rule={rule}, revision={revision})",
            self.0.is_allowed(),
            reason.as_str()
        )
    }
}

/// A door as the index knows it.
#[pyclass(frozen, module = "py_service._core_rs")]
struct DoorRecord(core::DoorRecord);

#[pymethods]
impl DoorRecord {
    #[getter]
    fn id(&self) -> &str {
        self.0.id.as_str()
    }

    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn site(&self) -> &str {
        self.0.site.as_str()
    }

    #[getter]
    fn area(&self) -> Option<&str> {
        self.0.area.as_ref().map(core::Identifier::as_str)
    }

    #[getter]
    fn lock(&self) -> Option<&str> {
        self.0.lock.as_ref().map(core::Identifier::as_str)
    }
}

/// A device as the index knows it.
#[pyclass(frozen, module = "py_service._core_rs")]
struct DeviceRecord(core::Device);

#[pymethods]
impl DeviceRecord {
    #[getter]
    fn id(&self) -> &str {
        self.0.id.as_str()
    }

    #[getter]
    fn door(&self) -> Option<&str> {
        self.0.door.as_ref().map(core::Identifier::as_str)
    }

    #[getter]
    fn active(&self) -> bool {
        self.0.active
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.public_key)
    }
}

/// How a door stands at a moment.
#[pyclass(frozen, module = "py_service._core_rs")]
struct Standing(core::Standing);

#[pymethods]
impl Standing {
    #[getter]
    fn open_by(&self) -> Option<&str> {
        self.0.open_by.as_ref().map(core::Identifier::as_str)
    }

    #[getter]
    fn may_open(&self) -> bool {
        self.0.may_open
    }

    #[getter]
    fn revision(&self) -> i64 {
        self.0.revision
    }
}

/// A decision settled with what the store knows, or what has to be read for it.
#[pyclass(frozen, module = "py_service._core_rs")]
struct Settlement {
    #[pyo3(get)]
    missing: Vec<String>,
    reason: core::Reason,
    rule: Option<core::Identifier>,
    taken: Option<Vec<u8>>,
    records: Vec<u8>,
}

#[pymethods]
impl Settlement {
    #[getter]
    fn allowed(&self) -> bool {
        self.missing.is_empty() && self.reason == core::Reason::Granted
    }

    #[getter]
    fn reason(&self, py: Python<'_>) -> Py<PyString> {
        reason_text(py, self.reason)
    }

    #[getter]
    fn rule(&self) -> Option<&str> {
        self.rule.as_ref().map(core::Identifier::as_str)
    }

    #[getter]
    fn taken<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.taken.as_ref().map(|taken| PyBytes::new(py, taken))
    }

    #[getter]
    fn records<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.records)
    }
}

fn settlement(settled: core::Settled) -> Settlement {
    match settled {
        core::Settled::Missing(keys) => Settlement {
            missing: keys.into_iter().collect(),
            reason: core::Reason::StoresUnavailable,
            rule: None,
            taken: None,
            records: b"{}".to_vec(),
        },
        core::Settled::Done {
            reason,
            rule,
            taken,
            changed,
        } => Settlement {
            missing: Vec::new(),
            reason,
            rule,
            taken: (!taken.is_empty()).then(|| taken.to_json()),
            records: core::records_to_json(&changed),
        },
    }
}

fn records_of(records: &[u8]) -> PyResult<core::Records> {
    core::records_from_json(records).map_err(|_| snapshot_error("records_malformed"))
}

#[pyfunction]
fn give_back(
    person: &str,
    door: &str,
    at_ms: i64,
    taken: &[u8],
    records: &[u8],
) -> PyResult<Settlement> {
    let taken = core::Taken::from_json(taken).map_err(|_| snapshot_error("records_malformed"))?;
    let asking = core::Asking {
        person,
        door,
        issued_at_ms: at_ms,
        session: "",
        pin: None,
        now_ms: at_ms,
    };
    let records = records_of(records)?;
    Ok(settlement(core::give_back(asking, &taken, &records)))
}

/// A snapshot on its way into an index; empty once it was finished.
#[pyclass(frozen, module = "py_service._core_rs")]
struct SnapshotLoad {
    index: Py<PermissionIndex>,
    load: Mutex<Option<core::SnapshotLoad>>,
}

#[pymethods]
impl SnapshotLoad {
    fn add(&self, py: Python<'_>, kind: &str, documents: &[u8]) -> PyResult<usize> {
        py.detach(|| {
            let mut waiting = self.load.lock().unwrap_or_else(PoisonError::into_inner);
            // Taken out meanwhile: should this thread die of it, nobody finishes what is half done.
            let mut load = waiting
                .take()
                .ok_or(core::SnapshotError::SnapshotMalformed)?;
            let added = load.add(kind, documents);
            *waiting = Some(load);
            added
        })
        .map_err(|error| snapshot_error(error.code()))
    }

    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let load = self
                .load
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .ok_or(core::SnapshotError::SnapshotMalformed)?;
            self.index.get().0.finish_load(load)
        })
        .map_err(|error| snapshot_error(error.code()))
    }
}

type Altered = (String, String, Decision, Decision);
type Previewed = (Vec<Altered>, Vec<Altered>, u64, u64, bool);

fn named(altered: Vec<core::Altered>) -> Vec<Altered> {
    let text = |id: core::Identifier| id.as_str().to_owned();
    altered
        .into_iter()
        .map(|one| {
            (
                text(one.person),
                text(one.door),
                Decision(one.before),
                Decision(one.after),
            )
        })
        .collect()
}

fn decided(found: Vec<(core::DoorRecord, core::Decision)>) -> Vec<(DoorRecord, Decision)> {
    found
        .into_iter()
        .map(|(door, decision)| (DoorRecord(door), Decision(decision)))
        .collect()
}

/// The permissions of many organizations, in memory. Safe to share between threads; readers never wait for a writer.
#[pyclass(frozen, module = "py_service._core_rs")]
struct PermissionIndex(core::PermissionIndex);

#[pymethods]
impl PermissionIndex {
    #[new]
    fn new() -> Self {
        Self(core::PermissionIndex::new())
    }

    #[getter]
    fn tzdata_version(&self) -> &'static str {
        core::tzdata_version()
    }

    fn load(
        &self,
        py: Python<'_>,
        organization: &str,
        revision: i64,
        images: &[u8],
    ) -> PyResult<()> {
        py.detach(|| self.0.load(organization, revision, images))
            .map_err(|error| snapshot_error(error.code()))
    }

    fn begin_load(
        slf: Bound<'_, Self>,
        organization: &str,
        revision: i64,
    ) -> PyResult<SnapshotLoad> {
        let load = slf.get().0.begin_load(organization, revision);
        let load = load.map_err(|error| snapshot_error(error.code()))?;
        Ok(SnapshotLoad {
            index: slf.unbind(),
            load: Mutex::new(Some(load)),
        })
    }

    fn apply(
        &self,
        py: Python<'_>,
        organization: &str,
        revision: i64,
        images: &[u8],
    ) -> PyResult<bool> {
        py.detach(|| self.0.apply(organization, revision, images))
            .map_err(|error| snapshot_error(error.code()))
    }

    fn validate(&self, py: Python<'_>, organization: &str, images: &[u8]) -> PyResult<()> {
        py.detach(|| self.0.validate(organization, images))
            .map_err(|error| snapshot_error(error.code()))
    }

    #[allow(clippy::too_many_arguments, reason = "each is one of the question's")]
    fn preview(
        &self,
        py: Python<'_>,
        organization: &str,
        revision: i64,
        images: &[u8],
        now_ms: i64,
        sites: Option<Vec<String>>,
        limit: usize,
        pairs_max: u64,
    ) -> PyResult<Previewed> {
        let question = core::Question {
            now_ms,
            sites: sites.as_deref(),
            limit,
            pairs_max: pairs_max.min(core::PAIRS_MAX),
        };
        let found = py
            .detach(|| self.0.preview(organization, revision, images, question))
            .map_err(|error| snapshot_error(error.code()))?;
        Ok((
            named(found.gained),
            named(found.lost),
            found.gained_total,
            found.lost_total,
            found.complete,
        ))
    }

    fn knows_time_zone(&self, name: &str) -> bool {
        core::is_zone(name)
    }

    fn drop(&self, py: Python<'_>, organization: &str) {
        py.detach(|| self.0.drop_organization(organization));
    }

    fn revision(&self, organization: &str) -> i64 {
        self.0.revision(organization)
    }

    fn check(&self, organization: &str, person: &str, door: &str, now_ms: i64) -> Decision {
        Decision(self.0.check(organization, person, door, now_ms))
    }

    #[allow(clippy::too_many_arguments, reason = "the signature of Python")]
    fn settle(
        &self,
        organization: &str,
        person: &str,
        door: &str,
        decision: &Decision,
        pin: Option<bool>,
        now_ms: i64,
        records: &[u8],
        issued_at_ms: i64,
        session: &str,
    ) -> PyResult<Settlement> {
        let asking = core::Asking {
            person,
            door,
            issued_at_ms,
            session,
            pin,
            now_ms,
        };
        let records = records_of(records)?;
        let settled = self.0.settle(organization, asking, &decision.0, &records);
        Ok(settlement(settled))
    }

    fn pin<'py>(
        &self,
        py: Python<'py>,
        organization: &str,
        person: &str,
    ) -> Option<Bound<'py, PyBytes>> {
        let hash = self.0.pin(organization, person)?;
        Some(PyBytes::new(py, &hash))
    }

    fn authenticate(
        &self,
        organization: &str,
        subject: &str,
        at_ms: i64,
        session: &str,
    ) -> Option<&'static str> {
        self.0.authenticate(organization, subject, at_ms, session)
    }

    fn check_role(
        &self,
        organization: &str,
        subject: &str,
        permission: &str,
        site: Option<&str>,
        now_ms: i64,
    ) -> Decision {
        Decision(
            self.0
                .check_role(organization, subject, permission, site, now_ms),
        )
    }

    fn reach(
        &self,
        organization: &str,
        subject: &str,
        permission: &str,
        now_ms: i64,
    ) -> (Decision, Option<Vec<String>>) {
        let (decision, sites) = self.0.reach(organization, subject, permission, now_ms);
        let sites = sites.map(|sites| sites.iter().map(|site| site.as_str().to_owned()).collect());
        (Decision(decision), sites)
    }

    fn explain<'py>(
        &self,
        py: Python<'py>,
        organization: &str,
        person: &str,
        door: &str,
        now_ms: i64,
    ) -> Bound<'py, PyBytes> {
        PyBytes::new(
            py,
            &self.0.explain(organization, person, door, now_ms).to_json(),
        )
    }

    #[allow(clippy::too_many_arguments, reason = "each is one of the question's")]
    fn explain_now<'py>(
        &self,
        py: Python<'py>,
        organization: &str,
        person: &str,
        door: &str,
        pin: Option<bool>,
        now_ms: i64,
        records: &[u8],
    ) -> PyResult<(Option<Bound<'py, PyBytes>>, Vec<String>)> {
        let asking = core::Asking {
            person,
            door,
            issued_at_ms: now_ms, // nobody asks: it is told what would be
            session: "",
            pin,
            now_ms,
        };
        let records = records_of(records)?;
        Ok(match self.0.explain_now(organization, asking, &records) {
            Ok(told) => (Some(PyBytes::new(py, &told.to_json())), Vec::new()),
            Err(missing) => (None, missing.into_iter().collect()),
        })
    }

    #[allow(clippy::too_many_arguments, reason = "each is one of the question's")]
    fn doors_of(
        &self,
        py: Python<'_>,
        organization: &str,
        person: &str,
        now_ms: i64,
        after: &str,
        sites: Option<Vec<String>>,
        limit: usize,
    ) -> Vec<(DoorRecord, Decision)> {
        let sites = sites.as_deref();
        let found = py.detach(|| {
            self.0
                .doors_of(organization, person, now_ms, after, sites, limit)
        });
        decided(found)
    }

    #[allow(clippy::too_many_arguments, reason = "each is one of the question's")]
    fn doors_open_to(
        &self,
        py: Python<'_>,
        organization: &str,
        person: &str,
        now_ms: i64,
        after: &str,
        sites: Option<Vec<String>>,
        limit: usize,
    ) -> Vec<(DoorRecord, Decision)> {
        let listed = core::Listed {
            after,
            sites: sites.as_deref(),
            limit,
        };
        decided(py.detach(|| self.0.doors_open_to(organization, person, now_ms, listed)))
    }

    fn persons_at(
        &self,
        py: Python<'_>,
        organization: &str,
        door: &str,
        now_ms: i64,
        after: &str,
        limit: usize,
    ) -> Vec<(String, Decision)> {
        let decided = py.detach(|| self.0.persons_at(organization, door, now_ms, after, limit));
        decided
            .into_iter()
            .map(|(person, decision)| (person, Decision(decision)))
            .collect()
    }

    fn door(&self, organization: &str, door: &str) -> Option<DoorRecord> {
        self.0.door(organization, door).map(DoorRecord)
    }

    fn standing(&self, organization: &str, door: &str, now_ms: i64) -> Option<Standing> {
        self.0.standing(organization, door, now_ms).map(Standing)
    }

    fn locks_with_mode_unlocked(&self, py: Python<'_>, organization: &str) -> Vec<String> {
        let locks = py.detach(|| self.0.locks_with_mode_unlocked(organization));
        locks.iter().map(|lock| lock.as_str().to_owned()).collect()
    }

    fn device(&self, organization: &str, device: &str) -> Option<DeviceRecord> {
        self.0.device(organization, device).map(DeviceRecord)
    }
}

/// The table of roles.
#[pyfunction]
fn roles() -> Vec<(&'static str, Vec<&'static str>)> {
    core::roles()
}

/// Puts the classes into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(give_back, module)?)?;
    module.add_function(wrap_pyfunction!(roles, module)?)?;
    module.add_class::<Decision>()?;
    module.add_class::<Settlement>()?;
    module.add_class::<DoorRecord>()?;
    module.add_class::<DeviceRecord>()?;
    module.add_class::<Standing>()?;
    module.add_class::<SnapshotLoad>()?;
    module.add_class::<PermissionIndex>()
}
