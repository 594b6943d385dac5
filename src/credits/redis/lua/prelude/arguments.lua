-- What may come in the arguments of the verbs that are told something. Not a verb; the loader puts it in front of them.
local match, gmatch = string.match, string.gmatch

-- An amount in an argument: one to fifteen digits, so no sign, space, exponent, hex, NaN or fraction.
local function amountOf(text)
  if type(text) ~= 'string' or #text > 15 or not match(text, '^%d+$') then broken('amount') end
  return tonumber(text)
end

-- A version, a time or a sum in an argument: digits, below 2^53.
local function digits(text)
  if type(text) ~= 'string' or #text > 16 or not match(text, '^%d+$') then broken('argument') end
  local number = tonumber(text)
  if number > MAX then broken('argument') end
  return number
end

-- An id as it is made here: of its length and its characters, so that it can name no other key and no other field.
local IDS = { req_ = '^req_%x+$', org_ = '^org_%w+$', tok_ = '^tok_%w+$' }
local LENGTHS = { req_ = 36, org_ = 20, tok_ = 18 }
local function idOf(id, kind)
  if #(id or '') ~= LENGTHS[kind] or not find(id, IDS[kind]) then broken('id') end
  return id
end

-- The answer when a shard cannot be asked, or not about `id`, an organization or token. `during` is 'open', 'filling' or
-- 'both'. KEYS[1] is the epoch of the shard.
local function closed(KEYS, ARGV, during, id)
  local state = stateOf(KEYS[1], ARGV[1])
  if state == 'serving' then state = id and stateIn(KEYS.expected, KEYS.wanted, id) or 'open' end
  if state == during or (during == 'both' and state ~= 'epoch') then return nil end
  return { state }
end
