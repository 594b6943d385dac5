-- load: sets, never adds, what Postgres says of one organization and some of its tokens; rebuilds the sums.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] requests of the org   KEYS[6…] tokens
-- ARGV[1] expected epoch
-- ARGV[2] avail, µcr, may be negative
-- ARGV[3] balance version
-- ARGV[4] spent this month, µcr
-- ARGV[5] when that month ends, ms
-- ARGV[6] terms of the org, text
-- ARGV[7] terms of the org as JSON, text
-- ARGV[8…] for each of KEYS[6…]: its id, terms, JSON, caps, digest, use and org id, seven texts
-- Answers: loaded · open (not being filled) · epoch
-- Safe to repeat: everything is set. Within one life of the data (field `life`) a balance and a use give way only to newer
--   ones, so that a slow healer cannot bring back spent credits; terms keep the higher version, so that it cannot undo a
--   revocation.
local no = closed(KEYS, ARGV, 'filling')
if no then return no end
local balance, version, writes = balanceOf(ARGV), digits(ARGV[3]), {}
local org, of = rebuild(KEYS[5], counting(KEYS[5]))
local function versionOf(terms) return digits(match(terms, '^(%d+)|') or '') end
-- Whether Postgres has already said something at least as new in this life of the data.
local function isOld(key)
  local kept = call('HMGET', key, 'life', 'loaded')
  return kept[1] == ARGV[1] and kept[2] and version <= digits(kept[2])
end
if isNewer(KEYS[4], versionOf(ARGV[6])) then writes[1] = { KEYS[4], 'terms', orgTermsOf(ARGV[6]), 'json', ARGV[7] } end
for i = 6, #KEYS do
  local at, key = 8 + 7 * (i - 6), KEYS[i]
  local sums = of(idOf(ARGV[at], 'tok_'))
  if not isOld(key) then
    writes[#writes + 1] = { key, 'used', useOf(ARGV[at + 5]), 'useVersion', ARGV[3], 'life', ARGV[1], 'loaded', ARGV[3] }
  end
  if isNewer(key, versionOf(ARGV[at + 1])) then
    local terms = tokenTermsOf(ARGV[at + 6], ARGV[at + 4], ARGV[at + 1], ARGV[at + 3])
    writes[#writes + 1] = { key, 'terms', terms, 'json', ARGV[at + 2] }
  end
  writes[#writes + 1] = { key, 'sums', put(TOKEN_SUMS, sums.held, sums.pend, sums.open) }
end

if not isOld(KEYS[4]) then call('HSET', KEYS[4], 'balance', balance, 'life', ARGV[1], 'loaded', ARGV[3]) end
saveOrg(KEYS[4], org)
tokensChanged(KEYS[4])
for _, write in ipairs(writes) do call('HSET', unpack(write)) end
return { 'loaded' }
