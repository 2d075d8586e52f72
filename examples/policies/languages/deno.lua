-- SPDX-License-Identifier: MIT
-- Stages in TypeScript, run by Deno: an exported function execute(input), which may be async. What
-- it prints is its log. What Deno would ask permission for, the sandbox decides.
local RUNNER = [[
import { readFileSync, writeSync } from "node:fs";
import process from "node:process";
console.log = console.info = console.debug = console.error;
function finish(value: unknown, status: number) {
  const bytes = new TextEncoder().encode(JSON.stringify(value ?? null) + "\n");
  for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
  process.exit(status);
}
try {
  const stage = await import("./stage.ts");
  const execute = stage.execute ?? stage.default;
  if (typeof execute !== "function") throw new TypeError("the code exports no function execute");
  finish(await execute(JSON.parse(readFileSync(0, "utf8"))), 0);
} catch (error) {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const line = /stage\.ts:(\d+)/.exec(String(stack));
  const report = { type: name, message, traceback: String(stack) };
  finish({ error: line ? { ...report, line: Number(line[1]) } : report }, 1);
}
]]

return {
  names = { "deno" }, extension = "ts",
  runtime = {
    programs = { "deno" },
    probe = { "eval", "console.log(JSON.stringify({ path: Deno.execPath(),"
      .. " version: Deno.version.deno, dirs: [] }))" },
  },
  wrap = function(code)
    return { entry = "runner.ts", files = { ["stage.ts"] = code, ["runner.ts"] = RUNNER } }
  end,
  argv = function(runtime, entry, opts)
    local argv = { runtime.path, "run", "--quiet", "--no-prompt", "--allow-all", "--no-config",
      "--no-lock", "--cached-only" }
    local bytes = opts and opts.limits and opts.limits.memory_bytes
    if bytes then
      argv[#argv + 1] = ("--v8-flags=--max-old-space-size=%d"):format(
        math.max(math.floor(bytes / 2 ^ 20), 16))
    end
    argv[#argv + 1] = entry
    return argv
  end,
  env = function() return { NO_COLOR = "1", DENO_NO_UPDATE_CHECK = "1" } end,
}
