-- inspect: everything known of an organization at one moment.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard   KEYS[3] stream of the shard (unused)
-- KEYS[4] org   KEYS[5] requests of the org
-- ARGV[1] expected epoch
-- Answers: org avail balance-version month-spent month-ends held pend terms-version overdraft [id facts note…] [id facts…] ·
--   unknown · epoch · filling. Facts of a running request are amount|floor|token id|deadline, of an ended one F or C|cost|token id
-- Safe to repeat: it writes nothing.
local no = closed(KEYS, ARGV, 'open', sub(KEYS[4], 10))
if no then return no end
if call('HEXISTS', KEYS[4], 'balance') == 0 or call('HEXISTS', KEYS[4], 'terms') == 0 then return { 'unknown' } end
local org, holds, pend = readOrg(KEYS[4], true), {}, {}
if not org.version then broken('terms') end
rebuild(KEYS[5], function(id, stored, running, kind, cost, owner)
  if running then
    local facts, note = holdText(stored)
    local deadline = call('ZSCORE', KEYS[2], sub(KEYS[4], 10) .. id) or '0'
    for _, part in ipairs({ id, facts .. '|' .. deadline, note }) do holds[#holds + 1] = part end
    return
  end
  pend[#pend + 1] = id
  pend[#pend + 1] = kind .. '|' .. text(cost) .. '|' .. owner
end)
return {
  'org', text(org.avail), text(org.balanceVersion), text(org.month), text(org.ends), text(org.held), text(org.pend),
  text(org.version), text(org.over), holds, pend,
}
