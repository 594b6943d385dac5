-- trim: drops what the drain has read and nobody needs any more, from the old end of the stream.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard
-- ARGV[1] expected epoch (not compared: see ARGV[5])
-- ARGV[2] milliseconds of the cursor, the last entry that may go
-- ARGV[3] its sequence number
-- ARGV[4] how old an entry must be, ms
-- ARGV[5] the epoch in which they were read, or empty to trim in any: a stale copy still needs its entries
-- Answers: trimmed · kept (another life of the data)
-- Safe to repeat: it only moves the old end forward.
local stored = call('GET', KEYS[1])
if ARGV[5] ~= '' and stored ~= ARGV[5] .. ':open' and stored ~= ARGV[5] .. ':filling' then return { 'kept' } end
local ms, sequence, keep = digits(ARGV[2]), digits(ARGV[3]), digits(ARGV[4])
local oldest = math.max(0, nowMs() - keep)
local from = ms < oldest and text(ms) .. '-' .. text(sequence + 1) or text(oldest) .. '-0'
call('XTRIM', KEYS[3], 'MINID', from)
return { 'trimmed' }
