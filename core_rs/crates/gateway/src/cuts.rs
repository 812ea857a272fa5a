//! What was revoked before this link to Redis was up: a gateway that has just begun, or was without Redis, reads what it has missed.
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

use crate::bus_messages;
use crate::revocations::KEPT_MS;
use crate::shard::Shard;

const WORDS_AT_ONCE: usize = 1_000;

/// KEYS: stream, since. ARGV: the entry read last or nothing, words at most, how long they matter (ms).
/// Answers {since, read last or nothing, [word, ...]}. `since` is the moment from which the stream is whole: whoever finds none, because
/// Redis is new or was emptied, begins one.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], string.format('%.0f', now), 'NX')
local first = string.format('%.0f-0', now - ARGV[3])
if ARGV[1] ~= '' then first = '(' .. ARGV[1] end
local last, words = '', {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], first, '+', 'COUNT', ARGV[2])) do
  last = entry[1]
  words[#words + 1] = entry[2][2]
end
return {tonumber(redis.call('GET', KEYS[2])), last, words}
";

/// Reads all of it. The channel has to be subscribed to before, so that nothing falls in between.
///
/// # Errors
/// Those of Redis, also when the answer isn't what the script gives.
pub async fn read(shard: &Shard, connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let script = Script::new(SCRIPT);
    let mut last = String::new();
    loop {
        let mut invocation = script.key("nk:cuts");
        invocation.key("nk:cuts:since");
        invocation.arg(&last).arg(WORDS_AT_ONCE).arg(KEPT_MS);
        let (since_ms, reached, words): (i64, String, Vec<Vec<u8>>) =
            invocation.invoke_async(connection).await?;
        for word in &words {
            bus_messages::control(shard, word);
        }
        if words.len() < WORDS_AT_ONCE {
            shard.cuts_read(since_ms);
            return Ok(());
        }
        last = reached;
    }
}
