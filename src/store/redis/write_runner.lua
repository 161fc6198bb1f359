-- Writes a runner's row and puts it in the sets where it counts, and in no other.
-- KEYS (of each script on runners): runners, runners that are over, live runners, what the sets of live runners of a
-- pool, of a manager and of a pool's supply start with, channel.

local function leave(name, pool, host)
  redis.call('SREM', KEYS[3], name)
  redis.call('SREM', KEYS[4] .. pool, name)
  redis.call('SREM', KEYS[5] .. host, name)
  redis.call('SREM', KEYS[6] .. pool, name)
end

local function write(name, version, pool, host, standing, over, json)
  redis.call('HSET', KEYS[1], name, join(version, pool, host, json))
  if standing ~= 'gone' then
    redis.call('SADD', KEYS[3], name)
    redis.call('SADD', KEYS[4] .. pool, name)
    redis.call('SADD', KEYS[5] .. host, name)
  end
  if standing == 'supply' then
    redis.call('SADD', KEYS[6] .. pool, name)
  end
  age(KEYS[2], name, over)
  redis.call('PUBLISH', KEYS[7], 'runner\n' .. version .. '\n' .. json)
end
