-- applied: what Postgres now says: balance and token use if newer, and which pending charges it has, in one step.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] requests of the org   KEYS[6] what the shard was told   KEYS[7…] tokens
-- ARGV[1] expected epoch
-- ARGV[2] avail, µcr, may be negative
-- ARGV[3] balance version
-- ARGV[4] spent this month, µcr
-- ARGV[5] when that month ends, ms
-- ARGV[6] one line per KEYS[7…]: token id, then = and its use unless nothing is to be set, text
-- ARGV[7] one line per charge: request id|F or C|cost in µcr, text
-- Answers: applied remaining · keys token-id… (these tokens are needed too, nothing was done) · epoch · filling
-- Safe to repeat: set, never added; a pending charge goes only if it is not newer than the one applied.
local no = closed(KEYS, ARGV, 'open', sub(KEYS[4], 10))
if no then return no end
local balance, version = balanceOf(ARGV), digits(ARGV[3])
ours(KEYS[6])
local org, tokens, order, missing, ids, told = readOrg(KEYS[4], false), {}, {}, { 'keys' }, {}, {}
for id, use in gmatch(ARGV[6], '(tok_%w+)(=?[^\n]*)\n') do
  local key = KEYS[7 + #order]
  local set, token = call('HGET', key, 'useVersion'), readToken(key, true)
  order[#order + 1] = { key = key, token = token, use = match(use, '^=(.*)$'), version = set and digits(set) or balanceTold(KEYS[6], id) - 1, id = id }
  tokens[id] = token or { known = false }
end
if not org.known then
  local sums = rebuild(KEYS[5])
  org.held, org.pend = sums.held, sums.pend
end
for id, kind, cost in gmatch(ARGV[7], '(req_%x+)|([FC])|(%d+)\n') do
  ids[#ids + 1], told[#told + 1] = id, { kind, amountOf(cost) }
end
local stored, gone, isGone = #ids > 0 and call('HMGET', KEYS[5], unpack(ids)) or {}, {}, {}
for i, id in ipairs(ids) do
  if stored[i] and not isGone[id] then
    local running, kind, paid, owner = readRequest(stored[i])
    if not running and (told[i][1] == 'C' or (kind == 'F' and paid <= told[i][2])) then
      gone[#gone + 1], isGone[id] = id, true
      if not tokens[owner] then missing[#missing + 1] = idOf(owner, 'tok_')
      elseif tokens[owner].known then add(tokens[owner], 0, -paid, 0) end
      org.pend = org.pend - paid
    end
  end
end
if not areSums(org.held, org.pend, 0) then broken('sums') end
if #missing > 1 then return missing end

if #gone > 0 then call('HDEL', KEYS[5], unpack(gone)) end
saveOrg(KEYS[4], org)
if version > (org.balanceVersion or balanceTold(KEYS[6], org.id) - 1) then
  tellBalance(KEYS[6], org.id, version, ARGV[1])
  call('HSET', KEYS[4], 'balance', balance)
end
for _, one in ipairs(order) do
  if one.token and one.token.known then saveToken(one.key, one.token) end
  if one.use and version > one.version then
    tellBalance(KEYS[6], one.id, version, ARGV[1])
    call('HSET', one.key, 'used', useOf(one.use), 'useVersion', ARGV[3])
  end
end
return { 'applied', text((room(readOrg(KEYS[4], false), nil, 0))) }
