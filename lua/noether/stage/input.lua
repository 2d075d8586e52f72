-- SPDX-License-Identifier: MIT
--- Input that is JSON text already: a string, in a file, or from a function that is asked for it.
-- It is checked as a whole before anything runs, so it is read as a whole, up to a bound.
local errors = require "noether.error"
local options = require "noether.options"
local sys = require "noether.sys"

local M = {}

--- More input than this is refused.
M.MAX_BYTES = 256 * 1024 * 1024

--- What to do about more.
M.AS_A_FILE = "give it as a file: declare { FsRead = path }, and let the path be the input"

local function invalid(message, errno)
  return nil, errors.new{ kind = "input_invalid", message = "input: " .. message, errno = errno }
end

local function too_long()
  local _, err = invalid(("it is longer than %d bytes"):format(M.MAX_BYTES), "EFBIG")
  err.limit, err.hint = M.MAX_BYTES, M.AS_A_FILE
  return nil, err
end

local function read(path)
  local real, message, errno = sys.realpath(path)
  local text
  if real then text, message, errno = sys.read_file(real, M.MAX_BYTES) end
  if text then return text end
  if errno == "EFBIG" then return too_long() end
  return invalid(message, errno)
end

local function collect(producer)
  local pieces, bytes = {}, 0
  for piece in producer do
    if type(piece) ~= "string" then
      return invalid("the function returned a " .. type(piece) .. ", not a string")
    end
    bytes = bytes + #piece
    if bytes > M.MAX_BYTES then return too_long() end
    pieces[#pieces + 1] = piece
  end
  return table.concat(pieces)
end

--- The text of a source of it.
-- @tparam string fname the public function, for messages
-- @tparam string|table|function given text, `{ path = "..." }`, or a function that returns the next
-- piece, and nil at the end
-- @treturn ?string the text; or nil and an error (`input_invalid`)
-- @treturn ?table
-- @raise on another source (at the caller of the public function), and what the function raises
function M.text(fname, given)
  options.argument(fname, "text", given, "text_source")
  if type(given) == "string" then return given end
  if type(given) == "table" and given.path then return read(given.path) end
  return collect(given)
end

return M
