// SPDX-License-Identifier: MIT
"use strict";
// CPython as WebAssembly in node: a request per line, an answer per line. The first argument is
// the directory that has pyodide in its node_modules.
const readline = require("readline");
const { createRequire } = require("module");

const { loadPyodide } = createRequire(`${process.argv[2]}/`)("pyodide");

async function main() {
  const pyodide = await loadPyodide();
  const run = pyodide.runPython(`
import json

def run(text):
    scope = {}
    code, value = json.loads(text)
    exec(code, scope)
    return json.dumps(scope["execute"](value))

run`);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${run(line)}\n`);
  }
}

main();
