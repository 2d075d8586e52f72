-- SPDX-License-Identifier: MIT
--- The public surface: which functions, methods, tables and words a user of the library meets, with
-- what the sources' comments, the tables of options and the pages of docs say of each.
local comments = require "comments"

local M = {}

-- Modules that users require by name.
local MODULES = {
  { name = "noether", file = "init.lua" },
  { name = "noether.nix_executor", file = "nix_executor.lua" },
}

-- What users get from functions, by the name of the table of methods in a file. `handle` is what
-- the documentation calls one. A class may be what others have in common: `also` are the methods,
-- told of in another file, that each of them has, too.
local CLASSES = {
  { name = "AnyExecutor", handle = "executor", file = "executor/interface.lua", owner = "Interface",
    also = { file = "executor/local.lua", owner = "Executor", in_file = "executor/inline.lua",
      in_owner = "Inline" } },
  { name = "Executor", handle = "executor", file = "executor/local.lua", owner = "Executor",
    extends = "AnyExecutor" },
  { name = "Session", handle = "session", file = "executor/session.lua", owner = "Session" },
  { name = "Task", handle = "task", file = "run/task.lua", owner = "Task" },
  { name = "Process", handle = "process", file = "process.lua", owner = "Process" },
  { name = "Set", handle = "set", file = "set.lua", owner = "Set" },
  { name = "Budget", handle = "budget", file = "executor/budget.lua", owner = "Budget",
    extends = "AnyExecutor" },
  { name = "Cache", handle = "cache", file = "executor/answers.lua", owner = "Answers",
    extends = "AnyExecutor" },
  { name = "Worker", handle = "worker", file = "fleet/worker.lua", owner = "Worker" },
  { name = "Store", handle = "store", file = "stage/store/memory.lua", owner = "Memory" },
  { name = "Error", handle = "err", file = "error.lua", owner = "Error" },
}

-- The pages whose tables explain options; no two have the same heading.
local PAGES = { "reference", "many", "runtimes", "mcp", "sessions", "fleet" }

-- Tables of options: what holds each, and the heading of the page that explains them.
local OPTIONS = {
  { name = "CallOptions", module = "executor.config", field = "CALL_OPTIONS",
    heading = "Options of a call", text = "Options of one call." },
  { name = "ExecutorOptions", module = "executor.config", field = "EXECUTOR_OPTIONS",
    heading = "Options of an executor", text = "Options of an executor." },
  { name = "PipOptions", module = "executor.config", field = "PIP_OPTIONS",
    heading = "Packages", text = "Where packages come from, and what installing them may take." },
  { name = "NpmOptions", module = "executor.config", field = "NPM_OPTIONS",
    heading = "Packages of npm", text = "The same for packages of npm." },
  { name = "Config", module = "executor.config", field = "CONFIG_OPTIONS",
    heading = "Options of an executor", text = "The options that `config_snapshot` gives." },
  { name = "SessionOptions", module = "executor.session", field = "OPTIONS",
    heading = "Options of a session", text = "Options of `executor:session`." },
  { name = "CellOptions", module = "executor.session", field = "CELL_OPTIONS",
    heading = "Options of a cell", text = "Options of one cell." },
  { name = "RunOptions", module = "command", field = "OPTIONS",
    heading = "Options of run and spawn", text = "Options of `noether.run` and `noether.spawn`." },
  { name = "RetryOptions", module = "executor.retry", field = "OPTIONS",
    heading = "Retry, budget, cache", text = "Options of `noether.retry`." },
  { name = "BudgetOptions", module = "executor.budget", field = "OPTIONS",
    heading = "Retry, budget, cache", text = "Options of `noether.budget`." },
  { name = "CacheOptions", module = "executor.answers", field = "OPTIONS",
    heading = "Retry, budget, cache", text = "Options of `noether.cache`." },
  { name = "PruneOptions", module = "cache.prune", field = "OPTIONS",
    heading = "The cache", text = "Options of `noether.prune`." },
  { name = "McpOptions", module = "mcp.server", field = "OPTIONS",
    heading = "Options of serve", text = "Options of `noether.mcp.serve`." },
  { name = "McpFunctionsOptions", module = "mcp.client", field = "OPTIONS",
    heading = "Tools of a server as functions", text = "Options of `noether.mcp.functions`." },
  { name = "RemoteOptions", module = "fleet.remote", field = "OPTIONS",
    heading = "Options of remote", text = "Options of `noether.remote`." },
  { name = "WorkerOptions", module = "fleet.worker", field = "OPTIONS",
    heading = "Options of a worker", text = "Options of `noether.worker`." },
  { name = "RunLimits", module = "sandbox.description", field = "LIMITS",
    heading = "Options of a call", text = "What a tree of processes may use." },
  { name = "Limits", module = "executor.config", field = "LIMITS",
    heading = "Options of a call", text = "What a run may use." },
}

-- What a row says where another one says it all.
local ELSEWHERE = { ["as of a call"] = "Options of a call",
  ["as of an executor"] = "Options of an executor", ["as of remote"] = "Options of remote" }

local FIELD_TYPES = { version = "string", null = "lightuserdata" }

-- Types of options that say more than the word by which they are checked.
local OPTION_TYPES = {
  allow_effects = "{string|table,...}", log = "fun(level:string,message:string,fields:table)",
  files = "{[string]:string|{path:string}}",
  on_log = "fun(line:string)", on_stdout = "fun(piece:string)", on_stderr = "fun(piece:string)",
  on_network = "fun(host:string,port:integer):boolean?",
  kinds = "{Kind,...}",
}

local CHECKED_AS = {
  seconds = "number", duration = "number", bytes = "number", count = "number", string = "string",
  text = "string", path = "string", boolean = "boolean", table = "table",
  ["function"] = "function", list = "table", strings = "{string,...}",
  strings_or_none = "{string,...}|false",
  variables = "{[string]=string}", store = "Store", any = "any",
  input = "string|Stream|function|true", stream = "Stream", flake = "string", amount = "number",
}

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- Modules are loaded from the sources, without the core: loading them does nothing, so that what
-- they need of C is never called.
local function loader(root)
  local loaded = {}
  local stub = {}
  local function give() return stub end
  setmetatable(stub, { __index = give, __call = give })
  local env = setmetatable({}, { __index = _G })
  local function load_module(name)
    local path = name:match "^noether%.(.+)$"
    if not path or name == "noether.core" then return stub end
    if loaded[name] == nil then
      local file = ("%s/lua/noether/%s.lua"):format(root, (path:gsub("%.", "/")))
      loaded[name] = assert(load(read_file(file), "@" .. file, "t", env))(name)
    end
    return loaded[name]
  end
  env.require = load_module
  return load_module
end

-- The items of one file by "owner.name", and in their order.
local function read_items(self, file)
  local known = self.files[file]
  if known then return known end
  local path = ("%s/lua/noether/%s"):format(self.root, file)
  known = { list = comments.read("lua/noether/" .. file, read_file(path)), by_name = {} }
  for _, item in ipairs(known.list) do
    known.by_name[(item.owner or "") .. "." .. item.name] = item
  end
  self.files[file] = known
  return known
end

local function source_files(root)
  local list = {}
  local command = "cd '%s/lua/noether' && find . -name '*.lua' | LC_ALL=C sort"
  local pipe = assert(io.popen(command:format(root)))
  for line in pipe:lines() do
    list[#list + 1] = line:sub(3)
  end
  pipe:close()
  return list
end

local function problem(self, item, message, ...)
  table.insert(self.problems, ("%s:%d: " .. message):format(item.file, item.line, ...))
end

-- Arguments that are there to be refused.
local REFUSED = { surplus = true, ["..."] = true, self = true }

local function check_parameters(self, key, item)
  if not item.args then return end
  local named = {}
  for _, param in ipairs(item.params) do
    named[param.name] = true
  end
  for _, name in ipairs(item.args) do
    if not named[name] and not REFUSED[name] then
      problem(self, item, "%s: no @tparam for '%s'", key, name)
    end
    named[name] = nil
  end
  for name in pairs(named) do
    problem(self, item, "%s: a @tparam for '%s', which it does not take", key, name)
  end
end

local function check_function(self, key, item)
  if not item.documented then
    problem(self, item, "%s has no doc comment (three dashes; @local if users never call it)", key)
    return
  end
  if item.summary == "" then problem(self, item, "%s: no sentence says what it does", key) end
  if not item.usage then problem(self, item, "%s: no example (@usage)", key) end
  check_parameters(self, key, item)
end

-- "executor:start(id, input [, opts])"
local function signature(key, params)
  local text, open = "", 0
  for index, param in ipairs(params) do
    local comma = index > 1 and ", " or ""
    if param.optional and param.name ~= "..." then
      text, open = text .. (index > 1 and " [" or "[") .. comma .. param.name, open + 1
    else
      text = text .. comma .. param.name
    end
  end
  return ("%s(%s%s)"):format(key, text, ("]"):rep(open))
end

local function add_function(self, scope, separator, name, item)
  local key = scope .. separator .. name
  check_function(self, key, item)
  if not item.documented then return end
  table.insert(self.functions, {
    key = key, scope = scope, name = name, item = item, signature = signature(key, item.params),
    kind = separator == ":" and "method" or "function",
  })
end

local function add_field(self, scope, name, item)
  table.insert(self.fields, {
    key = scope .. "." .. name, scope = scope, name = name, item = item,
    type = FIELD_TYPES[name] or "any",
  })
end

-- "executor.new" in a file that has `local executor = require "noether.executor.local"`, or
-- `later.module` in place of `require`.
local function aliased(self, file, expression)
  local module, name = expression:match "^([%w_]+)%.([%w_]+)$"
  if not module then return nil end
  local text = read_file(("%s/lua/noether/%s"):format(self.root, file))
  local path = text:match("\nlocal " .. module .. ' = [%w.]+ "noether%.([%w_.]+)"')
  if not path then return nil end
  local source = path:gsub("%.", "/") .. ".lua"
  local item = read_items(self, source).by_name["M." .. name]
  return item and item.kind == "function" and item or nil
end

local function add_module_field(self, module, item)
  local target = aliased(self, module.file, item.value)
  if target then
    add_function(self, module.name, ".", item.name, target)
    return
  end
  local scope, members = module.name .. "." .. item.name, item.value:match "^{(.*)}$"
  if not members then
    add_field(self, module.name, item.name, item)
    return
  end
  table.insert(self.scopes, { name = scope, item = item })
  for name, expression in members:gmatch "([%w_]+) = ([%w_.]+)" do
    local member = aliased(self, module.file, expression)
    if member then add_function(self, scope, ".", name, member) end
  end
end

local function add_module(self, module)
  for _, item in ipairs(read_items(self, module.file).list) do
    if item.owner == "M" and not item.is_local then
      if item.kind == "function" then
        add_function(self, module.name, ".", item.name, item)
      elseif item.kind == "field" then
        add_module_field(self, module, item)
      end
    end
  end
end

local function methods_of(self, file, owner)
  local list = {}
  for _, item in ipairs(read_items(self, file).list) do
    if item.owner == owner and item.is_local then
      self.internal[item.name] = true
    elseif item.owner == owner and item.kind == "function" then
      list[#list + 1] = item
    end
  end
  return list
end

local function shared_methods(self, also)
  local known, list = read_items(self, also.in_file).by_name, {}
  for _, item in ipairs(methods_of(self, also.file, also.owner)) do
    if known[also.in_owner .. "." .. item.name] then list[#list + 1] = item end
  end
  return list
end

local function add_class(self, class)
  local entry = { name = class.name, extends = class.extends, handle = class.handle, methods = {} }
  for _, items in ipairs{
    methods_of(self, class.file, class.owner),
    class.also and shared_methods(self, class.also) or {},
  } do
    for _, item in ipairs(items) do
      if not self.seen[item] then
        self.seen[item] = true
        table.insert(entry.methods, item)
        add_function(self, class.handle, ":", item.name, item)
      end
    end
  end
  if #entry.methods > 0 then table.insert(self.classes, entry) end
end

local function unquoted(cell)
  return (cell:gsub("`", ""))
end

local function read_pages(root)
  local texts = {}
  for index, name in ipairs(PAGES) do
    texts[index] = read_file(("%s/docs/%s.md"):format(root, name))
  end
  return table.concat(texts, "\n## \n")
end

-- The rows of the tables below a heading: { default, meaning } by name.
local function rows_under(pages, heading)
  local _, from = pages:find("\n## " .. heading .. "\n", 1, true)
  if not from then error("docs: no page has a heading " .. heading, 0) end
  local section = pages:sub(from, (pages:find("\n## ", from, true) or 0) - 1)
  local rows = {}
  for name, default, meaning in section:gmatch "\n| `([%w_]+)` | ([^\n]-) | ([^\n]*) |%f[\n]" do
    -- "retry: " says whose row it is where several have one table.
    local text = unquoted(meaning):gsub("^%l+: ", "")
    rows[name] = { default = unquoted(default), text = text }
  end
  return rows
end

local function meaning_of(self, name, heading)
  local row = rows_under(self.pages, heading)[name]
  if not row then return nil end
  local other = ELSEWHERE[row.text]
  local target = other and other ~= heading and meaning_of(self, name, other)
  return { text = target and target.text or row.text, default = row.default }
end

local function is_words(expected)
  return type(expected) == "table" and expected.fields == nil
end

local function quoted_words(words)
  local list = {}
  for index, word in ipairs(words) do
    list[index] = ('"%s"'):format(word)
  end
  return table.concat(list, "|")
end

local option_type

local function fields_type(self, fields)
  if fields == self.load("noether.sandbox.description").LIMITS then return "RunLimits" end
  if fields == self.load("noether.executor.config").LIMITS then return "Limits" end
  if fields == self.load("noether.executor.config").PIP_OPTIONS then return "PipOptions" end
  if fields == self.load("noether.executor.config").NPM_OPTIONS then return "NpmOptions" end
  local list = {}
  for name, expected in pairs(fields) do
    list[#list + 1] = ("%s=%s"):format(name, option_type(self, name, expected))
  end
  table.sort(list)
  return "{" .. table.concat(list, ",") .. "}"
end

function option_type(self, name, expected)
  if OPTION_TYPES[name] then return OPTION_TYPES[name] end
  if is_words(expected) then
    local isolations = quoted_words(self.load("noether.isolation").NAMES)
    return quoted_words(expected) == isolations and "Isolation" or quoted_words(expected)
  elseif type(expected) == "table" then
    return fields_type(self, expected.fields)
  end
  return CHECKED_AS[expected] or "any"
end

local function add_options(self, source)
  local fields = {}
  for name, expected in pairs(self.load("noether." .. source.module)[source.field]) do
    local meaning = meaning_of(self, name, source.heading)
    if not meaning then
      meaning = { text = "" }
      problem(self, { file = "docs/reference.md", line = 1 }, "no row for `%s` under '%s'", name,
        source.heading)
    end
    fields[#fields + 1] = { name = name, type = option_type(self, name, expected), optional = true,
      text = meaning.text, default = meaning.default }
  end
  table.sort(fields, function(a, b) return a.name < b.name end)
  table.insert(self.tables, { name = source.name, fields = fields, text = source.text })
end

local function add_tables(self)
  for _, file in ipairs(source_files(self.root)) do
    for _, item in ipairs(read_items(self, file).list) do
      if item.kind == "table" then
        table.insert(self.tables, { name = item.name, fields = item.fields, text = item.text,
          extends = item.extends })
      end
    end
  end
  for _, source in ipairs(OPTIONS) do
    add_options(self, source)
  end
  table.sort(self.tables, function(a, b) return a.name < b.name end)
end

local function reasons(root)
  local words = {}
  for name in read_file(root .. "/include/noether.h"):gmatch "NOE_REASON_([%u_]+)" do
    local word = name:lower()
    if word ~= "none" and not words[word] then
      words[word] = true
      words[#words + 1] = { word = word }
    end
  end
  return words
end

local function kinds(self)
  local words = {}
  for index, entry in ipairs(self.load("noether.error").KINDS) do
    words[index] = { word = entry.kind, text = entry.fault }
  end
  return words
end

local function isolations(self)
  local words = {}
  for index, name in ipairs(self.load("noether.isolation").NAMES) do
    words[index] = { word = name }
  end
  return words
end

-- What help() has pages on: a table of a page of docs, by the word in its head.
local TOPICS = {
  { name = "effects", page = "isolation", head = "effect",
    text = "What a stage may declare, as `effects = { \"Network\", { FsRead = \"/data\" } }`." },
  { name = "kinds", page = "errors", head = "kind", second = "type",
    text = "What `err.kind` may be: whose fault it is, when it is, and what to do." },
  { name = "limits", page = "reference", head = "limit", second = "default",
    text = "What a run may use, as `limits = { memory_bytes = 2 ^ 29 }`." },
}

-- "a | b | c" -> { "a", "b", "c" }, without the marks of Markdown.
local function cells_of(row)
  local cells = {}
  for cell in (row .. " | "):gmatch("(.-) | ") do
    cells[#cells + 1] = (unquoted(cell):gsub("%[(.-)%]%(.-%)", "%1"))
  end
  return cells
end

local function add_topics(self)
  for _, topic in ipairs(TOPICS) do
    local fields = {}
    local page = read_file(("%s/docs/%s.md"):format(self.root, topic.page))
    local rows = page:match("\n| " .. topic.head .. " | [^\n]*\n|[-|]*\n(.-)\n\n")
    for row in ((rows or "") .. "\n"):gmatch "| (.-) |\n" do
      local cells = cells_of(row)
      fields[#fields + 1] = {
        name = cells[1], type = topic.second == "type" and cells[2] or nil,
        default = topic.second == "default" and cells[2] or nil,
        text = table.concat(cells, ": ", #cells > 2 and 3 or 2),
      }
    end
    if #fields == 0 then error("docs/" .. topic.page .. ": no table of " .. topic.name, 0) end
    table.insert(self.topics, { name = topic.name, text = topic.text, fields = fields })
  end
end

--- Read the surface.
-- @tparam string root of the source tree
-- @treturn table `modules`, `functions`, `fields`, `scopes`, `classes`, `tables`, `topics` (what
-- help() tells of in a table), `words` (lists),
-- `internal` (names of methods that classes keep to themselves: @local) and `problems`: what the
-- comments lack, a line each
-- @raise on a comment that cannot be read
function M.read(root)
  local self = {
    root = root, pages = read_pages(root), load = loader(root), files = {},
    seen = {}, modules = MODULES, functions = {}, fields = {}, scopes = {}, classes = {},
    tables = {}, topics = {}, internal = {}, problems = {},
  }
  for _, module in ipairs(MODULES) do
    add_module(self, module)
  end
  for _, class in ipairs(CLASSES) do
    add_class(self, class)
  end
  add_tables(self)
  add_topics(self)
  self.words = {
    { name = "Isolation", words = isolations(self) }, { name = "Kind", words = kinds(self) },
    { name = "Reason", words = reasons(root) },
  }
  return self
end

return M
