-- Moves watermarks of one shard, each iff its token is still the expected one and this server is still what the
-- caller saw; says what this server is. Without moves it only answers that.
--
-- Counts the calls that moved something, in the mark: readers compare it with one that they saw before. A history ends
-- with the mark (the shard was emptied) and with the server's incarnation (it may have lost moves).
--
-- KEYS[1]   watermarks of the shard: hash, field = namespace:partition:source; `.m` the mark, `.i` its incarnation
-- ARGV[1]   the incarnation seen
-- ARGV      then per move:
--             field
--             expected   8 bytes of token; empty: the watermark must not exist
--             value      the new watermark, its token in front
-- Reply     { incarnation, a string with one character per move: 1 moved, 0 not }
--
-- The incarnation is made here and nowhere else, by the server that executes the move: asked for in a command of
-- its own, it could be that of the server before a failover. run_id changes with every start of the process;
-- master_replid when a replica is promoted, which may lack the newest writes.

local function info(section, name)
  return string.match(redis.call('INFO', section), name .. ':(%x+)')
end

local watermarks = KEYS[1]
local incarnation = info('server', 'run_id') .. ':' .. info('replication', 'master_replid')
local same = ARGV[1] == incarnation

local moved = {}
local any_value = nil
for at = 2, #ARGV, 3 do
  local field, expected = ARGV[at], ARGV[at + 1]
  local token = ''
  if same then
    local present = redis.call('HGET', watermarks, field)
    if present then token = string.sub(present, 1, 8) end
  end
  if same and token == expected then
    redis.call('HSET', watermarks, field, ARGV[at + 2])
    moved[#moved + 1] = '1'
    any_value = ARGV[at + 2]
  else
    moved[#moved + 1] = '0'
  end
end
if any_value then
  local mark = redis.call('HGET', watermarks, '.m')
  if mark and redis.call('HGET', watermarks, '.i') == incarnation then
    local moves = tonumber(string.sub(mark, 9)) + 1
    redis.call('HSET', watermarks, '.m', string.sub(mark, 1, 8) .. string.format('%.0f', moves))
  else
    -- The token in front of a watermark is random.
    redis.call('HSET', watermarks, '.m', string.sub(any_value, 1, 8) .. '1', '.i', incarnation)
  end
end
return { incarnation, table.concat(moved) }
