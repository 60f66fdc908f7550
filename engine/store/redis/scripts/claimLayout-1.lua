-- Writes down how this store is laid out, iff nobody has yet; answers what is written down.
--
-- KEYS[1]   layout record: hash
-- ARGV[1]   format
-- ARGV[2]   number of shards
-- Reply     { format, shards } as strings

local layout, format, shards = KEYS[1], ARGV[1], ARGV[2]

if redis.call('EXISTS', layout) == 0 then
  redis.call('HSET', layout, 'format', format, 'shards', shards)
end
return redis.call('HMGET', layout, 'format', 'shards')
