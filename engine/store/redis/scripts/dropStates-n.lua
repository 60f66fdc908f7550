-- Removes states of a namespace, each with its due entry, unless the namespace has a watermark in the shard.
--
-- KEYS[1]      due index of the shard: sorted set, member = namespace:key
-- KEYS[2]      watermarks of the shard: hash, field = namespace:partition:source
-- KEYS[3..n]   state hashes
-- ARGV[1]      namespace, and the `:` behind it
-- Reply        how many of the states were there; -1: the namespace has a watermark, nothing was removed
--
-- As in compareAndSet-n.lua the due entry comes first, and ends may be made by a Redis that is full.

local due_index, watermarks, prefix = KEYS[1], KEYS[2], ARGV[1]
-- A state's key is <prefix>:{<shard>}:s:<member>, the index <prefix>:{<shard>}:d.
local member_at = #due_index + 2

for _, field in ipairs(redis.call('HKEYS', watermarks)) do
  if string.sub(field, 1, #prefix) == prefix then return -1 end
end
local dropped = 0
for k = 3, #KEYS do
  redis.call('ZREM', due_index, string.sub(KEYS[k], member_at))
  dropped = dropped + redis.call('DEL', KEYS[k])
end
return dropped
