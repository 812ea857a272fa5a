//! HTTP before the WebSocket: one request per connection, bounded in bytes and time. Health, readiness and metrics are answered here too.
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::metrics::count;
use crate::place::Place;
use crate::protocol::Encoding;
use crate::shared::Shared;

const REQUEST_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 48;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const REALTIME_PATH: &str = "/v1/realtime";
/// RFC 6455, section 1.3.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Upgrade { encoding: Encoding, accept: String },
    Health,
    Ready,
    Metrics,
    Refused { status: &'static str },
}

/// What a request became that was an upgrade.
pub struct Upgraded {
    /// The handshake is answered.
    pub stream: TcpStream,
    /// As the client chose.
    pub encoding: Encoding,
    /// Held until the conversation ends.
    pub place: Place,
}

/// Answers the request. Some when it became a WebSocket.
pub async fn accept(mut stream: TcpStream, shared: &Shared) -> Option<Upgraded> {
    let handshake = async {
        let request = read(&mut stream).await?;
        let (response, upgrade) = respond(request, shared);
        stream.write_all(response.as_bytes()).await.ok()?;
        if upgrade.is_none() {
            stream.shutdown().await.ok()?;
        }
        upgrade
    };
    let upgrade = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake)
        .await
        .ok()
        .flatten();
    if upgrade.is_none() {
        count(&shared.metrics.connections_refused);
    }
    let (encoding, place) = upgrade?;
    Some(Upgraded {
        stream,
        encoding,
        place,
    })
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut buffer = Vec::with_capacity(1_024);
    loop {
        let room = REQUEST_BYTES_MAX.saturating_sub(buffer.len());
        if room == 0 {
            return Some(refused("431 Request Header Fields Too Large"));
        }
        let mut limited = (&mut *stream).take(u64::try_from(room).ok()?);
        if limited.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
        if let Some(request) = parse(&buffer) {
            return Some(request);
        }
    }
}

/// None while the request isn't whole.
fn parse(buffer: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(buffer) {
        Err(_) => return Some(refused("400 Bad Request")),
        Ok(httparse::Status::Partial) => return None,
        // A client has to wait for the answer (RFC 6455, section 4.1), so nothing may follow.
        Ok(httparse::Status::Complete(length)) if length != buffer.len() => {
            return Some(refused("400 Bad Request"));
        }
        Ok(httparse::Status::Complete(_)) => {}
    }
    let path = request.path.and_then(|path| path.split('?').next());
    if request.method != Some("GET") || request.version != Some(1) {
        return Some(refused("405 Method Not Allowed"));
    }
    Some(match path {
        Some("/healthz") => Request::Health,
        Some("/readyz") => Request::Ready,
        Some("/metrics") => Request::Metrics,
        Some(REALTIME_PATH) => upgrade(request.headers),
        _ => refused("404 Not Found"),
    })
}

fn upgrade(headers: &[httparse::Header<'_>]) -> Request {
    let values = |name: &'static str| {
        let named = headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name));
        named
            .filter_map(|header| std::str::from_utf8(header.value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
    };
    let says = |name, word: &str| values(name).any(|value| value.eq_ignore_ascii_case(word));
    if !says("upgrade", "websocket") || !says("connection", "upgrade") {
        return refused("426 Upgrade Required");
    }
    if values("sec-websocket-version").next() != Some("13") {
        return refused("426 Upgrade Required");
    }
    let Some(encoding) = values("sec-websocket-protocol").find_map(Encoding::of_subprotocol) else {
        return refused("400 Bad Request");
    };
    let key = values("sec-websocket-key")
        .next()
        .filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16));
    match key {
        Some(key) => Request::Upgrade {
            encoding,
            accept: accept_of(key),
        },
        None => refused("400 Bad Request"),
    }
}

fn accept_of(key: &str) -> String {
    let mut digest = sha1_smol::Sha1::new();
    digest.update(key.as_bytes());
    digest.update(WEBSOCKET_GUID.as_bytes());
    STANDARD.encode(digest.digest().bytes())
}

fn respond(request: Request, shared: &Shared) -> (String, Option<(Encoding, Place)>) {
    match request {
        Request::Upgrade { .. } if shared.is_draining() => (busy(), None),
        Request::Upgrade { encoding, accept } => {
            let Some(place) = Place::take(&shared.metrics, shared.config.connections_max) else {
                return (busy(), None);
            };
            let subprotocol = encoding.subprotocol();
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
            (
                format!(
                    "{head}Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
                ),
                Some((encoding, place)),
            )
        }
        Request::Health => (plain("200 OK", "ok\n"), None),
        Request::Ready
            if !shared.is_draining()
                && shared.buses_there.load(Relaxed) == shared.config.threads
                && shared.keys.are_there() =>
        {
            (plain("200 OK", "ready\n"), None)
        }
        Request::Ready => (plain("503 Service Unavailable", "not ready\n"), None),
        Request::Metrics => (plain("200 OK", &shared.metrics.render()), None),
        Request::Refused { status } => (plain(status, ""), None),
    }
}

fn busy() -> String {
    plain("503 Service Unavailable", "busy\n")
}

fn plain(status: &str, body: &str) -> String {
    let length = body.len();
    let head = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\n";
    let retry = if status.starts_with("503") {
        "Retry-After: 1\r\n"
    } else {
        ""
    };
    format!(
        "HTTP/1.1 {status}\r\n{head}{retry}Sec-WebSocket-Version: 13\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn refused(status: &'static str) -> Request {
    Request::Refused { status }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
