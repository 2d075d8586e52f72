-- SPDX-License-Identifier: MIT
--- Runs, seen: one self-contained HTML page with what was done when, how near each run came to its
-- limits, and what went wrong.
-- The page needs nothing but itself: no network, no fonts, no files. What runs have said is in it
-- as JSON, in which no byte can end the script that holds it, and is shown as text, never as
-- markup; a policy in the page forbids every script but its own.
local base64 = require "noether.base64"
local errors = require "noether.error"
local json = require "noether.json"
local options = require "noether.options"
local resource = require "noether.resource"
local sys = require "noether.sys"

local M = {}

--- The options of @{page} and @{write}.
M.OPTIONS = { title = "text" }

local MAX_RUNS = 10000
local MAX_OUTPUT_BYTES = 400
local MAX_LINE_BYTES = 400
local MAX_LOG_LINES = 20
local MAX_CALLS = 200
local MAX_OUTPUTS = 64
local MAX_IMAGE_BYTES = 1024 * 1024
local MAX_IMAGES_BYTES = 8 * 1024 * 1024 -- of a page
local FILE_MODE = 420 -- 0644

-- Those that a browser shows as images and as nothing else.
local IMAGES = {
  ["image/gif"] = true, ["image/jpeg"] = true, ["image/png"] = true, ["image/svg+xml"] = true,
  ["image/webp"] = true,
}

local function microseconds(secs)
  return type(secs) == "number" and math.floor(secs * 1e6 + 0.5) or nil
end

local function spans_of(info)
  local spans = json.array{}
  for index, span in ipairs(info.spans or {}) do
    spans[index] = json.array{
      errors.clean(span.name, 40), microseconds(span.start_secs), microseconds(span.duration_secs),
    }
  end
  return spans
end

-- The last lines, each fit to be shown.
local function log_lines(logs)
  local lines = json.array{}
  for line in (logs or ""):gmatch("[^\n]+") do
    lines[#lines + 1] = line
    if #lines > MAX_LOG_LINES then table.remove(lines, 1) end
  end
  for index, line in ipairs(lines) do
    lines[index] = errors.clean(line, MAX_LINE_BYTES)
  end
  return lines
end

local function text_or_nil(value)
  return type(value) == "string" and errors.clean(value, MAX_LINE_BYTES) or nil
end

local function error_of(err)
  if err == nil then return nil end
  if not errors.is(err) then return { kind = "error", message = errors.clean(tostring(err)) } end
  return {
    kind = err.kind, message = err.message, hint = err.hint, errno = text_or_nil(err.errno),
    effect = text_or_nil(err.effect), fault = errors.fault(err.kind),
  }
end

local function cpu_of(result)
  if not result.cpu_user_secs or not result.cpu_system_secs then return nil end
  return result.cpu_user_secs + result.cpu_system_secs
end

-- One field a limit of the page's meters: what was used, and the limit; none of what is not known.
local function meters_of(result, limits)
  local meters = json.array{}
  for _, meter in ipairs{
    { "time", microseconds(result.duration_secs), microseconds(limits.timeout_secs), "us" },
    { "processor", microseconds(cpu_of(result)), microseconds(limits.cpu_secs), "us" },
    { "memory", result.max_rss_bytes, limits.memory_bytes, "bytes" },
    { "output", result.stdout_bytes, limits.max_output_bytes, "bytes" },
    { "log", result.stderr_bytes, limits.max_stderr_bytes, "bytes" },
  } do
    if meter[2] then
      meters[#meters + 1] = { name = meter[1], used = meter[2], limit = meter[3], unit = meter[4] }
    end
  end
  return meters
end

-- Of a cell whose value has no JSON form, or what a shell has printed, its text.
local function output_of(record)
  if record.err ~= nil then return nil end
  local display = record.info and record.info.display
  if type(display) == "string" then return errors.clean(display, MAX_OUTPUT_BYTES) end
  local text = json.encode(record.output, "output")
  return text and errors.clean(text, MAX_OUTPUT_BYTES)
end

local function attempts_of(info)
  if not info.attempts then return nil end
  local attempts = json.array{}
  for index, attempt in ipairs(info.attempts) do
    attempts[index] = {
      kind = text_or_nil(attempt.kind), message = text_or_nil(attempt.message),
      us = microseconds(attempt.duration_secs),
      wait_us = microseconds(attempt.wait_secs),
    }
  end
  return attempts
end

-- When the last attempt of a run began, whose calls are told of.
local function began_of(info)
  local began = 0
  for _, span in ipairs(info.spans or {}) do
    if span.name == "run" and type(span.start_secs) == "number" then began = span.start_secs end
  end
  return began
end

local function calls_of(info)
  if type(info.calls) ~= "table" then return nil end
  local calls, began = json.array{}, began_of(info)
  for index, call in ipairs(info.calls) do
    if index > MAX_CALLS then break end
    local failed = type(call.error) == "table" and call.error.message
    calls[index] = json.array{
      errors.clean(tostring(call.name), 64), microseconds(began + (call.started_secs or 0)),
      microseconds(call.duration_secs or 0),
      failed and errors.clean(tostring(failed), MAX_LINE_BYTES) or json.null,
    }
  end
  return calls, #info.calls
end

-- The bytes of an image that is to be shown; nil of what is none, or too big.
local function image_of(self, output)
  if not IMAGES[output.type] or type(output.bytes) ~= "number" then return nil end
  if output.bytes > MAX_IMAGE_BYTES or output.bytes > self.images_left then return nil end
  local bytes = output.content or output.path and sys.read_file(output.path, MAX_IMAGE_BYTES)
  if type(bytes) ~= "string" then return nil end
  self.images_left = self.images_left - #bytes
  return ("data:%s;base64,%s"):format(output.type, base64.encode(bytes))
end

local function outputs_of(self, info)
  if type(info.outputs) ~= "table" then return nil end
  local outputs = json.array{}
  for index, output in ipairs(info.outputs) do
    if index > MAX_OUTPUTS then break end
    outputs[index] = {
      name = errors.clean(tostring(output.name)), type = text_or_nil(output.type),
      bytes = output.bytes, image = image_of(self, output),
    }
  end
  return outputs
end

local function cleaned(list)
  local copy = json.array{}
  for index, item in ipairs(list or {}) do
    copy[index] = errors.clean(tostring(item))
  end
  return copy
end

-- What the page is told of one run: small, and plain.
local function run_of(self, index, record)
  local info = record.info or {}
  local calls, call_count = calls_of(info)
  local runtime, provenance, result = info.runtime or {}, info.provenance or {}, info.result
  return {
    index = index, started = microseconds(info.started_secs),
    us = microseconds(info.duration_secs), spans = spans_of(info), error = error_of(record.err),
    cached = info.cached == true, output = output_of(record), logs = log_lines(info.logs),
    meters = meters_of(result or {}, info.limits or {}), attempts = attempts_of(info),
    warnings = cleaned(info.warnings), isolation = text_or_nil(info.isolation),
    enforced = cleaned(info.enforced), ran = result ~= nil,
    reason = result and text_or_nil(result.reason), exit_code = result and result.exit_code,
    signal = result and text_or_nil(result.signal), language = text_or_nil(runtime.language),
    version = text_or_nil(runtime.version), reference = text_or_nil(runtime.reference),
    cell = type(info.cell) == "number" and info.cell or nil,
    stage = text_or_nil(provenance.stage), calls = calls, call_count = call_count,
    outputs = outputs_of(self, info),
  }
end

local Writer = {}
local metatable = { __name = "noether.trace", __index = Writer }

local function new(title)
  return setmetatable({
    title = title, runs = json.array{}, left_out = 0, images_left = MAX_IMAGES_BYTES,
  }, metatable)
end

--- Note one run.
-- @tparam number index its place among the inputs
-- @tparam table record `{ output, err, info }`
function Writer:add(index, record)
  if #self.runs >= MAX_RUNS then
    self.left_out = self.left_out + 1
  else
    self.runs[#self.runs + 1] = run_of(self, index, record)
  end
end

-- Nothing in the text can end a script element, begin a comment, or be taken for markup.
local function embed(text)
  return (text:gsub("[<>&\127]", function(character)
    return ("\\u%04x"):format(character:byte())
  end):gsub("\226\128([\168\169])", { ["\168"] = "\\u2028", ["\169"] = "\\u2029" }))
end

local ENTITIES = { ["<"] = "&lt;", [">"] = "&gt;", ["&"] = "&amp;", ['"'] = "&quot;" }

-- The page's frame, its style or its script. `{{name}}` in the frame stands for what is put in.
local function part(extension)
  return resource.text("report/trace/trace." .. extension)
end

local function by_index(a, b)
  return a.index < b.index
end

--- The page of what was noted so far.
-- @treturn string HTML
function Writer:page()
  table.sort(self.runs, by_index)
  local title = errors.clean(self.title or "noether", 200)
  local data = embed(assert(json.encode{
    title = title, version = sys.version, created = os.date("!%Y-%m-%d %H:%M:%S UTC"),
    runs = self.runs, left_out = self.left_out,
  }))
  local parts = {
    title = title:gsub('[<>&"]', ENTITIES), data = data, style = part("css"),
    script = part("js"),
    -- The page's own scripts bear a word that nothing within the data can know.
    nonce = sys.sha256(data):sub(1, 32),
  }
  return (part("html"):gsub("{{(%l+)}}", parts))
end

-- A link to a device (`/dev/stdout`) is as little ours to replace as the device.
local function write_page(self)
  local stat = sys.stat(self.path, true)
  if stat and stat.type ~= "file" then
    local errno = stat.type == "directory" and "EISDIR" or "EINVAL"
    return nil, self.path .. ": not a regular file", errno
  end
  return sys.write_file(self.path, self:page(), FILE_MODE)
end

local function write(self)
  local ok, message, errno = write_page(self)
  if ok then return true end
  return nil, errors.new{
    kind = "input_invalid", message = "trace: " .. message, errno = errno,
    hint = "name a file in a directory that is there and can be written to",
  }
end

--- Write the page of what was noted.
-- @treturn ?boolean true; or nil and an error (`input_invalid`)
-- @treturn ?table
function Writer:close()
  return write(self)
end

--- What a page is called whose runs are of one stage.
-- @tparam string|table reference id, name or a stage
-- @treturn string
function M.title_of(reference)
  if type(reference) == "string" then return reference end
  return reference.name or reference.id or "noether"
end

--- Begin a trace: the page is written at once, without runs, so that a path that will not do is
-- known before anything runs; and again by `close`.
-- @tparam string path
-- @tparam[opt] string title
-- @treturn ?table with `add(index, record)` and `close()`; or nil and an error (`input_invalid`)
-- @treturn ?table
function M.open(path, title)
  local self = new(title)
  self.path = path
  local ok, err = write(self)
  if not ok then return nil, err end
  return self
end

local function gather(fname, records, opts)
  options.argument(fname, "records", records, "table")
  local given = options.check(fname, opts, M.OPTIONS)
  local self = new(given.title)
  for index, record in ipairs(records) do
    options.argument(fname, ("records[%d]"):format(index), record, "table")
    self:add(index, record)
  end
  return self
end

--- Runs as a page.
-- @tparam {Record,...} records a list of `{ output, err, info }`, as `map` gives it; at most 10,000
-- are shown
-- @tparam[opt] TraceOptions opts
-- @treturn string HTML, with no need of anything beside it
-- @raise on a wrong option
-- @usage
-- local executor = noether.inline{ double = function(n) return n * 2 end }
-- local page = noether.trace.page(executor:map("double", { 1, 2 }), { title = "doubles" })
-- print(page:match("<title>(.-)</title>")) --> ...doubles...
function M.page(records, opts)
  return gather("trace.page", records, opts):page()
end

--- Write runs as a page: all of it, under its name, or nothing.
-- @tparam string path of the file; one that is there is replaced
-- @tparam {Record,...} records as of @{page}
-- @tparam[opt] TraceOptions opts
-- @treturn ?boolean true; or nil and an error (`input_invalid`)
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local executor = noether.inline{ double = function(n) return n * 2 end }
-- local path = os.getenv("TMPDIR") .. "/doubles.html"
-- print(noether.trace.write(path, executor:map("double", { 1, 2 }))) --> true
function M.write(path, records, opts)
  options.argument("trace.write", "path", path, "path")
  local self = gather("trace.write", records, opts)
  self.path = path
  return write(self)
end

--- Options of `noether.trace.page` and `noether.trace.write`.
-- @table TraceOptions
-- @tfield ?string title what was run

return M
