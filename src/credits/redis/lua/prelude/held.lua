-- What is written of a request that goes on. Not a verb; the loader puts it in front of them.

-- Raises a hold and renews its lease; a late copy of an older heartbeat keeps the newer note. The deadline first: it is
-- the one key not read before, and fails, when it is of another type, before anything is written.
local function writeHold(shard, o, t, id, new)
  local org, token = orgs[o], new.token
  move(org, token, new.more, 0, new.open)
  local done = try('ZADD', KEYS[3 * shard + 2], 'GT', text(nowMs() + new.lease), org.id .. ':' .. id)
  local facts = put(HELD, new.state, new.amount, new.least, sub(KEYS[t], 12))
  if type(done) ~= 'table' then done = try('HSET', KEYS[o + 1], id, facts .. new.note) end
  if type(done) == 'table' then
    move(org, token, -new.more, 0, -new.open)
    error(done, 0)
  end
  org.isKept = org.known
  if token then token.isKept = token.known end
end
