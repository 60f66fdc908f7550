-- Reads a state and watermarks of its shard at one instant. (A state alone is read with HMGET, which costs Redis
-- a fourth of this.)
--
-- KEYS[1]   state hash
-- KEYS[2]   watermarks of the shard
-- ARGV[1]   number of fields
-- ARGV      then the fields of the state, then the fields of the watermarks
-- Reply     { values of the state's fields, values of the watermarks }, null where absent

local AT_ONCE = 2000 -- unpack has a limit of some 8,000

local function values(key, first, last)
  if first > last then return {} end
  if last - first < AT_ONCE then return redis.call('HMGET', key, unpack(ARGV, first, last)) end
  local all = {}
  for from = first, last, AT_ONCE do
    local some = redis.call('HMGET', key, unpack(ARGV, from, math.min(from + AT_ONCE - 1, last)))
    for i = 1, #some do all[#all + 1] = some[i] end
  end
  return all
end

local fields = tonumber(ARGV[1])
return { values(KEYS[1], 2, fields + 1), values(KEYS[2], fields + 2, #ARGV) }
