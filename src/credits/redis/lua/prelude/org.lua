-- What is kept of an organization, read. Not a verb; the loader puts it in front of them.

-- Version, overdraft, limit, ceiling, status and limit action of an organization; nothing when they cannot be read.
local function orgTerms(terms)
  if not terms or #terms ~= 34 then return end
  local version, over, limit, ceiling, status, action = take(ORG_TERMS, terms)
  if not areSums(version, over, 0) or not areSums(limit + 1, ceiling + 1, 0) then return end
  return version, over, limit >= 0 and limit or nil, ceiling >= 0 and ceiling or nil, status, action
end

-- With `must` an unreadable balance is an error, never 0. Without (while filling) the reload rebuilds it; `known` says so.
local function readOrg(key, must)
  local kept = call('HMGET', key, 'balance', 'sums', 'terms', 'tokens')
  local balance, sums, id = kept[1], kept[2], sub(key, 10)
  local avail, balanceVersion, month, ends, held, pend
  if balance and #balance == 32 then
    avail, balanceVersion, month, ends = take(BALANCE, balance)
    if not areSums(balanceVersion, month, ends) or avail > MAX or avail < -MAX then balanceVersion = nil end
  end
  if sums and #sums == 16 then held, pend = take(ORG_SUMS, sums) end
  local known = balanceVersion and held and areSums(held, pend, 0) or false
  if (must and not known) or #id ~= 20 or not find(id, '^org_%w+$') then broken('balance') end
  local version, over, limit, ceiling, status, action = orgTerms(kept[3])
  return {
    key = key, id = id, known = known, avail = avail, balanceVersion = balanceVersion, month = month, ends = ends, held = held,
    pend = pend, version = version, over = over or 0, limit = limit, ceiling = ceiling, status = status, action = action,
    tokens = kept[4], isKept = false,
  }
end
