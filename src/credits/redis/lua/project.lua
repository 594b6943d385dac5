-- project: writes what a token or an organization may do. It never moves money and never makes up a balance.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] token or org   KEYS[5] holds of the org   KEYS[6] pend of the org
-- ARGV[1] expected epoch
-- ARGV[2] terms version
-- ARGV[3] token id, or - for an organization
-- ARGV[4] terms as the scripts read them, text
-- ARGV[5] terms as JSON, text
-- ARGV[6] caps of the token, or empty, text
-- ARGV[7] its org id, or empty, text
-- ARGV[8] its digest, or empty, text
-- Answers: projected · older · epoch
-- Safe to repeat: only a higher version is written.
local no = closed(KEYS, ARGV, 'both')
if no then return no end
local version = digits(ARGV[2])
ours(KEYS[4])
if not isNewer(KEYS[4], version) then return { 'older' } end
if ARGV[3] == '-' then
  call('HSET', KEYS[4], 'terms', ARGV[4], 'json', ARGV[5])
  return { 'projected' }
end
local id = idOf(ARGV[3], 'tok_')
-- A token that is new here may have requests already: they were put back before anybody said what it is.
local sums
local kept = call('HMGET', KEYS[4], 'sums', 'used')
if not match(kept[1] or '', '^%d+|%d+|%d+$') then
  local _, of = rebuild(KEYS[5], KEYS[6])
  sums = of(id)
end
if gsub(kept[2] or '', '%l+:%d+:%d+;', '') ~= '' then call('HDEL', KEYS[4], 'used', 'useVersion') end
call('HSET', KEYS[4], 'terms', ARGV[4], 'json', ARGV[5], 'caps', ARGV[6], 'org', ARGV[7], 'digest', ARGV[8])
save(KEYS[4], sums)
return { 'projected' }
