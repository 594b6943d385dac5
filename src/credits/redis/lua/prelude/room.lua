-- How much room the caps of a token and its organization leave. Not a verb; the loader puts it in front of them.

-- The least room under all caps, and the refusal of the first of them (quotas, member, monthly limit, wallet) without room for
-- `amount`. 0 always fits. A token without rules has no caps, and need not be given.
local function room(org, token, amount)
  if not org.known then return 0 end
  local least, short = org.avail - org.pend - org.held + org.over, nil
  if org.limit or (token and token.quotas) then
    least, short = rarely().capped(org, token, amount, least)
  elseif amount > least and amount > 0 then
    short = { 'short', 'balance', text(amount), text(least), text(org.held), '0' }
  end
  return least < 0 and 0 or least, short
end
