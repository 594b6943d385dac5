-- applied: what Postgres now says: balance and token use if newer, and which pending charges it has, in one step.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] holds of the org   KEYS[6] pend of the org   KEYS[7…] tokens
-- ARGV[1] expected epoch
-- ARGV[2] avail, µcr, may be negative
-- ARGV[3] balance version
-- ARGV[4] spent this month, µcr
-- ARGV[5] when that month ends, ms
-- ARGV[6] one line per KEYS[7…]: token id, then = and its use unless nothing is to be set, text
-- ARGV[7] one line per charge: request id|F or C|cost in µcr, text
-- Answers: applied remaining · keys token-id… (these tokens are needed too, nothing was done) · epoch · filling
-- Safe to repeat: set, never added; a pending charge goes only if it is not newer than the one applied.
local no = closed(KEYS, ARGV, 'open')
if no then return no end
local balance, version = balanceText(ARGV), digits(ARGV[3])
local org, tokens, order, missing, gone = readOrg(KEYS[4], false), {}, {}, { 'keys' }, {}
for id, use in gmatch(ARGV[6], '(tok_%w+)(=?[^\n]*)\n') do
  order[#order + 1] = id
  local key = KEYS[6 + #order]
  local set = call('HGET', key, 'useVersion')
  tokens[id] = { key = key, token = readToken(key, true), use = match(use, '^=(.*)$'), version = set and digits(set) or -1 }
end
if not org.known then
  local kept = org.balanceVersion
  org = rebuild(KEYS[5], KEYS[6])
  org.balanceVersion = kept
end
for id, kind, cost in gmatch(ARGV[7], '(req_%w+)|([FC])|(%d+)\n') do
  local ended = readEnded(call('HGET', KEYS[6], id))
  if ended and not gone[id] and (kind == 'C' or (ended.kind == 'F' and ended.cost <= amountOf(cost))) then
    gone[id] = true
    local owner = tokens[ended.token]
    if owner then move(owner.token, 0, -ended.cost, 0) else missing[#missing + 1] = ended.token end
    move(org, 0, -ended.cost, 0)
  end
end
if #missing > 1 then return missing end

for id in pairs(gone) do call('HDEL', KEYS[6], id) end
save(KEYS[4], org)
if not org.balanceVersion or version > org.balanceVersion then call('HSET', KEYS[4], 'balance', balance) end
for _, id in ipairs(order) do
  local one = tokens[id]
  if one.token then save(one.key, one.token) end
  if one.token and one.use and version > one.version then
    call('HSET', one.key, 'used', one.use, 'useVersion', ARGV[3])
  end
end
return { 'applied', text((room(readOrg(KEYS[4], true), nil, 0))) }
