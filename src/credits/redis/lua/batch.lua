-- batch: runs commands of any verbs one after the other, each by itself: what one of them finds broken stops no other.
-- KEYS: three per shard (epoch, deadlines, stream), then the further keys of each command in turn, then two per shard: who is
--   expected, and who is wanted. A verb finds its own as KEYS, and those two as KEYS.expected and KEYS.wanted.
-- ARGV[1] number of shards
-- ARGV[2…] the expected epoch of each, then for each command its head and its texts. A head reads
--   'verb|shard, from 0|number of further keys|number of texts|field|field…'
-- Answers: a list, in order: what each verb answers, or error and a sentence when nothing was written.
-- Safe to repeat: because every verb is. VERBS and SPLIT (how the fields of a verb are cut) are put here by the loader.
local shards = tonumber(ARGV[1])
local keyAt, argAt, last, answers = 3 * shards, 1 + shards, #ARGV, {}
while argAt < last do
  argAt = argAt + 1
  local verb, shard, keys, texts, fields = match(ARGV[argAt], '^(%l+)|(%d+)|(%d+)|(%d+)|(.*)$')
  shard, keys, texts = tonumber(shard), tonumber(keys), tonumber(texts)
  local own = { KEYS[3 * shard + 1], KEYS[3 * shard + 2], KEYS[3 * shard + 3] }
  for i = 1, keys do own[3 + i] = KEYS[keyAt + i] end
  local names = #KEYS - 2 * (shards - shard)
  own.expected, own.wanted = KEYS[names + 1], KEYS[names + 2]
  keyAt = keyAt + keys
  local given = SPLIT[verb] and { ARGV[2 + shard], match(fields, SPLIT[verb]) } or { ARGV[2 + shard] }
  local count = #given
  for i = 1, texts do given[count + i] = ARGV[argAt + i] end
  argAt = argAt + texts
  local fine, answer = pcall(VERBS[verb], own, given)
  if not fine then answer = { 'error', type(answer) == 'table' and answer.err or tostring(answer) } end
  answers[#answers + 1] = answer
end
return answers
