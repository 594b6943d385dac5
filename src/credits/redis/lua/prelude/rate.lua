-- Requests and tokens of the last minute, second by second. Not a verb; the loader puts it in front of them.
--   field rate of a token: requests and tokens of all its seconds together, then of each second: itself, requests, tokens.
-- A second counts for 60 s after it is over, so no span of 60 s ever holds more than the limit.
local SPAN, TOTALS, SECOND, TOTALS_BYTES, SECOND_BYTES = 60, '<i8i8', '<i8i8i8', 16, 24

local function secondAt(rate, at)
  local second, requests, tokens = take(SECOND, rate, at)
  if not areSums(second, requests, tokens) then broken('rate') end
  return second, requests, tokens
end

-- How long until as many more fit under `limit`, in ms. More than a whole minute may hold never fits: a full span is the
-- least untrue answer.
local function waitMs(rate, from, sum, limit, column)
  for at = from, #rate, SECOND_BYTES do
    local second, requests, tokens = secondAt(rate, at)
    sum = sum - (column == 'requests' and requests or tokens)
    if sum <= limit then return (second + SPAN + 1) * 1000 - nowMs() end
  end
  return SPAN * 1000
end

-- The refusal, or nil and what the rate will be when this request is counted too. Only of a token with such a limit.
local function rateRefusal(token, tokens)
  local rate, counted = nil, nil
  if token.rpm > 0 or token.tpm > 0 then
    rate = token.rate or call('HGET', token.key, 'rate') or ''
    if rate == '' then rate = put(TOTALS, 0, 0) end
    if #rate < TOTALS_BYTES or (#rate - TOTALS_BYTES) % SECOND_BYTES ~= 0 then broken('rate') end
    local now, from, upTo, requests, used = floor(nowMs() / 1000), TOTALS_BYTES + 1, #rate, take(TOTALS, rate)
    while from < #rate do
      local second, asked, took = secondAt(rate, from)
      if second >= now - SPAN then break end
      requests, used, from = requests - asked, used - took, from + SECOND_BYTES
    end
    if not areSums(requests, used, 0) then broken('rate') end
    if token.rpm > 0 and requests + 1 > token.rpm then
      return { 'rate_limited', 'requests', text(token.rpm), text(waitMs(rate, from, requests + 1, token.rpm, 'requests')) }
    end
    if token.tpm > 0 and used + tokens > token.tpm then
      return { 'rate_limited', 'tokens', text(token.tpm), text(waitMs(rate, from, used + tokens, token.tpm, 'tokens')) }
    end
    local second, asked, took = now, 0, 0
    if from < #rate then second, asked, took = secondAt(rate, #rate - SECOND_BYTES + 1) end
    if from < #rate and second == now then upTo = upTo - SECOND_BYTES else asked, took = 0, 0 end
    counted = put(TOTALS, requests + 1, used + tokens) .. sub(rate, from, upTo) .. put(SECOND, now, asked + 1, took + tokens)
  end
  if token.concurrency > 0 and token.open >= token.concurrency then
    return { 'rate_limited', 'concurrency', text(token.concurrency), '1000' }
  end
  return nil, counted
end
