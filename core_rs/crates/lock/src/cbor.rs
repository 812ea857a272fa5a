//! Claims in deterministic CBOR (RFC 8949, section 4.2.1), and what a name may look like. Which claims a message has is said in its own file.
//!
//! Reading is lenient here and strict in the callers: each encodes again what it has read and compares, so that one meaning has one encoding.

use alloc::string::String;
use alloc::vec::Vec;

use coset::cbor::value::Value;

/// Longest organization, lock, door.
const IDENTIFIER_BYTES_MAX: usize = 64;
/// 9999-12-31T23:59:59.999Z; up to here a float64 of seconds holds whole milliseconds.
const DATE_MS_MAX: i64 = 253_402_300_799_999;

/// Is this an identifier, `[a-z0-9_-]{1,64}`?
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    (1..=IDENTIFIER_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// Is this 1 to `bytes_max` bytes of visible ASCII?
#[must_use]
pub fn is_visible(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Claims to encode. Add them in the order of docs/protocols/tokens.md: there it is the deterministic one.
#[derive(Default)]
pub(crate) struct ClaimWriter(Vec<(Value, Value)>);

impl ClaimWriter {
    pub(crate) fn text(mut self, label: i64, text: &str) -> Self {
        self.0.push((label.into(), Value::Text(text.into())));
        self
    }

    pub(crate) fn optional_text(self, label: i64, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(label, text),
            None => self,
        }
    }

    pub(crate) fn bytes(mut self, label: i64, bytes: &[u8]) -> Self {
        self.0.push((label.into(), Value::Bytes(bytes.into())));
        self
    }

    pub(crate) fn unsigned(mut self, label: i64, number: u64) -> Self {
        self.0.push((label.into(), number.into()));
        self
    }

    /// A `NumericDate` (RFC 8392, section 2) as a float of seconds. The encoder takes the shortest float that is exact.
    #[expect(
        clippy::cast_precision_loss,
        reason = "checked: DATE_MS_MAX is below 2^53"
    )]
    pub(crate) fn date_ms(mut self, label: i64, at_ms: i64) -> Option<Self> {
        if !(0..=DATE_MS_MAX).contains(&at_ms) {
            return None;
        }
        self.0
            .push((label.into(), Value::Float(at_ms as f64 / 1000.0)));
        Some(self)
    }

    pub(crate) fn encode(self) -> Option<Vec<u8>> {
        encode(&Value::Map(self.0))
    }
}

/// Claims being read; each is taken once, and none may be left over.
pub(crate) struct ClaimReader(Vec<(Value, Value)>);

impl ClaimReader {
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        match coset::cbor::from_reader(payload) {
            Ok(Value::Map(claims)) => Some(Self(claims)),
            _ => None,
        }
    }

    fn take(&mut self, label: i64) -> Option<Value> {
        let label = Value::from(label);
        let place = self.0.iter().position(|(key, _)| *key == label)?;
        Some(self.0.swap_remove(place).1)
    }

    pub(crate) fn text(&mut self, label: i64) -> Option<String> {
        self.take(label)?.into_text().ok()
    }

    /// Absent, or a text; `None` when it is something else.
    #[expect(
        clippy::option_option,
        reason = "absent and wrong are different answers"
    )]
    pub(crate) fn optional_text(&mut self, label: i64) -> Option<Option<String>> {
        match self.take(label) {
            None => Some(None),
            Some(value) => value.into_text().ok().map(Some),
        }
    }

    pub(crate) fn bytes(&mut self, label: i64) -> Option<Vec<u8>> {
        self.take(label)?.into_bytes().ok()
    }

    pub(crate) fn unsigned(&mut self, label: i64) -> Option<u64> {
        self.take(label)?.into_integer().ok()?.try_into().ok()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "range-checked before the cast, which rounds to the next millisecond"
    )]
    #[expect(clippy::cast_precision_loss, reason = "DATE_MS_MAX is below 2^53")]
    pub(crate) fn date_ms(&mut self, label: i64) -> Option<i64> {
        let seconds = self.take(label)?.into_float().ok()?;
        // NaN and infinities are outside of every range.
        (0.0..=DATE_MS_MAX as f64 / 1000.0)
            .contains(&seconds)
            .then_some((seconds * 1000.0 + 0.5) as i64)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn encode(value: &Value) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    coset::cbor::into_writer(value, &mut bytes).ok()?;
    Some(bytes)
}
