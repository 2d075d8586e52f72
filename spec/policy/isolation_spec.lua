-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local effects = require "noether.stage.effects"
local isolation = require "noether.policy.isolation"
local json = require "noether.json"

-- Of no kind: the machine's own would show some of its configuration, too.
local RUNTIME = {
  kind = "sample", path = "/usr/bin/python3.11", ro_binds = { "/usr", "/etc/ld.so.cache" },
  links = { { target = "/lib", source = "usr/lib" }, { target = "/bin", source = "usr/bin" } },
}

local function describe_effects(list, opts, runtime)
  opts = opts or {}
  opts.files_dir = opts.files_dir or "/cache/ab12"
  return isolation.describe(assert(effects.parse(list)), runtime or RUNTIME, opts)
end

local function bind(source, target)
  return { source = source, target = target or source }
end

describe("isolation.describe", function()
  it("opens the runtime and the script, and nothing else, where no effect asks for more", function()
    assert.same({
      ro_binds = { bind("/etc/ld.so.cache"), bind("/cache/ab12", "/stage"), bind("/usr") },
      rw_binds = {},
      links = { { target = "/bin", source = "usr/bin" }, { target = "/lib", source = "usr/lib" } },
      work_dir = "/work",
      network = "none",
      processes = false,
      env_allowlist = { "LANG", "LC_*", "TZ" },
      limits = {
        memory_bytes = 2147483648, processes = 256, open_files = 1024, file_bytes = 1073741824,
        private_bytes = 268435456, private_files = 65536,
      },
    }, describe_effects{})
  end)

  it("opens nothing for effects that promise or cost something", function()
    assert.same(describe_effects{},
      describe_effects{ "Pure", "Fallible", "NonDeterministic", { Cost = 5 }, { Llm = "m" } })
  end)

  it("lets processes start with Process, and where no effects are given", function()
    assert.is_true(describe_effects{ "Process" }.processes)
    assert.is_true(describe_effects(nil).processes)
    assert.equal("none", describe_effects(nil).network)
  end)

  it("opens the network with what names and certificates need, where it is there", function()
    local description = describe_effects{ "Network" }
    assert.equal("host", description.network)
    local by_target = {}
    for _, item in ipairs(description.ro_binds) do
      by_target[item.target] = item
    end
    for _, path in ipairs{ "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
      "/etc/ssl/certs" } do
      assert.same({ source = path, target = path, optional = true }, by_target[path])
    end
    assert.is_nil(by_target["/etc/ssl"]) -- private keys are in there
    assert.is_nil(by_target["/usr/share/ca-certificates"]) -- in /usr, which is there already
    assert.is_nil(by_target["/usr"].optional)
    local names = table.concat(description.env_allowlist, " ")
    for _, name in ipairs{ "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
      "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS" } do
      assert.truthy((" " .. names .. " "):find(" " .. name .. " ", 1, true), name)
    end
  end)

  it("binds the files that certificate variables name, with Network only", function()
    local environ = { SSL_CERT_FILE = "/own/ca.pem", SSL_CERT_DIR = "/own/a:/own/b:relative" }
    local with, without = {}, {}
    for _, item in ipairs(describe_effects({ "Network" }, { environ = environ }).ro_binds) do
      with[item.source] = true
    end
    for _, item in ipairs(describe_effects({}, { environ = environ }).ro_binds) do
      without[item.source] = true
    end
    for _, path in ipairs{ "/own/ca.pem", "/own/a", "/own/b" } do
      assert.is_true(with[path])
      assert.is_nil(without[path])
    end
    assert.is_nil(with.relative)
  end)

  it("binds what FsRead and FsWrite name", function()
    local description = describe_effects{ { FsRead = "/data" }, { FsWrite = "/out" } }
    assert.same({ bind("/out") }, description.rw_binds)
    assert.same({
      bind("/data"), bind("/etc/ld.so.cache"), bind("/cache/ab12", "/stage"), bind("/usr"),
    }, description.ro_binds)
  end)

  it("keeps a read-only path inside a writable one, and drops it where it is the same", function()
    local description = describe_effects{
      { FsWrite = "/out" }, { FsRead = "/out/fixed" }, { FsRead = "/out" },
    }
    assert.same({ bind("/out") }, description.rw_binds)
    assert.same(bind("/out/fixed"), description.ro_binds[2])
    for _, item in ipairs(description.ro_binds) do
      assert.not_equal("/out", item.target)
    end
  end)

  it("shows the machine's configuration to its own interpreters, and more of it to programs",
    function()
      local function shown(kind, process)
        local targets = {}
        local described = isolation.describe({ process = process, reads = {}, writes = {} },
          { kind = kind, ro_binds = {}, links = {} }, { backend = "native" })
        for _, shown_bind in ipairs(described.ro_binds) do
          assert.is_true(shown_bind.optional)
          targets[shown_bind.target] = true
        end
        return targets
      end
      assert.is_true(shown("host", false)["/etc/matplotlibrc"])
      assert.is_nil(shown("host", false)["/etc/R"])
      assert.is_true(shown("host", true)["/etc/R"])
      assert.same({}, shown("nix", true))
    end)

  it("drops what is shown already, unless something writable lies between", function()
    local runtime = { ro_binds = { "/usr", "/usr/lib", "/usr/lib/x" }, links = {} }
    local function targets(list)
      local found = {}
      for _, item in ipairs(describe_effects(list, nil, runtime).ro_binds) do
        found[#found + 1] = item.target
      end
      return found
    end
    assert.same({ "/stage", "/usr" }, targets{})
    assert.same({ "/stage", "/usr", "/usr/lib/x" }, targets{ { FsWrite = "/usr/lib" } })
  end)

  it("leaves out a link to a name that is bound, or lies in what is", function()
    local runtime = { ro_binds = { "/usr" }, links = {
      { target = "/bin/sh", source = "/usr/bin/sh" }, { target = "/lib", source = "usr/lib" },
    } }
    local description = isolation.describe({ reads = { "/bin" }, writes = {} }, runtime,
      { backend = "native" })
    assert.same({ { target = "/lib", source = "usr/lib" } }, description.links)
  end)

  it("takes a runtime of a thousand paths without taking long", function()
    local runtime = { ro_binds = {}, links = {} }
    for i = 1, 3000 do
      runtime.ro_binds[i] = ("/nix/store/%032d-package"):format(i)
    end
    local before = os.clock()
    local description = isolation.describe({ reads = {}, writes = {} }, runtime,
      { backend = "native" })
    assert.equal(3000, #description.ro_binds)
    assert.is_true(os.clock() - before < 1)
  end)

  it("shows the script where it lies to backends without a root of their own", function()
    assert.equal("/stage", isolation.script_dir{ files_dir = "/cache/ab12" })
    for _, backend in ipairs{ "none", "landlock" } do
      local opts = { backend = backend, in_place = true, files_dir = "/cache/ab12" }
      assert.equal("/cache/ab12", isolation.script_dir(opts))
      assert.same(bind("/cache/ab12"), describe_effects({}, opts).ro_binds[1])
    end
    assert.equal("/stage", isolation.script_dir{ backend = "native", files_dir = "/cache/ab12" })
  end)

  it("gives such backends every path under its own name", function()
    local runtime = {
      ro_binds = { bind("/usr/share/zoneinfo/Etc/UTC", "/etc/localtime"), bind("/opt", "/usr") },
      links = RUNTIME.links,
    }
    local description = describe_effects({}, { backend = "landlock", in_place = true }, runtime)
    local required = {}
    for _, item in ipairs(description.ro_binds) do
      if not item.optional then required[#required + 1] = item end
    end
    assert.same({ bind("/cache/ab12"), bind("/opt"), bind("/usr/share/zoneinfo/Etc/UTC") },
      required)
    assert.same({}, description.links)
  end)

  it("takes limits from the call, and leaves out those that are none", function()
    local limits = describe_effects({}, {
      limits = { memory_bytes = math.huge, cpu_secs = 1.5, processes = 8 },
    }).limits
    assert.is_nil(limits.memory_bytes)
    assert.equal(1.5, limits.cpu_secs)
    assert.equal(8, limits.processes)
    assert.equal(1024, limits.open_files)
  end)

  it("gives the same for the same effects in any order", function()
    assert.same(describe_effects{ { FsRead = "/b" }, "Network", { FsRead = "/a" } },
      describe_effects{ "Network", { FsRead = "/a" }, { FsRead = "/b" } })
  end)

  it("changes nothing that it was given, and shares nothing with it", function()
    local runtime = { ro_binds = { { source = "/a", target = "/b" } }, links = { bind("c", "/d") } }
    local description = describe_effects({}, nil, runtime)
    description.ro_binds[1].source, description.links[1].source = "changed", "changed"
    description.limits.processes, description.env_allowlist[1] = 1, "changed"
    assert.same({ { source = "/a", target = "/b" } }, runtime.ro_binds)
    assert.equal("c", runtime.links[1].source)
    assert.equal(256, isolation.limits.processes)
    assert.equal("LANG", isolation.env_allowlist[1])
  end)

  it("can be written as JSON and read back", function()
    local description = describe_effects{ "Network", { FsWrite = "/out" }, { FsRead = "/data" } }
    assert.same(description, json.decode(assert(json.encode(description))))
  end)
end)
