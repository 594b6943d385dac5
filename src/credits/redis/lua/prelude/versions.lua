-- The highest versions told are kept beside what they are of: should somebody delete that, what comes late or twice is not
-- taken for news. A hash of the shard: id → version of its terms · id and ! → version of its balance or use, life of the data.
-- Not a verb; the loader puts it in front of them.
local function termsTold(told, id)
  return tonumber(match(call('HGET', told, id) or '', '^%d+$') or -1)
end
local function balanceTold(told, id)
  local version, life = match(call('HGET', told, id .. '!') or '', '^(%d+) (.*)$')
  return tonumber(version or -1), life
end
local function tellTerms(told, id, version) call('HSET', told, id, text(version)) end
local function tellBalance(told, id, version, life) call('HSET', told, id .. '!', text(version) .. ' ' .. life) end
