-- expect: names organizations that are still to be loaded, and their tokens, so that the shard may open before they are.
-- KEYS[1] epoch of the shard        KEYS[2] deadlines of the shard (unused)   KEYS[3] stream of the shard (unused)
-- ARGV[1] expected epoch
-- ARGV[2] ids of organizations, one after the other, text
-- ARGV[3] ids of tokens, each with that of its organization behind it, text
-- Answers: expected · lost (so are names that were said before, and none are taken any more in this life) · open (not being filled) · epoch
-- Safe to repeat: whoever was loaded meanwhile is loaded once more.
local no = closed(KEYS, ARGV, 'filling')
if no then return no end
local orgs, tokens, named, count = ARGV[2], ARGV[3], { 'all', '' }, 2
if #orgs % 20 ~= 0 or #tokens % 38 ~= 0 or find(orgs, '[^%w_]') or find(tokens, '[^%w_]') then broken('id') end
for at = 1, #orgs, 20 do
  local org = sub(orgs, at, at + 19)
  named[count + 1], named[count + 2], count = org, org, count + 2
end
for at = 1, #tokens, 38 do
  named[count + 1], named[count + 2], count = sub(tokens, at, at + 17), sub(tokens, at + 18, at + 37), count + 2
end
ours(KEYS.expected)
if call('HEXISTS', KEYS.expected, 'begun') == 0 then return { 'lost' } end
for at = 1, count, 4000 do call('HSET', KEYS.expected, unpack(named, at, math.min(at + 3999, count))) end
return { 'expected' }
