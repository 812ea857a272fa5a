//! Who is at the other end, as the token said it.
use std::sync::Arc;

use nexkey_tokens::{Claims, SubjectKind};

use crate::protocol::is_identifier;

/// A person or a lock of one organization. Two fields and never one joined text, so that no name can reach into another organization.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubjectKey {
    /// From the token.
    pub organization: Arc<str>,
    /// From the token.
    pub subject: Arc<str>,
}

/// An authenticated connection's rights.
pub struct Identity {
    /// Whose connection it is.
    pub key: SubjectKey,
    /// Person or lock.
    pub kind: SubjectKind,
    /// When the token was issued, in ms.
    pub issued_at_ms: i64,
    /// The organization's revision that the token was decided on.
    pub revision: u64,
    /// When it ends, in ms.
    pub expires_at_ms: i64,
    topics: Vec<String>,
}

impl Identity {
    /// None when a name could not be part of a key.
    #[must_use]
    pub fn of(claims: Claims) -> Option<Self> {
        if !is_identifier(&claims.organization) || !is_identifier(&claims.subject) {
            return None;
        }
        let key = SubjectKey {
            organization: claims.organization.into(),
            subject: claims.subject.into(),
        };
        let Claims {
            kind,
            issued_at_ms,
            expires_at_ms,
            topics,
            revision,
            ..
        } = claims;
        Some(Self {
            key,
            kind,
            issued_at_ms,
            revision,
            expires_at_ms,
            topics,
        })
    }

    /// May it have the topic? It must be listed, whole, and be one of its own organization, whatever the list says.
    #[must_use]
    pub fn may_subscribe(&self, topic: &str) -> bool {
        let rest = topic
            .strip_prefix("organizations/")
            .and_then(|rest| rest.strip_prefix(&*self.key.organization));
        rest.is_some_and(|rest| rest.starts_with('/'))
            && self.topics.iter().any(|allowed| allowed == topic)
    }
}
