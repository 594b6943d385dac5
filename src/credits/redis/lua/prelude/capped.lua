-- Room under quotas and a monthly limit. Not a verb; the loader puts it in front of them.

local function capped(org, token, amount, wallet)
  local least, short = wallet, nil
  local function cap(scope, rest, inFlight, resets, window)
    if rest < least then least = rest end
    if short or amount == 0 or rest >= amount then return end
    short = { 'short', scope, text(amount), text(rest), text(inFlight), text(resets), window }
  end
  for _, quota in ipairs(token and token.quotas or {}) do
    local used, ends = quota.used, quota.ends
    if ends ~= 0 and ends <= nowMs() then used, ends = 0, 0 end
    cap('quota', quota.most - used - token.pend - token.held, token.held, ends, quota.window)
  end
  if token and token.cap then
    local used, held, ends = rarely().shared(org, token)
    if used then cap('member', token.cap - used, held, ends) else
      least = least < 0 and least or 0
      if amount > 0 and not short then short = { 'error', 'BROKEN member' } end
    end
  end
  if org.limit then
    local isOver = org.ends ~= 0 and org.ends <= nowMs()
    local pauses, critical = org.action == 'p', token and token.critical
    local limit = pauses and critical and org.ceiling or org.limit
    local rest = limit - (isOver and 0 or org.month) - org.pend - org.held
    cap(pauses and not critical and 'non_critical' or 'limit', rest, org.held, isOver and 0 or org.ends)
  end
  cap('balance', wallet, org.held, 0)
  return least, short
end
