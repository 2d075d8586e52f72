-- SPDX-License-Identifier: MIT
-- What all Lua versions share; specs and benchmarks may use 5.4.
std = "min"
max_line_length = 100
files["lua/noether/compat.lua"] = { std = "max" } -- what differs
files["spec"] = { std = "lua54+busted" }
files["tools/test"] = { std = "lua54" }
files["bench"] = { std = "lua54" }
files["examples"] = { std = "lua54" }
files["examples/hosts"] = { std = "min" } -- whatever Lua the host has
files["examples/hosts/nginx"] = { globals = { "ngx" } }
files["examples/hosts/haproxy"] = { globals = { "core" } }
files["examples/hosts/prosody"] = { globals = { "module" } }
files["examples/hosts/prosody/prosody.cfg.lua"] = {
  globals = { "plugin_paths", "noether_users" }, read_globals = { "VirtualHost", "Component" },
}
files["examples/hosts/apache"] = { globals = { "run", "ping" }, read_globals = { "apache2" } }
files["examples/hosts/pandoc"] = { globals = { "CodeBlock" }, read_globals = { "pandoc" } }
files["examples/hosts/tshark"] = {
  globals = { "Proto", "ProtoField" }, read_globals = { "DissectorTable" },
}
files["examples/hosts/neovim"] = { globals = { "vim" } }
files["tools/test/hosts-neovim.lua"] = { std = "luajit", globals = { "vim" } }
files["types"] = { ignore = { "21.", "24.", "631" } }
files["*.rockspec"] = { std = "rockspec" }
files[".luacheckrc"] = { std = "luacheckrc" }
