-- project: writes what a token or an organization may do. It never moves money and never makes up a balance.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] token or org   KEYS[5] requests of the org   KEYS[6] org   KEYS[7] what the shard was told
-- ARGV[1] expected epoch
-- ARGV[2] terms version
-- ARGV[3] token id, or - for an organization
-- ARGV[4] terms, text
-- ARGV[5] terms as JSON, text
-- ARGV[6] caps of the token, or empty, text
-- ARGV[7] its org id, or empty, text
-- ARGV[8] its digest, or empty, text
-- Answers: projected · older · epoch
-- Safe to repeat: only a higher version is written.
local no = closed(KEYS, ARGV, 'both')
if no then return no end
local version, isOrg = digits(ARGV[2]), ARGV[3] == '-'
local terms = isOrg and orgTermsOf(ARGV[4]) or tokenTermsOf(ARGV[7], ARGV[8], ARGV[4], ARGV[6])
ours(KEYS[4])
ours(KEYS[7])
local name = sub(KEYS[4], isOrg and 10 or 12)
if not isNewer(KEYS[4], version, termsTold(KEYS[7], name)) then return { 'older' } end
tellTerms(KEYS[7], name, version)
if isOrg then
  call('HSET', KEYS[4], 'terms', terms, 'json', ARGV[5])
  return { 'projected' }
end
local id = idOf(ARGV[3], 'tok_')
-- A token without rules has no sums, and one that is new here may have requests already: they were put back before
-- anybody said what it is.
local before, sums = readToken(KEYS[4], false), nil
local _, hasRules = isTerms(terms)
if hasRules and not (before and before.known) then
  local _, of = rebuild(KEYS[5], counting(KEYS[5], id))
  sums = of(id)
end
if not readUse(call('HGET', KEYS[4], 'used') or '') then call('HDEL', KEYS[4], 'used', 'useVersion') end
ours(KEYS[6])
call('HSET', KEYS[6], 'tokens', changedNow(KEYS[6]))
call('HSET', KEYS[4], 'terms', terms, 'json', ARGV[5])
if sums then saveToken(KEYS[4], sums) end
return { 'projected' }
