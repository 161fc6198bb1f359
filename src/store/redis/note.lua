-- Writes a note by compare-and-set.
-- KEYS: notes.  ARGV: 1 if this is tried again, name, version seen, JSON.
-- Answers like the script on jobs.
local name, seen, json = ARGV[2], ARGV[3], ARGV[4]
local row = redis.call('HGET', KEYS[1], name)
local version, _, _, old_json = '0', '', '', ''
if row then
  version, _, _, old_json = split(row)
end
local new = after(seen)
if version == seen then
  redis.call('HSET', KEYS[1], name, join(new, '', '', json))
  return { 1, new }
elseif ARGV[1] == '1' and version == new and old_json == json then
  return { 1, new }
elseif row then
  return { 0, version, old_json }
end
return { 0 }
