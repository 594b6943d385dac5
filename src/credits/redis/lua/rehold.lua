-- rehold: puts an open hold back after the store was lost. No cap applies: the request is already running.
-- head: amount, floor, lease in ms, request id.
-- given: the note.
-- Answers: held · settled · epoch
-- Safe to repeat: a hold that is there only grows to what is asked; a request that has ended stays ended.
local function rehold(shard, o, t, head, given)
  local state = stateAt(shard, o)
  if state == 'epoch' then return state end
  local amount, floored, lease, id = leaseOf(head)
  orgAt(o, state == 'open')
  local stored, held, least, running, owner = call('HGET', KEYS[o + 1], id), 0, 0, nil, nil
  if stored then running, held, least, owner = readRequest(stored) end
  if stored and owner ~= sub(KEYS[t], 12) then broken('owner') end
  if stored and not running then return 'settled' end
  local token = running ~= 'H' and tokenAt(t, state == 'open')
  local note = floored >= least and given or sub(stored, HELD_BYTES + 1)
  if floored > least then least = floored end
  if amount < held then amount = held end
  -- Whether its token will have rules is not known here: it is looked at when the request ends.
  writeHold(shard, o, t, id, {
    token = token, more = amount - held, open = running and 0 or 1, state = running or 'Q', amount = amount, least = least, note = note,
    lease = lease,
  })
  return 'held'
end
