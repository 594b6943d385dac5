-- What is written of a request that goes on. Not a verb; the loader puts it in front of them.

-- Amount, floor, lease and request id, as a running request is asked for.
local function leaseOf(head)
  local amount, floored, lease, id = take('<dddc36', head)
  for _, number in ipairs({ amount, floored, lease }) do
    if not (number >= 0 and number < AMOUNTS_END) or number % 1 ~= 0 then broken('amount') end
  end
  return amount, floored, lease, id
end

-- Raises a hold and renews its lease; a late copy of an older heartbeat keeps the newer note. The deadline first: it is
-- the one key not read before, and fails, when it is of another type, before anything is written.
local function writeHold(shard, o, t, id, new)
  local org, token = orgs[o], new.token
  move(org, token, new.more, 0, new.open)
  local done = try('ZADD', KEYS[3 * shard + 2], 'GT', deadlineIn(new.lease), org.id .. id)
  local facts = put(HELD, new.state, new.amount, new.least, sub(KEYS[t], 12))
  if type(done) ~= 'table' then done = try('HSET', KEYS[o + 1], id, facts .. new.note) end
  if type(done) == 'table' then
    move(org, token, -new.more, 0, -new.open)
    error(done, 0)
  end
  org.isKept = org.known
  if token then token.isKept = token.known end
end
