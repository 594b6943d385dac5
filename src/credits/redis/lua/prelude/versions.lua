-- The highest versions told are kept beside what they are of: should somebody delete that, what comes late or twice is not
-- taken for news. A hash of the shard: id → version of its terms · id and ! → version of its balance or use, life of the data.
-- Not a verb; the loader puts it in front of them.
local function allTold(told, id)
  local kept = call('HMGET', told, id, id .. '!')
  local version, life = match(kept[2] or '', '^(%d+) (.*)$')
  return tonumber(match(kept[1] or '', '^%d+$') or -1), tonumber(version or -1), life
end
local function termsTold(told, id) return (allTold(told, id)) end
local function balanceTold(told, id) return (select(2, allTold(told, id))) end
local function tellTerms(told, id, version) call('HSET', told, id, text(version)) end
local function tellBalance(told, id, version, life) call('HSET', told, id .. '!', text(version) .. ' ' .. life) end
