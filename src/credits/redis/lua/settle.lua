-- settle: ends a hold with a charge and queues its event for the drain; an empty event gives the hold back.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard   KEYS[3] stream of the shard
-- KEYS[4] org   KEYS[5] token   KEYS[6] holds of the org   KEYS[7] pend of the org
-- ARGV[1] expected epoch
-- ARGV[2] F (floor) or C (final)
-- ARGV[3] cost, µcr
-- ARGV[4] 1 = only when the lease has run out
-- ARGV[5] request id, text
-- ARGV[6] org id, text
-- ARGV[7] token id, text
-- ARGV[8] event, text
-- Answers: settled remaining (repeated) · not_due · epoch
-- Safe to repeat: what is known of a request only grows, none < floor (the larger wins) < final; the same again changes
--   nothing. A request that nobody remembers is accepted.
local no, open = closed(KEYS, ARGV, 'both')
if no then return no end
local id, orgId, tokenId = idOf(ARGV[5], 'req_'), idOf(ARGV[6], 'org_'), idOf(ARGV[7], 'tok_')
local kind, cost, event = ARGV[2], amountOf(ARGV[3]), ARGV[8]
if kind ~= 'F' and kind ~= 'C' then broken('kind') end
local hold, before = readHold(call('HGET', KEYS[6], id)), readEnded(call('HGET', KEYS[7], id))
local org, token = readOrg(KEYS[4], open), readToken(KEYS[5], open)
if (hold or before or { token = tokenId }).token ~= tokenId then broken('owner') end
typed(KEYS)
if ARGV[4] == '1' and (not hold or hold.deadline > nowMs()) then
  if not hold then call('ZREM', KEYS[2], orgId .. ':' .. id) end
  return { 'not_due' }
end
local grows = event ~= '' and (not before or (before.kind == 'F' and (kind == 'C' or cost > before.cost)))
local freed, added = hold and hold.amount or 0, grows and cost - (before and before.cost or 0) or 0
move(org, -freed, added, 0)
move(token, -freed, added, hold and -1 or 0)

-- First what is never refused for want of memory: after that nothing is, so running requests settle on a full server.
if hold then
  call('ZREM', KEYS[2], orgId .. ':' .. id)
  call('HDEL', KEYS[6], id, id .. '.note')
end
if grows then
  call('HSET', KEYS[7], id, kind .. '|' .. ARGV[3] .. '|' .. tokenId)
  call('XADD', KEYS[3], '*', 'o', orgId, 'r', id, 'k', kind, 'c', ARGV[3], 'e', event)
end
if hold or grows then
  save(KEYS[4], org)
  save(KEYS[5], token)
end
return { 'settled', text((room(org, token, 0))), not (hold or grows) and 'repeated' or nil }
