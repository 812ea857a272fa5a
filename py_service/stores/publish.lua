-- One call for a whole commit group: hand messages to gateways, then publish events once each.
-- KEYS: nk:epoch, nk:offsets, nk:routes
-- ARGV: fresh epoch, count of deliveries, then per delivery: route field, payload (JSON);
--       then per event: id, body (JSON), count of topics, topics...
-- Returns: {epoch, per delivery 1 (a gateway took it) or 0 (nobody holds that lock)}
local stream_entries_max = 10000
local seen_ms = 120000

local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch)
end

local reply = {epoch}
local deliveries = tonumber(ARGV[2])
local at = 3
for _ = 1, deliveries do
  local gateway = redis.call('HGET', KEYS[3], ARGV[at])
  local taken = 0
  if gateway and redis.call('EXISTS', 'nk:gateway:' .. gateway) == 1 then
    if redis.call('PUBLISH', 'nk:gateway:' .. gateway, ARGV[at + 1]) > 0 then taken = 1 end
  end
  reply[#reply + 1] = taken
  at = at + 2
end

while at <= #ARGV do
  local id, body, topics = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  if redis.call('SET', 'nk:seen:' .. id, '1', 'NX', 'PX', seen_ms) then
    for t = at, at + topics - 1 do
      local topic = ARGV[t]
      local offset = redis.call('HINCRBY', KEYS[2], topic, 1)
      redis.call('XADD', 'nk:stream:' .. topic, 'MAXLEN', '~', stream_entries_max, offset .. '-0', 'id', id, 'body', body)
      redis.call('PUBLISH', 'nk:topic:' .. topic, epoch .. ' ' .. offset .. ' ' .. body)
    end
  end
  at = at + topics
end
return reply
