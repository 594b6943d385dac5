-- pending: which of these settlements Postgres does not have yet.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- KEYS[4] requests of the org
-- ARGV[1] expected epoch
-- ARGV[2] one line per request id, text
-- Answers: pending request-id… · epoch · filling
-- Safe to repeat: it writes nothing.
local no = closed(KEYS, ARGV, 'open')
if no then return no end
local answer = { 'pending' }
for id in gmatch(ARGV[2], '(req_%x+)\n') do
  local stored = call('HGET', KEYS[4], id)
  if stored and not readRequest(stored) then answer[#answer + 1] = id end
end
return answer
