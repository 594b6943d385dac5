-- due: the open holds of a shard whose lease has run out, oldest first.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard   KEYS[3] stream of the shard (unused)
-- ARGV[1] expected epoch
-- ARGV[2] how many at most
-- Answers: due 'org id and request id'… · epoch · filling
-- Safe to repeat: it writes nothing. Whoever sweeps one of them checks the deadline again.
local no = closed(KEYS, ARGV, 'open')
if no then return no end
local members = call('ZRANGEBYSCORE', KEYS[2], '-inf', text(nowMs()), 'LIMIT', 0, digits(ARGV[2]))
table.insert(members, 1, 'due')
return members
