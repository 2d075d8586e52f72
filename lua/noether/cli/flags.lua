-- SPDX-License-Identifier: MIT
--- Options that several verbs share.
-- Each is a table: `name` ("--input"), `about`, and if it takes a value `value` (how help calls
-- it), `convert` (of values.lua), `choices`, `many` (it may be given again).
local values = require "noether.cli.values"
local words = require "noether.executor.words"

local M = {}

M.json = { name = "--json", about = "write one JSON object" }

M.store = {
  name = "--store", value = "DIR", convert = values.path_to_be,
  about = "the store's directory (default: $NOETHER_STORE, else noether/store in "
    .. "$XDG_DATA_HOME or ~/.local/share)",
}

M.language = {
  name = "--language", value = "NAME",
  about = "the code's language, where neither its extension nor its first line says it",
}

M.effect = {
  name = "--effect", value = "EFFECT", convert = values.effect, many = true,
  about = "what the code needs: Pure, Network, Network=HOST:PORT, Process, FsRead=PATH, "
    .. "FsWrite=PATH, ...; without any it may start programs (Unknown)",
}

M.policy_path = {
  name = "--policy-path", value = "DIRS",
  about = "directories of policy files, separated by ':' (default: $NOETHER_POLICY_PATH)",
}

M.isolation = {
  name = "--isolation", value = "NAME", choices = words.isolation,
  about = "auto, native, bwrap, landlock or none (default: $NOETHER_ISOLATION, else auto)",
}

M.loopback = {
  name = "--loopback", value = "WHAT", choices = { "on", "off" },
  about = "off: without a network of the host's there are no sockets at all, but connected pairs; "
    .. "starts faster (default: on)",
}

M.runtime = {
  name = "--runtime", value = "NAME", choices = words.runtime,
  about = "where interpreters come from (default: $NOETHER_RUNTIME, else auto)",
}

M.nixpkgs = {
  name = "--nixpkgs", value = "FLAKE", convert = values.flake,
  about = "for runtime nix: where packages come from, as github:NixOS/nixpkgs/<rev> (default: "
    .. "nixpkgs, locked at its first use)",
}

M.lock_file = {
  name = "--lock-file", value = "FILE", convert = values.path_to_be,
  about = "for runtime nix: what is locked, in a file of your project (default: in the cache)",
}

M.timeout = {
  name = "--timeout", value = "TIME", convert = values.seconds,
  about = "deadline: 30, 1.5s, 200ms, 2m; none",
}

M.limit = {
  name = "--limit", value = "NAME=VALUE", convert = values.limit, many = true,
  about = "memory=512M, cpu=10s, processes=64, open_files, file, private, private_files; of a "
    .. "list of hosts connections, network",
}

M.env = {
  name = "--env", value = "NAME[=VALUE]", convert = values.variable, many = true,
  about = "a variable to add; without a value, the one that it has here",
}

M.grant = {
  name = "--grant", value = "PATH|network[=HOST:PORT]", convert = values.grant, many = true,
  about = "what policies may open without an effect",
}

M.work_dir = {
  name = "--work-dir", value = "DIR", convert = values.path,
  about = "a directory of yours, read-write, to work in",
}

M.setup_timeout = {
  name = "--setup-timeout", value = "TIME", convert = values.seconds,
  about = "deadline of what comes before the run (default: 300)",
}

M.lock = {
  name = "--lock", value = "FILE", convert = values.text_file,
  about = "a lock of the packages that the stage names, as 'lock' writes it: these and no others",
}

--- What says how a stage is run.
M.STAGE = {
  {
    name = "--input", value = "JSON|@FILE|-", about = "the input: JSON text, a file of it, or "
      .. "standard input (default: null)",
  },
  M.language, M.effect, M.timeout, M.setup_timeout, M.lock,
  M.limit, M.env, M.work_dir,
  {
    name = "--leftover-threads", value = "WHAT", choices = words.on_leftover_threads,
    about = "Python's threads that execute leaves running: wait for them, or end them with the "
      .. "process (default: wait)",
  },
  M.isolation, M.loopback, M.runtime, M.nixpkgs,
  M.lock_file, M.policy_path, M.grant, M.store,
}

return M
