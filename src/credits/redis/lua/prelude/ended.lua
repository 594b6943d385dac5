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
local function addWhenFull(failed, deadlines, member, stream, org, id, kind, cost, event)
  if not find(failed.err or '', 'OOM', 1, true) then return nil, failed end
  call('ZREM', deadlines, member)
  return call('XADD', stream, '*', 'o', org, 'r', id, 'k', kind, 'c', cost, 'e', event)
end
