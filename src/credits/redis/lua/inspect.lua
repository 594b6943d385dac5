-- inspect: everything known of an organization at one moment.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] holds of the org   KEYS[6] pend of the org
-- ARGV[1] expected epoch
-- Answers: org avail balance-version month-spent month-ends held pend terms-version overdraft [holds] [pend] · unknown ·
--   epoch · filling. The lists are those of HGETALL.
-- Safe to repeat: it writes nothing.
local no = closed(KEYS, ARGV, 'open')
if no then return no end
if call('HEXISTS', KEYS[4], 'balance') == 0 or call('HEXISTS', KEYS[4], 'terms') == 0 then return { 'unknown' } end
local org = readOrg(KEYS[4], true)
if not org.version then broken('terms') end
rebuild(KEYS[5], KEYS[6]) -- reads every entry, so that what leaves here is known to be whole
return {
  'org', text(org.avail), text(org.balanceVersion), text(org.month), text(org.ends), text(org.held), text(org.pend),
  org.version, text(org.over), call('HGETALL', KEYS[5]), call('HGETALL', KEYS[6]),
}
