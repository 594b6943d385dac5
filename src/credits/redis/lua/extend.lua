-- extend: renews the lease of a running request, raises its floor and may raise its hold.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] token   KEYS[6] holds of the org
-- ARGV[1] expected epoch
-- ARGV[2] the new total hold, µcr; a lower or equal one only renews the lease
-- ARGV[3] floor, µcr
-- ARGV[4] lease, ms
-- ARGV[5] request id, text
-- ARGV[6] org id, text
-- ARGV[7] token id, text
-- ARGV[8] note, text
-- Answers: extended amount · short amount (renewed, but no more could be set aside) · gone · epoch
-- Safe to repeat: amount and floor only grow to what is asked, never by it; the deadline never goes back.
local no, open = closed(KEYS, ARGV, 'both')
if no then return no end
local id, orgId, tokenId = idOf(ARGV[5], 'req_'), idOf(ARGV[6], 'org_'), idOf(ARGV[7], 'tok_')
local amount, least, lease = amountOf(ARGV[2]), amountOf(ARGV[3]), amountOf(ARGV[4])
local hold = readHold(call('HGET', KEYS[6], id))
if not hold then return { 'gone' } end
if hold.token ~= tokenId then broken('owner') end
local org, token = readOrg(KEYS[4], open), readToken(KEYS[5], open)
local more = amount > hold.amount and amount - hold.amount or 0
local fits = more == 0
if not fits and open then
  local _, short = room(org, token, more)
  fits = not short
end
if fits then
  hold.amount = hold.amount + more
  move(org, more, 0, 0)
  move(token, more, 0, 0)
end
local note = least >= hold.floor and ARGV[8] or nil -- a late copy of an older heartbeat keeps the newer note
hold.floor = math.max(hold.floor, least)
hold.deadline = math.max(hold.deadline, nowMs() + lease)

writeHold(KEYS, id, orgId, hold, note)
save(KEYS[4], org)
save(KEYS[5], token)
return { fits and 'extended' or 'short', text(hold.amount) }
