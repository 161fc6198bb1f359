-- Takes the right to add one runner.
-- KEYS: as for all scripts on runners, then the pool's queued jobs.
-- ARGV: 1 if this is tried again, name, pool, manager, JSON, min_idle, bounds of the pool, the fleet and the manager, version
-- of the removed row that it comes in the place of (0: none), standing. Only 'supply' answers to a demand, and to the bound
-- of its pool.
-- Answers 'granted', 'taken', 'covered' or 'full'.
local name, pool, host, json = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local seen, standing = ARGV[10], ARGV[11]
local new = after(seen)
local supply = standing == 'supply'
local row = redis.call('HGET', KEYS[1], name)
local version, old_pool, old_host, old_json = '0', '', '', ''
if row then
  version, old_pool, old_host, old_json = split(row)
end
if ARGV[1] == '1' and version == new and old_json == json then
  return 'granted'
end
if version ~= seen then
  return 'taken'
end
local wanted = redis.call('SCARD', KEYS[8]) + tonumber(ARGV[6])
if supply and wanted <= redis.call('SCARD', KEYS[6] .. pool) then
  return 'covered'
end
if (supply and redis.call('SCARD', KEYS[4] .. pool) >= tonumber(ARGV[7]))
  or redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[8])
  or redis.call('SCARD', KEYS[5] .. host) >= tonumber(ARGV[9]) then
  return 'full'
end
if row then
  leave(name, old_pool, old_host)
end
write(name, new, pool, host, standing, '', json)
return 'granted'
