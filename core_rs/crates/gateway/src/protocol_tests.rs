//! Frames from clients: every one is understood or refused, none panics, both encodings agree.
#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn both(frame: &Value) -> Result<ClientFrame, FrameError> {
    let from_json = ClientFrame::decode(Encoding::Json, &serde_json::to_vec(frame).unwrap());
    let packed = ClientFrame::decode(Encoding::Msgpack, &rmp_serde::to_vec(frame).unwrap());
    assert_eq!(from_json, packed);
    from_json
}

#[test]
fn frames_are_understood_in_both_encodings() {
    let position = json!({"epoch": "e", "offset": 7});
    let subscribe =
        both(&json!({"type": "subscribe", "topic": "t", "position": position})).unwrap();
    assert_eq!(
        subscribe,
        ClientFrame::Subscribe {
            topic: "t".into(),
            position: Some(Position {
                epoch: "e".into(),
                offset: 7
            })
        }
    );
    let without =
        both(&json!({"type": "subscribe", "topic": "t", "unknown": [1, {"a": null}]})).unwrap();
    assert_eq!(
        without,
        ClientFrame::Subscribe {
            topic: "t".into(),
            position: None
        }
    );
    let report =
        both(&json!({"type": "report", "number": u64::MAX, "command": null, "report": "r"}))
            .unwrap();
    assert_eq!(
        report,
        ClientFrame::Report {
            number: u64::MAX,
            command: None,
            report: "r".into()
        }
    );
    assert_eq!(both(&json!({"type": "ping"})), Ok(ClientFrame::Ping));
}

#[test]
fn what_is_missing_wrong_or_too_long_is_refused() {
    let long = |bytes: usize| "x".repeat(bytes);
    for frame in [
        json!({}),
        json!("ping"),
        json!({"type": 7}),
        json!({"type": "authenticate"}),
        json!({"type": "subscribe", "topic": ""}),
        json!({"type": "subscribe", "topic": long(TOPIC_BYTES_MAX + 1)}),
        json!({"type": "subscribe", "topic": "t", "position": {"epoch": "e", "offset": -1}}),
        json!({"type": "subscribe", "topic": "t", "position": {"epoch": "e"}}),
        json!({"type": "received", "command": long(NAME_BYTES_MAX + 1)}),
        json!({"type": "report", "number": 1.5, "report": "r"}),
        json!({"type": "report", "number": 1, "report": long(REPORT_CHARACTERS_MAX + 1)}),
    ] {
        assert_eq!(both(&frame), Err(FrameError::Malformed), "{frame}");
    }
    assert_eq!(both(&json!({"type": "open"})), Err(FrameError::TypeUnknown));
}

#[test]
fn identifiers_are_what_the_documents_say() {
    assert!(is_identifier("acme-1_b") && is_identifier(&"a".repeat(64)));
    for wrong in ["", "a/b", "A", "a b", "ä", &"a".repeat(65)] {
        assert!(!is_identifier(wrong), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = ClientFrame::decode(Encoding::Json, &bytes);
        let _ = ClientFrame::decode(Encoding::Msgpack, &bytes);
    }

    #[test]
    fn no_depth_makes_it_panic(depth in 0..FRAME_BYTES_MAX, opener in prop_oneof![Just(0x91_u8), Just(b'['), Just(0x81), Just(b'{')]) {
        let bytes = vec![opener; depth];
        prop_assert!(ClientFrame::decode(Encoding::Json, &bytes).is_err());
        prop_assert!(ClientFrame::decode(Encoding::Msgpack, &bytes).is_err());
    }
}
