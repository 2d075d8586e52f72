-- SPDX-License-Identifier: MIT
-- Every stage may write to the directories that the program was granted (`grants`, in code, or
-- `noether run --grant DIR`), and read a reference data set where there is one. Without the grant,
-- a description that opens a path for writing is refused.
local describe = (...).describe

local REFERENCE = "/srv/reference"

return {
  describe = function(effects, runtime, opts)
    local description = describe(effects, runtime, opts)
    for _, path in ipairs(opts.grants and opts.grants.paths or {}) do
      table.insert(description.rw_binds, { source = path, target = path })
    end
    table.insert(description.ro_binds, { source = REFERENCE, target = REFERENCE, optional = true })
    return description
  end,
}
