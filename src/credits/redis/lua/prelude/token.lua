-- What is kept of a token, and how much room its caps leave. Not a verb; the loader puts it in front of them.
--   token hash: sums 'held|pend|open holds' · quotas 'window:cap;…' · used 'window:amount:ends ms;…' · useVersion · json ·
--   terms 'version|org id|digest|grace digest or -|grace ends|status|expires|rpm|tpm|concurrency|critical 0 or 1'
local TERMS = '^(%d+)|(org_%w+)|(%x+)|([%x-]+)|(%d+)|(%l+)|(%d+)|(%d+)|(%d+)|(%d+)|([01])$'

-- nil when there is no such token. With `must` unreadable sums are an error; without, the reload rebuilds them.
local function readToken(key, must)
  local kept = call('HMGET', key, 'terms', 'sums', 'quotas', 'used')
  if not kept[1] then return nil end
  local token, conc, critical = {}, nil, nil
  token.version, token.org, token.digest, token.grace, token.graceEnds, token.status, token.expires, token.rpm, token.tpm, conc, critical =
    match(kept[1], TERMS)
  local held, pend, open = match(kept[2] or '', '^(%d+)|(%d+)|(%d+)$')
  token.quotas, token.used = kept[3] or 'missing', kept[4] or ''
  token.known = token.version ~= nil and held ~= nil
    and (token.quotas == '' or (gsub(token.quotas, '%l+:%d+;', '') == '' and gsub(token.used, '%l+:%d+:%d+;', '') == ''))
  if not token.known then
    if must then broken('token') end
    return token
  end
  token.held, token.pend, token.open = exact(held), exact(pend), exact(open)
  token.graceEnds, token.expires, token.rpm, token.tpm = exact(token.graceEnds), exact(token.expires), exact(token.rpm), exact(token.tpm)
  token.concurrency, token.critical = exact(conc), critical == '1'
  return token
end

-- The least room under all caps, and the refusal of the first of them (quotas, monthly limit, wallet) without room for
-- `amount`. 0 always fits.
local function room(org, token, amount)
  if not org.known then return 0 end
  local least, short = MAX, nil
  local function cap(scope, rest, inFlight, resets)
    if rest < least then least = rest end
    if short or amount == 0 or rest >= amount then return end
    short = { 'short', scope, text(amount), text(rest), text(inFlight), text(resets) }
  end
  if token and token.known and token.quotas ~= '' then
    for window, most in gmatch(token.quotas, '(%l+):(%d+);') do
      local used, ends = match(';' .. token.used, ';' .. window .. ':(%d+):(%d+);')
      used, ends = exact(used or '0'), exact(ends or '0')
      if ends ~= 0 and ends <= nowMs() then used, ends = 0, 0 end
      cap('quota', exact(most) - used - token.pend - token.held, token.held, ends)
    end
  end
  if org.limit then
    local isOver = org.ends ~= 0 and org.ends <= nowMs()
    local pauses, critical = org.action == 'pause_noncritical', token and token.critical
    local limit = pauses and critical and org.ceiling or org.limit
    local rest = limit - (isOver and 0 or org.month) - org.pend - org.held
    cap(pauses and not critical and 'non_critical' or 'limit', rest, org.held, isOver and 0 or org.ends)
  end
  cap('balance', org.avail - org.pend - org.held + org.over, org.held, 0)
  return least < 0 and 0 or least, short
end
