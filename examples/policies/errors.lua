-- SPDX-License-Identifier: MIT
-- A classifier that adds advice of the house to what the built-in one says. What it replaces, it
-- takes hold of first: later, the name stands for this one.
local classify = (...).classify

local ADVICE = {
  ["No module named"] = "packages are listed in the wiki, under 'Stages'; new ones: ask #data",
  ["Network is unreachable"] = "only the Network effect opens it: see the wiki",
}

return {
  classify = function(facts)
    local kind, message, hint, effect = classify(facts)
    for text, advice in pairs(ADVICE) do
      if message:find(text, 1, true) then hint = advice end
    end
    return kind, message, hint, effect
  end,
}
