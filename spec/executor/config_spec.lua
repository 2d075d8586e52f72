-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local config = require "noether.executor.config"

describe("config.read", function()
  it("fills in the documented defaults", function()
    local read = assert(config.read("executor", nil, {}))
    for name, value in pairs{
      timeout_secs = 30, setup_timeout_secs = 300, max_output_bytes = 10485760,
      max_stderr_bytes = 65536, isolation = "auto", runtime = "auto", require_isolation = false,
      allow_unpinned_pip = false, legacy_input = false, log_level = "info", policy_path = "",
      big_integers = "exact",
    } do
      assert.equal(value, read[name], name)
    end
    assert.same({}, read.limits)
    assert.same({}, read.env)
    assert.is_nil(read.allowed)
  end)

  it("lets options beat the environment", function()
    local environ = {
      NOETHER_RUNTIME = "nix", NOETHER_LOG_LEVEL = "error", NOETHER_ALLOW_UNPINNED_PIP = "1",
    }
    local read = assert(config.read("executor", {}, environ))
    assert.equal("nix", read.runtime)
    assert.equal("error", read.log_level)
    assert.is_true(read.allow_unpinned_pip)
    read = assert(config.read("executor", {
      runtime = "host", log_level = "warn", allow_unpinned_pip = false,
    }, environ))
    assert.equal("host", read.runtime)
    assert.equal("warn", read.log_level)
    assert.is_false(read.allow_unpinned_pip)
  end)

  it("lets the environment only tighten isolation", function()
    local on = { NOETHER_REQUIRE_ISOLATION = "1" }
    assert.is_true(config.read("executor", { require_isolation = false }, on).require_isolation)
    local off = { NOETHER_REQUIRE_ISOLATION = "0" }
    assert.is_true(config.read("executor", { require_isolation = true }, off).require_isolation)
    assert.is_false(config.read("executor", {}, off).require_isolation)
  end)

  it("does not change the table it was given", function()
    local opts = { limits = { memory_bytes = 1e6 }, allow_effects = { "Pure" } }
    config.read("executor", opts, { NOETHER_RUNTIME = "host" })
    assert.same({ limits = { memory_bytes = 1e6 }, allow_effects = { "Pure" } }, opts)
  end)

  it("warns of a level in the environment that is none, and keeps the default", function()
    local read = config.read("executor", {}, { NOETHER_LOG_LEVEL = "chatty" })
    assert.equal("info", read.log_level)
    assert.truthy(read.warnings[1]:find("NOETHER_LOG_LEVEL: expected one of 'debug', 'info'"))
    assert.truthy(read.warnings[1]:find("got 'chatty'", 1, true))
    for _, environ in ipairs{ { NOETHER_LOG_LEVEL = "WARN" }, { NOETHER_LOG_LEVEL = "" }, {} } do
      assert.same({}, config.read("executor", {}, environ).warnings)
    end
    read = config.read("executor", { log_level = "warn" }, { NOETHER_LOG_LEVEL = "chatty" })
    assert.same({}, read.warnings)
  end)

  it("raises for a wrong allow_effects, at the caller's line", function()
    for value, text in pairs{ Network = 'write { "Network" }', [3] = "expected a list" } do
      local function public() return (config.read("executor", { allow_effects = value }, {})) end
      local ok, message = pcall(function() return (public()) end)
      assert.is_false(ok)
      assert.truthy(message:find("config_spec.lua:%d+: executor: allow_effects: "), message)
      assert.truthy(message:find(text, 1, true), message)
    end
  end)

  it("takes places of packages, and fills in what installing them may take", function()
    local pip = config.read("executor", { pip = {
      index_url = "https://user:${TOKEN}@a.example/simple?x=1", env = { TOKEN = "t" },
      extra_index_urls = { "http://[::1]:80/" }, find_links = { "/a b", "http://b/" },
      trusted_hosts = { "c.example:80" }, max_files = math.huge,
    } }, {}).pip
    assert.equal("/a b", pip.find_links[1])
    assert.equal(2 ^ 30, pip.max_bytes)
    assert.equal(math.huge, pip.max_files)
    assert.is_true(pip.only_binary)
  end)

  it("raises for places that would be more than that, at the caller's line", function()
    for _, case in ipairs{
      { { index_url = "a.example" }, "option 'index_url': expected an http:// or https:// URL" },
      { { index_url = "https://a --no-index" }, "option 'index_url'" },
      { { index_url = "https://a\n--no-index" }, "option 'index_url'" },
      { { index_url = "https://a'b" }, "option 'index_url'" },
      { { index_url = "file:///a" }, "option 'index_url'" },
      { { extra_index_urls = { "https://a", "-r x" } }, "option 'extra_index_urls'" },
      { { find_links = { "a" } }, "option 'find_links': expected absolute paths" },
      { { find_links = { "/a\n-r x" } }, "option 'find_links'" },
      { { trusted_hosts = { "a b" } }, "option 'trusted_hosts'" },
      { { index_url = "https://${TOKEN}@a", env = { TOKE = "t" } }, "pip.env has no 'TOKEN'" },
      { { index = "https://a" }, "did you mean 'index_url'?" },
      { { max_bytes = 0 }, "option 'max_bytes'" },
    } do
      local function public() return (config.read("executor", { pip = case[1] }, {})) end
      local ok, message = pcall(function() return (public()) end)
      assert.is_false(ok)
      assert.truthy(message:find("config_spec.lua:%d+: executor: pip: "), message)
      assert.truthy(message:find(case[2], 1, true), message)
    end
  end)
end)

describe("config.for_call", function()
  local base = assert(config.read("executor", {
    timeout_secs = 9, env = { A = "1", B = "1" }, limits = { memory_bytes = 1e6, processes = 5 },
  }, {}))

  it("puts the call's options in their places, one by one in limits and env", function()
    local call = config.for_call("execute", {
      max_output_bytes = 7, env = { B = "2" }, limits = { processes = 6 },
    }, base)
    assert.equal(9, call.timeout_secs)
    assert.equal(7, call.max_output_bytes)
    assert.same({ A = "1", B = "2" }, call.env)
    assert.same({ memory_bytes = 1e6, processes = 6 }, call.limits)
    assert.same({ A = "1", B = "1" }, base.env)
  end)

  it("is the executor's configuration where there are none", function()
    assert.equal(base, config.for_call("execute", nil, base))
  end)

  it("refuses options that only an executor has", function()
    assert.has_error(function() config.for_call("execute", { isolation = "none" }, base) end)
  end)
end)
