-- SPDX-License-Identifier: MIT
--- What hints of the library say of its options, in the words of the command line.
local render = require "noether.cli.render"

local M = {}

local LIMITS = {
  memory_bytes = "memory", cpu_secs = "cpu", file_bytes = "file", private_bytes = "private",
}

local function limit(name)
  return "--limit " .. (LIMITS[name] or name)
end

-- A path in Lua's quotes as a word of the shell.
local function effect(name, quoted)
  local path = quoted:gsub("\\(.)", "%1")
  return render.shell_line{ "--effect", ("%s=%s"):format(name, path) }
end

-- Longer names first: one is the end of another.
local OPTIONS = {
  { "setup_timeout_secs", "--setup-timeout" }, { "timeout_secs", "--timeout" },
  { "policy_path", "--policy-path" },
}

--- A hint as the command says it.
-- @tparam string hint
-- @tparam ?string lacking the effect that was lacking, if one was
-- @treturn string
function M.of(hint, lacking)
  local said = hint:gsub("declare { (%u%a+) = \"([^\"\n]*)\" }", function(name, path)
    return "give " .. effect(name, path)
  end)
  said = said:gsub("a stage declares { (%u%a+) = \"([^\"\n]*)\" }", function(name, path)
    return "give " .. effect(name, path)
  end)
  said = said:gsub("limits%.([%a_]+)", limit)
  for _, option in ipairs(OPTIONS) do
    said = said:gsub("%f[%w_]" .. option[1] .. "%f[^%w_]", function() return option[2] end)
  end
  if lacking and not said:find("--effect", 1, true) then
    local name, value = lacking:match("^(%u%a+)%((.*)%)$")
    said = ("%s (%s)"):format(said, name and effect(name, value) or "--effect " .. lacking)
  end
  return said
end

return M
