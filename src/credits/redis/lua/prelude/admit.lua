-- Who may spend at all. Not a verb; the loader puts it in front of them.

-- What is known of this token, and whether the price was made of older terms. Whoever does not know the secret learns
-- nothing about the token, not even that it was revoked.
local function tokenRefusal(token, who)
  local kept, secret = token.terms, sub(who, 21, 84)
  local inGrace = token.known and token.grace == secret and nowMs() < token.graceEnds
  if sub(kept, 1, 20) ~= sub(who, 1, 20) or (sub(kept, 21, 84) ~= secret and not inGrace) then return 'unknown_token' end
  if token.known and token.status == 'r' then return 'token_revoked' end
  if token.known and token.expires ~= 0 and token.expires <= nowMs() then return 'token_expired' end
  if token.known and token.status ~= 'a' then return 'token_paused' end
  return nil, sub(kept, 85, WHO_BYTES) ~= sub(who, 85)
end

-- What stands against a request before any balance is looked at; else nil, and its rate when it is counted.
local function refusalOf(token, o, claim, id, version, head)
  if not token then return 'unknown_token' end
  local tokens, who = take('<dc92', head, 69)
  local refused, isStale = tokenRefusal(token, who)
  if refused then return refused end
  local org = orgAt(o, true)
  if not org.version then broken('terms') end
  if org.status ~= 'a' then return 'org_suspended' end
  local claimed = claim and call('GET', KEYS[claim])
  if claimed and claimed ~= id then return { 'duplicate', claimed } end
  if isStale or org.version ~= version then
    return { 'stale', call('HGET', token.key, 'json') or '', call('HGET', org.key, 'json') or '' }
  end
  if not token.known then return nil end
  if not (tokens >= 0 and tokens < AMOUNTS_END) or tokens % 1 ~= 0 then broken('amount') end
  return rateRefusal(token, tokens)
end

-- The first answer again, for a request that is running or has ended.
local function alreadyKnown(o, t, id)
  local stored = call('HGET', KEYS[o + 1], id)
  if not stored then return nil end
  local state, amount, _, owner = readRequest(stored)
  if owner ~= sub(KEYS[t], 12) then broken('owner') end
  local least = room(orgAt(o, true), tokenAt(t, true), 0)
  return state and { 'held', text(amount), text(least), 'repeated' } or 'settled'
end
