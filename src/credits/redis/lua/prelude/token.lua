-- What is kept of a token. Not a verb; the loader puts it in front of them.
--   token hash: sums 'held|pend|open holds' · caps 'critical 0 or 1;window:cap;…' · used 'window:amount:ends ms;…' ·
--   useVersion · org · digest · json · terms 'version|status|expires|rpm|tpm|concurrency|grace ends|grace digest or -'
local TERMS = '^(%d+)|(%l+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(.*)$'

-- nil when there is no such token. With `must` unreadable sums are an error; without, the reload rebuilds them. With
-- `whole` its terms are read too. One constructor, because a table that grows field by field is moved again and again.
local function readToken(key, must, whole)
  local kept = whole and call('HMGET', key, 'caps', 'sums', 'used', 'terms', 'org', 'digest') or call('HMGET', key, 'caps', 'sums', 'used')
  if not kept[1] then return nil end
  local critical, quotas, used = sub(kept[1], 1, 2), sub(kept[1], 3), kept[3] or ''
  local held, pend, open = match(kept[2] or '', '^(%d+)|(%d+)|(%d+)$')
  local isRead = held ~= nil and (critical == '0;' or critical == '1;')
  if quotas ~= '' and (gsub(quotas, '%l+:%d+;', '') ~= '' or gsub(used, '%l+:%d+:%d+;', '') ~= '') then isRead = false end
  if not isRead then
    if must then broken('token') end
    return { known = false }
  end
  local version, status, expires, rpm, tpm, conc, ends, grace
  if whole then
    version, status, expires, rpm, tpm, conc, ends, grace = match(kept[4] or '', TERMS)
    if not version or not kept[5] or not kept[6] then broken('token') end
  end
  return {
    known = true, held = exact(held), pend = exact(pend), open = exact(open), quotas = quotas, used = used,
    critical = critical == '1;', version = version, status = status, expires = whole and exact(expires), grace = grace,
    rpm = whole and exact(rpm), tpm = whole and exact(tpm), concurrency = whole and exact(conc),
    graceEnds = whole and exact(ends), org = kept[5], digest = kept[6],
  }
end
