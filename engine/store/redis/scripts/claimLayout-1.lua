-- Writes down how this store is laid out, iff nobody has yet; answers what is written down.
--
-- KEYS[1]   layout record: hash
-- ARGV[1]   format
-- ARGV[2]   number of shards
-- ARGV[3]   clock: wall or event
-- Reply     { format, shards, clock } as strings; clock: nil, where another format has none

local layout, format, shards, clock = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

if redis.call('EXISTS', layout) == 0 then
  redis.call('HSET', layout, 'format', format, 'shards', shards, 'clock', clock)
end
return redis.call('HMGET', layout, 'format', 'shards', 'clock')
