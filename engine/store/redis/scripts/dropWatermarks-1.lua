-- Removes all watermarks of a namespace from a shard.
--
-- KEYS[1]   watermarks of the shard: hash, field = namespace:partition:source
-- ARGV[1]   namespace, and the `:` behind it
-- Reply     nothing

local watermarks, prefix = KEYS[1], ARGV[1]

for _, field in ipairs(redis.call('HKEYS', watermarks)) do
  if string.sub(field, 1, #prefix) == prefix then redis.call('HDEL', watermarks, field) end
end
