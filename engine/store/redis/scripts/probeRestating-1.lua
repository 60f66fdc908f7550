-- Whether states can be restated (see compareAndSet-n.lua). Writes nothing.
--
-- KEYS[1]   a key that nobody has
-- Reply     what refuses it, as text; empty: nothing does

local key = KEYS[1]

if not redis.set_repl then return 'there is no redis.set_repl' end
local dumped = redis.pcall('DUMP', key)
if dumped and dumped.err then return dumped.err end
-- Nothing is no dump: who may restore is told so, or what keeps it from being done for now. Permissions come first.
local answer = redis.pcall('RESTORE', key, 0, '').err
for _, allowed in ipairs({ 'payload', 'OOM', 'READONLY', 'NOREPLICAS', 'MISCONF', 'MASTERDOWN' }) do
  if string.find(answer, allowed) then return '' end
end
return answer
