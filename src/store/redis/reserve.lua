-- Takes the right to add one runner.
-- KEYS: as for all scripts on runners, then the pool's queued jobs.
-- ARGV: 1 if this is tried again, name, pool, manager, JSON, min_idle, bounds of the pool, the fleet and the manager.
-- Answers 'granted', 'taken', 'covered' or 'full'.
local name, pool, host, json = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local row = redis.call('HGET', KEYS[1], name)
if row then
  local version, _, _, old_json = split(row)
  if ARGV[1] == '1' and version == '1' and old_json == json then
    return 'granted'
  end
  return 'taken'
end
local wanted = redis.call('SCARD', KEYS[8]) + tonumber(ARGV[6])
if wanted <= redis.call('SCARD', KEYS[6] .. pool) then
  return 'covered'
end
if redis.call('SCARD', KEYS[4] .. pool) >= tonumber(ARGV[7])
  or redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[8])
  or redis.call('SCARD', KEYS[5] .. host) >= tonumber(ARGV[9]) then
  return 'full'
end
write(name, '1', pool, host, 'supply', '', json)
return 'granted'
