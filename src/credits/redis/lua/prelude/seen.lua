-- What a batch of spending has read and changed of shards, organizations and tokens, each of them once: a batch is one
-- step, so nobody else changes them meanwhile. Not a verb; the loader puts it in front of them. Places are those in KEYS.
local KEYS, ARGV, try = KEYS, ARGV, redis.pcall -- `try` answers a table when the server refused
local states, orgs, tokens = {}, {}, {}

-- Of an organization: that of its shard, unless it is still expected there.
local function stateAt(shard, o)
  local state = states[shard]
  if not state then
    state = stateOf(KEYS[3 * shard + 1], ARGV[shard + 2])
    states[shard] = state
  end
  if state ~= 'serving' then return state end
  local names = #KEYS - 2 * (byte(ARGV[1]) - shard)
  return stateIn(KEYS[names + 1], KEYS[names + 2], sub(KEYS[o], 10))
end

local function orgAt(i, must)
  local org = orgs[i]
  if not org then
    org = readOrg(KEYS[i], false)
    orgs[i] = org
  end
  if must and not org.known then broken('balance') end
  return org
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

-- Adds to the sums in memory and makes sure that they stay what sums can be. A token without rules has none.
local function move(org, token, held, pend, open)
  if token and token.known then rarely().moveToken(token, held, pend, open) end
  if not org.known then return end
  held, pend = org.held + held, org.pend + pend
  if held < 0 or pend < 0 or held > MAX or pend > MAX then
    if token and token.known then rarely().moveToken(token, org.held - held, org.pend - pend, -open) end
    broken('sums')
  end
  org.held, org.pend = held, pend
end

-- What was moved is written when the last command of a batch is done.
local function writeKept()
  for _, org in pairs(orgs) do
    if org.isKept then call('HSET', org.key, 'sums', put(ORG_SUMS, org.held, org.pend)) end
  end
  for _, token in pairs(tokens) do
    if token and token.isKept then rarely().writeToken(token) end
  end
end
