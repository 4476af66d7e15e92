-- wrk's script: wrk ... -s load.lua URL -- SEED BODY_FILE "name: value" ...
--
-- POSTs the content of BODY_FILE. Where that says @FRESH@, every request gets other words there:
-- 28 of them, about 30 tokens, never the same twice. Prints one line for benches/load.py to parse.

local WORDS = {
  "the", "river", "old", "town", "under", "bridge", "music", "paper", "green", "house", "water",
  "light", "train", "small", "window", "garden", "letter", "summer", "story", "market", "stone",
  "quick", "road", "winter", "table", "number", "school", "doctor", "sun", "north", "blue", "song",
  "who", "wrote", "about", "where", "when", "many", "people", "find", "their", "way", "home",
  "after", "long", "day", "work", "with", "friends", "near", "lake", "and", "cold", "morning",
}

local function sentence()
  local words = {}
  for i = 1, 28 do words[i] = WORDS[math.random(#WORDS)] end
  return table.concat(words, " ")
end

function init(args)
  math.randomseed(tonumber(args[1]))
  local file = assert(io.open(args[2], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  for i = 3, #args do
    local name, value = args[i]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
  local before, after = wrk.body:match("^(.*)@FRESH@(.*)$")
  if before then
    function request()
      return wrk.format(nil, nil, nil, before .. sentence() .. after)
    end
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nBENCH {"requests":%d,"micros":%d,"bytes":%d,"statuses":%d,"sockets":%d,"p50":%f,"p99":%f}\n',
    summary.requests, summary.duration, summary.bytes, e.status,
    e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
