-- Moves due entries that are still where a lease set them.
--
-- KEYS[1]   due index of the shard
-- ARGV[1]   when they are due again, ms
-- ARGV[2…]  per entry: member, end of the lease in ms
-- Reply     nothing

local due_index, until_ms = KEYS[1], ARGV[1]

for at = 2, #ARGV, 2 do
  local score = redis.call('ZSCORE', due_index, ARGV[at])
  if score and tonumber(score) == tonumber(ARGV[at + 1]) then
    redis.call('ZADD', due_index, until_ms, ARGV[at])
  end
end
