-- Lines that every verb uses: numbers, time, the epoch. Not a verb; the loader puts it in front of them. What cannot be
-- read raises an error, and every verb reads everything before its first write: an error means nothing was written.
-- KEYS[1] epoch, KEYS[2] deadlines and KEYS[3] stream of the shard are the same in every verb.
local call, match, gmatch, gsub, format, floor = redis.call, string.match, string.gmatch, string.gsub, string.format, math.floor
local MAX = 9007199254740991 -- 2^53 - 1: above it a double is no longer exact

local function broken(what)
  error('BROKEN ' .. what, 0)
end

-- A stored number, already known to consist of digits (and perhaps a minus), if it is exact.
local function exact(text)
  local number = tonumber(text)
  if not number or number > MAX or number < -MAX then broken('number') end
  return number + 0 -- never -0
end

-- An amount in an argument: one to fifteen digits, so no sign, space, exponent, hex, NaN or fraction.
local function amountOf(text)
  if type(text) ~= 'string' or #text > 15 or not match(text, '^%d+$') then broken('amount') end
  return tonumber(text)
end

-- A version, a time or a sum in an argument: digits, below 2^53.
local function digits(text)
  if type(text) ~= 'string' or #text > 16 or not match(text, '^%d+$') then broken('argument') end
  return exact(text)
end

local function text(number) return format('%.0f', number) end -- never in scientific notation

local clockMs
local function nowMs()
  if not clockMs then
    local time = call('TIME')
    clockMs = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
  end
  return clockMs
end

-- Fails when deadlines or stream are of another type. Once a run is enough: no verb changes a type.
local isTyped = {}
local function typed(KEYS)
  if isTyped[KEYS[2]] then return end
  call('ZCARD', KEYS[2])
  call('XLEN', KEYS[3])
  isTyped[KEYS[2]] = true
end

-- The answer when this shard cannot be asked: 'epoch' (another life of the data) or 'filling'. The second value says
-- whether it is open. `during` is 'open', 'filling' or 'both'.
local function closed(KEYS, ARGV, during)
  local stored = call('GET', KEYS[1])
  local open, filling = stored == ARGV[1] .. ':open', stored == ARGV[1] .. ':filling'
  if not open and not filling then return { 'epoch' } end
  if during == 'both' or (open and during == 'open') or (filling and during == 'filling') then return nil, open end
  return { filling and 'filling' or 'open' }
end
