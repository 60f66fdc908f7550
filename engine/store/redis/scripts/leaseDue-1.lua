-- Takes the earliest due entries and sets each to the end of its lease.
--
-- KEYS[1]   due index of the shard
-- ARGV[1]   now, ms: entries up to this time are due
-- ARGV[2]   end of the lease, ms
-- ARGV[3]   number of entries at most; the caller bounds it
-- Reply     { member, due time in ms before the lease, … } as strings, earliest first

local due_index, now_ms, lease_until_ms, limit = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local entries = redis.call('ZRANGEBYSCORE', due_index, '-inf', now_ms, 'WITHSCORES', 'LIMIT', 0, limit)
for i = 1, #entries, 2 do
  redis.call('ZADD', due_index, lease_until_ms, entries[i])
end
return entries
