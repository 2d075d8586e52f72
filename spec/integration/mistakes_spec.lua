-- SPDX-License-Identifier: MIT
--- What models get wrong, in each language: the failure of each such code ends in a hint that names
-- the way out.
require "spec.support.helper"
local noether = require "noether"

local LANGUAGES = { "python", "javascript", "typescript", "bash" }

-- `hint`: what the hint says. A code is a text, or { text, what its own hint says }.
local MISTAKES = {
  { name = "Markdown around the code", hint = "Markdown",
    python = {
      "```python\ndef execute(input):\n    return input\n```",
      "Here is the code:\n\n```python\ndef execute(input):\n    return input\n```",
      "def execute(input):\n    return input\n```",
    },
    javascript = {
      "```javascript\nfunction execute(input) { return input; }\n```",
      "Here you go:\n```js\nfunction execute(i) { return i }\n```",
      "function execute(i) { return i }\n```",
    },
    typescript = {
      "```typescript\nfunction execute(input: number) { return input; }\n```",
      "Sure! Here it is:\n```ts\nfunction execute(i: number) { return i }\n```",
      "function execute(i: number) { return i }\n```",
    },
    bash = {
      "```bash\nexecute() { echo 1; }\n```",
      "Here is a script:\n```bash\nexecute() { echo 1; }\n```",
      "execute() { echo 1; }\n```",
    } },
  { name = "no execute", hint = "defines? [%w ]*execute%(",
    python = {
      "def main(input):\n    return input", "result = 1 + 1\nresult",
      "class Stage:\n    def execute(self, input):\n        return input",
      "print(6 * 7)",
    },
    javascript = {
      "function main(input) { return input; }", "console.log(6 * 7);",
      "export default { run(i) { return i } }",
    },
    typescript = {
      "function main(input: number) { return input; }", "const result: number = 1 + 1;",
      "export const handler = (i: number) => i",
    },
    bash = { "main() { echo 1; }", "echo '1'", "jq '.n' <<<\"$1\"" } },
  { name = "a print instead of a return", hint = "the answer",
    javascript = {
      "function execute(input) { console.log(input.n * 2); }",
      "const execute = (i) => { console.log(JSON.stringify({ a: i.n })) }",
      "async function execute(i) { process.stdout.write('42') }",
    },
    typescript = {
      "function execute(input: { n: number }): void { console.log(input.n * 2); }",
      "export const execute = async (i: { n: number }) => { console.log(i.n) }",
      "export default function (i: unknown) { console.log(JSON.stringify(i)) }",
    },
    bash = {
      "execute() { return 3; }", { "execute() { result=$((6 * 7)); }", "prints its answer" },
      "execute() { local out=5; return $out; }",
    } },
  { name = "an import that is not there",
    python = {
      { "import pandas_is_not_here as pd\ndef execute(i): return 1",
        "# requires: pandas_is_not_here==" },
      { "def execute(i):\n    from skimage.nothing_here import x\n    return x",
        "# requires: scikit%-image==" },
      { "from telegram import Bot\ndef execute(i): return 1",
        "# requires: python%-telegram%-bot==" },
    },
    javascript = {
      { "const _ = require('lodash');\nfunction execute(i) { return i }", "requires: lodash" },
      { "import axios from 'axios';\nexport function execute(i) { return i }", "requires: lodash" },
      { "async function execute(i) { const d = await import('dayjs'); return 1 }",
        "requires: lodash" },
    },
    typescript = {
      { "import _ from 'lodash';\nexport function execute(i: number) { return _.chunk([1]) }",
        "requires: lodash" },
      { "import { z } from 'zod';\nexport const execute = (i: number) => z", "requires: lodash" },
      { "const a = require('axios');\nfunction execute(i: number) { return a }",
        "requires: lodash" },
    },
    bash = {
      { "execute() { no_such_jq .n; }", "spelt right" }, { "execute() { rgrgrg foo; }", "spelt" },
      { "execute() { python4 -c 1; }", "spelt" },
    } },
  { name = "an await in the wrong place", hint = "await",
    python = {
      "import asyncio\nawait asyncio.sleep(0)\ndef execute(i): return 1",
      "async def get(): return 1\ndef execute(i):\n    return await get()",
      "import asyncio\nasync def get(): return 1\nasync def execute(i):\n"
        .. "    return asyncio.run(get())",
    },
    javascript = {
      { "const { sep } = require('path');\nconst x = await 1;\nfunction execute(i) { return x }",
        "ES module" },
      "function execute(i) {\n  return await Promise.resolve(1);\n}",
      "function execute(i) { return [1].map((x) => await x) }",
    },
    typescript = {
      "export function execute(i: number) {\n  return await Promise.resolve(1);\n}",
      "function execute(i: number): number {\n  const x: number = await 1;\n  return x }",
      "const execute = (i: number) => { return await 3 }",
    } },
  { name = "a question to nobody", hint = "the argument of execute",
    python = {
      "def execute(i):\n    name = input('Name? ')\n    return name",
      "n = int(input())\ndef execute(i): return n",
      "import sys, json\ndata = json.load(sys.stdin)\ndef execute(i): return data",
    },
    javascript = {
      "function execute(i) { const n = prompt('n?'); return n }",
      "const rl = require('readline').createInterface({ input: process.stdin });\n"
        .. "function execute(i) { return new Promise((r) => rl.question('n?', r)) }",
      "function execute(i) { return JSON.parse(require('fs').readFileSync(0, 'utf8')) }",
    },
    typescript = {
      "function execute(i: number) { const n: string = prompt('n?')!; return n }",
      "import { readFileSync } from 'fs';\n"
        .. "export const execute = (i: number) => JSON.parse(readFileSync('/dev/stdin', 'utf8'))",
      "import * as readline from 'node:readline/promises';\n"
        .. "export async function execute(i: number) {\n"
        .. "  return await readline.createInterface({ input: process.stdin }).question('n?') }",
    },
    bash = {
      "execute() { read -r -p 'Name? ' name; read -r other; echo \"\\\"$other\\\"\"; }",
      "read -r x\nexecute() { read -r a; read -r b; echo \"$b\"; }",
      "execute() { select x in a b; do echo \"$x\"; done; }",
    } },
  { name = "blanks that do not go together", hint = "blanks",
    python = {
      "def execute(i):\n\tx = 1\n        return x", "def execute(i):\n    if i:\n\treturn 1\n",
      "def execute(i):\n    x = 1\n      return x", "def execute(i):\nreturn 1",
    } },
  { name = "an answer that is no JSON", hint = "JSON",
    python = {
      "import datetime\ndef execute(i): return datetime.date(2020, 1, 1)",
      "def execute(i): return {1, 2}", "def execute(i): return {(1, 2): 3}",
    },
    javascript = {
      "function execute(i) { return new Map([[1, 2]]) }", "function execute(i) { return 10n }",
      "function execute(i) { return NaN }",
    },
    typescript = {
      "function execute(i: unknown) { return new Set([1]) }",
      "function execute(i: unknown) { return { a: 10n } }",
      "function execute(i: unknown): number { return 0 / 0 }",
    },
    bash = {
      "execute() { echo hello world; }", "execute() { echo \"{'a': 1}\"; }",
      { "execute() { echo 1; echo 2; }", "one value" },
    } },
  { name = "a network that is not there", hint = "network",
    python = {
      "import urllib.request\ndef execute(i):\n"
        .. "    return urllib.request.urlopen('http://example.com').read().decode()",
      "import socket\ndef execute(i): socket.create_connection(('1.1.1.1', 80), 5); return 1",
      "import http.client\ndef execute(i):\n"
        .. "    c = http.client.HTTPSConnection('example.com'); c.request('GET', '/')",
    },
    javascript = {
      "async function execute(i) { return await (await fetch('http://example.com')).text() }",
      "function execute(i) { return new Promise((r, f) =>\n"
        .. "  require('http').get('http://example.com', r).on('error', f)) }",
      "function execute(i) { return new Promise((r, f) =>\n"
        .. "  require('net').connect(80, '1.1.1.1').on('error', f)) }",
    },
    typescript = {
      "export async function execute(i: unknown): Promise<string> {\n"
        .. "  return await (await fetch('http://example.com')).text() }",
      "import https from 'node:https';\nexport const execute = (i: unknown) =>\n"
        .. "  new Promise((r, f) => https.get('https://example.com', r).on('error', f))",
      "import { lookup } from 'node:dns/promises';\n"
        .. "export const execute = async (i: unknown) => await lookup('example.com')",
    },
    bash = {
      "execute() { exec 3<>/dev/tcp/1.1.1.1/80; echo 1; }",
      "execute() { exec 3<>/dev/tcp/example.com/80; echo 1; }",
      "exec 3<>/dev/udp/8.8.8.8/53; execute() { echo x >&3; echo 1; }",
    } },
}

local function text_of(code)
  return type(code) == "table" and code[1] or code
end

describe("a model's mistake", function()
  local executor
  setup(function()
    executor = noether.check(noether.executor{
      isolation = "native", timeout_secs = 60, runtime = "host",
    })
  end)
  teardown(function() executor:close() end)

  -- So many at a time that they are over soon, and few enough for a machine that is small.
  local function outcomes(language, codes)
    local started, found = {}, {}
    for index, code in ipairs(codes) do
      started[index] = noether.check(executor:start({
        language = language, effects = {}, code = text_of(code) }, { n = 3 }))
    end
    for index, task in ipairs(started) do found[index] = table.pack(task:wait()) end
    return found
  end

  for _, mistake in ipairs(MISTAKES) do
    for _, language in ipairs(LANGUAGES) do
      local codes = mistake[language]
      if codes then
        it(("in %s is told with the way out: %s"):format(language, mistake.name), function()
          assert.is_true(#codes >= 3)
          for index, found in ipairs(outcomes(language, codes)) do
            local code, wanted = codes[index], mistake.hint
            if type(code) == "table" then wanted = code[2] end
            local shown = ("%s\n-> %s\n%s"):format(text_of(code), tostring(found[1]),
              tostring(found[2]))
            assert.is_nil(found[1], shown)
            assert.truthy(found[2].hint and found[2].hint:find(wanted), shown)
            assert.is_nil(found[2].hint:find("\n"), shown)
          end
        end)
      end
    end
  end

  local PRINTED = {
    "def execute(input):\n    print(input['n'] * 2)",
    "import json\ndef execute(input):\n    print(json.dumps({'a': 1}))",
    "def execute(input):\n    result = input['n'] * 2\n    print('Result:', result)\n    return",
  }

  it("of printing and returning nothing is a warning, since null may be meant", function()
    for index, found in ipairs(outcomes("python", PRINTED)) do
      assert.is_nil(found[2])
      local warning = table.concat(found[3].warnings, "\n")
      assert.truthy(warning:find("what execute returns is the answer", 1, true),
        PRINTED[index] .. warning)
    end
    local meant = { "def execute(i):\n    print('x')\n    return None",
      "def execute(i): return None" }
    for _, found in ipairs(outcomes("python", meant)) do
      assert.same({}, found[3].warnings)
    end
  end)
end)
