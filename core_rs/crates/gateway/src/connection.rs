//! One WebSocket: frames in to the session, frames out from the outbox, in one task. Knows bytes and deadlines, no topics.
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_websockets::{CloseCode, Config, Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::handshake::Upgraded;
use crate::metrics::count;
use crate::outbox::Outbox;
use crate::protocol::{Close, Encoding, FRAME_BYTES_MAX};
use crate::session::Session;
use crate::shard::Shard;

/// Bytes that are given to the socket at once; a frame waits in the outbox until there is room.
const WRITE_BYTES: usize = 64 * 1024;
/// How long a closing connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How much of an oversized frame is read away, so that the close arrives before the reset.
const DISCARD_BYTES_MAX: u64 = 1024 * 1024;

type Socket = WebSocketStream<TcpStream>;

enum Step {
    Message(Message),
    Closing(Close),
    TooLarge { flushed: bool },
    Ended,
    Deadline,
}

/// Serves one connection until it ends. Its place is free as soon as the conversation is over, while the socket may still be closing.
pub async fn serve(shard: Rc<Shard>, upgraded: Upgraded) {
    let Upgraded {
        stream,
        encoding,
        place,
    } = upgraded;
    let limits = Limits::default().max_payload_len(Some(FRAME_BYTES_MAX));
    let mut socket = ServerBuilder::new()
        .config(Config::default().flush_threshold(WRITE_BYTES))
        .limits(limits)
        .serve(stream);
    let outbox = Arc::new(Outbox::new(encoding));
    let mut session = Session::open(Rc::clone(&shard), Arc::clone(&outbox));
    let ended = converse(&mut socket, &mut session, &outbox).await;
    session.end();
    drop(place);
    if let Step::Closing(Close::SlowConsumer) = ended {
        count(&shard.shared.metrics.slow_consumers);
    }
    let farewell = async {
        match ended {
            Step::Closing(close) => say_goodbye(socket, &outbox, &close).await,
            Step::TooLarge { flushed: true } => refuse_frame(socket.into_inner()).await,
            _ => drop(socket.flush().await),
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
}

async fn converse(socket: &mut Socket, session: &mut Session, outbox: &Outbox) -> Step {
    let mut timer = pin!(tokio::time::sleep_until(session.deadline().into()));
    loop {
        timer.as_mut().reset(session.deadline().into());
        match poll_fn(|context| step(socket, outbox, timer.as_mut(), context)).await {
            Step::Message(message) if message.is_close() => return Step::Ended,
            Step::Message(message) => {
                session.heard();
                let expected = if message.is_text() {
                    Some(Encoding::Json)
                } else {
                    message.is_binary().then_some(Encoding::Msgpack)
                };
                match expected {
                    Some(encoding) if encoding == outbox.encoding() => {
                        session.frame(message.as_payload()).await;
                    }
                    Some(_) => outbox.close(Close::ProtocolError),
                    None => {}
                }
            }
            Step::Deadline => {
                if session.on_deadline() && feed_ping(socket).is_err() {
                    return Step::Ended;
                }
            }
            last => return last,
        }
    }
}

/// Writes what is queued, in one vectored write where possible, then reads. While the socket takes nothing it isn't read
/// either, so a client can't make the gateway pile up answers.
fn step(
    socket: &mut Socket,
    outbox: &Outbox,
    mut timer: Pin<&mut Sleep>,
    context: &mut Context<'_>,
) -> Poll<Step> {
    outbox.register(context.waker());
    let Ok(flushed) = write(socket, outbox, context) else {
        return Poll::Ready(Step::Ended);
    };
    if let Some(close) = outbox.closing() {
        return Poll::Ready(Step::Closing(close));
    }
    if flushed {
        match Pin::new(&mut *socket).poll_next(context) {
            Poll::Ready(Some(Ok(message))) => return Poll::Ready(Step::Message(message)),
            Poll::Ready(Some(Err(Error::PayloadTooLong { .. }))) => {
                return Poll::Ready(Step::TooLarge { flushed });
            }
            Poll::Ready(_) => return Poll::Ready(Step::Ended),
            Poll::Pending => {}
        }
    } else if let Some(behind_at) = outbox.behind_at() {
        if behind_at <= Instant::now() {
            outbox.behind(Instant::now());
            context.waker().wake_by_ref();
        } else if behind_at < timer.deadline().into_std() {
            timer.as_mut().reset(behind_at.into());
        }
    }
    timer.poll(context).map(|()| Step::Deadline)
}

/// Moves frames from the outbox to the socket. True when everything is written.
fn write(socket: &mut Socket, outbox: &Outbox, context: &mut Context<'_>) -> Result<bool, Error> {
    let mut socket = Pin::new(socket);
    loop {
        match socket.as_mut().poll_ready(context) {
            Poll::Pending => return Ok(false),
            Poll::Ready(ready) => ready?,
        }
        let Some(message) = outbox.next() else { break };
        socket.as_mut().start_send(message)?;
    }
    match socket.poll_flush(context) {
        Poll::Pending => Ok(false),
        Poll::Ready(flushed) => flushed.map(|()| true),
    }
}

fn feed_ping(socket: &mut Socket) -> Result<(), Error> {
    Pin::new(socket).start_send(Message::ping(""))
}

async fn say_goodbye(mut socket: Socket, outbox: &Outbox, close: &Close) {
    let (code, reason) = close.code_and_reason();
    let Ok(code) = CloseCode::try_from(code) else {
        return;
    };
    while let Some(message) = outbox.next() {
        if socket.feed(message).await.is_err() {
            return;
        }
    }
    if socket
        .send(Message::close(Some(code), &reason))
        .await
        .is_ok()
    {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// The library would close with 1009, our protocol says 4009: the close frame is written past it, on a socket that has nothing else to write.
async fn refuse_frame(mut stream: TcpStream) {
    let (code, reason) = Close::FrameTooLarge.code_and_reason();
    let Ok(length) = u8::try_from(reason.len().saturating_add(2)) else {
        return;
    };
    let mut frame = vec![0x88, length];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    if stream.write_all(&frame).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut rest = stream.take(DISCARD_BYTES_MAX);
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}
