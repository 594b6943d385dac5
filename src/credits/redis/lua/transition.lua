-- transition: moves a shard from one state to the next, if it still is what the caller saw.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- ARGV[1] expected epoch (not compared: see ARGV[4])
-- ARGV[2] run id:replication id of this server
-- ARGV[3] filling or open
-- ARGV[4] the value of KEYS[1] that the caller saw, or empty when there was none, text
-- Answers: moved · lost (somebody else was first)
-- Safe to repeat: the second time the value is no longer what was seen.
local stored = call('GET', KEYS[1]) or ''
if stored ~= ARGV[4] or not match(ARGV[2], '^%x+:%x+$') then return { 'lost' } end
if ARGV[3] == 'open' then
  local life = match(stored, '^(%d+:%x+:%x+):filling$')
  if not life or match(life, '^%d+:(.*)$') ~= ARGV[2] then return { 'lost' } end
  call('SET', KEYS[1], life .. ':open')
  return { 'moved' }
end
-- The number is the time in µs: it never comes back, even after everything was wiped, so no two lives look the same.
local time, before = call('TIME'), exact(match(stored, '^(%d+):') or '0')
local number = math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), before + 1)
call('SET', KEYS[1], text(number) .. ':' .. ARGV[2] .. ':filling')
return { 'moved' }
