-- SPDX-License-Identifier: MIT
-- What all Lua versions share; specs and benchmarks may use 5.4.
std = "min"
max_line_length = 100
files["spec"] = { std = "lua54+busted" }
files["bench"] = { std = "lua54" }
files["examples"] = { std = "lua54" }
files["types"] = { ignore = { "21.", "24.", "631" } }
files["*.rockspec"] = { std = "rockspec" }
files[".luacheckrc"] = { std = "luacheckrc" }
