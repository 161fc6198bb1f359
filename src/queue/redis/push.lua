-- The mark of a delivery and its event, in one step.
-- KEYS: deliveries seen, stream.  ARGV: moment, delivery, name of the field, event.
-- Answers 1 for a new delivery, 0 for one that was seen before.
local new = redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[2])
if new == 1 then
  redis.call('XADD', KEYS[2], '*', ARGV[3], ARGV[4])
end
return new
