-- Lines that every verb uses: numbers, ids, time. Not a verb; the loader puts it in front of them. What cannot be
-- read raises an error, and every verb reads everything before its first write: an error means nothing was written.
local call, match, gmatch, gsub, find, sub = redis.call, string.match, string.gmatch, string.gsub, string.find, string.sub
local format, floor = string.format, math.floor
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

-- Never in scientific notation. %d is several times faster, where the server's integers have 64 bits.
local WHOLE = format('%d', 2 ^ 40) == '1099511627776' and '%d' or '%.0f'
local function text(number) return format(WHOLE, number) end

-- An id as it is made here: of its length, and without what separates the parts of a field or a member.
local LENGTHS = { req_ = 36, org_ = 20, tok_ = 18 }
local function idOf(id, kind)
  if #(id or '') ~= LENGTHS[kind] or sub(id, 1, 4) ~= kind or find(id, ':', 1, true) or find(id, '|', 1, true) then broken('id') end
  return id
end

local clockMs
local function nowMs()
  if not clockMs then
    local time = call('TIME')
    clockMs = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
  end
  return clockMs
end
