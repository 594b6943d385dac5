-- hold: authenticates and sets credits aside, all limits at once; writes nothing unless everything passes.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] token   KEYS[6] holds of the org   KEYS[7] pend of the org   KEYS[8] rate of the token
-- KEYS[9] claim of the idempotency key (only when there is one)
-- ARGV[1] expected epoch
-- ARGV[2] terms version of the token
-- ARGV[3] terms version of the org
-- ARGV[4] amount, µcr
-- ARGV[5] tokens, upper bound
-- ARGV[6] lease, ms
-- ARGV[7] request id, text
-- ARGV[8] org id, text
-- ARGV[9] token id, text
-- ARGV[10] digest of the secret, hex, text
-- ARGV[11] note, text
-- Answers: held amount remaining (repeated) · settled · duplicate request-id · stale token-json org-json · unknown_token ·
--   token_revoked · token_expired · token_paused · org_suspended · rate_limited scope limit retry-ms ·
--   short scope required available in-flight resets-ms [window of a quota] · epoch · filling
-- Safe to repeat: a request id that is held or has ended answers so, before anything else is looked at.
local no = closed(KEYS, ARGV, 'open')
if no then return no end
local id, orgId, tokenId = idOf(ARGV[7], 'req_'), idOf(ARGV[8], 'org_'), idOf(ARGV[9], 'tok_')
local amount, tokens, lease = amountOf(ARGV[4]), amountOf(ARGV[5]), amountOf(ARGV[6])
local held, ended = readHold(call('HGET', KEYS[6], id)), readEnded(call('HGET', KEYS[7], id))
local token = readToken(KEYS[5], true, true)
if held or ended then
  local org = readOrg(KEYS[4], true)
  if (held or ended).token ~= tokenId then broken('owner') end
  if not held then return { 'settled' } end
  return { 'held', text(held.amount), text((room(org, token, 0))), 'repeated' }
end

local inGrace = token and token.grace == ARGV[10] and nowMs() < token.graceEnds
if not token or token.org ~= orgId or (token.digest ~= ARGV[10] and not inGrace) then return { 'unknown_token' } end
if token.status == 'revoked' then return { 'token_revoked' } end
if token.expires ~= 0 and token.expires <= nowMs() then return { 'token_expired' } end
if token.status ~= 'active' then return { 'token_paused' } end
local org = readOrg(KEYS[4], true)
if not org.version then broken('terms') end
if org.status ~= 'active' then return { 'org_suspended' } end
local claimed = KEYS[9] and call('GET', KEYS[9])
if claimed and claimed ~= id then return { 'duplicate', claimed } end
if token.version ~= ARGV[2] or org.version ~= ARGV[3] then
  return { 'stale', call('HGET', KEYS[5], 'json') or '', call('HGET', KEYS[4], 'json') or '' }
end
local limited, rate = rateRefusal(KEYS[8], token, tokens)
if limited then return limited end
local least, short = room(org, token, amount)
if short then return short end
move(org, amount, 0, 0)
move(token, amount, 0, 1)
writeHold(KEYS, id, orgId, { amount = amount, floor = 0, token = tokenId, deadline = nowMs() + lease }, ARGV[11])
save(KEYS[4], org)
save(KEYS[5], token)
countRate(KEYS[8], rate, tokens)
if KEYS[9] then call('SET', KEYS[9], id, 'PX', 86400000) end
return { 'held', ARGV[4], text(least > amount and least - amount or 0) }
