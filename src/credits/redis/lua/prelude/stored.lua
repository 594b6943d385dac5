-- How things are kept: numbers side by side as signed 64-bit integers (i8), words as one letter. Not a verb; the loader
-- puts it in front of them. Text that somebody wrote into such a field is never taken for a number: the highest byte of
-- each is 0 or 255, and no letter is.
--   org hash: balance avail, version, month spent, month ends ms · sums held, pend · json ·
--     terms version, overdraft, limit or -1, ceiling or -1, status, limit action
--   token hash: json · useVersion · terms org id, digest, version; then, unless it has none, its rules: status, critical,
--     expires ms, rpm, tpm, concurrency, grace ends ms, grace digest, and of each quota window and cap ·
--     and only of a token with rules sums held, pend, open holds · rate · used window, amount, ends ms …
--   requests hash: request id → H or Q amount, floor, token id, note (running; Q: counted in the sums of its token, should
--     that have any) · F or C cost, token id (ended)
--   deadlines of a shard: org id:request id, by deadline in ms
local BALANCE, ORG_SUMS, ORG_TERMS = '<i8i8i8i8', '<i8i8', '<i8i8i8i8c1c1'
local HELD, ENDED, HELD_BYTES, ENDED_BYTES = '<c1i8i8c18', '<c1i8c18', 35, 27

local function areSums(a, b, c) return a >= 0 and b >= 0 and c >= 0 and a <= MAX and b <= MAX and c <= MAX end

-- H or Q, amount, floor and owner of a request that is running, the note is what follows; or nil, F or C, cost and owner
-- of one that has ended.
local function readRequest(stored)
  local state = sub(stored, 1, 1)
  if (state == 'H' or state == 'Q') and #stored >= HELD_BYTES then
    local _, amount, least, owner = take(HELD, stored)
    if areSums(amount, least, 0) then return state, amount, least, owner end
  elseif (state == 'F' or state == 'C') and #stored == ENDED_BYTES then
    local _, cost, owner = take(ENDED, stored)
    if areSums(cost, 0, 0) then return nil, state, cost, owner end
  end
  broken('request')
end
