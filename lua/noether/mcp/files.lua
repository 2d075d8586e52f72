-- SPDX-License-Identifier: MIT
--- Files of a server's tools that run code: in as texts, out as what clients show - images as
-- images, the rest as resources - or into a directory that the server's command line names.
local base64 = require "noether.base64"
local errors = require "noether.error"
local json = require "noether.json"
local sys = require "noether.sys"

local M = {}

-- Of a line that clients still read.
local MAX_SENT_BYTES = 640 * 1024

local TOO_LARGE = ": too large to be sent; the server's --output-dir says where to put such files"

local IMAGES = { ["image/png"] = true, ["image/jpeg"] = true, ["image/gif"] = true,
  ["image/webp"] = true }

--- What a tool says of its arguments.
M.SCHEMA = {
  files = {
    type = "object", additionalProperties = { type = "string" },
    description = "texts that the code finds as files in its working directory, by name",
  },
  outputs = {
    type = "array", items = { type = "string", minLength = 1, maxLength = 200 },
    description = "files to give back of those that the code leaves in its working directory: "
      .. "names, or patterns such as \"*.png\"; images are shown. In Python plt.show() draws to "
      .. "figure-1.png and so on",
  },
  packages = {
    type = "array", items = { type = "string", minLength = 1, maxLength = 300 },
    description = "packages to install before the code runs, each with its whole version: "
      .. "\"six==1.16.0\" for Python, \"lodash@4.17.21\" for JavaScript",
  },
}

--- A directory for what one call leaves, or one session.
-- @tparam table server with `output_dir`
-- @treturn ?string; or nil and an error
-- @treturn ?table
function M.own_directory(server)
  server.directories = (server.directories or 0) + 1
  local path = ("%s/%s-%d-%d"):format(server.output_dir, os.date("!%Y%m%dT%H%M%SZ"), sys.getpid(),
    server.directories)
  local ok, message, errno = sys.mkdir(path)
  if ok then return path end
  return nil, errors.new{
    kind = "cache_failed", errno = errno, message = "the outputs have no place: " .. message,
    tells_of_host = true,
  }
end

--- The options of a call that these arguments are.
-- @tparam table server with `output_dir`, if it has one
-- @tparam table arguments
-- @treturn ?table `files`, `outputs`, `output_dir`, `packages`; or nil and an error
-- @treturn ?table
function M.options(server, arguments)
  local given = {
    files = arguments.files, outputs = arguments.outputs, packages = arguments.packages,
  }
  if server.output_dir and given.outputs then
    local err
    given.output_dir, err = M.own_directory(server)
    if not given.output_dir then return nil, err end
  end
  return given
end

local function content_of(output)
  if output.content then return output.content end
  return sys.read_file(output.path, MAX_SENT_BYTES)
end

-- A resource of this call alone: its address leads nowhere.
local function resource(output, content)
  local found = {
    uri = "noether:///" .. output.name:gsub("[^%w/._-]", function(byte)
      return ("%%%02X"):format(byte:byte())
    end),
    mimeType = output.type,
  }
  if errors.is_utf8(content) and not content:find("%z") then
    found.text = content
  else
    found.blob = base64.encode(content)
  end
  return { type = "resource", resource = found }
end

local function block_of(output, content)
  if not IMAGES[output.type] then return resource(output, content) end
  return { type = "image", data = base64.encode(content), mimeType = output.type }
end

local function described(output, what)
  return ("%s (%d bytes)%s"):format(errors.clean(output.name, 200), output.bytes, what)
end

-- Beside a directory only images are sent.
local function is_sent(output, left)
  if output.path and not IMAGES[output.type] then return false end
  return output.bytes * 4 / 3 <= left
end

--- What came of a call, as content after what is there.
-- @tparam table content
-- @tparam ?table info
-- @tparam number used bytes that the content has already
function M.add(content, info, used)
  local lines, left = json.array(), MAX_SENT_BYTES - used
  for _, output in ipairs(info and info.outputs or {}) do
    local bytes = is_sent(output, left) and content_of(output)
    if bytes then
      left = left - #bytes * 4 / 3
      content[#content + 1] = block_of(output, bytes)
    end
    local where = output.path and (": " .. output.path) or not bytes and TOO_LARGE or ""
    lines[#lines + 1] = described(output, where)
  end
  if #lines == 0 then return end
  content[#content + 1] = { type = "text", text = "files:\n" .. table.concat(lines, "\n") }
end

--- A call or a session is over: a directory in which nothing came goes.
-- @tparam ?string directory
-- @tparam ?table info
function M.tidy(directory, info)
  if directory and not (info and info.outputs and info.outputs[1]) then
    sys.remove_tree(directory)
  end
end

return M
