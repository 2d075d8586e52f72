-- SPDX-License-Identifier: MIT
-- Runs specs without busted, for a Lua that busted's own modules do not know yet: as much of it as
-- spec/portable uses. SPEC_EVENTS: as of
-- spec/support/report.lua, the counts alone.
--
--   plain.lua SPEC...

local passed, failed = 0, 0

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function show(value)
  if type(value) ~= "table" then return tostring(value) end
  local list = {}
  for key, item in pairs(value) do list[#list + 1] = tostring(key) .. " = " .. show(item) end
  return "{ " .. table.concat(list, ", ") .. " }"
end

local function expect(holds, message, ...)
  if not holds then error(message:format(...), 3) end
  return true
end

local checks = {
  equal = function(a, b, what) return expect(a == b, "%s, not %s (%s)", show(b), show(a),
    tostring(what)) end,
  not_equal = function(a, b) return expect(a ~= b, "both are %s", show(a)) end,
  same = function(a, b) return expect(same(a, b), "%s, not %s", show(b), show(a)) end,
  is_nil = function(a, what) return expect(a == nil, "%s is not nil (%s)", show(a),
    tostring(what)) end,
  is_true = function(a, what) return expect(a == true, "%s is not true (%s)", show(a),
    tostring(what)) end,
  is_false = function(a) return expect(a == false, "%s is not false", show(a)) end,
  truthy = function(a, what) return expect(a, "%s (%s)", show(a), tostring(what)) end,
}

local own_assert = assert
local plain_assert = setmetatable(checks, { __call = function(_, ...) return own_assert(...) end })

local function attempt(name, fn)
  if not fn then return true end
  local ok, message = xpcall(fn, debug.traceback)
  if not ok then
    io.write("Failure -> ", name, "\n", tostring(message), "\n")
  end
  return ok
end

local function run(block)
  local hooks = block.hooks
  if not attempt(block.name .. " setup", hooks.setup) then failed = failed + 1 return end
  for _, test in ipairs(block.tests) do
    local name = block.name .. " " .. test.name
    local ok = attempt(name, hooks.before_each) and attempt(name, test.fn)
    ok = attempt(name, hooks.after_each) and ok
    if ok then passed = passed + 1 else failed = failed + 1 end
  end
  if not attempt(block.name .. " teardown", hooks.teardown) then failed = failed + 1 end
end

local env = setmetatable({ assert = plain_assert }, { __index = _G })
local current

function env.describe(name, fn)
  current = { name = name, hooks = {}, tests = {} }
  fn()
  run(current)
end

function env.it(name, fn)
  current.tests[#current.tests + 1] = { name = name, fn = fn }
end

for _, hook in ipairs{ "setup", "teardown", "before_each", "after_each" } do
  env[hook] = function(fn) current.hooks[hook] = fn end
end

for _, path in ipairs(arg) do
  own_assert(loadfile(path, "t", env))()
end
print(("%d passed, %d failed"):format(passed, failed))
local events = os.getenv("SPEC_EVENTS")
if events then
  local file = own_assert(io.open(events, "a"))
  file:write(("counts\t%d\t%d\t0\n"):format(passed, failed))
  file:close()
end
os.exit(failed == 0 and passed > 0 and 0 or 1, true)
