-- SPDX-License-Identifier: MIT
--- Where interpreters come from: each a module beside this one, which is loaded when it is needed.
return { "host", "nix" }
