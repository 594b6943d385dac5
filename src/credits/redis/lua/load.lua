-- load: sets, never adds, what Postgres says of one organization and some of its tokens; rebuilds the sums.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] requests of the org   KEYS[6] what the shard was told   KEYS[7…] tokens
-- ARGV[1] expected epoch
-- ARGV[2] avail, µcr, may be negative
-- ARGV[3] balance version
-- ARGV[4] spent this month, µcr
-- ARGV[5] when that month ends, ms
-- ARGV[6] 1 when these are the last of its tokens, else 0
-- ARGV[7] the epoch in which all this was read, or empty, text
-- ARGV[8] terms of the org, text
-- ARGV[9] terms of the org as JSON, text
-- ARGV[10…] for each of KEYS[7…]: its id, terms, JSON, caps, digest, use and org id, seven texts
-- Answers: loaded (or known, and not expected any more) · open (not being filled, or not since it was read) · epoch
-- Safe to repeat: everything is set. Within one life of the data a balance and a use give way only to newer ones, so that a
--   slow healer cannot bring back spent credits; terms keep the higher version, so that it cannot undo a revocation.
local state, orgId = stateOf(KEYS[1], ARGV[1]), sub(KEYS[4], 10)
if state ~= 'filling' and state ~= 'serving' then return { state } end
if ARGV[7] ~= '' and ARGV[7] ~= ARGV[1] then return { 'open' } end
if state == 'serving' and not expectedIn(KEYS.expected, orgId) and call('HEXISTS', KEYS[4], 'balance') == 1 then return { 'loaded' } end
ours(KEYS[6])
local balance, version, told, writes = balanceOf(ARGV), digits(ARGV[3]), KEYS[6], {}
local org, of = rebuild(KEYS[5], counting(KEYS[5]))
local news = text(version) .. ' ' .. ARGV[1]
local here = { digits(ARGV[6]) == 1 and orgId or '-' }
-- What is written to a key goes there in one piece at the end.
local function keep(key, ...)
  writes[key] = writes[key] or {}
  for i = 1, select('#', ...) do writes[key][#writes[key] + 1] = (select(i, ...)) end
end
-- Whether these terms are newer than what there was, and whether Postgres has said nothing as new of the rest in this life of
-- the data, or it was lost again.
local function isNews(id, key, terms, field)
  local termsBefore, before, life = allTold(told, id)
  local isFirst = life ~= ARGV[1] or version > before or (version == before and call('HEXISTS', key, field) == 0)
  if isFirst then keep(told, id .. '!', news) end
  local termsVersion = match(terms, '^(%d+)|')
  local isLater = isNewer(key, digits(termsVersion), termsBefore)
  if isLater then keep(told, id, termsVersion) end
  return isLater, isFirst
end
local isLater, isFirst = isNews(orgId, KEYS[4], ARGV[8], 'balance')
if isFirst then keep(KEYS[4], 'balance', balance) end
if isLater then keep(KEYS[4], 'terms', orgTermsOf(ARGV[8]), 'json', ARGV[9]) end
keep(KEYS[4], 'sums', put(ORG_SUMS, org.held, org.pend), 'tokens', changedNow(KEYS[4]))
for i = 7, #KEYS do
  local at, key = 10 + 7 * (i - 7), KEYS[i]
  local id, terms = idOf(ARGV[at], 'tok_'), ARGV[at + 1]
  here[#here + 1] = id
  local sums = of(id)
  isLater, isFirst = isNews(id, key, terms, 'used')
  if isFirst then keep(key, 'used', useOf(ARGV[at + 5]), 'useVersion', ARGV[3]) end
  if isLater then keep(key, 'terms', tokenTermsOf(ARGV[at + 6], ARGV[at + 4], terms, ARGV[at + 3]), 'json', ARGV[at + 2]) end
  keep(key, 'sums', put(TOKEN_SUMS, sums.held, sums.pend, sums.open))
end

for key, fields in pairs(writes) do call('HSET', key, unpack(fields)) end
call('HDEL', KEYS.expected, unpack(here))
call('SREM', KEYS.wanted, orgId)
return { 'loaded' }
