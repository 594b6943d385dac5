-- hold: authenticates and sets credits aside, all limits at once; writes nothing unless everything passes.
-- head: lease in ms, terms version of the org, request id, `tokens` of the org when the same was asked before and the token
--   had no rules, tokens (upper bound), who asks (org id, digest of the secret in hex and terms version of the token, as they
--   are kept of the token).
-- given: the request as it is kept: H, amount, floor 0, token id, note.
-- Answers: remaining (a number) · first remaining tokens (the same, and what to send from now on) · held amount remaining repeated · settled · duplicate request-id · stale token-json org-json ·
--   unknown_token · token_revoked · token_expired · token_paused · org_suspended · rate_limited scope limit retry-ms ·
--   short scope required available in-flight resets-ms [window of a quota] · keys token-id… · epoch · filling
-- Safe to repeat: a request id that is held or has ended answers so, whatever else stands against it.
local function hold(shard, o, t, claim, head, given)
  local state = stateAt(shard, o)
  if state ~= 'open' then return state end
  local lease, version, id, seen = take('<ddc36c16', head)
  local letter, amount, floored, owner = take(HELD, given)
  if not (amount >= 0 and amount < AMOUNTS_END and lease < AMOUNTS_END) or amount % 1 ~= 0 or lease % 1 ~= 0 then broken('amount') end
  if letter ~= 'H' or floored ~= 0 or owner ~= sub(KEYS[t], 12) then broken('hold') end
  local org, token, refused, rate, least, isFirst = orgAt(o, false), nil, nil, nil, nil, false
  -- As long as no terms of a token of this organization were written, what was found then is still so.
  if seen ~= org.tokens or org.status ~= 'a' or org.version ~= version or claim then
    token = tokenAt(t, true)
    refused, rate = rarely().refusalOf(token, o, claim, id, version, head)
    isFirst = token and not token.known and org.tokens
  end
  if not org.known and not refused then broken('balance') end
  if not refused then least, refused = room(org, token, amount) end
  if refused then return rarely().alreadyKnown(o, t, id) or refused end

  local counted = token and token.known
  if counted then given = 'Q' .. sub(given, 2) end
  move(org, token, amount, 0, 1)
  local done = try('HSETNX', KEYS[o + 1], id, given)
  if done == 1 then
    local listed = try('ZADD', KEYS[3 * shard + 2], deadlineIn(lease), org.id .. id)
    if type(listed) == 'table' then
      call('HDEL', KEYS[o + 1], id)
      done = listed
    end
  end
  if done ~= 1 then
    move(org, token, -amount, 0, -1)
    if type(done) == 'table' then error(done, 0) end
    return rarely().alreadyKnown(o, t, id)
  end
  org.isKept = true
  if counted then token.isKept, token.rate = true, rate or token.rate end
  if claim then call('SET', KEYS[claim], id, 'PX', 86400000) end
  least = least > amount and least - amount or 0
  return isFirst and { 'first', text(least), org.tokens } or least
end
