-- SPDX-License-Identifier: MIT
--- Tests that hold over several backends, or over several ways to start.
--
--     helper.over({ backends = { "native", "bwrap", "landlock" } }, "a stage under %s",
--       function(backend)
--         it("answers", function() ... end)
--       end)
--
-- is one `describe` for each. `make test` runs each of the tests over one combination only, which
-- its name and the week choose (SPEC_OVER=one, SPEC_WEEK); only what `always` names runs over all:
-- where there are both axes, over all backends by the first of the starts.
-- `make spec` and `make check-deep` run all of them over all.
--
-- Where `make test` runs a file as two users, and plan.lua has them share it, each test is run by
-- one of them, whom its name and the week choose (SPEC_SHARE=1 or 2).
local busted = require "busted"
local plan = require "spec.support.plan"

local M = {}

-- In the order in which `body` gets them.
local AXES = { "backends", "starts" }

local chooses = os.getenv "SPEC_OVER" == "one"
local seed = os.getenv "SPEC_WEEK" or os.date "!%G-W%V"
local share = tonumber(os.getenv "SPEC_SHARE")

-- What any descriptor of busted registers; only describes and tests have a name.
local DESCRIPTORS = { "describe", "it", "pending", "before_each", "after_each", "lazy_setup",
  "lazy_teardown", "strict_setup", "strict_teardown" }

-- FNV-1a.
local function hash(text)
  local value = 0x811c9dc5
  for i = 1, #text do value = ((value ~ text:byte(i)) * 0x01000193) & 0xffffffff end
  return value
end

-- Every combination, as lists: { { "native", "kept" }, ... }.
local function product(axes)
  local all = { {} }
  for _, axis in ipairs(AXES) do
    local longer = {}
    for _, one in ipairs(axes[axis] and all or {}) do
      for _, value in ipairs(axes[axis]) do
        local next_one = table.move(one, 1, #one, 1, {})
        next_one[#next_one + 1] = value
        longer[#longer + 1] = next_one
      end
    end
    if axes[axis] then all = longer end
  end
  return all
end

local function values_of(axes)
  local values = {}
  for _, axis in ipairs(AXES) do
    for _, value in ipairs(axes[axis] or {}) do values[#values + 1] = value end
  end
  return values
end

-- The name of a test, the same for each combination.
local function common_name(names, name, values)
  local text = table.concat(names, " ") .. (names[1] and " " or "") .. name
  for _, value in ipairs(values) do
    text = text:gsub((value:gsub("%p", "%%%0")), "%%s")
  end
  return text
end

-- While it is set, nothing is registered: names are told to it, and describes entered.
local collecting
-- The group whose describe is being filled, or run.
local inside

local function on_collect(descriptor, name, fn)
  if descriptor == "describe" then
    local names = collecting.names
    names[#names + 1] = name
    fn()
    names[#names] = nil
  elseif descriptor == "it" then
    collecting.found(common_name(collecting.names, name, collecting.values))
  end
end

-- Which combinations have which test: some are written for one backend alone.
local function holds_of(combinations, values, body)
  local holds = {}
  for index, combination in ipairs(combinations) do
    collecting = { names = {}, values = values, found = function(name)
      holds[name] = holds[name] or {}
      table.insert(holds[name], index)
    end }
    local ok, message = pcall(body, table.unpack(combination))
    collecting = nil
    if not ok then error(message, 0) end
  end
  return holds
end

-- The file that is being read, the describes around what is being registered in it, and whether
-- each user runs that.
local file, around, for_each_user

-- Whether this user is the one who runs a test, by a name that is the same for both.
local function is_ours(...)
  if not share or for_each_user or not plan.is_shared(file) then return true end
  local week = seed:gsub("%+$", "")
  return (hash(table.concat({ week, file, ... }, " ")) >> 8) % 2 + 1 == share
end

-- Whether a test runs in the group that is being filled.
local function is_chosen(name)
  local text = common_name(inside.names, name, inside.values)
  if inside.always[text] and inside.leads then
    return is_ours(tostring(inside.index), inside.title, text)
  end
  local indices = inside.holds[text]
  local choice = hash(seed .. inside.title .. text) % #indices + 1
  return indices[choice] == inside.index and is_ours(inside.title, text)
end

local function is_run(name)
  if inside then return is_chosen(name) end
  return is_ours(table.concat(around, " "), name)
end

busted.subscribe({ "file", "start" }, function(element)
  file, around = element.name, {}
  return nil, true
end, { priority = 1 })

for _, descriptor in ipairs(DESCRIPTORS) do
  busted.subscribe({ "register", descriptor }, function(name, fn)
    if collecting then
      on_collect(descriptor, name, fn)
      return nil, false
    end
    return nil, descriptor ~= "it" or is_run(name)
  end, { priority = 1 })
end

local groups = {}

busted.subscribe({ "describe", "start" }, function(describe)
  table.insert(around, describe.name)
  if groups[describe.run] then
    inside = groups[describe.run]
  elseif inside then
    table.insert(inside.names, describe.name)
  end
  return nil, true
end)

busted.subscribe({ "describe", "end" }, function(describe)
  table.remove(around)
  if groups[describe.run] then
    inside = nil
  elseif inside then
    table.remove(inside.names)
  end
  return nil, true
end)

local function always_of(axes, values, holds)
  local always = {}
  for _, name in ipairs(axes.always or {}) do
    local text = common_name({}, name, values)
    assert(not holds or holds[text], "over: always: there is no test " .. name)
    always[text] = true
  end
  return always
end

--- Registers `body` once for each combination, as a `describe` of its own.
-- @tparam table axes `backends`, `starts`: lists of names; `always`: names of tests, with
-- those of their describes
-- @tparam string title with a "%s" for each of the axes, in that order
-- @tparam function body gets the names
function M.over(axes, title, body)
  assert(not inside and not collecting, "over: say all axes in one call")
  for name in pairs(axes) do
    assert(name == "backends" or name == "starts" or name == "always", "over: what is " .. name)
  end
  local had = axes.backends and M.backends(axes.backends)
  local is_whole = not had or #had == #axes.backends
  axes = { backends = had, starts = axes.starts, always = axes.always }
  local combinations = product(axes)
  local values = values_of(axes)
  local holds = holds_of(combinations, values, body)
  local always = always_of(axes, values, is_whole and holds)
  for index, combination in ipairs(combinations) do
    local function run() body(table.unpack(combination)) end
    if chooses then
      local leads = not axes.backends or not axes.starts or combination[2] == axes.starts[1]
      groups[run] = { title = title, names = {}, values = values, holds = holds, always = always,
        index = index, leads = leads }
    end
    busted.describe(title:format(table.unpack(combination)), run)
  end
end

--- Registers tests that each user runs, in a file that users share, since they are another's each
-- time, or are only one's.
-- @tparam function body registers them
function M.for_each_user(body)
  for_each_user = true
  body()
  for_each_user = false
end

return M
