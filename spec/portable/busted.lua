-- SPDX-License-Identifier: MIT
return {
  default = {
    ROOT = { "spec/portable" },
    pattern = "_spec",
    output = "spec/support/report.lua",
  },
}
