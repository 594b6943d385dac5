-- load: sets, never adds, what Postgres says of one organization and some of its tokens; rebuilds the sums.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] requests of the org   KEYS[6] what the shard was told   KEYS[7…] tokens
-- ARGV[1] expected epoch
-- ARGV[2] avail, µcr, may be negative
-- ARGV[3] balance version
-- ARGV[4] spent this month, µcr
-- ARGV[5] when that month ends, ms
-- ARGV[6] terms of the org, text
-- ARGV[7] terms of the org as JSON, text
-- ARGV[8…] for each of KEYS[7…]: its id, terms, JSON, caps, digest, use and org id, seven texts
-- Answers: loaded · open (not being filled) · epoch
-- Safe to repeat: everything is set. Within one life of the data a balance and a use give way only to newer ones, so that a
--   slow healer cannot bring back spent credits; terms keep the higher version, so that it cannot undo a revocation.
local no = closed(KEYS, ARGV, 'filling')
if no then return no end
ours(KEYS[6])
local balance, version, writes, told = balanceOf(ARGV), digits(ARGV[3]), {}, KEYS[6]
local org, of = rebuild(KEYS[5], counting(KEYS[5]))
local function keep(...) writes[#writes + 1] = { ... } end
local function isTerms(key, id, terms) return isNewer(key, digits(match(terms, '^(%d+)|') or ''), termsTold(told, id)) end
-- Whether Postgres has said nothing as new in this life of the data, or it was lost again.
local function isNews(id, key, field)
  local before, life = balanceTold(told, id)
  return life ~= ARGV[1] or version > before or (version == before and call('HEXISTS', key, field) == 0)
end
local orgId = sub(KEYS[4], 10)
if isNews(orgId, KEYS[4], 'balance') then
  keep(KEYS[4], 'balance', balance)
  keep(told, orgId .. '!', text(version) .. ' ' .. ARGV[1])
end
if isTerms(KEYS[4], orgId, ARGV[6]) then
  keep(KEYS[4], 'terms', orgTermsOf(ARGV[6]), 'json', ARGV[7])
  keep(told, orgId, match(ARGV[6], '^%d+'))
end
for i = 7, #KEYS do
  local at, key = 8 + 7 * (i - 7), KEYS[i]
  local id, terms = idOf(ARGV[at], 'tok_'), ARGV[at + 1]
  local sums = of(id)
  if isNews(id, key, 'used') then
    keep(key, 'used', useOf(ARGV[at + 5]), 'useVersion', ARGV[3])
    keep(told, id .. '!', text(version) .. ' ' .. ARGV[1])
  end
  if isTerms(key, id, terms) then
    keep(key, 'terms', tokenTermsOf(ARGV[at + 6], ARGV[at + 4], terms, ARGV[at + 3]), 'json', ARGV[at + 2])
    keep(told, id, match(terms, '^%d+'))
  end
  keep(key, 'sums', put(TOKEN_SUMS, sums.held, sums.pend, sums.open))
end

saveOrg(KEYS[4], org)
tokensChanged(KEYS[4])
for _, write in ipairs(writes) do call('HSET', unpack(write)) end
return { 'loaded' }
