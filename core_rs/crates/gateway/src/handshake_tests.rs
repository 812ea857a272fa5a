//! HTTP requests: which become a WebSocket, and that none makes the parser panic.
#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn request(subprotocols: &str, key: &str, connection: &str) -> Option<Request> {
    let head = "GET /v1/realtime?x=1 HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n";
    parse(format!("{head}Connection: {connection}\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {subprotocols}\r\n\r\n").as_bytes())
}

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let upgrade = request(
        "foo, nexkey.v1.msgpack, nexkey.v1.json",
        KEY,
        "keep-alive, Upgrade",
    );
    let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
    assert_eq!(
        upgrade,
        Some(Request::Upgrade {
            encoding: Encoding::Msgpack,
            accept
        })
    );
}

#[test]
fn what_isnt_a_handshake_of_ours_is_refused() {
    let bad = Some(refused("400 Bad Request"));
    assert_eq!(request("nexkey.v2.json", KEY, "Upgrade"), bad);
    assert_eq!(request("nexkey.v1.json", "c2hvcnQ=", "Upgrade"), bad);
    assert_eq!(
        request("nexkey.v1.json", KEY, "close"),
        Some(refused("426 Upgrade Required"))
    );
    assert_eq!(parse(b"GET /healthz HTTP/1.1\r\n\r\nmore"), bad);
    assert_eq!(
        parse(b"GET /healthz HTTP/1.0\r\n\r\n"),
        Some(refused("405 Method Not Allowed"))
    );
    assert_eq!(parse(b"GET /healthz HTTP/1.1\r\n"), None);
    assert_eq!(
        parse(b"GET /healthz HTTP/1.1\r\n\r\n"),
        Some(Request::Health)
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), head in "GET /v1/realtime HTTP/1.1\r\n[ -~\r\n]{0,80}") {
        let _ = parse(&bytes);
        let _ = parse(&[head.as_bytes(), &bytes].concat());
    }
}
