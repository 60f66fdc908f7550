-- Writes states of one shard, each iff its token is still the expected one. The states are independent of each
-- other; each is written with its due entry or not at all.
--
-- KEYS[1]      due index of the shard: sorted set, member = namespace:key, score = due time in ms
-- KEYS[2..n]   state hashes, in the order of the writes; a key may come twice
-- ARGV         per write, one after another:
--                expected   8 bytes of token; empty: the state must not exist
--                base       8 bytes of new token, then the head; empty: the state ends
--                due        ms; empty: the entry stays as it is
--                sets       number of fields to write
--                deletes    number of fields to delete
--                field, value   `sets` times
--                field          `deletes` times
-- Reply        a string with one character per write: 1 written, 0 token was another
--
-- Never half applied: everything a state needs is checked before its first write, and a write that Redis refuses
-- (OOM, READONLY, MISCONF) is refused at the first write of the script. In a slot that is being migrated a
-- command on a key that has just vanished fails: the caller never mixes ends with other writes in one call, and
-- the due entry, whose sorted set may vanish with its last member, comes before the state.
-- A call without script flags on purpose: flags would make Redis refuse ends of states, too, when it is full.

local FIELDS_AT_ONCE = 1000 -- unpack has a limit of some 8,000

local due_index = KEYS[1]
-- A state's key is <prefix>:{<shard>}:s:<member>, the index <prefix>:{<shard>}:d.
local member_at = #due_index + 2

local won = {}
local at = 1
for k = 2, #KEYS do
  local key, expected, base, due_ms = KEYS[k], ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local sets_at = at + 5
  local deletes_at = sets_at + 2 * ARGV[at + 3]
  local next_at = deletes_at + ARGV[at + 4]

  local present = redis.call('HGET', key, '.')
  local token = ''
  if present then token = string.sub(present, 1, 8) end

  if token ~= expected then
    won[k - 1] = '0'
  elseif base == '' then
    redis.call('ZREM', due_index, string.sub(key, member_at))
    redis.call('DEL', key)
    won[k - 1] = '1'
  else
    if due_ms ~= '' then redis.call('ZADD', due_index, due_ms, string.sub(key, member_at)) end
    if deletes_at - sets_at <= 2 * FIELDS_AT_ONCE then
      redis.call('HSET', key, '.', base, unpack(ARGV, sets_at, deletes_at - 1))
    else
      redis.call('HSET', key, '.', base)
      for from = sets_at, deletes_at - 1, 2 * FIELDS_AT_ONCE do
        redis.call('HSET', key, unpack(ARGV, from, math.min(from + 2 * FIELDS_AT_ONCE, deletes_at) - 1))
      end
    end
    for from = deletes_at, next_at - 1, FIELDS_AT_ONCE do
      redis.call('HDEL', key, unpack(ARGV, from, math.min(from + FIELDS_AT_ONCE, next_at) - 1))
    end
    won[k - 1] = '1'
  end
  at = next_at
end
return table.concat(won)
