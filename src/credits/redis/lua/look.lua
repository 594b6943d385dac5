-- look: whether anything has changed about the shards of a server. Not for a cluster, whose shards lie in many slots.
-- KEYS: the epochs of all shards
-- Answers: one text: run id and replication id of the server, and a digest of all epochs
-- Safe to repeat: it writes nothing.
local epochs = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do epochs[i] = epochs[i] or '-' end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local replication = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
return run .. ':' .. replication .. ' ' .. redis.sha1hex(table.concat(epochs, ' '))
