-- lookup: what a token and its organization may do, as it was projected.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] token
-- ARGV[1] expected epoch
-- Answers: terms json-of-the-token [json-of-the-organization] · unknown · epoch · filling
-- Safe to repeat: it writes nothing.
local no = closed(KEYS, ARGV, 'open', sub(KEYS[4], 12))
if no then return no end
local json = call('HGET', KEYS[4], 'json')
if not json then return { 'unknown' } end
-- Terms whose other half cannot be read would only fail at the hold, again and again.
readToken(KEYS[4], true)
-- Only the token says whose it is. The key of its organization cannot be given, but lies in the same slot: the shard is in both.
local shard, org = match(KEYS[4], '^({%d%d}:)token:'), match(json, '"orgId":"(org_%w+)"')
if not shard or not org then broken('token') end
no = closed(KEYS, ARGV, 'open', org)
if no then return no end
local terms = call('HGET', shard .. 'org:' .. org, 'json')
if terms then readOrg(shard .. 'org:' .. org, true) end
return { 'terms', json, terms }
