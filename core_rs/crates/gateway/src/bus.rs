//! One thread's link to Redis: connect, subscribe, read, listen, and start over after every loss. A loss of any kind is a gap: every
//! channel is subscribed again, and every topic and what was revoked is read again.
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashSet;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind,
    RedisResult, Value,
};
use tokio::sync::{Semaphore, mpsc};

use crate::hub::Read;
use crate::metrics::count;
use crate::shard::Shard;
use crate::{bus_messages, cuts, log, routes, topic_read, uplink};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
const HEARTBEAT_EVERY: Duration = Duration::from_millis(250);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(500);
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
/// Messages that may wait for this thread. When they are more, the link is given up and everything is read again.
const PUSHES_MAX: usize = 65_536;
const PUSHES_PER_TURN: usize = 256;
const CHANNELS_PER_COMMAND: usize = 500;
const READS_AT_ONCE: usize = 64;

/// Why a link ended. What went wrong is not told: it may quote an address.
struct Lost;

impl From<redis::RedisError> for Lost {
    fn from(_: redis::RedisError) -> Self {
        Self
    }
}

/// Keeps the link up for as long as the thread runs.
pub async fn run(shard: Rc<Shard>) {
    loop {
        let mut was_up = false;
        let Err(Lost) = link(&shard, &mut was_up).await;
        shard.bus_heard(false);
        shard.hub.borrow_mut().bus_lost();
        shard.reads.borrow_mut().clear();
        if was_up {
            count(&shard.shared.metrics.bus_losses);
            log::line("bus_lost", shard.index as u64);
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// A connection of its own, without push messages, for the last words of a drain.
///
/// # Errors
/// Those of Redis.
pub async fn connect(redis_url: &str) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    redis::Client::open(redis_url)?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

async fn link(shard: &Rc<Shard>, was_up: &mut bool) -> Result<std::convert::Infallible, Lost> {
    let (sender, pushes) = mpsc::channel(PUSHES_MAX);
    let overflowed = Arc::new(AtomicBool::new(false));
    let mut connection = connect_pushed(
        &shard.shared.config.redis_url,
        sender,
        Arc::clone(&overflowed),
    )
    .await?;
    connection
        .subscribe(bus_messages::own_channels(shard).as_slice())
        .await?;
    cuts::read(shard, &mut connection).await?;
    shard.bus_heard(true);
    *was_up = true;
    log::line("bus_connected", shard.index as u64);
    shard
        .changed
        .borrow_mut()
        .extend(shard.hub.borrow().names());
    shard.wake_bus.notify_one();
    let mut uplinks = shard.uplinks.lock().await;
    let (mut for_uplink, mut for_routes) = (connection.clone(), connection.clone());
    tokio::select! {
        lost = listen(shard, pushes, &overflowed) => Err(lost),
        lost = serve_wishes(shard, connection.clone()) => Err(lost),
        lost = heartbeat(shard, connection) => Err(lost),
        result = uplink::run(&mut for_uplink, &mut uplinks, &shard.shared.metrics) => { result?; Err(Lost) }
        result = presence(shard, &mut for_routes) => { result?; Err(Lost) }
    }
}

async fn connect_pushed(
    redis_url: &str,
    sender: mpsc::Sender<PushInfo>,
    overflowed: Arc<AtomicBool>,
) -> RedisResult<MultiplexedConnection> {
    let info = redis_url.into_connection_info()?;
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    let push = move |push: PushInfo| {
        sender
            .try_send(push)
            .map_err(|_| overflowed.store(true, Relaxed))
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_push_sender(push);
    let client = redis::Client::open(info.set_redis_settings(settings))?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// Routes are the first thread's work.
async fn presence(shard: &Shard, connection: &mut MultiplexedConnection) -> RedisResult<()> {
    if shard.index == 0 {
        let gateway = &shard.shared;
        routes::run(
            connection,
            &gateway.config.gateway_id,
            &gateway.locks,
            &gateway.routes,
        )
        .await
    } else {
        std::future::pending().await
    }
}

async fn heartbeat(shard: &Shard, mut connection: MultiplexedConnection) -> Lost {
    let ping = redis::cmd("PING");
    loop {
        tokio::time::sleep(HEARTBEAT_EVERY).await;
        let answer: Result<RedisResult<Value>, _> =
            tokio::time::timeout(HEARTBEAT_TIMEOUT, ping.query_async(&mut connection)).await;
        if !matches!(answer, Ok(Ok(_))) {
            return Lost;
        }
        shard.bus_heard(true);
    }
}

async fn listen(
    shard: &Rc<Shard>,
    mut pushes: mpsc::Receiver<PushInfo>,
    overflowed: &AtomicBool,
) -> Lost {
    let mut turn = Vec::with_capacity(PUSHES_PER_TURN);
    loop {
        let received = pushes.recv_many(&mut turn, PUSHES_PER_TURN).await;
        if received == 0 || overflowed.load(Relaxed) {
            return Lost;
        }
        for push in turn.drain(..) {
            match push.kind {
                PushKind::Disconnection => return Lost,
                PushKind::Message => message(shard, push.data),
                _ => {}
            }
        }
        tokio::task::yield_now().await; // the connections write what this turn gave them
    }
}

fn message(shard: &Rc<Shard>, data: Vec<Value>) {
    if let Ok([Value::BulkString(channel), Value::BulkString(payload)]) =
        <[Value; 2]>::try_from(data)
        && let Ok(channel) = std::str::from_utf8(&channel)
    {
        bus_messages::handle(shard, channel, &Bytes::from(payload));
    }
}

/// Subscribes and gives up channels, one command after the other, and makes the reads that the topics ask for.
async fn serve_wishes(shard: &Rc<Shard>, mut connection: MultiplexedConnection) -> Lost {
    let (broken, mut breaks) = mpsc::channel(1);
    let at_once = Rc::new(Semaphore::new(READS_AT_ONCE));
    let mut subscribed: HashSet<Arc<str>> = HashSet::new();
    loop {
        let reads = std::mem::take(&mut *shard.reads.borrow_mut());
        for read in reads {
            tokio::task::spawn_local(read_topic(
                Rc::clone(shard),
                connection.clone(),
                read,
                Rc::clone(&at_once),
                broken.clone(),
            ));
        }
        if change_channels(shard, &mut connection, &mut subscribed)
            .await
            .is_err()
        {
            return Lost;
        }
        if shard.reads.borrow().is_empty() && shard.changed.borrow().is_empty() {
            tokio::select! {
                () = shard.wake_bus.notified() => {}
                _ = breaks.recv() => return Lost,
            }
        }
    }
}

async fn change_channels(
    shard: &Shard,
    connection: &mut MultiplexedConnection,
    subscribed: &mut HashSet<Arc<str>>,
) -> Result<(), Lost> {
    let changed: Vec<Arc<str>> = shard
        .changed
        .borrow_mut()
        .extract_if(|_| true)
        .take(CHANNELS_PER_COMMAND)
        .collect();
    let wanted: Vec<(Arc<str>, u64)> = changed
        .iter()
        .filter_map(|topic| Some((topic.clone(), shard.hub.borrow().incarnation(topic)?)))
        .collect();
    let given_up: Vec<Arc<str>> = changed
        .into_iter()
        .filter(|topic| subscribed.contains(topic) && !wanted.iter().any(|(name, _)| name == topic))
        .collect();
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(topic, _)| !subscribed.contains(topic))
        .map(|(topic, _)| channel(topic))
        .collect();
    if !missing.is_empty() {
        connection.subscribe(missing.as_slice()).await?;
    }
    subscribed.extend(wanted.iter().map(|(topic, _)| topic.clone()));
    for (topic, incarnation) in wanted {
        let wishes = shard.hub.borrow_mut().channel_ready(&topic, incarnation);
        shard.wish(wishes);
    }
    if !given_up.is_empty() {
        let channels: Vec<String> = given_up.iter().map(|topic| channel(topic)).collect();
        subscribed.retain(|topic| !given_up.contains(topic));
        connection.unsubscribe(channels.as_slice()).await?;
    }
    Ok(())
}

async fn read_topic(
    shard: Rc<Shard>,
    mut connection: MultiplexedConnection,
    read: Read,
    at_once: Rc<Semaphore>,
    broken: mpsc::Sender<()>,
) {
    let Ok(_permit) = at_once.acquire().await else {
        return;
    };
    match topic_read::read(&topic_read::script(), &mut connection, &read).await {
        Ok(Some(snapshot)) => {
            let wishes = shard.hub.borrow_mut().snapshot(&read, &snapshot);
            shard.wish(wishes);
        }
        _ => drop(broken.try_send(())),
    }
}

fn channel(topic: &str) -> String {
    format!("{}{topic}", bus_messages::TOPIC_CHANNEL)
}
