-- SPDX-License-Identifier: MIT
--- The environment variables that the command heeds, its own and the library's, for its manual.
local M = {}

--- `{ name, about }`, in the order of the manual.
M.TABLE = {
  { "NOETHER_ISOLATION", "what --isolation says where it is not given; never \"none\", which must "
    .. "be written where it is used" },
  { "NOETHER_POLICY_PATH", "what --policy-path says where it is not given" },
  { "NOETHER_RUNTIME", "what --runtime says where it is not given" },
  { "NOETHER_STORE", "the directory of the store" },
  { "NOETHER_CACHE_DIR", "where wrapped scripts and what was built are kept; an absolute path" },
  { "NOETHER_FLEET_URL", "for worker and fleet: the server, where neither --url nor --url-file is "
    .. "given" },
  { "NOETHER_FLEET_KEY", "for worker and fleet: the secret, where --key-file is not given" },
  { "NOTIFY_SOCKET, WATCHDOG_USEC", "for worker: where systemd is to hear of it, how often" },
  { "NOETHER_LOG_LEVEL", "the least level of what goes to standard error: debug, info, warn (the "
    .. "default) or error" },
  { "NOETHER_REQUIRE_ISOLATION", "if on (1, true, yes, on): refuse isolation \"none\", whatever "
    .. "the command line says" },
  { "NOETHER_LAUNCHER", "for mcp, if on: supervisors stand by for the next runs, and a run "
    .. "starts none of its own" },
  { "NOETHER_ALLOW_UNPINNED_PIP", "if on: accept \"# requires: name\" without a version" },
  { "NO_COLOR", "if set and not empty: no colours, on a terminal either" },
  { "XDG_DATA_HOME, XDG_CACHE_HOME, HOME", "where the store and the cache are by default: see "
    .. "FILES" },
  { "TMPDIR", "where the cache is made for one process, if there is no HOME" },
  { "PATH", "where interpreters and programs are looked for" },
}

return M
