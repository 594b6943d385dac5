-- Sums rebuilt from their parts. Not a verb; the loader puts it in front of them.

local function add(sums, held, pend, open)
  sums.held, sums.pend, sums.open = sums.held + held, sums.pend + pend, sums.open + open
  if not areSums(sums.held, sums.pend, sums.open) then broken('sums') end
end

-- The sums of an organization, and those of each of its tokens by id, from what its requests say. `each`, if any, is told them
-- all: id, what is kept, and what `readRequest` says of it.
local function rebuild(requests, each)
  local org, tokens = { held = 0, pend = 0, open = 0 }, {}
  local function of(id)
    if not tokens[id] then tokens[id] = { held = 0, pend = 0, open = 0 } end
    return tokens[id]
  end
  local kept = call('HGETALL', requests)
  for i = 2, #kept, 2 do
    local id, stored = kept[i - 1], kept[i]
    local running, a, b, owner = readRequest(stored)
    local held, pend, open = running and a or 0, running and 0 or b, running and 1 or 0
    add(org, held, pend, open)
    add(of(idOf(owner, 'tok_')), held, pend, open)
    if each then each(id, stored, running, a, b, owner) end
  end
  return org, of
end

-- Sums of tokens are about to be kept as they were rebuilt: each running request that is in them says so from now on.
local function counting(requests, token)
  return function(id, stored, running, _, _, owner)
    if running == 'H' and (not token or owner == token) then call('HSET', requests, id, 'Q' .. sub(stored, 2)) end
  end
end

local function saveOrg(key, org) call('HSET', key, 'sums', put(ORG_SUMS, org.held, org.pend)) end
local function saveToken(key, token) call('HSET', key, 'sums', put(TOKEN_SUMS, token.held, token.pend, token.open)) end

-- A running request as text: amount|floor|token id, and its note.
local function holdText(stored)
  local running, amount, least, owner = readRequest(stored)
  if running then return format('%d|%d|%s', amount, least, idOf(owner, 'tok_')), sub(stored, HELD_BYTES + 1) end
end
