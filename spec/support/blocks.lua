-- SPDX-License-Identifier: MIT
--- The fenced blocks of a document, and how each is run. The ```text block that follows on one,
-- before any other block, is what it prints. A line before a block says what else it is:
--
--     <!-- tested -->         a block of sh is run (others are only read through)
--     <!-- run: lua5.4 -->    a block of Lua is run by that interpreter, not by noether-lua
--     <!-- not run -->        a block of Lua is only compiled: it needs more than a test has
--     <!-- file: NAME -->     a block is a file, which blocks that follow find beside them
--
-- A block of console is a session at noether-lua's prompt: what stands after a prompt is typed.
local helper = require "spec.support.helper"

local M = {}

local build = helper.lua:match("^(.*)/bin/[^/]+$")

-- What is typed in a session, and what there is to see without it.
local function split_session(block)
  local typed, shown = {}, {}
  for line in block.code:gmatch("([^\n]*)\n") do
    local prompt, text = line:match("^(>>?) ?(.*)$")
    if prompt then
      typed[#typed + 1] = text
      shown[#shown + 1] = prompt .. " "
    else
      shown[#shown + 1] = line .. "\n"
    end
  end
  block.code = table.concat(typed, "\n") .. "\n"
  block.output = table.concat(shown)
end

--- The blocks of a document in order.
-- @tparam string path below the project's root
-- @treturn table list of `{ document, language, code, line, output (or nil), tested, not_run, run,
-- file }`
function M.read(path)
  local found, block, last, number = {}, nil, "", 0
  for line in helper.read(helper.root .. "/" .. path):gmatch("([^\n]*)\n") do
    number = number + 1
    local language = not block and line:match("^```(%a+)$")
    if language then
      block = {
        document = path, language = language, lines = {}, line = number,
        tested = last == "<!-- tested -->", not_run = last == "<!-- not run -->",
        run = last:match("^<!%-%- run: (%S+) %-%->$"),
        file = last:match("^<!%-%- file: (%S+) %-%->$"),
      }
    elseif block and line == "```" then
      block.code = table.concat(block.lines, "\n") .. "\n"
      if block.language == "text" then
        found[#found].output = block.code
      else
        found[#found + 1] = block
        if block.language == "console" then split_session(block) end
      end
      block = nil
    elseif block then
      table.insert(block.lines, line)
    end
    last = line
  end
  assert(not block, path .. ": a block that does not end")
  return found
end

--- Without blanks at the ends of lines, which are for nobody to see, or to type.
-- @tparam string text
-- @treturn string
function M.plain(text)
  return (text:gsub("[ \t]+\n", "\n"):gsub("\n+$", "\n"))
end

-- Paths of the source tree; what was built need not be in it.
local function in_tree(code)
  return (code:gsub("%f[%w]build/", function() return build .. "/" end))
end

local TREE_PATHS = "export LUA_PATH=%s LUA_CPATH=%s\n"

local runners = {}

function runners.lua(block, directory)
  local path = helper.write(directory .. "/first.lua", block.code)
  local command = ("cd %s && PATH=%s:$PATH && %s %s"):format(helper.quote(directory),
    helper.quote(build .. "/bin"), helper.quote(block.run or helper.lua), helper.quote(path))
  if not block.run then return helper.shell(command) end
  local root = helper.root
  local lua_path = ("%s/lua/?.lua;%s/lua/?/init.lua;;"):format(root, root)
  return helper.shell(helper.sanitizers_first .. TREE_PATHS:format(
    helper.quote(lua_path), helper.quote(build .. "/lib/5.4/?.so;;")) .. command)
end

-- What sanitizers need of a C compiler, where a shell block calls it.
local function compiler()
  if not helper.sanitized then return "" end
  return 'cc() { LD_PRELOAD= command cc -fsanitize=address,undefined "$@"; }\n'
end

function runners.sh(block)
  return helper.shell(("set -e; cd %s\n%s%s%s"):format(
    helper.quote(helper.root), helper.sanitizers_first, compiler(), in_tree(block.code)))
end

-- What pkg-config makes of noether.pc, with the paths of a build that is not installed.
local function compiler_flags()
  local text = helper.read(build .. "/lib/pkgconfig/noether.pc")
  local paths = { libdir = build .. "/lib", includedir = helper.root .. "/include" }
  local flags = text:match("\nCflags: ([^\n]*)") .. " " .. text:match("\nLibs: ([^\n]*)")
  if helper.sanitized then flags = flags .. " -fsanitize=address,undefined" end
  return (flags:gsub("${(%w+)}", paths))
end

function runners.c(block, directory)
  helper.write(directory .. "/hello.c", block.code)
  return helper.shell(("cd %s && cc -Wall -Wextra -Werror hello.c %s -o hello && "
    .. "LD_LIBRARY_PATH=%s/lib ./hello"):format(
    helper.quote(directory), compiler_flags(), helper.quote(build)))
end

-- On a terminal, which shows what is typed ahead until its echo is off, and that is before the
-- banner: it is left out, and the last prompt, which nobody answers.
function runners.console(block, directory)
  local path = helper.write(directory .. "/typed", block.code)
  local output, code = helper.shell(("cd %s && TERM=dumb script -qec %s /dev/null <%s"):format(
    helper.quote(directory), helper.quote("stty -echo; exec " .. helper.quote(helper.lua)),
    helper.quote(path)))
  output = output:gsub("\r", "")
  local _, banner = output:find("\nnoether [%d.]+\n")
  return (output:sub((banner or 0) + 1):gsub("> \n$", "")), code
end

--- Whether a block is run, and what it prints compared.
-- @tparam table block
-- @treturn boolean
function M.is_run(block)
  if block.file or block.not_run or not runners[block.language] then return false end
  return block.language ~= "sh" or block.tested
end

--- Run a block among the files of its document that stand before it.
-- @tparam table block
-- @tparam table blocks of its document
-- @tparam string directory an empty one
-- @treturn string what it printed
-- @treturn number its exit code
function M.run(block, blocks, directory)
  for _, other in ipairs(blocks) do
    if other == block then break end
    if other.file then helper.write(directory .. "/" .. other.file, other.code) end
  end
  return runners[block.language](block, directory)
end

return M
