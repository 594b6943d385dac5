-- Whether a shard may be asked. Not a verb; the loader puts it in front of them.

-- 'open', 'filling', or 'epoch' when this is not the life of the data that the caller knows.
local function stateOf(key, life)
  local stored = call('GET', key)
  return stored == life .. ':open' and 'open' or stored == life .. ':filling' and 'filling' or 'epoch'
end
