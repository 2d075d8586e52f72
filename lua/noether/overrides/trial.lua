-- SPDX-License-Identifier: MIT
--- Policy files tried before anybody depends on them: loaded, their fields looked at, and each hook
-- called with a sample, so that what is wrong is told by its writer's own test and not by a run.
local compat = require "noether.compat"
local effects = require "noether.stage.effects"
local files = require "noether.overrides.files"
local guard = require "noether.sandbox.guard"
local policies = require "noether.overrides.policies"

local M = {}

local RUNTIME = {
  kind = "host", path = "/usr/bin/sample", version = "1.0", reference = "sample",
  ro_binds = { "/usr" }, links = {},
}

local RUN = { processes = true, limits = { memory_bytes = 2 ^ 31, processes = 256 } }

local SAMPLE_EFFECTS = {
  {},
  { "Network", "Process", { FsRead = "/srv/read" }, { FsWrite = "/srv/write" } },
}

local function try_language(loaded, module)
  local ok, err = loaded:call(module, "wrap", "sample\n", { processes = true })
  if ok then ok, err = loaded:call(module, "argv", RUNTIME, "/stage/entry", RUN) end
  if ok and loaded:has(module, "wrap_session") then
    ok, err = loaded:call(module, "wrap_session", {})
  end
  if ok and loaded:has(module, "env") then
    ok, err = loaded:call(module, "env", RUNTIME, RUN)
  end
  if ok and loaded:has(module, "check_input") then
    ok, err = loaded:call(module, "check_input", 1, "1")
  end
  return ok, err
end

local PIP_CALLS = {
  { "check", "six==1.16.0", {} },
  { "requirements", "# requires: six==1.16.0\n", {} },
  { "venv_argv", "/usr/bin/sample", "/srv/venv" },
  { "install_argv", "/srv/venv/bin/sample", { "six==1.16.0" }, { file = "/srv/file" } },
  { "lock_argv", "/usr/bin/sample", { "six" }, { file = "/srv/file", report = "/srv/report" } },
  { "wanted", "six>=1.16,<2" },
  { "requirements_file", { "six==1.16.0" }, { index_url = "https://index.example/simple" } },
}

local function try_pip(loaded)
  for _, call in ipairs(PIP_CALLS) do
    local ok, err = loaded:call("pip", compat.unpack(call))
    if not ok then return nil, err end
  end
  return true
end

local NPM_CALLS = {
  { "check", "lodash@4.17.21" }, { "requirements", "// requires: lodash@4.17.21\n", {} },
  { "commands", "/usr/lib/npm-cli.js", { registry = "https://registry.example/" } },
  { "requirements_file", { "lodash@4.17.21" } },
}

local function try_npm(loaded)
  for _, call in ipairs(NPM_CALLS) do
    local ok, err = loaded:call("npm", compat.unpack(call))
    if not ok then return nil, err end
  end
  return true
end

local function try_script(loaded)
  local ok, err = loaded:call("script", "metadata", "# /// script\n# dependencies = []\n# ///\n")
  if not ok then return nil, err end
  return loaded:call("script", "satisfies", ">=3.8", "3.11.2")
end

local function try_packages(loaded)
  return loaded:call("packages", "detect", "import numpy\n")
end

local function try_isolation(loaded, _, grants)
  for _, list in ipairs(SAMPLE_EFFECTS) do
    local declared = assert(effects.parse(list))
    local ok, description = loaded:call("isolation", "describe", declared, RUNTIME, {
      files_dir = "/srv/stage", limits = {}, grants = grants, backend = "native", in_place = false,
      environ = {},
    })
    local err = description
    if ok then
      ok, err = guard.check(description, { effects = declared, grants = grants, own_paths = {} })
    end
    if not ok then return nil, err end
  end
  return true
end

local FAILURES = {
  { source = "stage", stderr = "boom\n", exit_code = 1, reason = "exit", effects = {},
    answer = { error = { type = "ValueError", message = "boom", traceback = "" } } },
  { source = "stage", stderr = "", signal = "SIGSEGV", reason = "signal", effects = {} },
  { source = "host", stderr = "boom\n", exit_code = 1, reason = "exit" },
  { source = "nix", stderr = "error: boom\n", exit_code = 1, reason = "exit" },
  { source = "pip", stderr = "ERROR: boom\n", exit_code = 1, reason = "exit" },
  { source = "npm", stderr = "npm error boom\n", exit_code = 1, reason = "exit" },
  { source = "sandbox", stderr = "boom\n", exit_code = 1, reason = "exit" },
}

local function try_errors(loaded)
  for _, facts in ipairs(FAILURES) do
    local ok, err = loaded:call("errors", "classify", facts)
    if not ok then return nil, err end
  end
  return true
end

local TRIALS = {
  pip = try_pip, npm = try_npm,
  script = try_script, packages = try_packages, isolation = try_isolation,
  errors = try_errors,
}

local function try_file(file, grants)
  local loaded, err = policies.load_file(file)
  if not loaded then return err end
  local ok
  ok, err = (TRIALS[file.module] or try_language)(loaded, file.module, grants)
  return not ok and err or nil
end

--- Try every policy file of a directory, each for itself, over the built-in policies.
-- @tparam string dir
-- @tparam[opt] table grants as of an executor: `paths`, `network`
-- @treturn ?table a list of `{ module, path, err }`, `err` being nil for what is right; or nil and
-- a `policy_error` where the directory cannot be read, or holds a file that is no policy's
-- @treturn ?table
function M.directory(dir, grants)
  local list, err = files.list(dir, policies.MODULES)
  if not list then return nil, err end
  local found = {}
  for i, file in ipairs(list) do
    found[i] = { module = file.module, path = file.path, err = try_file(file, grants or {}) }
  end
  return found
end

return M
