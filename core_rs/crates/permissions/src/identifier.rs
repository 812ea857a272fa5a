//! Identifiers of the images: `[a-z0-9_-]{1,64}`, up to 23 bytes without an allocation.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smol_str::SmolStr;
use std::borrow::Borrow;
use std::fmt;

/// Longest identifier, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 64;

/// A checked identifier; cloning it never allocates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(SmolStr);

impl Identifier {
    /// `None` when `text` is not an identifier.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let well_formed = (1..=IDENTIFIER_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        well_formed.then(|| Self(SmolStr::new(text)))
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

// The derived `Hash` and `Ord` are those of the text, so maps by `Identifier` can be asked with a `&str`.
impl Borrow<str> for Identifier {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Serialize for Identifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Takes a text as it passes by: most of what a snapshot holds are identifiers, and none of them needs a string of its own.
struct Text;

impl de::Visitor<'_> for Text {
    type Value = Identifier;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an identifier")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Identifier, E> {
        Identifier::new(text).ok_or_else(|| E::custom("not an identifier"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_the_alphabet_and_the_length() {
        assert!(Identifier::new("a").is_some());
        assert!(Identifier::new(&"z".repeat(64)).is_some());
        for wrong in ["", "A", "a b", "a:b", "ä", "a\0", &"z".repeat(65)] {
            assert!(Identifier::new(wrong).is_none(), "{wrong:?}");
        }
    }
}
