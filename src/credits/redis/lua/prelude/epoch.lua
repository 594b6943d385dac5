-- Whether a shard may be asked. Not a verb; the loader puts it in front of them.
-- KEYS[1] epoch, KEYS[2] deadlines and KEYS[3] stream of the shard are the same in every verb.

-- Fails when the stream is of another type, before anything is written. Once a run is enough: no verb changes a type.
local isTyped = {}
local function typed(KEYS)
  if isTyped[KEYS[3]] then return end
  call('XLEN', KEYS[3])
  isTyped[KEYS[3]] = true
end

-- The answer when this shard cannot be asked: 'epoch' (another life of the data) or 'filling'. The second value says
-- whether it is open. `during` is 'open', 'filling' or 'both'.
local function closed(KEYS, ARGV, during)
  local stored = call('GET', KEYS[1])
  local open = stored == ARGV[1] .. ':open'
  local filling = not open and stored == ARGV[1] .. ':filling'
  if not open and not filling then return { 'epoch' } end
  if during == 'both' or (open and during == 'open') or (filling and during == 'filling') then return nil, open end
  return { filling and 'filling' or 'open' }
end
