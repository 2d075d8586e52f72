-- SPDX-License-Identifier: MIT
-- :NoetherRun runs the fenced block that the cursor is in, or the whole buffer, sandboxed and
-- without stopping the editor; the answer comes into a split. In ~/.config/nvim/plugin/.
local json = require "noether.json"
local noether = require "noether"

local uv = vim.uv or vim.loop
local executor -- made at the first run, kept afterwards

-- Calls back with what task:wait would return, from the editor's loop.
local function on_end(task, callback)
  local poll, timer = uv.new_poll(task:pollfd()), uv.new_timer()
  local function step()
    if not task:step() then
      local secs = task:timeout()
      if secs then timer:start(math.ceil(secs * 1000), 0, step) end
      return
    end
    poll:close() -- before the task closes the descriptor
    timer:close()
    local output, err, info = task:wait(0)
    task:close()
    vim.schedule(function() callback(output, err, info) end)
  end
  poll:start("r", step)
  step()
end

-- The language and the text of the block around a line of Markdown; nil outside of one.
local function block_at(lines, row)
  local first, language
  for number, line in ipairs(lines) do
    if line:match("^```") then
      if first and number >= row then
        return language, table.concat(lines, "\n", first, number - 1)
      end
      local opened = not first and line:match("^```(%S+)") or nil
      first, language = not first and number + 1 or nil, opened
      if number > row then return nil end
    end
  end
  return nil
end

local function stage_here()
  local lines = vim.api.nvim_buf_get_lines(0, 0, -1, false)
  local language, code = block_at(lines, vim.api.nvim_win_get_cursor(0)[1])
  if not code then language, code = vim.bo.filetype, table.concat(lines, "\n") end
  if language == "sh" then language = "bash" end
  return { language = language, code = code, effects = { "Process" } }
end

-- Shows text in a scratch buffer below, and leaves the cursor where it is.
local function show(text)
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, vim.split(text, "\n"))
  local window = vim.api.nvim_get_current_win()
  vim.cmd("botright 10split")
  vim.api.nvim_win_set_buf(0, buffer)
  vim.api.nvim_set_current_win(window)
end

local function run(command)
  local err
  executor = executor or noether.check(noether.executor{ timeout_secs = 30 })
  local input = command.args ~= "" and json.decode(command.args) or noether.null
  local task
  task, err = executor:start(stage_here(), input)
  if not task then return show(tostring(err)) end
  on_end(task, function(output, failed, info)
    local result = failed and tostring(failed) or noether.inspect(output)
    local isolation = info and info.isolation or "nothing ran"
    show(("%s\n-- %s\n%s"):format(result, isolation, info and info.logs or ""))
  end)
end

vim.api.nvim_create_user_command("NoetherRun", run, {
  nargs = "?", desc = "Run the block at the cursor, with this JSON as its input",
})
