-- spend: runs holds, settlements, extensions and reholds one after the other, each by itself: what one of them finds
-- broken stops no other. What several of them read or change is read and written once.
-- KEYS: three per shard (epoch, deadlines, stream), then in any order an org and its requests, tokens, claims of
--   idempotency keys; a command names the first of its keys by their place.
-- ARGV[1] number of shards
-- ARGV[2…] the expected epoch of each, then for each command two: its head, and what is given with it. A head is packed:
--   verb (H, S, E or R), shard from 0, org, token, claim or 0, request id, three numbers, and for a hold who asks
-- Answers: one text, each answer set off by byte 30, its parts by byte 31; 'error' and a sentence when nothing was written.
-- Safe to repeat: because every verb is.
local function run(head, given)
  local verb, shard, o, t, claim, id, a, b, c, after = take('<c1HHHHc36i8i8i8', head)
  if a < 0 or a >= AMOUNTS_END or b < 0 or b >= AMOUNTS_END or not areSums(c, 0, 0) then broken('amount') end
  if not find(id, '^req_%x+$') then broken('id') end
  if verb == 'H' then return hold(shard, o, t, claim, id, a, b, c, sub(head, after), given) end
  if verb == 'S' then return settle(shard, o, t, claim, id, a, b, c, nil, given) end
  return rarely()[verb](shard, o, t, claim, id, a, b, c, nil, given)
end

local answers, at = {}, 0
for i = 2 + ARGV[1], #ARGV, 2 do
  local fine, answer = pcall(run, ARGV[i], ARGV[i + 1])
  if not fine then answer = { 'error', type(answer) == 'table' and answer.err or tostring(answer) } end
  if type(answer) == 'table' then
    for part = 1, #answer do answer[part] = string.gsub(answer[part], '[\30\31]', ' ') end
    answer = concat(answer, '\31')
  end
  at = at + 1
  answers[at] = answer
end
writeKept()
return concat(answers, '\30')
