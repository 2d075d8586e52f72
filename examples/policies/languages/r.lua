-- SPDX-License-Identifier: MIT
-- Stages in R, with the package jsonlite: a function execute(input). What it prints is its log.
-- The command R is a shell script, and what it starts is run here. A stage declares Process all the
-- same: R's package utils, which jsonlite wants, looks for a program when it is loaded.
local PROBE = [[
home=$(R RHOME) && version=$(R --version | sed -n '1s/^R version \([0-9.]*\).*/\1/p') &&
printf '{"path":"%s","version":"%s","dirs":["%s","%s"]}\n' "$(readlink -f "$home/bin/exec/R")" \
  "$version" "$home" "$(dirname "$(readlink -f "$home/etc/Renviron")")"]]

local RUNNER = [[
directory <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))
sink(stderr())
status <- 0
text <- tryCatch({
  input <- jsonlite::fromJSON(readLines(file("stdin"), warn = FALSE), simplifyVector = FALSE)
  source(file.path(directory, "stage.R"), local = FALSE, keep.source = TRUE)
  jsonlite::toJSON(execute(input), auto_unbox = TRUE, null = "null", digits = NA)
}, error = function(condition) {
  status <<- 1
  report <- list(type = class(condition)[1], message = conditionMessage(condition),
    traceback = paste(deparse(conditionCall(condition)), collapse = "\n"))
  jsonlite::toJSON(list(error = report), auto_unbox = TRUE)
})
sink()
cat(text, "\n", sep = "")
quit(status = status)
]]

return {
  names = { "r" }, extension = "R",
  runtime = { programs = { "sh" }, probe = { "-c", PROBE } },
  wrap = function(code)
    return { entry = "runner.R", files = { ["stage.R"] = code, ["runner.R"] = RUNNER } }
  end,
  argv = function(runtime, entry)
    return { runtime.path, "--no-echo", "--no-restore", "--no-save", "--no-init-file",
      "--file=" .. entry }
  end,
  env = function(runtime)
    local home = runtime.path:gsub("/bin/exec/R$", "")
    return { R_HOME = home, LD_LIBRARY_PATH = home .. "/lib", R_DEFAULT_PACKAGES = "base,methods" }
  end,
}
