-- SPDX-License-Identifier: MIT
-- A stage put into a store on disk, found again by name after the store was closed and reopened.
--
--     build/bin/noether-lua examples/word_count.lua [DIRECTORY]
--
-- The store stays in DIRECTORY; without one it is made below $TMPDIR and removed at the end.
local noether = require "noether"
local sys = require "noether.sys"

local WORD_COUNT = [[
def execute(input):
    counts = {}
    for line in input["lines"]:
        for word in line.split():
            counts[word] = counts.get(word, 0) + 1
    return {"words": sum(counts.values()), "different": len(counts)}
]]

local function put(dir)
  local store = noether.check(noether.store.open(dir))
  return noether.check(store:put{
    name = "word_count", language = "python", code = WORD_COUNT, effects = { "Pure" },
  })
end

local function count(dir, lines)
  local store = noether.check(noether.store.open(dir))
  local executor = noether.check(noether.executor{ store = store, timeout_secs = 20 })
  local answer, err, info = executor:execute("word_count", { lines = lines })
  executor:close()
  return noether.check(answer, err, info)
end

local function main(given)
  local dir = given or noether.check(sys.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/words-"))
  local id = put(dir)
  print("stored as " .. id)
  local answer, _, info = count(dir, { "to be or not to be", "that is the question" })
  print(("%d words, %d of them different"):format(answer.words, answer.different))
  print(("run by %s %s"):format(info.runtime.path, info.runtime.version))
  if not given then sys.remove_tree(dir) end
  return answer.words == 10 and answer.different == 8
end

os.exit(main(arg and arg[1]) and 0 or 1, true)
