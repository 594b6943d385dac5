-- Whether a shard may be asked, and an organization in it. Not a verb; the loader puts it in front of them.

-- 'open', 'serving' (open, while organizations of it are still expected), 'filling', or 'epoch' when this is not the life of
-- the data that the caller knows.
local function stateOf(key, life)
  local stored = call('GET', key)
  if stored == life .. ':open' then return 'open' end
  return stored == life .. ':serving' and 'serving' or stored == life .. ':filling' and 'filling' or 'epoch'
end

-- In a shard that serves: the organization of an id, of its own or of a token, when that is still to be loaded. Without the word
-- that is written beside the names nobody is known to be loaded: they were never said, or are lost.
local function expectedIn(expected, id)
  local kept = call('HMGET', expected, 'all', id)
  return kept[2] or not kept[1] and ''
end

-- To whoever asks it is 'filling' until then, and from now on wanted: it is loaded before others.
local function stateIn(expected, wanted, id)
  local org = expectedIn(expected, id)
  if not org then return 'open' end
  if org ~= '' then redis.pcall('SADD', wanted, org) end
  return 'filling'
end
