-- What the scripts on rows share. A row is its version, two words on which sets it stands in, and its JSON, each in a
-- line: the JSON has no line breaks, since serde_json escapes them.

local function split(row)
  local version, first, second, json = string.match(row, '^(%d+)\n([^\n]*)\n([^\n]*)\n(.*)$')
  return version or '0', first or '', second or '', json or row
end

local function join(version, first, second, json)
  return version .. '\n' .. first .. '\n' .. second .. '\n' .. json
end

local function after(version)
  return string.format('%.0f', tonumber(version) + 1)
end

-- A row that is over stands in a list by the moment it ended, from which it ages out.
local function age(list, name, over)
  if over == '' then
    redis.call('ZREM', list, name)
  else
    redis.call('ZADD', list, over, name)
  end
end
