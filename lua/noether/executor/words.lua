-- SPDX-License-Identifier: MIT
--- The words that options of an executor take. They stand apart from what they mean, since a
-- command line is read with them before there is any executor.
local compat = require "noether.compat"
local descriptions = require "noether.sandbox.description"
local kinds = require "noether.runtime.kinds"

return {
  isolation = { "auto", compat.unpack(descriptions.BACKENDS) },
  runtime = { "auto", compat.unpack(kinds) },
  on_leftover_threads = { "wait", "end" },
}
