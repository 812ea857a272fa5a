//! Content at rest: it opens for exactly whom it was sealed for, whole, and for nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nexkey_tokens::{CONTENT_BYTES_MAX, KeyRing, KeyRingError};
use proptest::prelude::*;

const OWN: [&str; 3] = ["answer", "acme", "k1"];

fn ring(key: u8) -> KeyRing {
    KeyRing::new(&[key; 32]).unwrap()
}

fn opened(
    ring: &KeyRing,
    [purpose, organization, name]: [&str; 3],
    sealed: &[u8],
) -> Result<Vec<u8>, KeyRingError> {
    ring.open(purpose, organization, name, sealed)
}

#[test]
fn opens_under_its_own_label_only() {
    let ring = ring(7);
    let [purpose, organization, name] = OWN;
    let sealed = ring.seal(purpose, organization, name, b"a secret").unwrap();
    assert_eq!(opened(&ring, OWN, &sealed).unwrap(), b"a secret");
    // The last two share their letters with the right one, divided otherwise.
    for other in [
        ["mail", "acme", "k1"],
        ["answer", "umbrella", "k1"],
        ["answer", "acme", "k2"],
        ["answer", "acmek", "1"],
        ["answera", "cme", "k1"],
    ] {
        assert_eq!(
            opened(&ring, other, &sealed),
            Err(KeyRingError::SealedWrongly),
            "{other:?}"
        );
    }
    let stranger = self::ring(8);
    assert_eq!(
        opened(&stranger, OWN, &sealed),
        Err(KeyRingError::SealedWrongly)
    );
}

#[test]
fn a_signing_key_is_no_content() {
    let ring = ring(7);
    let sealed = ring.generate("command", "acme", "acme.1").unwrap();
    assert_eq!(
        opened(&ring, ["command", "acme", "acme.1"], &sealed),
        Err(KeyRingError::SealedWrongly)
    );
}

#[test]
fn every_flip_of_every_byte_is_refused_and_every_cut() {
    let ring = ring(7);
    let sealed = ring.seal("answer", "acme", "k1", b"twelve bytes").unwrap();
    assert_eq!(sealed.len(), 24 + 12 + 16);
    for place in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[place] ^= 1 << bit;
            assert_eq!(
                opened(&ring, OWN, &flipped),
                Err(KeyRingError::SealedWrongly)
            );
        }
        assert_eq!(
            opened(&ring, OWN, &sealed[..place]),
            Err(KeyRingError::SealedWrongly)
        );
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(
        opened(&ring, OWN, &longer),
        Err(KeyRingError::SealedWrongly)
    );
}

#[test]
fn the_same_content_never_looks_the_same() {
    let ring = ring(7);
    let first = ring.seal("answer", "acme", "k1", b"a secret").unwrap();
    let second = ring.seal("answer", "acme", "k1", b"a secret").unwrap();
    assert_ne!(first[..24], second[..24]);
    assert_ne!(first[24..], second[24..]);
    assert!(!first.windows(6).any(|bytes| bytes == b"secret"));
}

#[test]
fn what_is_too_long_is_refused() {
    let ring = ring(7);
    let content = vec![1; CONTENT_BYTES_MAX + 1];
    assert_eq!(
        ring.seal("answer", "acme", "k1", &content),
        Err(KeyRingError::ContentTooLong)
    );
    let sealed = ring.seal("answer", "acme", "k1", &content[1..]).unwrap();
    assert_eq!(
        opened(&ring, OWN, &sealed).unwrap().len(),
        CONTENT_BYTES_MAX
    );
}

proptest! {
    #[test]
    fn contents_are_read_back(content in prop::collection::vec(any::<u8>(), 0..2_000), purpose in "\\PC{0,20}", organization in "\\PC{0,20}", name in "\\PC{0,80}") {
        let ring = ring(9);
        let sealed = ring.seal(&purpose, &organization, &name, &content).unwrap();
        prop_assert_eq!(ring.open(&purpose, &organization, &name, &sealed).unwrap(), content);
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(ring(9).open("answer", "acme", "k1", &noise), Err(KeyRingError::SealedWrongly));
    }
}
