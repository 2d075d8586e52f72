-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local tables = require "noether.tables"

describe("tables", function()
  it("merges into a copy, the second over the first", function()
    local base, over = { a = 1, b = 2 }, { b = 3, c = 4 }
    assert.same({ a = 1, b = 3, c = 4 }, tables.merged(base, over))
    assert.same({ a = 1, b = 2 }, base)
    assert.same({ b = 3, c = 4 }, over)
    assert.same({}, tables.merged(nil, nil))
    assert.same({ a = 1, b = 2 }, tables.merged(base))
  end)

  it("lists names in order", function()
    assert.same({ "a", "b", "c" }, tables.sorted_names{ c = 1, a = 2, b = 3 })
    assert.same({}, tables.sorted_names{})
  end)

  it("tells lists without holes, and tables by names", function()
    local function is_number(value) return type(value) == "number" end
    for _, value in ipairs{ {}, { 1, 2 } } do assert.is_true(tables.is_list(value, is_number)) end
    for _, value in ipairs{ "1", { 1, "2" }, { 1, nil, 3 }, { 1, a = 2 } } do
      assert.is_false(tables.is_list(value, is_number))
    end
    for _, value in ipairs{ {}, { a = 1 } } do assert.is_true(tables.is_map(value, is_number)) end
    for _, value in ipairs{ "a", { a = "1" }, { 1, a = 2 } } do
      assert.is_false(tables.is_map(value, is_number))
    end
  end)
end)
