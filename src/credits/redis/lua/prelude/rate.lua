-- Requests and tokens of the last minute, second by second. Not a verb; the loader puts it in front of them.
--   rate hash: second → 'requests:tokens'; it is no money, so it may expire.
-- A bucket counts for 60 s after its own second is over, so no span of 60 s ever holds more than the limit.
local SPAN = 60

-- How long until `asked` more fit under `limit`, in ms. More than a whole minute may hold never fits: a full span is the
-- least untrue answer.
local function waitMs(buckets, sum, limit, column)
  table.sort(buckets, function(a, b) return a[1] < b[1] end)
  for _, bucket in ipairs(buckets) do
    sum = sum - bucket[column]
    if sum <= limit then return (bucket[1] + SPAN + 1) * 1000 - nowMs() end
  end
  return SPAN * 1000
end

-- The refusal, or nil and what `countRate` needs. The key is touched only when the token has such a limit.
local function rateRefusal(key, token, tokens)
  local rate
  if token.rpm > 0 or token.tpm > 0 then
    rate = { second = floor(nowMs() / 1000), requests = 0, tokens = 0, gone = {} }
    local kept, buckets, requests, used = call('HGETALL', key), {}, 1, tokens
    for i = 1, #kept, 2 do
      local at, asked, took = tonumber(kept[i]), match(kept[i + 1], '^(%d+):(%d+)$')
      if not at or not asked then broken('rate') end
      if at < rate.second - SPAN then
        rate.gone[#rate.gone + 1] = kept[i]
      else
        local bucket = { at, exact(asked), exact(took) }
        buckets[#buckets + 1] = bucket
        requests, used = requests + bucket[2], used + bucket[3]
        if at == rate.second then rate.requests, rate.tokens = bucket[2], bucket[3] end
      end
    end
    if token.rpm > 0 and requests > token.rpm then
      return { 'rate_limited', 'requests', text(token.rpm), text(waitMs(buckets, requests, token.rpm, 2)) }
    end
    if token.tpm > 0 and used > token.tpm then
      return { 'rate_limited', 'tokens', text(token.tpm), text(waitMs(buckets, used, token.tpm, 3)) }
    end
  end
  if token.concurrency > 0 and token.open >= token.concurrency then
    return { 'rate_limited', 'concurrency', text(token.concurrency), '1000' }
  end
  return nil, rate
end

local function countRate(key, rate, tokens)
  if not rate then return end
  call('HSET', key, text(rate.second), text(rate.requests + 1) .. ':' .. text(rate.tokens + tokens))
  if #rate.gone > 0 then call('HDEL', key, unpack(rate.gone)) end
  call('PEXPIRE', key, (SPAN + 2) * 1000)
end
