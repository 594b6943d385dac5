-- settle: ends a hold with a charge and queues its event for the drain; without an event it gives the hold back.
-- given: F (floor) or C (final), cost, org id, request id, event. As it is, it is what the drain reads.
-- Answers: remaining (a number) · settled remaining repeated · not_due · keys token-id… · epoch
-- Safe to repeat: what is known of a request only grows, none < floor (the larger wins) < final; the same again changes
--   nothing. A request that nobody remembers is accepted.
local function settle(shard, o, t, ifDue, given)
  local state = stateAt(shard, o)
  if state == 'epoch' then return state end
  local kind, cost, orgId, id, after = take(CHARGE, given)
  local org, owner, member = orgAt(o, state == 'open'), sub(KEYS[t], 12), sub(given, 10, 65)
  if not (cost >= 0 and cost < AMOUNTS_END) or cost % 1 ~= 0 or (kind ~= 'C' and kind ~= 'F') then broken('amount') end
  if orgId ~= org.id then broken('id') end
  local stored, running, held, paid, by = call('HGET', KEYS[o + 1], id), nil, nil, nil, nil
  if stored then running, held, paid, by = readRequest(stored) end
  if stored and by ~= owner then broken('owner') end
  if ifDue and not rarely().isDue(KEYS[3 * shard + 2], member, running) then return 'not_due' end
  -- The token of a running request that it does not count has no rules.
  local token = running ~= 'H' and tokenAt(t, state == 'open')
  -- Before anything is written.
  if token and token.cap then rarely().sharersOf(token) end
  local grows = after <= #given and (running or not stored or (held == 'F' and (kind == 'C' or cost > paid)))
  if not running and not grows then return { 'settled', text((room(org, token, 0))), 'repeated' } end

  local freed, added, ended, entry, failed = running and held or 0, grows and cost or 0, running and -1 or 0, nil, nil
  if grows and stored and not running then added = cost - paid end
  move(org, token, -freed, added, ended)
  if grows then
    entry = try('XADD', KEYS[3 * shard + 3], '*', 'e', given)
    if type(entry) == 'table' then entry, failed = rarely().addWhenFull(entry, shard, running and member, given) end
  end
  if running and not failed then
    local gone = try('ZREM', KEYS[3 * shard + 2], member)
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
  return (room(org, token, 0))
end
