//! The atomic read of a topic: epoch, last offset and the newest events after an offset, in one script.
use std::sync::Arc;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, Value};

use crate::clock;
use crate::hub::Read;
use crate::sequencer::{BusEvent, REPLAY_EVENTS_MAX, Snapshot};

/// Bodies of one read. Smaller than a connection's queue, so that a replay alone never makes anybody a slow consumer.
const REPLAY_BYTES_MAX: usize = 512 * 1024;

/// KEYS: epoch, offsets, stream. ARGV: topic, after, events at most, bytes at most, an epoch if there is none.
/// Reads backwards from the newest, so that the limits cut off the oldest. Answers {epoch, last, truncated, [offset, body, ...]}.
const SCRIPT: &str = r"
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  redis.call('SET', KEYS[1], ARGV[5], 'NX')
  epoch = redis.call('GET', KEYS[1])
end
local last = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
local after, bytes, truncated, found = tonumber(ARGV[2]), 0, 0, {}
if after < last then
  local entries = redis.call('XREVRANGE', KEYS[3], '+', string.format('%.0f-0', after + 1), 'COUNT', tonumber(ARGV[3]) + 1)
  for index, entry in ipairs(entries) do
    local body = ''
    for field = 1, #entry[2], 2 do
      if entry[2][field] == 'body' then body = entry[2][field + 1] end
    end
    bytes = bytes + #body
    if index > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4]) then
      truncated = 1
      break
    end
    found[#found + 1] = string.match(entry[1], '^%d+')
    found[#found + 1] = body
  end
end
return {epoch, string.format('%.0f', last), truncated, found}
";

/// The script, hashed once.
#[must_use]
pub fn script() -> Script {
    Script::new(SCRIPT)
}

/// Makes the read. None when the answer isn't what the script gives, which is treated like a lost bus.
///
/// # Errors
/// Those of Redis.
pub async fn read(
    script: &Script,
    connection: &mut MultiplexedConnection,
    read: &Read,
) -> RedisResult<Option<Snapshot>> {
    let topic: &str = &read.topic;
    let mut invocation = script.key("nk:epoch");
    invocation
        .key("nk:offsets")
        .key(format!("nk:stream:{topic}"))
        .arg(topic)
        .arg(read.after);
    invocation
        .arg(REPLAY_EVENTS_MAX)
        .arg(REPLAY_BYTES_MAX)
        .arg(format!("{:016x}", clock::unique()));
    Ok(parse(invocation.invoke_async(connection).await?))
}

fn parse(answer: Value) -> Option<Snapshot> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [epoch, last, truncated, found]: [Value; 4] = parts.try_into().ok()?;
    let (Value::Int(truncated), Value::Array(found)) = (truncated, found) else {
        return None;
    };
    let mut events = Vec::with_capacity(found.len() / 2);
    let mut found = found.into_iter();
    while let (Some(offset), Some(body)) = (found.next(), found.next()) {
        events.push(BusEvent {
            offset: number(&offset)?,
            body: bytes(body)?,
        });
    }
    events.reverse();
    let epoch: Arc<str> = std::str::from_utf8(&bytes(epoch)?).ok()?.into();
    Some(Snapshot {
        epoch,
        last: number(&last)?,
        events,
        truncated: truncated != 0,
    })
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) => Some(text.into()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}
