-- Deletes some of the rows that ended long ago.
-- KEYS: rows, rows that are over, channel.  ARGV: moment, at most how many, word for the channel.
-- Answers how many went.
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
for _, name in ipairs(old) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
  redis.call('PUBLISH', KEYS[3], ARGV[3] .. '\n' .. name)
end
return #old
