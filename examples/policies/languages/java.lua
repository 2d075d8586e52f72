-- SPDX-License-Identifier: MIT
-- Programs in Java, one file, which the launcher compiles: it reads a JSON value from standard
-- input, and prints one. (Java itself has no JSON.) The heap is told the run's limit, since Java
-- would go by the machine's memory; what the virtual machine says of itself goes to the log.
local PROBE = [[
java=$(readlink -f "$(command -v java)") && home=${java%/bin/java} &&
printf '{"path":"%s","version":"%s","dirs":["%s","%s"]}\n' "$java" \
  "$(java -version 2>&1 | sed -n '1s/.*"\(.*\)".*/\1/p')" "$home" \
  "$(dirname "$(readlink -f "$home/conf/security/java.security")")"]]

local MIB = 1024 * 1024

return {
  names = { "java" }, extension = "java",
  runtime = { programs = { "sh" }, probe = { "-c", PROBE } },
  wrap = function(code)
    return { entry = "Stage.java", files = { ["Stage.java"] = code } }
  end,
  argv = function(runtime, entry, opts)
    local argv = { runtime.path, "-Xlog:disable", "-Xlog:all=error:stderr", "-XX:-UsePerfData",
      "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1" }
    local bytes = opts and opts.limits and opts.limits.memory_bytes
    if bytes then
      argv[#argv + 1] = ("-Xmx%dm"):format(math.max(math.floor(bytes / 2 / MIB), 16))
    end
    argv[#argv + 1] = entry
    return argv
  end,
}
