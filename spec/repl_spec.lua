-- SPDX-License-Identifier: MIT
--- The prompt of noether-lua on a terminal: a program at the other end of a pty types, and reads
-- what the screen would show.
local helper = require "spec.support.helper"
local pty = require "spec.support.pty"

-- What the editor writes when it begins to read a line, and when it goes away.
local PASTE_ON, PASTE_OFF = "\27[?2004h", "\27[?2004l"

local SIGNALS = { TERM = 15, KILL = 9, CONT = 18 }
local SECS = 10

local Terminal = {}
Terminal.__index = Terminal

local function environment(home, given)
  local variables = {
    TERM = "xterm", HOME = home, PATH = os.getenv "PATH", TMPDIR = helper.tmpdir(),
  }
  for name, value in pairs(given or {}) do variables[name] = value or nil end
  local list = {}
  for name, value in pairs(variables) do
    if value then list[#list + 1] = name .. "=" .. value end
  end
  return list
end

-- What is written, without what only moves the cursor.
local function plain(text)
  return (text:gsub("\27%[[%d;?]*[%a]", ""):gsub("\27[=>]", ""):gsub("\27%(%a", ""))
end

local function start(home, given, ...)
  local descriptor, pid = pty.start({ helper.lua, ... }, environment(home, given), 24, 200)
  return setmetatable({
    descriptor = descriptor, pid = pid, raw = "", from = 1, line_from = 1, is_edited = true,
  }, Terminal)
end

function Terminal:hear()
  local text = pty.read(self.descriptor)
  if text then self.raw = self.raw .. text end
  return text ~= nil
end

-- Waits until a pattern has been written since the last one that was waited for.
function Terminal:expect(pattern, exact)
  local found = helper.poll(function()
    self:hear()
    local screen = plain(self.raw)
    local _, stop = screen:find(pattern, self.from, exact)
    if stop then self.from = stop + 1 end
    return stop
  end, SECS)
  assert.truthy(found, ("no '%s' in: %q"):format(pattern, plain(self.raw):sub(self.from)))
end

-- Whether the editor reads a line that was not ended yet. Keys that come before are for the
-- terminal, which takes some of them for commands of its own.
function Terminal:is_reading()
  self:hear()
  return self.raw:find(PASTE_ON, self.line_from, true) and not pty.edits(self.descriptor)
end

-- Sends keys at once, to whoever reads.
function Terminal:send(keys)
  if keys:find("[\r\3\4]$") then self.line_from = #self.raw + 1 end
  local position = 1
  assert(helper.poll(function()
    self:hear()
    position = position + pty.write(self.descriptor, keys:sub(position))
    return position > #keys
  end, SECS))
end

-- Types keys at the prompt.
function Terminal:type(keys)
  if self.is_edited then
    local reads = helper.poll(function() return self:is_reading() end, SECS)
    assert.truthy(reads, ("no prompt after: %q"):format(self.raw:sub(self.line_from)))
  end
  self:send(keys)
end

-- Types a line, and waits for what it is to give.
function Terminal:enter(line, expected)
  self:type(line .. "\r")
  if expected then self:expect(expected) end
end

-- Ctrl-C throws away what the terminal holds: nothing may be sent before it is seen to have come.
function Terminal:interrupt()
  self:type("\3")
  self:expect("^C", true)
  self:expect("> ")
end

function Terminal:wait()
  if not self.code then
    self.code = helper.poll(function()
      self:hear()
      return pty.ended(self.pid)
    end, SECS)
  end
  return self.code
end

function Terminal:__close()
  if not self.code then
    pty.kill(self.pid, SIGNALS.CONT)
    pty.kill(self.pid, SIGNALS.KILL)
    self:wait()
  end
  pty.close(self.descriptor)
end

-- Whether a process runs: one that has ended, and is taken note of later, does not.
local function runs(pid)
  local file = io.open(("/proc/%s/stat"):format(pid))
  -- What ends between opening and reading gives nothing.
  local state = file and (file:read("a") or ""):match("%) (%u)")
  if file then file:close() end
  return state ~= nil and state ~= "Z"
end

describe("the prompt on a terminal", function()
  local home

  before_each(function() home = helper.tmpdir() end)

  local function ready(given, ...)
    local terminal = start(home, given, ...)
    terminal:expect("noether %d[^\n]*\n[^\n]*> ")
    return terminal
  end

  it("shows values readably, and keeps the first as _", function()
    local terminal <close> = ready()
    terminal:enter("1 + 1", "\n2\r?\n")
    terminal:enter("_ * 21", "\n42\r?\n")
    terminal:enter("'text', nil, false", '\n"text"\tnil\tfalse\r?\n')
    terminal:enter("t = { 1, { deep = { deeper = {} } } } t.self = t")
    terminal:enter("t", "{ 1, { deep = { deeper = {} } }, self = <cycle> }")
    terminal:enter("local all = {} for i = 1, 500 do all[i] = i end return all", "%.%.%. 400 more")
    terminal:enter("noether.run({ 'true' }, { isolation = 'none' })", "reason = \"exit\"")
  end)

  it("takes a chunk over several lines, and gives it back as one", function()
    local terminal <close> = ready()
    terminal:enter("do", ">> ")
    terminal:enter("  times = (times or 0) + 1", ">> ")
    terminal:enter("end", "> ")
    terminal:enter("times", "\n1\r?\n")
    terminal:enter("\27[A\27[A", "end")
    terminal:enter("times", "\n2\r?\n")
    terminal:enter("math.max(", ">> ")
    terminal:enter("5)", "\n5\r?\n")
  end)

  it("edits: keys that move, delete and search", function()
    local terminal <close> = ready()
    terminal:enter("1 + 4\27[D\27[D\27[D\1279", "\n23\r?\n")
    terminal:enter("bcd\1'a\5e'", '"abcde"')
    terminal:enter("'x y'\27[D\23z\5", "\"x z\"")
    terminal:enter("find_me = 71", "> ")
    terminal:enter("1", "\n1\r?\n> ")
    terminal:type("\18find_m")
    terminal:expect("find_me = 71")
    terminal:enter("", "> ")
  end)

  it("takes UTF-8 and long lines", function()
    local terminal <close> = ready()
    terminal:enter("'hé☃日'\27[D\127\5", '"hé☃"')
    terminal:enter("'" .. ("x"):rep(3000) .. "' == ('x'):rep(3000)", "\ntrue\r?\n")
  end)

  it("completes globals, fields, methods and keywords", function()
    local terminal <close> = ready()
    terminal:enter("noether.inspe\t(noether.sha2\t('') ~= nil)", '"true"')
    terminal:enter("funct\t six() retu\t 6 end", "> ")
    terminal:enter("six()", "\n6\r?\n")
    terminal:enter("s, t = 'abc', { list = { { answer = 42 } } }", "> ")
    terminal:enter("s:upp\t()", '"ABC"')
    terminal:enter("t.list[1].an\t", "\n42\r?\n")
    terminal:enter("ex = noether.inline{}", "> ")
    terminal:type("ex:exec\t\t")
    terminal:expect("execute%s+execute_json")
    terminal:interrupt()
    terminal:type("string.\t")
    terminal:expect("format.*upper")
  end)

  it("has a first page of help that fits on a screen", function()
    local text = require "noether.repl.help".text(require "noether", 0)
    assert.is_true(select(2, text:gsub("\n", "")) < 24, text)
  end)

  it("has pages on what a stage may do, how much of it, and what may go wrong", function()
    local help = require "noether.repl.help"
    local noether = require "noether"
    for topic, names in pairs{
      kinds = require "noether.error".KINDS, limits = require "noether.executor.config".LIMITS,
      effects = { "Process", "Network", "FsRead", "FsWrite", "Call", "Unknown" },
    } do
      local text = help.text(noether, 1, topic)
      for key, value in pairs(names) do
        local name = type(key) == "string" and key or value.kind or value
        assert.truthy(text:find("\n  " .. name, 1, true), topic .. ": " .. name)
      end
      assert.truthy(help.text(noether, 0):find(('help("%s")'):format(topic), 1, true))
    end
  end)

  it("says how to leave to who would leave by a word", function()
    local terminal <close> = ready()
    for _, word in ipairs{ "exit", "quit", "exit()", " quit ()" } do
      terminal:enter(word, "Ctrl%-D ends the session")
    end
    terminal:enter("exit = 7", "> ")
    terminal:enter("exit", "\n7\r?\n")
  end)

  it("shows what a stage answered, and in one line how it ran", function()
    local terminal <close> = ready()
    terminal:enter("noether.execute{ language = 'bash', effects = {},"
      .. " code = 'execute() { echo said >&2; echo 42; }' }",
      "\n42\r?\n%-%- [%d.]+ s, native, bash [%d.]+, 1 line of log\r?\n  | said\r?\n")
    terminal:enter("noether.execute{ language = 'bash', effects = {},"
      .. " code = 'execute() { for i in 1 2 3 4 5; do echo said $i >&2; done; echo 42; }' }",
      "5 lines of log\r?\n  | %(2 more: print%(_info%.logs%)%)\r?\n  | said 3.*  | said 5\r?\n")
    terminal:enter("print((_info.logs:gsub('\\n', '+')))", "said 1%+said 2%+said 3%+")
    terminal:enter("noether.execute{ language = 'bash', code = 'execute() { false; }' }",
      "stage_failed: .-\n%-%- [%d.]+ s, native")
    terminal:enter("noether.execute{ language = 'cobol', code = '' }", "language_unknown")
  end)

  it("hides methods that the library's classes tell only one another", function()
    local noether = require "noether"
    local complete = require "noether.repl.complete"
    local proc <close> = noether.check(noether.spawn({ "true" }, { isolation = "none" }))
    local reference = { ["process:wait"] = {}, ["process:kill"] = {}, ["set:add"] = {} }
    local _, shown = complete.complete("proc:", 80, { proc = proc }, reference)
    assert.equal("kill  wait", shown)
    _, shown = complete.complete("proc:", 200, { proc = proc }, {})
    assert.truthy(shown:find("look", 1, true), shown)
  end)

  it("completes without calling what the user wrote", function()
    local terminal <close> = ready()
    terminal:enter("calls = 0 t = setmetatable({}, { __index = function() calls = calls + 1 end })",
      "> ")
    terminal:enter("t.field.x\t\21calls", "\n0\r?\n")
  end)

  it("completes the names of files and modules in strings", function()
    local terminal <close> = ready()
    helper.write(home .. "/some directory/a file.txt", "contents")
    terminal:enter(("io.open('%s/some\ta\t'):read('a')"):format(home), '"contents"')
    terminal:enter("require('noether.js\t').decode('[7]')[1]", "\n7\r?\n")
  end)

  it("does not complete names that would end the string, or command the terminal", function()
    local complete = require "noether.repl.complete"
    local before = "io.open('" .. home .. "/names/"
    for _, name in ipairs{
      "\27]0;title\7", "x')os.exit(7)--", "a\nb", "\226\128\174", "\194\1556n",
    } do
      helper.write(home .. "/names/" .. name, "")
    end
    assert.is_nil(complete.complete(before, 80, _G, {}))
    helper.write(home .. "/names/plain é", "")
    assert.equal("plain é", complete.complete(before, 80, _G, {}))
    helper.remove(home .. "/names")
  end)

  it("takes pasted text as it is, and runs it when told", function()
    local terminal <close> = ready()
    terminal:type("\27[200~if true then\n\tpasted = 1\nend\npasted + 1\n\27[201~")
    terminal:expect("pasted %+ 1")
    assert.falsy(terminal.raw:find("\n2\r?\n"))
    terminal:enter("", "\n2\r?\n")
    assert.truthy(terminal.raw:find(PASTE_ON, 1, true))
  end)

  it("shows the line of an error, with a mark where it can", function()
    local terminal <close> = ready()
    terminal:enter("local x = 1 return x + nothing", "stdin:1: attempt to perform arithmetic")
    terminal:expect("    1 | local x = 1 return x %+ nothing\r?\n      |                        %^")
    terminal:enter("function fails()", ">> ")
    terminal:enter("  error('inside')", ">> ")
    terminal:enter("end", "> ")
    terminal:enter("fails()", "stdin:3: inside\r?\n    3 |   error%('inside'%)\r?\n")
    terminal:expect("stdin:3: in function 'fails'\r?\n  stdin:5: in main chunk\r?\n> ")
    terminal:enter("x = = 1", "stdin:6: unexpected symbol near '='\r?\n    6 | x = = 1\r?\n> ")
    terminal:enter("noether.run(5)", "stdin:7: run: ")
    terminal:enter("error({ code = 3 })", "table value%) { code = 3 }")
    terminal:enter("assert(noether.run({ '/none' }, { isolation = 'none' }))", "spawn_failed: ")
    terminal:enter("error(setmetatable({}, { __tostring = error }))", "__tostring fails")
    helper.write(home .. "/broken.lua", "local a\nlocal b = a.b\n")
    terminal:enter(("dofile('%s/broken.lua')"):format(home), "    2 | local b = a%.b\r?\n")
  end)

  it("clears the line at Ctrl-C, and all lines of a chunk", function()
    local terminal <close> = ready()
    terminal:type("garbage(")
    terminal:interrupt()
    terminal:enter("for i = 1, 2 do", ">> ")
    terminal:type("garbage(")
    terminal:interrupt()
    terminal:enter("7", "\n7\r?\n")
    terminal:type("\4")
    assert.equal(0, terminal:wait())
  end)

  for name, code in pairs{
    ["a loop"] = "while true do end",
    ["a loop in a coroutine"] = "coroutine.wrap(function() while true do end end)()",
    ["a read"] = "io.read()",
    ["a wait"] = "noether.spawn({ 'sleep', '1000' }, { isolation = 'none' }):wait()",
  } do
    it("interrupts " .. name .. " at Ctrl-C, and goes on", function()
      local terminal <close> = ready()
      terminal:enter("io.write('go', '\\n') " .. code, "\ngo\r?\n")
      terminal:send("\3")
      terminal:expect("stdin:1: interrupted!")
      terminal:expect("> ")
      terminal:enter("5 + 5", "\n10\r?\n")
    end)
  end

  it("takes what was typed while something ran: whole lines, and the beginning of one", function()
    local terminal <close> = ready()
    terminal:enter(("print('go') repeat until io.open('%s/over')"):format(home), "\ngo\r?\n")
    terminal:send("6 * 7\r8 * ")
    terminal:expect("8 * ", true)
    assert.is_true(pty.edits(terminal.descriptor))
    helper.write(home .. "/over", "")
    terminal:expect("\n42\r?\n")
    terminal:enter("2", "\n16\r?\n")
  end)

  it("interrupts a loop that catches errors at the second Ctrl-C", function()
    local terminal <close> = ready()
    terminal:enter("while true do pcall(function() print('go') while true do end end) end",
      "\ngo\r?\n")
    terminal:send("\3")
    terminal:expect("go\r?\n")
    terminal:send("\3")
    terminal:expect("interrupted!")
    terminal:enter("5 + 5", "\n10\r?\n")
  end)

  -- A stage is closed by the task that waits for it, a process when its lost handle is collected.
  for name, code in pairs{
    ["a stage"] = "noether.execute{ language = 'bash', isolation = 'none', runtime = 'host', "
      .. "code = 'execute() { ' .. script .. ' }' }",
    ["a process"] = "noether.spawn({ 'sh', '-c', script }, { isolation = 'none' }):wait()",
  } do
    it("ends " .. name .. " at Ctrl-C, and what it has started", function()
      local terminal <close> = ready()
      terminal:enter("collectgarbage('stop')", "> ") -- no accident ends it
      terminal:enter(("script = 'sleep 1000 & echo $! >%s/pid; wait;'"):format(home), "> ")
      terminal:enter(code)
      local pid = helper.poll(function()
        terminal:hear()
        local file = io.open(home .. "/pid")
        local number = file and file:read("n")
        if file then file:close() end
        return number
      end, SECS)
      assert.is_true(runs(pid))
      terminal:send("\3")
      terminal:expect("stdin:3: interrupted!")
      assert(helper.poll(function()
        terminal:hear()
        return not runs(pid)
      end, SECS))
      terminal:enter("5 + 5", "\n10\r?\n")
    end)
  end

  it("asks with _PROMPT and _PROMPT2", function()
    local terminal <close> = ready()
    terminal:enter("_PROMPT, _PROMPT2 = 'first: ', 'more: '", "first: ")
    terminal:enter("do", "more: ")
    terminal:enter("end", "first: ")
  end)

  it("has noether and help, unless the names are taken", function()
    local terminal <close> = ready({}, "-i", "-e", "help = 'mine'")
    terminal:enter("help, noether.version", '"mine"\t"%d+%.%d+%.%d+"')
  end)

  it("helps: with all there is, by name, by value", function()
    local terminal <close> = ready()
    terminal:enter("help()", "noether %d.*execute, .*spawn")
    terminal:enter("help('all')", "noether %d.*noether%.execute.*noether%.spawn")
    terminal:enter("help('exekute')", "no help for 'exekute'")
    terminal:enter("help(noether.execute)", "noether%.execute")
    terminal:enter("help(function(a, b) end)", "function %(a, b%) of stdin:5")
  end)

  it("helps from the reference, where it is built in", function()
    local terminal <close> = ready()
    terminal:enter([[package.loaded["noether.reference"] = { ["noether.execute"] = { ]]
      .. [[kind = "function", signature = "noether.execute(request)", summary = "Run it.", ]]
      .. [[text = "Run it. And wait.", ]]
      .. [[params = { { name = "request", type = "table", text = "what" } }, ]]
      .. [[returns = { { type = "any", text = "its answer" } }, raises = "on misuse", ]]
      .. [[example = "print(1)" }, ["executor:execute"] = { summary = "Run one." }, ]]
      .. [=[["executor:map"] = { signature = "executor:map(id, inputs)", text = "Run many." } }]=])
    terminal:enter("help(noether.execute)",
      "noether%.execute%(request%)\r?\n\r?\nRun it%. And wait%.\r?\n\r?\nParameters:\r?\n"
      .. "  request %(table%)\r?\n      what\r?\n\r?\nReturns:\r?\n  any its answer\r?\n\r?\n"
      .. "Raises:\r?\n  on misuse\r?\n\r?\nExample:\r?\n  print%(1%)\r?\n")
    terminal:enter("help('map')", "Run many%.")
    terminal:enter("ex = assert(noether.executor{ isolation = 'none' }) help(ex.map)", "Run many%.")
    terminal:enter("help(ex)", "executor:execute%s+Run one%.")
    terminal:enter("help('all')", "noether%.execute%s+Run it%..*executor: execute, map")
    terminal:enter("help()", "noether%.\r?\n  execute\r?\n.*methods of\r?\n  executor\r?\n")
    terminal:enter("help('noether.e\t')", "And wait%.")
    terminal:enter([[package.loaded["noether.reference"] = { Info = { signature = "Info", ]]
      .. [[text = "What is known.", fields = { { name = "logs", type = "?string", ]]
      .. [[optional = true, text = "said" }, ]]
      .. [[{ name = "secs", type = "number", default = "30 s" } }, extends = "More" }, ]]
      .. [=[["noether.store"] = { text = "Stores." } }]=])
    terminal:enter("help('Info')", "What is known%.\r?\n\r?\nFields:\r?\n"
      .. "  logs %(string, optional%)\r?\n      said\r?\n  secs %(number, default 30 s%)\r?\n\r?\n"
      .. "And all fields of: More\r?\n")
    terminal:enter("help(noether.store)", "Stores%.")
  end)

  describe("keeps its history", function()
    local file

    before_each(function() file = home .. "/.local/state/noether/history" end)

    it("in a file of the user's alone, for the next session", function()
      do
        local terminal <close> = ready()
        terminal:enter("'first'", "\n")
        terminal:enter("do", ">> ")
        terminal:enter("end", "> ")
        terminal:enter(" 'private'", '"private"')
        terminal:enter("'again'", '"again"')
        terminal:enter("'again'", '"again"')
        terminal:type("\4")
        assert.equal(0, terminal:wait())
      end
      assert.equal("'first'\ndo\n\tend\n'again'\n", helper.read(file))
      assert.equal("600\n", (helper.shell("stat -c %a " .. helper.quote(file))))
      local terminal <close> = ready()
      terminal:type("\27[A\27[A\27[A\r")
      terminal:expect('"first"')
    end)

    it("where XDG_STATE_HOME says", function()
      local terminal <close> = ready{ XDG_STATE_HOME = home .. "/state" }
      terminal:enter("'there'", '"there"')
      assert.equal("'there'\n", helper.read(home .. "/state/noether/history"))
    end)

    it("from several sessions at once", function()
      local one <close> = ready()
      local other <close> = ready()
      for i = 1, 5 do
        one:enter(("'one %d'"):format(i), ('"one %d"'):format(i))
        other:enter(("'other %d'"):format(i), ('"other %d"'):format(i))
      end
      local text = helper.read(file)
      for i = 1, 5 do
        assert.truthy(text:find(("'one %d'\n"):format(i), 1, true))
        assert.truthy(text:find(("'other %d'\n"):format(i), 1, true))
      end
    end)

    it("short: the oldest goes when there is too much", function()
      local lines = {}
      for i = 1, 30000 do lines[i] = ("entry_%06d = '%s'"):format(i, ("x"):rep(60)) end
      helper.shell("mkdir -p " .. helper.quote(file:match("^(.*)/")) .. " && chmod 700 "
        .. helper.quote(file:match("^(.*)/")))
      helper.write(file, table.concat(lines, "\n") .. "\n")
      local terminal <close> = ready()
      terminal:enter("'last'", '"last"')
      local text = helper.read(file)
      assert.truthy(#text < 1.1 * 1024 * 1024, #text)
      assert.matches("^entry_%d+ = ", text)
      assert.matches("entry_030000 = '[^\n]*\n'last'\n$", text)
    end)

    it("or goes without: no HOME, or one that cannot be used", function()
      for _, where in ipairs{ false, "/proc/nowhere", "relative" } do
        local terminal <close> = ready{ HOME = where }
        terminal:enter("'works'", '"works"')
        terminal:type("\27[A\r")
        terminal:expect('"works"')
        terminal:type("\4")
        assert.equal(0, terminal:wait())
      end
    end)
  end)

  it("draws the line again when the window changes", function()
    local terminal <close> = ready()
    terminal:type("12345")
    terminal:expect("12345")
    pty.resize(terminal.descriptor, 24, 40)
    terminal:expect("> 12345")
    terminal:enter("", "\n12345\r?\n")
  end)

  it("leaves the terminal as it was when it is ended", function()
    local terminal <close> = ready()
    terminal:type("half")
    terminal:expect("half")
    pty.kill(terminal.pid, SIGNALS.TERM)
    assert.equal(128 + SIGNALS.TERM, terminal:wait())
    assert.truthy(terminal.raw:find(PASTE_OFF, 1, true))
    assert.is_true(pty.edits(terminal.descriptor))
  end)

  it("does without editing where the terminal cannot", function()
    for _, given in ipairs{ { TERM = "dumb" }, { TERM = "" }, { TERM = false } } do
      local terminal <close> = ready(given)
      terminal.is_edited = false
      terminal:enter("1 + 1", "\n2\r?\n")
      terminal:type("garbage(")
      terminal:interrupt()
      terminal:enter("for i = 1, 1 do", ">> ")
      terminal:enter("end", "> ")
      terminal:enter("6 * 7", "\n42\r?\n")
      assert.falsy(terminal.raw:find("\27", 1, true))
      terminal:type("\4")
      assert.equal(0, terminal:wait())
    end
  end)

  it("does what docs/command.md shows", function()
    local session = helper.read(helper.root .. "/docs/command.md"):match("\n```console\n(.-)```\n")
    local terminal <close> = start(home, { TERM = "dumb" })
    for prompt, line in ("\n" .. session):gmatch("\n(>>?) ([^\n]*)%f[\n]") do
      terminal:expect("\n" .. prompt .. " $")
      terminal:send(line .. "\r")
    end
    terminal:expect("\n> $")
    local shown = terminal.raw:gsub("\r", ""):match("\n(> .*)> $")
    assert.equal(session, shown)
  end)

  it("edits on a terminal that nobody has described", function()
    local terminal <close> = ready{ TERM = "nonesuch" }
    terminal:enter("1 + 2\127" .. "3", "\n4\r?\n")
  end)
end)
