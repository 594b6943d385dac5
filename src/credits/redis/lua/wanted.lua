-- wanted: organizations of a shard that somebody asked for while they were expected. Each is answered once.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- ARGV[1] expected epoch
-- ARGV[2] how many at most
-- Answers: wanted org-id… · epoch · filling
-- Safe to repeat: whoever is asked for again is wanted again.
local no = closed(KEYS, ARGV, 'open')
if no then return no end
return { 'wanted', unpack(call('SPOP', KEYS.wanted, digits(ARGV[2]))) }
