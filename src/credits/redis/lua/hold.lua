-- hold: authenticates and sets credits aside, all limits at once; writes nothing unless everything passes.
-- Takes tokens (upper bound), lease in ms, terms version of the org.
-- who: org id, digest of the secret in hex, terms version of the token, as they are kept of the token.
-- given: the request as it is kept: H, amount, floor 0, token id, note.
-- Answers: remaining · held amount remaining repeated · settled · duplicate request-id · stale token-json org-json ·
--   unknown_token · token_revoked · token_expired · token_paused · org_suspended · rate_limited scope limit retry-ms ·
--   short scope required available in-flight resets-ms [window of a quota] · epoch · filling
-- Safe to repeat: a request id that is held or has ended answers so, whatever else stands against it.
local function hold(shard, o, t, claim, id, tokens, lease, version, who, given)
  local state = shardState(shard)
  if state ~= 'open' then return state end
  local isRunning, amount, floored, owner = readRequest(given)
  if isRunning ~= 'H' or amount >= AMOUNTS_END or floored ~= 0 or owner ~= sub(KEYS[t], 12) then broken('hold') end
  local token, org, refused, rate, least
  -- Terms without rules say only who the token is: equal to what the caller says, there is nothing to check.
  if termsAt(t) == who then org = orgAt(o, true) end
  if not org or org.status ~= 'a' or org.version ~= version or claim > 0 then
    token = tokenAt(t, true)
    refused, rate = rarely().refusalOf(token, o, claim, id, version, who, tokens)
    org = orgs[o]
  end
  if not refused then least, refused = room(org, token, amount) end
  if refused then return rarely().alreadyKnown(o, t, id) or refused end

  local counted = token and token.known
  move(org, token, amount, 0, 1)
  local done = try('HSETNX', KEYS[o + 1], id, counted and 'Q' .. sub(given, 2) or given)
  if done == 1 then
    local listed = try('ZADD', KEYS[3 * shard + 2], text(nowMs() + lease), org.id .. ':' .. id)
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
  if claim > 0 then call('SET', KEYS[claim], id, 'PX', 86400000) end
  return text(least > amount and least - amount or 0)
end
