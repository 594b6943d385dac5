-- spend: runs holds, settlements, extensions and reholds one after the other, each by itself: what one of them finds
-- broken stops no other. What several of them read or change is read and written once.
-- KEYS: three per shard (epoch, deadlines, stream), two per org (itself, its requests), tokens, claims of idempotency keys,
--   tokens that share the quota of their member with one of those, and two per shard (who is expected, who is wanted)
-- ARGV[1] how many shards, orgs and tokens, and of each command five: verb, shard from 0, org, token, claim from 1 or 0; bytes
-- ARGV[2…] the expected epoch of each shard, then of each command its head (not of S and D) and what is given with it
--   verb: H hold, S settle, D settle when due, E extend, R rehold
-- Answers: one text. First of each command a number: what remains, or how many bytes it has of the rest, as a negative one: a
--   word and what belongs to it, set off by byte 31; 'error' and a sentence when nothing was written; 'keys' and the ids of
--   all tokens that share a quota when some of them are missing here, and nothing was written.
-- Safe to repeat: because every verb is.
local places = ARGV[1]
local shards, orgsGiven, tokensGiven = byte(places, 1, 3)
local firstToken = 3 * shards + 2 * orgsGiven
local firstClaim = firstToken + tokensGiven
local numbers, texts, next = {}, {}, 2 + shards

local function run(at)
  local verb, shard, o, t, claim = byte(places, at, at + 4)
  o, t = 3 * shards + 2 * o - 1, firstToken + t
  if verb == 83 or verb == 68 then
    next = next + 1
    return settle(shard, o, t, verb == 68, ARGV[next - 1])
  end
  next = next + 2
  if verb == 72 then return hold(shard, o, t, claim > 0 and firstClaim + claim, ARGV[next - 2], ARGV[next - 1]) end
  return rarely()[verb](shard, o, t, ARGV[next - 2], ARGV[next - 1])
end

for at = 4, #places, 5 do
  local fine, answer = pcall(run, at)
  if not fine and type(answer) == 'table' and answer.keys then
    answer = answer.keys
  elseif not fine then answer = { 'error', type(answer) == 'table' and answer.err or tostring(answer) }
  end
  if type(answer) ~= 'number' then
    local words = type(answer) == 'table' and concat(answer, '\31') or answer
    texts[#texts + 1] = words
    answer = -#words
  end
  numbers[#numbers + 1] = answer
end
writeKept()
return put('<' .. ('d'):rep(#numbers), unpack(numbers)) .. concat(texts)
