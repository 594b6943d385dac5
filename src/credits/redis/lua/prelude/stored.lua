-- How things are kept: numbers side by side as signed 64-bit integers (i8), words as one letter. Not a verb; the loader
-- puts it in front of them. Text that somebody wrote into such a field is never taken for a number: the highest byte of
-- each is 0 or 255, and no letter is.
--   org hash: balance avail, version, month spent, month ends ms · sums held, pend · json · tokens 16 digits that change
--     whenever the terms of one of its tokens are written ·
--     terms version, overdraft, limit or -1, ceiling or -1, status, limit action
--   token hash: json · useVersion · terms org id, digest, version; then, unless it has none, its rules: status, critical,
--     expires ms, rpm, tpm, concurrency, grace ends ms, grace digest, and of each quota window and cap;
--     then, if its member has a quota, M and cap, and the ids of all tokens that share it ·
--     and only of a token with rules sums held, pend, open holds · rate · used window, amount, ends ms …
--   requests hash, numbers as doubles: request id → H or Q amount, floor, token id, note (running; Q: counted in the sums
--     of its token, should that have any) · F or C cost, token id (ended). Text is no request either: it has no such owner.
--   told, of a shard: the highest versions there were of terms, balances and uses, should their own keys be deleted
--   expected, of a shard that serves before all of it is loaded: id of an organization or token → that organization · all
--   wanted, of such a shard: organizations that somebody asked for meanwhile
--   deadlines of a shard: org id and request id, by deadline in ms
--   stream of a shard, field e: F or C, cost, org id, request id, event
local BALANCE, ORG_SUMS, ORG_TERMS = '<i8i8i8i8', '<i8i8', '<i8i8i8i8c1c1'
local HELD, ENDED, CHARGE, HELD_BYTES, ENDED_BYTES = '<c1ddc18', '<c1dc18', '<c1dc20c36', 35, 27

local function areSums(a, b, c) return a >= 0 and b >= 0 and c >= 0 and a <= MAX and b <= MAX and c <= MAX end

-- H or Q, amount, floor and owner of a request that is running, the note is what follows; or nil, F or C, cost and owner
-- of one that has ended.
local function readRequest(stored)
  local length, state, a, b, owner = #stored, nil, nil, 0, nil
  if length >= HELD_BYTES then state, a, b, owner = take(HELD, stored)
  elseif length == ENDED_BYTES then state, a, owner = take(ENDED, stored) end
  if not a or a < 0 or a > MAX or a % 1 ~= 0 or b < 0 or b > MAX or b % 1 ~= 0 then broken('request') end
  if length == ENDED_BYTES and (state == 'F' or state == 'C') then return nil, state, a, owner end
  if length == ENDED_BYTES or (state ~= 'H' and state ~= 'Q') then broken('request') end
  return state, a, b, owner
end
