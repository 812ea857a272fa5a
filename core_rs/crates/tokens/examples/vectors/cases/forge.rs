//! Messages built by hand, so that they can be wrong in exactly one place.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::cbor::value::Value;
use ed25519_dalek::{Signer as _, SigningKey};

pub const MASTER_KEY: [u8; 32] = [0x4d; 32];
pub const ACCESS_SEED: [u8; 32] = [0x01; 32];
pub const COMMAND_SEED: [u8; 32] = [0x02; 32];
pub const DEVICE_SEED: [u8; 32] = [0x03; 32];
pub const STRANGER_SEED: [u8; 32] = [0x0f; 32];

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn signing(seed: [u8; 32]) -> SigningKey {
    SigningKey::from_bytes(&seed)
}

pub fn public_key(seed: [u8; 32]) -> String {
    hex(signing(seed).verifying_key().as_bytes())
}

/// A JWS of any header and payload.
pub fn jwt(header: &str, payload: &str, seed: [u8; 32]) -> String {
    let signed = format!(
        "{}.{}",
        base64(header.as_bytes()),
        base64(payload.as_bytes())
    );
    let signature = signing(seed).sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", base64(&signature))
}

/// `S + L`: the same signature in the second encoding that a lenient verifier takes.
pub fn malleated(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut forged = signature.to_vec();
    let mut carry = 0_u16;
    for (byte, order) in forged[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    forged
}

/// The identity as commitment and zero as response: holds for every message under a key of small order.
pub fn small_order() -> Vec<u8> {
    let mut signature = vec![0; 64];
    signature[0] = 1;
    signature
}

pub fn cbor(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    coset::cbor::into_writer(value, &mut bytes).unwrap();
    bytes
}

pub fn map(entries: Vec<(i64, Value)>) -> Value {
    Value::Map(
        entries
            .into_iter()
            .map(|(label, value)| (label.into(), value))
            .collect(),
    )
}

/// A `COSE_Sign1` whose every part can be replaced.
#[derive(Clone)]
pub struct Cose {
    pub tag: u64,
    pub protected: Vec<u8>,
    pub unprotected: Value,
    pub payload: Vec<u8>,
    pub context: &'static str,
    pub external: Vec<u8>,
    pub seed: [u8; 32],
}

impl Cose {
    pub fn new(content_type: &str, key_id: &str, payload: Vec<u8>, seed: [u8; 32]) -> Self {
        Self {
            tag: 18,
            protected: cbor(&map(header(content_type, key_id))),
            unprotected: Value::Map(vec![]),
            payload,
            context: "Signature1",
            external: vec![],
            seed,
        }
    }

    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    pub fn signature(&self) -> Vec<u8> {
        let signed = Value::Array(vec![
            self.context.into(),
            Value::Bytes(self.protected.clone()),
            Value::Bytes(self.external.clone()),
            Value::Bytes(self.payload.clone()),
        ]);
        signing(self.seed).sign(&cbor(&signed)).to_vec()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_with(self.signature())
    }

    pub fn bytes_with(&self, signature: Vec<u8>) -> Vec<u8> {
        cbor(&Value::Tag(
            self.tag,
            Box::new(Value::Array(self.parts(signature))),
        ))
    }

    pub fn parts(&self, signature: Vec<u8>) -> Vec<Value> {
        vec![
            Value::Bytes(self.protected.clone()),
            self.unprotected.clone(),
            Value::Bytes(self.payload.clone()),
            Value::Bytes(signature),
        ]
    }
}

pub fn header(content_type: &str, key_id: &str) -> Vec<(i64, Value)> {
    let mut entries = vec![(1, Value::from(-8)), (3, content_type.into())];
    if !key_id.is_empty() {
        entries.push((4, Value::Bytes(key_id.into())));
    }
    entries
}

/// What every reader of an envelope has to refuse: name, expected kind of refusal, bytes.
/// `other` is the content type of another message.
pub fn broken_envelopes(
    good: &Cose,
    content_type: &str,
    key_id: &str,
    other: &str,
) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let bytes = good.bytes();
    let protected = |entries: Vec<(i64, Value)>| {
        good.with(|cose| cose.protected = cbor(&map(entries)))
            .bytes()
    };
    let edited = |edit: &dyn Fn(&mut Vec<(i64, Value)>)| {
        let mut entries = header(content_type, key_id);
        edit(&mut entries);
        protected(entries)
    };
    let flipped = |place: usize| {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1;
        flipped
    };
    let signature = good.signature();
    let mut detached = good.parts(signature.clone());
    detached[2] = Value::Null;
    let tagged = |parts: Vec<Value>| cbor(&Value::Tag(18, Box::new(Value::Array(parts))));
    vec![
        ("empty", "malformed", vec![]),
        ("not_cbor", "malformed", b"not cbor".to_vec()),
        ("nested_1000_deep", "malformed", vec![0x81; 1000]),
        (
            "oversized",
            "malformed",
            [bytes.clone(), vec![0; 1025 - bytes.len()]].concat(),
        ),
        ("truncated", "malformed", bytes[..bytes.len() - 1].to_vec()),
        ("trailing_byte", "malformed", [&bytes[..], &[0]].concat()),
        ("untagged", "malformed", bytes[1..].to_vec()),
        (
            "tag_of_mac0",
            "malformed",
            good.with(|cose| cose.tag = 17).bytes(),
        ),
        (
            "tag_in_two_bytes",
            "malformed",
            [&[0xd8, 0x12], &bytes[1..]].concat(),
        ),
        (
            "three_parts",
            "malformed",
            tagged(good.parts(signature.clone())[..3].to_vec()),
        ),
        (
            "indefinite_array",
            "malformed",
            [&[0xd2, 0x9f], &bytes[2..], &[0xff]].concat(),
        ),
        ("payload_detached", "malformed", tagged(detached)),
        (
            "unprotected_entry",
            "malformed",
            good.with(|cose| cose.unprotected = map(vec![(4, Value::Bytes(b"x".to_vec()))]))
                .bytes(),
        ),
        (
            "protected_extra",
            "malformed",
            edited(&|entries| entries.push((5, Value::Bytes(b"iv".to_vec())))),
        ),
        (
            "protected_critical",
            "malformed",
            edited(&|entries| entries.insert(1, (2, Value::Array(vec![3.into()])))),
        ),
        (
            "protected_order",
            "malformed",
            edited(&|entries| entries.swap(0, 1)),
        ),
        (
            "content_type_other",
            "malformed",
            edited(&|entries| entries[1].1 = other.into()),
        ),
        (
            "content_type_number",
            "malformed",
            edited(&|entries| entries[1].1 = 61.into()),
        ),
        (
            "content_type_missing",
            "malformed",
            edited(&|entries| drop(entries.remove(1))),
        ),
        (
            "algorithm_es256",
            "algorithm",
            edited(&|entries| entries[0].1 = (-7).into()),
        ),
        (
            "algorithm_hmac",
            "algorithm",
            edited(&|entries| entries[0].1 = 5.into()),
        ),
        (
            "algorithm_missing",
            "algorithm",
            edited(&|entries| drop(entries.remove(0))),
        ),
        (
            "algorithm_unprotected",
            "algorithm",
            good.with(|cose| {
                cose.protected = cbor(&map(header(content_type, key_id)[1..].to_vec()));
                cose.unprotected = map(vec![(1, Value::from(-8))]);
            })
            .bytes(),
        ),
        (
            "signature_short",
            "malformed",
            good.bytes_with(signature[..63].to_vec()),
        ),
        ("signature_flipped", "signature", flipped(bytes.len() - 40)),
        ("signature_zero", "signature", good.bytes_with(vec![0; 64])),
        (
            "signature_small_order",
            "signature",
            good.bytes_with(small_order()),
        ),
        (
            "signature_malleated",
            "signature",
            good.bytes_with(malleated(&signature)),
        ),
        (
            "signed_by_stranger",
            "signature",
            good.with(|cose| cose.seed = STRANGER_SEED).bytes(),
        ),
        (
            "signed_as_other_context",
            "signature",
            good.with(|cose| cose.context = "Signature").bytes(),
        ),
        (
            "signed_with_external_data",
            "signature",
            good.with(|cose| cose.external = b"x".to_vec()).bytes(),
        ),
        ("payload_flipped", "signature", flipped(bytes.len() - 67)),
        (
            "payload_not_a_map",
            "malformed",
            good.with(|cose| cose.payload = cbor(&Value::Array(vec![])))
                .bytes(),
        ),
        (
            "payload_not_cbor",
            "malformed",
            good.with(|cose| cose.payload = vec![0xff]).bytes(),
        ),
        (
            "payload_trailing_byte",
            "malformed",
            good.with(|cose| cose.payload.push(0)).bytes(),
        ),
    ]
}

/// Payloads that say the same, or nearly, in another encoding; each is to be signed correctly and refused all the same.
/// `claims` are in their deterministic order, `number` is the place of a date.
pub fn broken_payloads(claims: &[(i64, Value)], date: usize) -> Vec<(&'static str, Vec<u8>)> {
    let edited = |edit: &dyn Fn(&mut Vec<(i64, Value)>)| {
        let mut entries = claims.to_vec();
        edit(&mut entries);
        cbor(&map(entries))
    };
    let good = edited(&|_| ());
    let count = good[0] & 0x1f;
    vec![
        ("claims_order", edited(&|entries| entries.swap(0, 1))),
        ("claim_missing", edited(&|entries| drop(entries.remove(0)))),
        (
            "claim_extra",
            edited(&|entries| entries.push((-70_099, "x".into()))),
        ),
        (
            "claim_twice",
            edited(&|entries| entries.push(entries[entries.len() - 1].clone())),
        ),
        (
            "claim_of_another_type",
            edited(&|entries| entries[0].1 = 1.into()),
        ),
        (
            "date_as_integer",
            edited(&|entries| entries[date].1 = 1_795_420_800.into()),
        ),
        (
            "date_not_a_number",
            edited(&|entries| entries[date].1 = f64::NAN.into()),
        ),
        (
            "date_infinite",
            edited(&|entries| entries[date].1 = f64::INFINITY.into()),
        ),
        (
            "date_negative",
            edited(&|entries| entries[date].1 = (-1.5).into()),
        ),
        (
            "date_of_microseconds",
            edited(&|entries| entries[date].1 = 1_795_420_800.000_250.into()),
        ),
        ("date_far", edited(&|entries| entries[date].1 = 1e18.into())),
        ("map_indefinite", [&[0xbf], &good[1..], &[0xff]].concat()),
        (
            "map_length_in_two_bytes",
            [&[0xb8, count], &good[1..]].concat(),
        ),
    ]
}
