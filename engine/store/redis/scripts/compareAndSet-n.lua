-- Writes states of one shard, each iff its token is still the expected one. The states are independent of each
-- other; each is written with its due entry or not at all.
--
-- KEYS[1]      due index of the shard: sorted set, member = namespace:key, score = due time in ms
-- KEYS[2..n]   state hashes, in the order of the writes; a key may come twice
-- ARGV[1]      life of the server, 4 bytes; empty: it is not known, and found out here
-- ARGV[2]      1: states are restated (see below); 0: this server does not allow that
-- ARGV         then per write, one after another:
--                expected   8 bytes of token; empty: the state must not exist
--                base       8 bytes of new token, then the head; empty: the state ends
--                due        ms; empty: the entry stays as it is
--                sets       number of fields to write
--                deletes    number of fields to delete
--                field, value   `sets` times
--                field          `deletes` times
-- Reply        4 bytes of life, then one character per write: 1 written, 0 token was another
--
-- A state as it is stored has the life of the server that wrote it behind its token.
--
-- Never half applied: everything a state needs is checked before its first write, and a write that Redis refuses
-- (OOM, READONLY, MISCONF) is refused at the first write of the script. In a slot that is being migrated a
-- command on a key that has just vanished fails: the caller never mixes ends with other writes in one call, and
-- the due entry, whose sorted set may vanish with its last member, comes before the state.
-- A call without script flags on purpose: flags would make Redis refuse ends of states, too, when it is full.
--
-- Restated: Redis writes a script to its append-only file as one transaction. Where a power loss tears that, it is not
-- executed at the next start, and yet stays in the file, up to its last whole command: at the start after that it is
-- executed, in its place, before what was written since. So whatever part of a transaction comes back must do no harm:
-- each state is written by one command, which leaves a state that was right when it was written; and what is written first
-- in a life of the server replaces the whole state, with whatever fields a transaction that came back may have given it.
-- That one command is a RESTORE; what leads to it is neither written to the file nor sent to replicas. Where RESTORE or DUMP
-- has been forbidden since the caller asked, the file gets what led to it after all: a state that only memory had would be
-- lost with the server, and not be missed.

local FIELDS_AT_ONCE = 1000 -- unpack has a limit of some 8,000

local due_index, life, restates = KEYS[1], ARGV[1], ARGV[2] == '1'
if life == '' then
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  life = string.gsub(string.sub(run_id, 1, 8), '%x%x', function(hex) return string.char(tonumber(hex, 16)) end)
end

-- Sets and deletes fields: of ARGV, names and values from `sets_at`, names from `deletes_at`, up to before `next_at`.
local function put(key, base, sets_at, deletes_at, next_at)
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
end

local function restored(key)
  local dumped = redis.pcall('DUMP', key)
  return type(dumped) == 'string' and not redis.pcall('RESTORE', key, 0, dumped, 'REPLACE').err
end

-- A state's key is <prefix>:{<shard>}:s:<member>, the index <prefix>:{<shard>}:d.
local member_at = #due_index + 2

local won = {}
local at = 3
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
    local is_first = not present or string.sub(present, 9, 12) ~= life
    local is_one_command = next_at == deletes_at and deletes_at - sets_at <= 2 * FIELDS_AT_ONCE
    local restate = restates and (is_first or not is_one_command)
    base = string.sub(base, 1, 8) .. life .. string.sub(base, 9)
    if restate then redis.set_repl(redis.REPL_NONE) end
    put(key, base, sets_at, deletes_at, next_at)
    if restate then
      redis.set_repl(redis.REPL_ALL)
      if not restored(key) then
        -- Fields that are deleted already would not be deleted in the file.
        redis.set_repl(redis.REPL_NONE)
        for i = deletes_at, next_at - 1 do redis.call('HSET', key, ARGV[i], '') end
        redis.set_repl(redis.REPL_ALL)
        put(key, base, sets_at, deletes_at, next_at)
      end
    end
    won[k - 1] = '1'
  end
  at = next_at
end
return life .. table.concat(won)
