-- transition: moves a shard from one state to the next, if it still is what the caller saw.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard   KEYS[3] stream of the shard (unused)
-- ARGV[1] expected epoch (not compared: see ARGV[5])
-- ARGV[2] run id:replication id of this server
-- ARGV[3] how the data is laid out, a number
-- ARGV[4] filling, serving (open for whoever is not expected) or open
-- ARGV[5] the value of KEYS[1] that the caller saw, or empty when there was none, text
-- Answers: moved · lost (somebody else was first)
-- Safe to repeat: the second time the value is no longer what was seen.
local stored = call('GET', KEYS[1]) or ''
if stored ~= ARGV[5] or not match(ARGV[2], '^%x+:%x+$') or not match(ARGV[3], '^%d+$') then return { 'lost' } end
local rest = ':' .. ARGV[2] .. ':' .. ARGV[3]
if ARGV[4] ~= 'filling' then
  local number = match(stored, '^(%d+):')
  local life, isServing = (number or '') .. rest, ARGV[4] == 'serving'
  if stored ~= life .. ':filling' and (isServing or stored ~= life .. ':serving') then return { 'lost' } end
  call('SET', KEYS[1], life .. (isServing and ':serving' or ':open'))
  if not isServing then call('UNLINK', KEYS.expected, KEYS.wanted) end
  -- With one member that is long and never due a sorted set is never made anew, and never kept as a list to be walked through.
  redis.pcall('ZADD', KEYS[2], '+inf', ('-'):rep(80))
  return { 'moved' }
end
-- The number is the time in µs: it never comes back, even after everything was wiped, so no two lives look the same.
local time, before = call('TIME'), digits(match(stored, '^(%d+):') or '0')
local number = math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), before + 1)
call('UNLINK', KEYS.expected, KEYS.wanted)
-- Names are added only to this: when it is deleted, those that were said before are too.
call('HSET', KEYS.expected, 'begun', '')
call('SET', KEYS[1], text(number) .. rest .. ':filling')
return { 'moved' }
