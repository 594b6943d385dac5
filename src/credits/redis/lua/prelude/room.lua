-- How much room the caps of a token and its organization leave. Not a verb; the loader puts it in front of them.

-- The least room under all caps, and the refusal of the first of them (quotas, monthly limit, wallet) without room for
-- `amount`. 0 always fits.
local function room(org, token, amount)
  if not org.known then return 0 end
  local least, short = MAX, nil
  local function cap(scope, rest, inFlight, resets, window)
    if rest < least then least = rest end
    if short or amount == 0 or rest >= amount then return end
    short = { 'short', scope, text(amount), text(rest), text(inFlight), text(resets), window }
  end
  if token and token.known and token.quotas ~= '' then
    for window, most in gmatch(token.quotas, '(%l+):(%d+);') do
      local used, ends = match(';' .. token.used, ';' .. window .. ':(%d+):(%d+);')
      used, ends = exact(used or '0'), exact(ends or '0')
      if ends ~= 0 and ends <= nowMs() then used, ends = 0, 0 end
      cap('quota', exact(most) - used - token.pend - token.held, token.held, ends, window)
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
