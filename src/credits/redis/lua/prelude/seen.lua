-- What a batch of spending has read and changed of shards, organizations and tokens, each of them once: a batch is one
-- step, so nobody else changes them meanwhile. Not a verb; the loader puts it in front of them.
local KEYS, ARGV, try = KEYS, ARGV, redis.pcall -- `try` answers a table when the server refused
local states, orgs, terms, tokens = {}, {}, {}, {}

local function shardState(shard)
  local state = states[shard]
  if not state then
    state = stateOf(KEYS[3 * shard + 1], ARGV[shard + 2])
    states[shard] = state
  end
  return state
end

local function orgAt(i, must)
  local org = orgs[i]
  if not org then
    org = readOrg(KEYS[i], must)
    orgs[i] = org
  end
  return org
end

local function termsAt(i)
  local kept = terms[i]
  if kept == nil then
    kept = call('HGET', KEYS[i], 'terms')
    terms[i] = kept
  end
  return kept
end

-- Only of a token that may have rules; false when there is none.
local function tokenAt(i, must)
  local token = tokens[i]
  if token == nil then
    token = rarely().readToken(KEYS[i], must) or false
    tokens[i] = token
  end
  return token
end

-- Adds to the sums in memory and makes sure that they stay what sums can be.
local function move(org, token, held, pend, open)
  local a, b = org.known and org.held + held, org.known and org.pend + pend
  if a and not areSums(a, b, 0) then broken('sums') end
  if token and token.known then rarely().moveToken(token, held, pend, open) end
  if a then org.held, org.pend = a, b end
end

-- What was moved is written when the last command of a batch is done.
local function writeKept()
  for _, org in pairs(orgs) do
    if org.isKept then call('HSET', org.key, 'sums', put(ORG_SUMS, org.held, org.pend)) end
  end
  if next(tokens) then rarely().writeTokens(tokens) end
end
