-- Writes one runner row by compare-and-set.
-- ARGV: 1 if this is tried again, name, version seen, pool, manager, standing, moment it ended or '', JSON.
-- Answers like the script on jobs.
local name, seen, pool, host, standing, over, json = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local row = redis.call('HGET', KEYS[1], name)
local version, old_pool, old_host, old_json = '0', '', '', ''
if row then
  version, old_pool, old_host, old_json = split(row)
end
local new = after(seen)
if version == seen then
  if row then
    leave(name, old_pool, old_host)
  end
  write(name, new, pool, host, standing, over, json)
  return { 1, new }
elseif ARGV[1] == '1' and version == new and old_json == json then
  return { 1, new }
elseif row then
  return { 0, version, old_json }
end
return { 0 }
