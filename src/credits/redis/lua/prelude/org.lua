-- What is kept of an organization and its requests. Not a verb; the loader puts it before them.
--   org hash:  balance 'avail|version|month spent|month ends ms' · sums 'held|pend' · json ·
--              terms 'version|status|overdraft|limit or -|action|ceiling or -'
--   holds: request id → 'amount|floor|token id|deadline ms', request id.note → note · pend: id → 'F or C|cost|token id'

-- With `must` an unreadable balance is an error, never 0. Without (while filling) the reload rebuilds it; `known` says so.
local function readOrg(key, must)
  local kept = call('HMGET', key, 'balance', 'sums', 'terms')
  local avail, version, month, ends = match(kept[1] or '', '^(%-?%d+)|(%d+)|(%d+)|(%d+)$')
  local held, pend = match(kept[2] or '', '^(%d+)|(%d+)$')
  if not avail or not held then
    if must then broken('balance') end
    return { known = false, over = 0, balanceVersion = version and exact(version) }
  end
  local terms, status, over, limit, action, ceiling = match(kept[3] or '', '^(%d+)|(%l+)|(%d+)|([%d-]+)|([%l_]+)|([%d-]+)$')
  return {
    known = true, avail = exact(avail), balanceVersion = exact(version), month = exact(month), ends = exact(ends),
    held = exact(held), pend = exact(pend), version = terms, status = status, action = action, over = terms and exact(over) or 0,
    limit = terms and limit ~= '-' and exact(limit) or nil, ceiling = terms and ceiling ~= '-' and exact(ceiling) or nil,
  }
end

-- Adds to the sums in memory and makes sure that they stay what sums can be; `save` writes them.
local function move(place, held, pend, open)
  if not place or not place.known then return end
  place.held, place.pend = place.held + held, place.pend + pend
  if place.open then place.open = place.open + open end
  if place.held < 0 or place.pend < 0 or (place.open or 0) < 0 or place.held > MAX or place.pend > MAX then broken('sums') end
end

local function save(key, place)
  if not place or not place.known then return end
  local sums = text(place.held) .. '|' .. text(place.pend)
  call('HSET', key, 'sums', place.open and (sums .. '|' .. text(place.open)) or sums)
end

local function readHold(stored)
  if not stored then return nil end
  local amount, least, token, deadline = match(stored, '^(%d+)|(%d+)|(tok_%w+)|(%d+)$')
  if not amount then broken('hold') end
  return { amount = exact(amount), floor = exact(least), token = token, deadline = exact(deadline) }
end

local function readEnded(stored)
  if not stored then return nil end
  local kind, cost, token = match(stored, '^([FC])|(%d+)|(tok_%w+)$')
  if not kind then broken('pending charge') end
  return { kind = kind, cost = exact(cost), token = token }
end

-- The deadline first: it is the one key not read before, and fails, when it is of another type, before anything is written.
-- Without a note the one that is there stays.
local function writeHold(keys, requestId, orgId, hold, note)
  local deadline = text(hold.deadline)
  call('ZADD', keys[2], deadline, orgId .. ':' .. requestId)
  local facts = text(hold.amount) .. '|' .. text(hold.floor) .. '|' .. hold.token .. '|' .. deadline
  if note then call('HSET', keys[6], requestId, facts, requestId .. '.note', note) else call('HSET', keys[6], requestId, facts) end
end
