//! Threads, listeners and the accept loop; the end of it all is in `drain`.
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::config::Config;
use crate::error::GatewayError;
use crate::shard::Shard;
use crate::shared::Shared;
use crate::{bus, connection, drain, handshake, log};

const BACKLOG: i32 = 4_096;
/// Sockets without a place that may ask for health, or be refused politely, even while as many as have a place are closing.
const SPARE_SOCKETS: usize = 64;
/// After a failed accept, as when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until SIGTERM or SIGINT, then drains. Blocks the calling thread.
///
/// # Errors
/// `GatewayError` when the configuration is refused, the address is taken or a thread fails.
pub fn run(config: &[u8]) -> Result<(), GatewayError> {
    let config = Config::parse(config)?;
    let (listeners, port) = listen(&config)?;
    let ready_fd = config.ready_fd;
    let shared = Shared::new(config);
    let threads: Vec<_> = listeners
        .into_iter()
        .enumerate()
        .map(|(index, listener)| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("gateway-{index}"))
                .spawn(move || thread(shared, index, listener))
        })
        .collect();
    announce(ready_fd, port)?;
    log::line("listening", port.into());
    let mut outcome = Ok(());
    for thread in threads {
        let ended = thread
            .map_err(|_| GatewayError::Failed("thread_start"))
            .and_then(|thread| {
                thread
                    .join()
                    .unwrap_or(Err(GatewayError::Failed("thread_panic")))
            });
        outcome = outcome.and(ended);
    }
    log::line("stopped", 0);
    outcome
}

/// One listener per thread on one port; the kernel spreads the connections.
fn listen(config: &Config) -> Result<(Vec<std::net::TcpListener>, u16), GatewayError> {
    let unknown = || GatewayError::Config("host");
    let mut address = (config.host.as_str(), config.port)
        .to_socket_addrs()
        .map_err(|_| unknown())?
        .next()
        .ok_or_else(unknown)?;
    let mut listeners = Vec::with_capacity(config.threads);
    for _ in 0..config.threads {
        let listener = bind(address).map_err(GatewayError::Bind)?;
        address = listener.local_addr().map_err(GatewayError::Bind)?;
        listeners.push(listener);
    }
    Ok((listeners, address.port()))
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Writes the port to the descriptor that whoever started us reads.
fn announce(ready_fd: Option<u32>, port: u16) -> Result<(), GatewayError> {
    let Some(descriptor) = ready_fd else {
        return Ok(());
    };
    let written = std::fs::OpenOptions::new()
        .write(true)
        .open(format!("/dev/fd/{descriptor}"))
        .and_then(|mut pipe| pipe.write_all(format!("{port}\n").as_bytes()));
    written.map_err(|_| GatewayError::Config("ready_fd"))
}

fn thread(
    shared: Arc<Shared>,
    index: usize,
    listener: std::net::TcpListener,
) -> Result<(), GatewayError> {
    let _guard = DrainOnExit(Arc::clone(&shared));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| GatewayError::Failed("runtime"))?;
    LocalSet::new().block_on(&runtime, serve(Shard::new(shared, index), listener))
}

async fn serve(shard: Rc<Shard>, listener: std::net::TcpListener) -> Result<(), GatewayError> {
    let listener = TcpListener::from_std(listener).map_err(|_| GatewayError::Failed("listener"))?;
    let bus = tokio::task::spawn_local(bus::run(Rc::clone(&shard)));
    let watched = Rc::clone(&shard);
    let watch = tokio::task::spawn_local(async move { watched.watch_bus().await });
    if shard.index == 0 {
        drain::on_signal(Arc::clone(&shard.shared))?;
    }
    let mut draining = shard.shared.draining.subscribe();
    tokio::select! {
        () = accept_forever(&shard, &listener) => {}
        _ = draining.wait_for(|draining| *draining) => {}
    }
    drop(listener); // a successor on the same port gets all newcomers from here on
    drain::run(&shard).await;
    bus.abort();
    watch.abort();
    drain::last_words(&shard).await;
    Ok(())
}

async fn accept_forever(shard: &Rc<Shard>, listener: &TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => take(shard, stream),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn take(shard: &Rc<Shard>, stream: TcpStream) {
    let counted = CountedSocket::new(Arc::clone(&shard.shared));
    if counted.number > sockets_max(shard.shared.config.connections_max) {
        return;
    }
    let shard = Rc::clone(shard);
    tokio::task::spawn_local(async move {
        let _ = stream.set_nodelay(true);
        if let Some(upgraded) = handshake::accept(stream, &shard.shared).await {
            connection::serve(shard, upgraded).await;
        }
        drop(counted);
    });
}

/// A bound for descriptors and memory only: who may be a connection is decided by its `Place`.
fn sockets_max(connections_max: usize) -> usize {
    connections_max
        .saturating_mul(2)
        .saturating_add(SPARE_SOCKETS)
}

/// Counts a socket for as long as it lives, however its task ends.
struct CountedSocket {
    shared: Arc<Shared>,
    number: usize,
}

impl CountedSocket {
    fn new(shared: Arc<Shared>) -> Self {
        let number = shared.sockets.fetch_add(1, Relaxed).saturating_add(1);
        Self { shared, number }
    }
}

impl Drop for CountedSocket {
    fn drop(&mut self) {
        self.shared.sockets.fetch_sub(1, Relaxed);
    }
}

/// A thread that ends, for whatever reason, takes the others with it: half a gateway looks healthy and isn't.
struct DrainOnExit(Arc<Shared>);

impl Drop for DrainOnExit {
    fn drop(&mut self) {
        self.0.draining.send_replace(true);
    }
}
