-- Lines that every verb uses: numbers, ids, time. Not a verb; the loader puts it in front of them. What cannot be
-- read raises an error, and every verb reads everything before its first write: an error means nothing was written.
local call, find, sub, byte, format, concat = redis.call, string.find, string.sub, string.byte, string.format, table.concat
local put, take, floor = struct.pack, struct.unpack, math.floor
local MAX = 9007199254740991 -- 2^53 - 1: above it a double is no longer exact
local AMOUNTS_END = 1e15 -- what a single command carries has at most fifteen digits
local rarely -- what few requests need is made when the first of a batch needs it: the loader says how

local function broken(what)
  error('BROKEN ' .. what, 0)
end

-- Never in scientific notation.
local function text(number) return format('%d', number) end

local clockMs
local function nowMs()
  if not clockMs then
    local time = call('TIME')
    clockMs = time[1] * 1000 + floor(time[2] / 1000)
  end
  return clockMs
end

-- The same for most requests of a batch.
local lastLease, lastDeadline
local function deadlineIn(lease)
  if lease ~= lastLease then lastLease, lastDeadline = lease, text(nowMs() + lease) end
  return lastDeadline
end
