-- Sums rebuilt from their parts. Not a verb; the loader puts it in front of them.

-- The sums of an organization, and those of each of its tokens by id, from what its hashes say.
local function rebuild(holdsKey, pendKey)
  local org, tokens = { known = true, held = 0, pend = 0 }, {}
  local function of(id)
    if not tokens[id] then tokens[id] = { known = true, held = 0, pend = 0, open = 0 } end
    return tokens[id]
  end
  local holds = call('HGETALL', holdsKey)
  for i = 2, #holds, 2 do
    local hold = not match(holds[i - 1], '%.note$') and readHold(holds[i])
    if hold then
      move(org, hold.amount, 0, 0)
      move(of(hold.token), hold.amount, 0, 1)
    end
  end
  local ended = call('HGETALL', pendKey)
  for i = 2, #ended, 2 do
    local one = readEnded(ended[i])
    move(org, 0, one.cost, 0)
    move(of(one.token), 0, one.cost, 0)
  end
  return org, of
end

-- A balance as it is stored, after every part of it has been read as a number.
local function balanceText(ARGV)
  if not match(ARGV[2], '^%-?%d+$') or ARGV[2] == '-0' then broken('argument') end
  exact(ARGV[2])
  for i = 3, 5 do digits(ARGV[i]) end
  return ARGV[2] .. '|' .. ARGV[3] .. '|' .. ARGV[4] .. '|' .. ARGV[5]
end

-- Terms are kept when their version is higher than what is there, or when nothing readable is there.
local function isNewer(key, version)
  local kept = match(call('HGET', key, 'terms') or '', '^(%d+)|')
  return not kept or version > exact(kept)
end

-- What stands here and is no hash was put there by somebody else: whoever writes terms takes its place.
local function ours(key)
  local kind = call('TYPE', key)['ok']
  if kind ~= 'hash' and kind ~= 'none' then call('DEL', key) end
end
