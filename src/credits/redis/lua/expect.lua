-- expect: names organizations that are still to be loaded, and their tokens, so that the shard may open before they are.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- ARGV[1] expected epoch
-- ARGV[2] one line per organization: its id, then those of its tokens, each after a space, text
-- Answers: expected · open (not being filled) · epoch
-- Safe to repeat: whoever was loaded meanwhile is loaded once more.
local no = closed(KEYS, ARGV, 'filling')
if no then return no end
local named = { 'all', '' }
for org, tokens in gmatch(ARGV[2], '(%S+)([^\n]*)\n') do
  idOf(org, 'org_')
  named[#named + 1], named[#named + 2] = org, org
  for token in gmatch(tokens, '%S+') do named[#named + 1], named[#named + 2] = idOf(token, 'tok_'), org end
end
ours(KEYS.expected)
for at = 1, #named, 1000 do call('HSET', KEYS.expected, unpack(named, at, math.min(at + 999, #named))) end
return { 'expected' }
