-- SPDX-License-Identifier: MIT
-- One function of this program, called from stages in three languages at once: each gets its own
-- answers.
--
--     build/bin/noether-lua examples/three_languages.lua
local noether = require "noether"

local CODE = {
  python = [[
from noether import next_number

def execute(start):
    return [next_number(start + i) for i in range(3)]
]],
  javascript = [[
import { next_number } from "noether";

export async function execute(start) {
  return Promise.all([0, 1, 2].map((i) => next_number(start + i)));
}
]],
  bash = [[
execute() {
  local numbers=()
  for i in 0 1 2; do
    noether -v number next_number "$(($1 + i))"
    numbers+=("$number")
  done
  printf '[%s,%s,%s]' "${numbers[@]}"
}
]],
}
local STARTS = { bash = 100, javascript = 200, python = 300 }

local executor = noether.check(noether.executor{
  functions = { next_number = function(number) return number + 1 end },
})
local set, languages = noether.check(noether.set()), {}
for language, code in pairs(CODE) do
  local stage = { language = language, code = code, effects = { { Call = "next_number" } } }
  local task = noether.check(executor:start(stage, STARTS[language]))
  languages[noether.check(set:add(task))] = language
end
while set:count() > 0 do
  local task = noether.check(set:next())
  print(languages[task], noether.inspect(noether.check(task:wait())))
  task:close()
end
set:close()
executor:close()
