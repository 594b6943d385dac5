-- What Postgres tells, packed as it is kept. Not a verb; the loader puts it in front of them.

-- A balance, from the four arguments that carry one.
local function balanceOf(ARGV)
  if not match(ARGV[2], '^%-?%d+$') or #ARGV[2] > 17 or ARGV[2] == '-0' then broken('argument') end
  local avail = tonumber(ARGV[2])
  if avail > MAX or avail < -MAX then broken('argument') end
  return put(BALANCE, avail, digits(ARGV[3]), digits(ARGV[4]), digits(ARGV[5]))
end

local function optional(number) return number == '-' and -1 or digits(number) end

-- 'version|status|overdraft|limit or -|action|ceiling or -'
local function orgTermsOf(told)
  local version, status, over, limit, action, ceiling = match(told, '^(%d+)|(%l)%l+|(%d+)|([%d-]+)|(%l)[%l_]+|([%d-]+)$')
  if not version then broken('terms') end
  return put(ORG_TERMS, digits(version), digits(over), optional(limit), optional(ceiling), status, action)
end

-- 'version|status|expires|rpm|tpm|concurrency|grace ends|grace digest or -' and 'critical 0 or 1;window:cap;…member:cap:token id,…;'
local function tokenTermsOf(org, digest, told, caps)
  local version, status, expires, rpm, tpm, conc, ends, grace = match(told, '^(%d+)|(%l)%l+|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
  if not version or #digest ~= 64 then broken('terms') end
  local who = put(WHO, idOf(org, 'org_'), digest, digits(version))
  if match(told, '^%d+|active|0|0|0|0|0|%-$') and caps == '0;' then return who end
  if #grace ~= 64 then grace = ('-'):rep(64) end
  local rules = { who, put(RULES, status, sub(caps, 1, 1), digits(expires), digits(rpm), digits(tpm), digits(conc), digits(ends), grace) }
  for window, most in gmatch(caps, '(%l)%l+:(%d+);') do rules[#rules + 1] = put(QUOTA, window, digits(most)) end
  for most in gmatch(caps, ';member:(%d+):') do rules[#rules + 1] = put(QUOTA, 'M', digits(most)) end
  for id in gmatch(caps, '[:,](tok_%w+)') do rules[#rules + 1] = idOf(id, 'tok_') end
  return concat(rules)
end

-- 'window:amount:ends;…'
local function useOf(told)
  local use = {}
  for window, amount, ends in gmatch(told, '(%l)%l+:(%d+):(%d+);') do use[#use + 1] = put(USE, window, digits(amount), digits(ends)) end
  return concat(use)
end

-- Terms are kept when their version is higher than what is there; when nothing readable is there, than all that was told
-- before, which may be told again.
local function isNewer(key, version, told)
  local kept, before, _ = call('HGET', key, 'terms') or '', nil, nil
  if #kept == 34 then before = orgTerms(kept) elseif isTerms(kept) then _, _, before = take(WHO, kept) end
  if not before or not areSums(before, 0, 0) then return version >= told end
  return version > before
end

-- The terms of a token of this organization are written: whoever remembers what they were finds something else here.
local function changedNow(org)
  local before, time = tonumber(call('HGET', org, 'tokens') or 0) or 0, call('TIME')
  return format('%016d', math.max(time[1] * 1000000 + time[2], before + 1))
end

-- What stands here and is no hash was put there by somebody else: whoever writes terms takes its place.
local function ours(key)
  local kind = call('TYPE', key)['ok']
  if kind ~= 'hash' and kind ~= 'none' then call('DEL', key) end
end
