-- Writes a record iff its token is still the expected one.
--
-- KEYS[1]   records: hash
-- ARGV[1]   name
-- ARGV[2]   expected   8 bytes of token; empty: the record must not exist
-- ARGV[3]   value      8 bytes of new token, then the text
-- Reply     1 written, 0 token was another

local records, name, expected, value = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local present = redis.call('HGET', records, name)
local token = ''
if present then token = string.sub(present, 1, 8) end
if token ~= expected then return 0 end
redis.call('HSET', records, name, value)
return 1
