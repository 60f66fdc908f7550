-- Whether states can be restated (see compareAndSet-n.lua). Writes nothing.
--
-- KEYS[1]   a key that nobody has
-- Reply     what refuses it, as text; empty: nothing does

local key = KEYS[1]

if not redis.set_repl then return 'there is no redis.set_repl' end
local dumped = redis.pcall('DUMP', key)
if dumped and dumped.err then return dumped.err end
-- Nothing is no dump: who may restore is told so, or that Redis is full.
local answer = redis.pcall('RESTORE', key, 0, '').err
if string.find(answer, 'payload') or string.find(answer, 'OOM') then return '' end
return answer
