-- SPDX-License-Identifier: MIT
--- `noether completion`: a script that completes command lines in a shell.
local M = {
  name = "completion", summary = "write a script that completes command lines",
  about = "Write a script that completes noether's command lines in a shell.",
  arguments = { {
    name = "shell", value = "SHELL", about = "bash, zsh or fish",
    choices = { "bash", "zsh", "fish" },
  } },
  examples = {
    { "source <(noether completion bash)", "for this session of bash" },
    { "noether completion zsh > ~/.zfunc/_noether", "for zsh, in a directory of $fpath" },
    { "noether completion fish > ~/.config/fish/completions/noether.fish", "for fish" },
  },
}

--- Do it.
-- @tparam table context
-- @treturn number exit code
function M.run(context)
  context.console:answer(context.completion(context.given.shell))
  return 0
end

return M
