-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local noether = require "noether"
local support = require "spec.support.posix"

describe("the default executor", function()
  local STAGE = { language = "bash", code = "execute() { echo $(($1 * 2)); }", input = 21 }

  local function answer()
    local output, err, info = noether.execute{
      language = STAGE.language, code = STAGE.code, input = STAGE.input, effects = {},
    }
    return ("%s %s"):format(tostring(err or output), info and info.isolation ~= "none")
  end

  it("is made anew by a copy of the process, and the first goes on with its own", function()
    assert.equal("42 true", answer())
    assert.equal("42 true", support.forked(answer))
    assert.equal("42 true", answer())
  end)

  it("is made anew by another user, who cannot reach the cache of the first", function()
    if not helper.is_root() then
      return assert.has_error(function() support.become(0) end)
    end
    local private = helper.tmpdir()
    helper.shell(("chmod 1777 %s; cd %s && chmod a+x .. ../.. ../../.."):format(
      helper.quote(private), helper.quote(private)))
    local env = { TMPDIR = private, HOME = false, XDG_CACHE_HOME = false,
      NOETHER_CACHE_DIR = false }
    helper.with_env(env, function()
      assert.equal("42 true\n42 true", support.forked(function()
        local before = answer()
        support.become(61234)
        return before .. "\n" .. answer()
      end))
    end)
  end)
end)
