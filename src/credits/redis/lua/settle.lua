-- settle: ends a hold with a charge and queues its event for the drain; an empty event gives the hold back.
-- Takes cost, 1 = final or 0 = floor, 1 = only when the lease has run out.
-- given: the event.
-- Answers: remaining · settled remaining repeated · not_due · epoch
-- Safe to repeat: what is known of a request only grows, none < floor (the larger wins) < final; the same again changes
--   nothing. A request that nobody remembers is accepted.
local function settle(shard, o, t, _, id, cost, isFinal, ifDue, _, event)
  local state = shardState(shard)
  if state == 'epoch' then return state end
  local org, owner = orgAt(o, state == 'open'), sub(KEYS[t], 12)
  local stored = call('HGET', KEYS[o + 1], id)
  local deadlines, member = KEYS[3 * shard + 2], org.id .. ':' .. id
  local running, held, paid, by
  if stored then running, held, paid, by = readRequest(stored) end
  if stored and by ~= owner then broken('owner') end
  if ifDue == 1 and not rarely().isDue(deadlines, member, running) then return 'not_due' end
  -- The token of a running request that it does not count has no rules.
  local token = running ~= 'H' and tokenAt(t, state == 'open')
  local grows = event ~= '' and (running or not stored or (held == 'F' and (isFinal == 1 or cost > paid)))
  if not running and not grows then return { 'settled', text((room(org, token, 0))), 'repeated' } end

  local freed, ended, added, kind = running and held or 0, running and -1 or 0, grows and cost or 0, isFinal == 1 and 'C' or 'F'
  if grows and stored and not running then added = cost - paid end
  move(org, token, -freed, added, ended)
  local entry, failed
  if grows then
    local stream, cost = KEYS[3 * shard + 3], text(cost)
    entry = try('XADD', stream, '*', 'o', org.id, 'r', id, 'k', kind, 'c', cost, 'e', event)
    if type(entry) == 'table' then
      failed = entry
      if running then entry, failed = rarely().addWhenFull(failed, deadlines, member, stream, org.id, id, kind, cost, event) end
    end
  end
  if running and not failed then
    local gone = try('ZREM', deadlines, member)
    if type(gone) == 'table' then
      if entry then call('XDEL', KEYS[3 * shard + 3], entry) end
      failed = gone
    end
  end
  if failed then
    move(org, token, freed, -added, -ended)
    error(failed, 0)
  end
  if grows then call('HSET', KEYS[o + 1], id, put(ENDED, kind, cost, owner)) else call('HDEL', KEYS[o + 1], id) end
  org.isKept = org.known
  if token then token.isKept = token.known end
  return text((room(org, token, 0)))
end
