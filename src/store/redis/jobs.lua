-- Writes job rows, each by compare-and-set.
-- KEYS: jobs, jobs that are over, what the sets of queued jobs start with, channel.
-- ARGV: 1 if this is tried again; then for each row: name, version seen, queued pool or '', moment it ended or '', JSON.
-- Answers for each row {1, version} or {0, version, JSON} or {0} where there is none.
local answers = {}
for i = 2, #ARGV, 5 do
  local name, seen, pool, over, json = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local row = redis.call('HGET', KEYS[1], name)
  local version, old_pool, _, old_json = '0', '', '', ''
  if row then
    version, old_pool, _, old_json = split(row)
  end
  local new = after(seen)
  if version == seen then
    redis.call('HSET', KEYS[1], name, join(new, pool, '', json))
    if old_pool ~= '' then
      redis.call('SREM', KEYS[3] .. old_pool, name)
    end
    if pool ~= '' then
      redis.call('SADD', KEYS[3] .. pool, name)
    end
    age(KEYS[2], name, over)
    redis.call('PUBLISH', KEYS[4], 'job\n' .. new .. '\n' .. json)
    answers[#answers + 1] = { 1, new }
  elseif ARGV[1] == '1' and version == new and old_json == json then
    -- The first try has done it, and its answer was lost.
    answers[#answers + 1] = { 1, new }
  elseif row then
    answers[#answers + 1] = { 0, version, old_json }
  else
    answers[#answers + 1] = { 0 }
  end
end
return answers
