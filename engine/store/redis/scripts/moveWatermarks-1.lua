-- Moves watermarks of one shard, each iff its token is still the expected one and this server is still what the
-- caller saw; says what this server is. Without moves it only answers that.
--
-- KEYS[1]   watermarks of the shard: hash, field = namespace:partition:source
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
  else
    moved[#moved + 1] = '0'
  end
end
return { incarnation, table.concat(moved) }
