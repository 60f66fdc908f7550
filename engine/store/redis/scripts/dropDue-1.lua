-- Removes due entries that are still where a lease set them.
--
-- KEYS[1]   due index of the shard
-- ARGV      per entry: member, end of the lease in ms
-- Reply     nothing

local due_index = KEYS[1]

for at = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', due_index, ARGV[at])
  if score and tonumber(score) == tonumber(ARGV[at + 1]) then
    redis.call('ZREM', due_index, ARGV[at])
  end
end
