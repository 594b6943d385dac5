-- holds: the named requests of an organization, those that are still running.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] requests of the org
-- ARGV[1] expected epoch
-- ARGV[2] one line per request id, text
-- Answers: holds id facts note… (facts: amount|floor|token id) · epoch · filling
-- Safe to repeat: it writes nothing. What cannot be read is left out: the settlement of it would fail all the same.
local no = closed(KEYS, ARGV, 'open')
if no then return no end
local answer = { 'holds' }
for id in gmatch(ARGV[2], '(req_%x+)\n') do
  local stored = call('HGET', KEYS[4], id)
  local fine, facts, note = pcall(holdText, stored or '')
  for _, part in ipairs(fine and facts and { id, facts, note } or {}) do answer[#answer + 1] = part end
end
return answer
