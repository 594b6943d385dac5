-- What few settlements need. Not a verb; the loader puts it in front of them.

-- Whether the lease of a request has run out. One that has ended is no longer listed.
local function isDue(deadlines, member, running)
  if running then
    local deadline = call('ZSCORE', deadlines, member)
    return deadline and tonumber(deadline) <= nowMs()
  end
  call('ZREM', deadlines, member)
end

-- On a full server: first what is never refused for want of memory. After that nothing is, so running requests settle.
-- The entry, or nil and what failed.
local function addWhenFull(failed, shard, member, given)
  if not member or not find(failed.err or '', 'OOM', 1, true) then return nil, failed end
  local gone = try('ZREM', KEYS[3 * shard + 2], member)
  if type(gone) == 'table' then return nil, gone end
  return call('XADD', KEYS[3 * shard + 3], '*', 'e', given)
end
