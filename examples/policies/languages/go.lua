-- SPDX-License-Identifier: MIT
-- Programs in Go, one file: it reads a JSON value from standard input, and prints one. The compiler
-- is a program that starts others, so a stage declares Process.
local PROBE = [[
go=$(readlink -f "$(command -v go)") && root=$(go env GOROOT) &&
printf '{"path":"%s","version":"%s","dirs":["%s"]}\n' "$go" "$(go env GOVERSION)" \
  "$(readlink -f "$root")"]]

return {
  names = { "go" }, extension = "go",
  runtime = { programs = { "sh" }, probe = { "-c", PROBE } },
  wrap = function(code)
    return { entry = "stage.go", files = { ["stage.go"] = code } }
  end,
  argv = function(runtime, entry) return { runtime.path, "run", entry } end,
  env = function(_, opts)
    local bytes = opts and opts.limits and opts.limits.memory_bytes
    return {
      GO111MODULE = "off", CGO_ENABLED = "0", GOTOOLCHAIN = "local", GOFLAGS = "-trimpath",
      GOMEMLIMIT = bytes and ("%dB"):format(math.floor(bytes * 3 / 4)) or "off",
    }
  end,
}
