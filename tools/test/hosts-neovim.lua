-- SPDX-License-Identifier: MIT
-- What `make test-hosts` does in Neovim, once examples/hosts/neovim/noether.lua is loaded: leaves
-- it with status 0 if all is as it should be, and says what is not.
local function fail(text)
  io.stderr:write(text, "\n")
  vim.cmd("cquit 1")
end

-- The text of the split, once there is one; meanwhile the editor's loop goes on.
local function answer()
  local ticks, before = 0, #vim.api.nvim_list_wins()
  local timer = (vim.uv or vim.loop).new_timer()
  timer:start(5, 5, function() ticks = ticks + 1 end)
  vim.wait(30000, function() return #vim.api.nvim_list_wins() > before end, 5)
  timer:close()
  local windows = vim.api.nvim_list_wins()
  if #windows == before then fail("no split came") end
  local shown = windows[#windows]
  local text = table.concat(
    vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(shown), 0, -1, false), "\n")
  vim.api.nvim_win_close(shown, true)
  return text, ticks
end

local function expect(lines, row, command, ...)
  vim.api.nvim_buf_set_lines(0, 0, -1, false, lines)
  vim.api.nvim_win_set_cursor(0, { row, 0 })
  vim.cmd(command)
  local text, ticks = answer()
  for _, wanted in ipairs{ ... } do
    if not text:find(wanted, 1, true) then fail(("no %q in:\n%s"):format(wanted, text)) end
  end
  return ticks
end

local fence = ("`"):rep(3)
local page = {
  "Text.", fence .. "bash", "execute() {", "  sleep 1", "  echo $(($1 * 2))", "}", fence,
  fence .. "python", "def execute(n):", "    print('seen')", "    return n + 1", fence,
}
local ticks = expect(page, 4, "NoetherRun 21", "42\n")
if ticks < 20 then fail("the editor stood still: " .. ticks) end
expect(page, 9, "NoetherRun 41", "42\n", "seen")

vim.bo.filetype = "sh"
expect({ "execute() { exit 3; }" }, 1, "NoetherRun", "exit")
io.stdout:write("nvim ", tostring(vim.version().minor), "\n")
vim.cmd("qall!")
