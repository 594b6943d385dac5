-- What is kept of a token, read. Not a verb; the loader puts it in front of them.
local TOKEN_SUMS, WHO, RULES, QUOTA, USE = '<i8i8i8', '<c20c64i8', '<c1c1i8i8i8i8i8c64', '<c1i8', '<c1i8i8'
local WHO_BYTES, RULES_BYTES, QUOTA_BYTES, USE_BYTES, ID_BYTES = 92, 106, 9, 17, 18
local WINDOWS = { t = 'total', d = 'daily', w = 'weekly', m = 'monthly' }
-- Whether something can be the terms of a token, and whether these have rules.
local function isTerms(terms)
  local rules = #terms - WHO_BYTES
  return rules == 0 or (rules >= RULES_BYTES and (rules - RULES_BYTES) % QUOTA_BYTES == 0), rules > 0
end

-- What was used in each window, by letter; nil when it cannot be read.
local function readUse(stored)
  local use = {}
  if #stored % USE_BYTES ~= 0 then return nil end
  for at = 1, #stored, USE_BYTES do
    local window, amount, ends = take(USE, stored, at)
    if not WINDOWS[window] or not areSums(amount, ends, 0) then return nil end
    use[window] = { amount, ends }
  end
  return use
end

-- The quotas of a token with what was used of each, and where the quota of its member begins; nil when they cannot be read.
local function readQuotas(token)
  local use, quotas, terms = readUse(call('HGET', token.key, 'used') or ''), {}, token.terms
  token.use = use
  for at = WHO_BYTES + RULES_BYTES + 1, #terms, QUOTA_BYTES do
    local window, most = take(QUOTA, terms, at)
    if not use or not areSums(most, 0, 0) then return nil end
    if window == 'M' then
      token.cap, token.sharers = most, at + QUOTA_BYTES
      return (#terms + 1 - token.sharers) % ID_BYTES == 0 and quotas or nil
    elseif not WINDOWS[window] then return nil end
    local used = use[window] or { 0, 0 }
    quotas[#quotas + 1] = { window = WINDOWS[window], most = most, used = used[1], ends = used[2] }
  end
  return quotas
end

local function readRules(token, sums)
  if not sums or #sums ~= 24 then return nil end
  token.held, token.pend, token.open = take(TOKEN_SUMS, sums)
  token.status, token.critical, token.expires, token.rpm, token.tpm, token.concurrency, token.graceEnds, token.grace =
    take(RULES, token.terms, WHO_BYTES + 1)
  token.critical, token.quotas = token.critical == '1', readQuotas(token)
  return token.quotas and areSums(token.held, token.pend, token.open) and areSums(token.expires, token.rpm, token.tpm)
    and areSums(token.concurrency, token.graceEnds, 0) and token or nil
end

-- nil when there is no such token. With `must` what cannot be read is an error; without, the reload rebuilds it. `known`
-- says that it has sums: a token without rules needs none.
local function readToken(key, must)
  local kept = call('HMGET', key, 'terms', 'sums')
  local token = { key = key, known = false, terms = kept[1] }
  if not token.terms then return nil end
  local isRead, hasRules = isTerms(token.terms)
  if isRead and hasRules then token.known = readRules(token, kept[2]) ~= nil end
  if must and (not isRead or (hasRules and not token.known)) then broken('token') end
  return token
end
