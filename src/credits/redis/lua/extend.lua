-- extend: renews the lease of a running request, raises its floor and may raise its hold.
-- head: the new total amount; a lower or equal one only renews the lease, floor, lease in ms, request id.
-- given: the note.
-- Answers: extended amount (while it is filled the old one) · short amount (renewed, but no more could be set aside) · gone · keys token-id… · epoch
-- Safe to repeat: amount and floor only grow to what is asked, never by it; the deadline never goes back.
local function extend(shard, o, t, head, given)
  local state = stateAt(shard, o)
  if state == 'epoch' then return state end
  local amount, floored, lease, id = leaseOf(head)
  local stored = call('HGET', KEYS[o + 1], id)
  local running, held, least, owner
  if stored then running, held, least, owner = readRequest(stored) end
  if not running then return 'gone' end
  if owner ~= sub(KEYS[t], 12) then broken('owner') end
  local org, token = orgAt(o, state == 'open'), running == 'Q' and tokenAt(t, state == 'open')
  local more = amount > held and amount - held or 0
  local fits = more == 0
  if not fits and state == 'open' then
    local _, short = room(org, token, more)
    fits = not short
  end
  more = fits and more or 0
  local note = floored >= least and given or sub(stored, HELD_BYTES + 1)
  if floored > least then least = floored end
  writeHold(shard, o, t, id, {
    token = token, more = more, open = 0, state = running, amount = held + more, least = least, note = note, lease = lease,
  })
  -- While it is filled nobody knows what is left: that is no reason to say that nothing is.
  return { (fits or state ~= 'open') and 'extended' or 'short', text(held + more) }
end
