-- SPDX-License-Identifier: MIT
--- Writes docs/interpreters.md: what each language of this machine needs, measured here.
--
--     noether-lua tools/docs/interpreters.lua >docs/interpreters.md
--
-- A language that is not installed is left out.
local languages = require "spec.support.languages"
local noether = require "noether"

local MIB = 1024 * 1024
local MEMORY_MIB = { 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048 }
local PROCESSES = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64, 96, 128 }
local RUNS = 9

local BUILT_IN = {
  { name = "python", double = "def execute(input): return input['n'] * 2" },
  { name = "javascript", double = "function execute(input) { return input.n * 2; }" },
  { name = "bash", double = "execute() { [[ $1 =~ ([0-9]+) ]]; echo $((BASH_REMATCH[1] * 2)); }" },
}

local HEAD = [[
# Interpreters

What the languages need that are tried: those that are built in (to node, TypeScript is what
JavaScript is), and those of
[examples/policies/languages](../examples/policies/languages), each of which is one
[policy file](policy.md#languagesname). `make interpreters` measures the ones that are installed and
writes this page; `make check-deep` runs all of them in every sandbox.

| language | interpreter | effects | least memory | least processes | ratio |
|---|---|---|---|---|---|
]]

local TAIL = [[

**Effects**: what a stage must declare for its interpreter to work at all; `Process`, since the
compiler or a library starts programs. **Least memory**: the smallest `limits.memory_bytes`, of the
steps that were tried, with which a stage that doubles a number answers, and which its biggest
process had at its peak. **Least processes**: the
smallest `limits.processes`; threads count, and some interpreters start as many as there are
processors, or a few for each. Below it node waits for ever, and the others fail in their own words:
the hint says that the limit was met. **Ratio**: the time of that stage in the sandbox, to the time
without one, the fastest of nine runs each; Go compiles anew in each sandbox. `?`: more than the
most that was tried.

Interpreters see no control group, and go by the memory of the machine: a policy is told the limits
of the run, and tells them on (`opts.limits` of `argv` and `env`), as those of JavaScript, Deno,
Java and Go do.
]]

local function execute(executor, language, opts)
  return executor:execute({
    language = language.name, code = language.double, effects = language.effects or {},
  }, { n = 21 }, opts)
end

-- Memory that is looked at now and then is not seen in a short stage: what it had at its peak must
-- have been within the limit, too.
local function works(executor, language, limits)
  local output, _, info = execute(executor, language, { limits = limits, timeout_secs = 20 })
  return output == 42 and info.result.max_rss_bytes <= (limits.memory_bytes or math.huge)
end

-- The least of the steps from which on it works, tried from above.
local function least(steps, test)
  local found
  for index = #steps, 1, -1 do
    if not test(steps[index]) then break end
    found = steps[index]
  end
  return found or "?"
end

-- The fastest of some runs: what else the machine does only makes one slower.
local function fastest(executor, language)
  local best = math.huge
  for _ = 1, RUNS do
    local before = noether.clock()
    noether.check(execute(executor, language))
    best = math.min(best, noether.clock() - before)
  end
  return best
end

local function row(isolated, open, language)
  local _, err, info = execute(isolated, language)
  if err then
    io.stderr:write(("left out: %s: %s\n"):format(language.name, tostring(err)))
    return nil
  end
  local memory = least(MEMORY_MIB, function(mib)
    return works(isolated, language, { memory_bytes = mib * MIB })
  end)
  local processes = least(PROCESSES, function(count)
    return works(isolated, language, { processes = count })
  end)
  return ("| %s | %s | %s | %s MiB | %s | %.1f |"):format(language.name, info.runtime.version,
    language.effects and table.concat(language.effects, ", ") or "none", memory, processes,
    fastest(isolated, language) / fastest(open, language))
end

local function main()
  local options = { policy_path = "examples/policies", timeout_secs = 120 }
  local isolated = noether.check(noether.executor(options))
  options.isolation = "none"
  local open = noether.check(noether.executor(options))
  io.stdout:setvbuf("line")
  io.write(HEAD)
  for _, list in ipairs{ BUILT_IN, languages.LANGUAGES } do
    for _, language in ipairs(list) do
      local text = row(isolated, open, language)
      if text then io.write(text, "\n") end
    end
  end
  io.write(TAIL)
end

main()
