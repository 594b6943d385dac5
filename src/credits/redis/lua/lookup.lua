-- lookup: what a token or an organization may do, as it was projected.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] token or org
-- ARGV[1] expected epoch
-- Answers: terms json · unknown · epoch · filling
-- Safe to repeat: it writes nothing.
local no = closed(KEYS, ARGV, 'open')
if no then return no end
local json = call('HGET', KEYS[4], 'json')
-- Terms whose other half cannot be read would only fail at the hold, again and again.
if json and match(KEYS[4], ':token:') then readToken(KEYS[4], true) elseif json then readOrg(KEYS[4], true) end
return json and { 'terms', json } or { 'unknown' }
