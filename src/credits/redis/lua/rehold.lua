-- rehold: puts an open hold back after the store was lost. No cap applies: the request is already running.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] token   KEYS[6] holds of the org   KEYS[7] pend of the org
-- ARGV[1] expected epoch
-- ARGV[2] amount, µcr
-- ARGV[3] floor, µcr
-- ARGV[4] lease, ms
-- ARGV[5] request id, text
-- ARGV[6] org id, text
-- ARGV[7] token id, text
-- ARGV[8] note, text
-- Answers: held · settled · epoch
-- Safe to repeat: a hold that is there only grows to what is asked; a request that has ended stays ended.
local no, open = closed(KEYS, ARGV, 'both')
if no then return no end
local id, orgId, tokenId = idOf(ARGV[5], 'req_'), idOf(ARGV[6], 'org_'), idOf(ARGV[7], 'tok_')
local amount, least, lease = amountOf(ARGV[2]), amountOf(ARGV[3]), amountOf(ARGV[4])
local before, ended = readHold(call('HGET', KEYS[6], id)), readEnded(call('HGET', KEYS[7], id))
local org, token = readOrg(KEYS[4], open), readToken(KEYS[5], open)
if (before or ended or { token = tokenId }).token ~= tokenId then broken('owner') end
if ended then return { 'settled' } end
local hold = before or { amount = 0, floor = 0, token = tokenId, deadline = 0 }
local more = amount > hold.amount and amount - hold.amount or 0
move(org, more, 0, 0)
move(token, more, 0, before and 0 or 1)
hold.amount, hold.deadline = hold.amount + more, math.max(hold.deadline, nowMs() + lease)
local note = least >= hold.floor and ARGV[8] or nil
hold.floor = math.max(hold.floor, least)

writeHold(KEYS, id, orgId, hold, note)
save(KEYS[4], org)
save(KEYS[5], token)
return { 'held' }
