-- The monthly quota of a member, shared by all of their tokens. Not a verb; the loader puts it in front of them. Nothing is kept
-- of it but what is kept of each token: what is derived cannot go wrong.
local places -- of each key in KEYS

-- Where the tokens are that share the quota with this one. When one of them is not among KEYS that is the answer: nothing
-- was written yet, and whoever asks comes again with all of them.
local function sharersOf(token)
  if token.places then return token.places end
  if not places then
    places = {}
    -- From the end: a token that spends in this batch itself stands first, and is the same one.
    for i = #KEYS, 1, -1 do places[KEYS[i]] = i end
  end
  local found, needed, isWhole = {}, { 'keys' }, true
  for at = token.sharers, #token.terms, ID_BYTES do
    local id = sub(token.terms, at, at + ID_BYTES - 1)
    local place = places[sub(token.key, 1, 11) .. id]
    needed[#needed + 1], found[#found + 1] = id, place
    isWhole = isWhole and place ~= nil
  end
  if not isWhole then error({ keys = needed }, 0) end
  token.places = found
  return found
end

-- What a token without rules holds and owes: it has no sums. Only until its own terms say that it shares a quota.
local function sumsOf(org, owner)
  local sums = { held = 0, pend = 0 }
  for _, stored in ipairs(call('HVALS', sub(org.key, 1, 5) .. 'requests:' .. org.id)) do
    local fine, running, amount, cost, by = pcall(readRequest, stored)
    if not fine then return nil end
    if by == owner then
      if running then sums.held = sums.held + amount else sums.pend = sums.pend + cost end
    end
  end
  return sums
end

-- What the tokens of a member have used this month, owe and hold together; what of it they hold; when the month ends. nil
-- when one of them cannot be read.
local function shared(org, token)
  local all, held, ends = 0, 0, 0
  for _, place in ipairs(sharersOf(token)) do
    -- With `must`: what cannot be read is not remembered as a token without rules.
    local fine, one = pcall(tokenAt, place, true)
    if not fine or not one or sub(one.terms, 1, 20) ~= org.id then return nil end
    local sums = one.known and one or sumsOf(org, sub(one.key, 12))
    one.use = one.use or readUse(call('HGET', one.key, 'used') or '')
    if not sums or not one.use then return nil end
    local month = one.use.m or { 0, 0 }
    local isOver = month[2] ~= 0 and month[2] <= nowMs()
    all, held = all + sums.held + sums.pend + (isOver and 0 or month[1]), held + sums.held
    if not isOver and month[2] > ends then ends = month[2] end
  end
  return all < MAX and all or MAX, held < MAX and held or MAX, ends
end
