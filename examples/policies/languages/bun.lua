-- SPDX-License-Identifier: MIT
-- Stages in TypeScript, run by Bun: an exported function execute(input), which may be async. What
-- it prints is its log.
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
  names = { "bun" }, extension = "ts",
  runtime = {
    programs = { "bun" },
    probe = { "-e", "console.log(JSON.stringify({ path: require('fs').realpathSync("
      .. "process.execPath), version: Bun.version, dirs: [] }))" },
  },
  wrap = function(code)
    return { entry = "runner.ts", files = { ["stage.ts"] = code, ["runner.ts"] = RUNNER } }
  end,
  argv = function(runtime, entry)
    return { runtime.path, "run", "--smol", "--no-install", entry }
  end,
  env = function() return { NO_COLOR = "1", DO_NOT_TRACK = "1" } end,
}
