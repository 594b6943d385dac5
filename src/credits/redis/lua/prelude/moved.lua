-- The sums of tokens with rules. Not a verb; the loader puts it in front of them.

local function moveToken(token, held, pend, open)
  local a, b, c = token.held + held, token.pend + pend, token.open + open
  if not areSums(a, b, c) then broken('sums') end
  token.held, token.pend, token.open = a, b, c
end

local function writeToken(token)
  local sums = put(TOKEN_SUMS, token.held, token.pend, token.open)
  if token.rate then call('HSET', token.key, 'sums', sums, 'rate', token.rate) else call('HSET', token.key, 'sums', sums) end
end
