//! Whose key it is: the service's token keys, or the command keys of one organization. And what a `kid` may look like.

use nexkey_lock::is_identifier;

use crate::error::KeyRingError;

/// Longest `kid`: an organization, a point, a number.
const KEY_ID_BYTES_MAX: usize = 80;

/// One holder has one active key at a time.
#[derive(Clone, Copy)]
pub(crate) enum Holder<'a> {
    /// Signs access tokens; belongs to no organization.
    Access,
    /// Signs door commands and time of this organization.
    Command(&'a str),
}

impl<'a> Holder<'a> {
    /// From the names of docs/protocols/documents.md.
    pub(crate) fn parse(purpose: &str, organization: &'a str) -> Result<Self, KeyRingError> {
        match purpose {
            "access" if organization.is_empty() => Ok(Self::Access),
            "command" if is_identifier(organization) => Ok(Self::Command(organization)),
            _ => Err(KeyRingError::Purpose),
        }
    }

    /// Purpose and organization.
    pub(crate) const fn names(self) -> (&'static str, &'a str) {
        match self {
            Self::Access => ("access", ""),
            Self::Command(organization) => ("command", organization),
        }
    }

    /// `[A-Za-z0-9_.-]{1,80}`; a command key is named `<organization>.<n>`, so that no organization's key passes for another's.
    pub(crate) fn check_key_id(self, key_id: &str) -> Result<(), KeyRingError> {
        let plain = (1..=KEY_ID_BYTES_MAX).contains(&key_id.len())
            && key_id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        let own = match self {
            Self::Access => true,
            Self::Command(organization) => key_id
                .strip_prefix(organization)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|number| {
                    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
                }),
        };
        if plain && own {
            Ok(())
        } else {
            Err(KeyRingError::KeyId)
        }
    }
}
