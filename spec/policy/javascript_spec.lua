-- SPDX-License-Identifier: MIT
local helper = require "spec.helper"
local javascript = require "noether.policy.languages.javascript"
local stage = require "spec.policy.stage"

local run = stage.runner(javascript)

describe("the javascript policy", function()
  it("keeps the user's code alone in its file", function()
    local script = assert(javascript.wrap("function execute(i) { return i }"))
    assert.equal("function execute(i) { return i }", script.files["stage.js"])
    assert.truthy(script.files[script.entry])
  end)

  it("refuses code with a NUL byte", function()
    local script, reason = javascript.wrap("let x = '\0'")
    assert.is_nil(script)
    assert.equal("the code holds a NUL byte", reason)
  end)

  it("finds the real interpreter and where it lives", function()
    local found = stage.probe(javascript)
    assert.truthy(found.path:find("^/.*node"))
    assert.truthy(found.version:find("^%d+%.%d+%.%d+$"))
    assert.is_true(#found.dirs > 0)
  end)

  local taken = {
    "9007199254740991", "-9007199254740991", "00", "[1e300, 9007199254740993.5]",
    '"9007199254740993"', '{"9007199254740993": "\\"9007199254740993\\\\"}',
    "12345678901234567890e1", "0.12345678901234567890", "null", '"\\\\", 9007199254740991',
  }
  for _, text in ipairs(taken) do
    it("takes the input " .. text, function()
      assert.is_true(javascript.check_input(nil, text))
    end)
  end

  local refused = {
    ["9007199254740992"] = "9007199254740992", ["[1,-9007199254740992]"] = "-9007199254740992",
    ['{"a":9223372036854775807}'] = "9223372036854775807",
    ['["\\"", 18446744073709551616]'] = "18446744073709551616",
    ['["\\\\",10000000000000000]'] = "10000000000000000",
    [("9"):rep(1000)] = ("9"):rep(40) .. "...",
  }
  for text, number in pairs(refused) do
    it("refuses the input " .. text:sub(1, 40), function()
      local ok, reason = javascript.check_input(nil, text)
      assert.is_nil(ok)
      assert.equal(("the input holds the integer %s, which is beyond 2^53-1: JavaScript would"
        .. " change it; send it as a string"):format(number), reason)
    end)
  end
end)

describe("a JavaScript stage that works", function()
  local cases = {
    { "gets its input and gives its answer",
      "function execute(input) { return { n: input.n * 2 } }", '{"n":21}', '{"n":42}' },
    { "keeps doubles and integers up to 2^53-1", "function execute(i) { return i }",
      "[0.30000000000000004,9007199254740991,-9007199254740991]",
      "[0.30000000000000004,9007199254740991,-9007199254740991]" },
    { "keeps empty arrays apart from empty objects, and null", "function execute(i) { return i }",
      "[[],{},null]", "[[],{},null]" },
    { "takes any Unicode, in and out", "function execute(i) { return i }",
      '"\\u00e9\\ud83d\\ude00\\u2028"', '"é😀\u{2028}"' },
    { "keeps a backslash that looks like a surrogate",
      "function execute(i) { return ['\\\\ud800'] }", "0", '["\\\\ud800"]' },
    { "keeps the key __proto__", "function execute(i) { return i }", '{"__proto__":{"a":1}}',
      '{"__proto__":{"a":1}}' },
    { "may be async", "async function execute(i) { await null; return i }", "7", "7" },
    { "may give a promise",
      "const execute = (i) => new Promise((done) => setTimeout(done, 5, i))", "7", "7" },
    { "may be an arrow function", "const execute = (i) => i + 1", "1", "2" },
    { "may set module.exports.execute", "module.exports.execute = (i) => i + 1", "1", "2" },
    { "may set module.exports", "module.exports = (i) => i + 1", "1", "2" },
    { "may export a function", "export function execute(i) { return i + 1 }", "1", "2" },
    { "may export a constant", "export const execute = async (i) => i + 1", "1", "2" },
    { "may have a default export", "export default function (i) { return i + 1 }", "1", "2" },
    { "may have a default export that holds it", "export default { execute: (i) => i + 1 }",
      "1", "2" },
    { "may import and not export",
      "import { sep } from 'path';\nfunction execute(i) { return sep }", "1", '"/"' },
    { "may await at its top level",
      "const one = await Promise.resolve(1);\nexport const execute = (i) => i + one", "1", "2" },
    { "may require node's own modules", [[
const { sep } = require('path'), fs = require('node:fs');
function execute(i) { return [sep, typeof fs.readFileSync] }]], "0", '["/","function"]' },
    { "may begin with a #! line", "#!/usr/bin/env node\nfunction execute(i) { return i }", "1",
      "1" },
    { "leaves out what is undefined in an object",
      "function execute(i) { return { a: undefined } }", "1", "{}" },
    { "has its dates written by JSON", "function execute(i) { return new Date(0) }", "1",
      '"1970-01-01T00:00:00.000Z"' },
    { "may teach BigInt a form", [[
BigInt.prototype.toJSON = function () { return String(this) };
function execute(i) { return 10n }]], "1", '"10"' },
    { "ends though timers and servers are left", [[
function execute(i) {
  setInterval(() => {}, 1000);
  return new Promise((done) => require('net').createServer().listen(0, '127.0.0.1', () => done(i)));
}]], "1", "1" },
    { "may change JSON and the global objects", [[
JSON.stringify = JSON.parse = process.exit = Buffer.from = undefined;
function execute(i) { return [i] }]], "1", "[1]" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      stage.answers(run(case[2], case[3]), case[4])
    end)
  end

  it("answers with one value and a newline whatever it prints, wherever it prints it", function()
    local result = run([[
console.log('at load');
function execute(i) {
  console.log('log'); console.info('info'); process.stdout.write('write\n');
  require('fs').writeSync(1, 'fd\n');
  require('child_process').execSync('echo child', { stdio: 'inherit' });
  return 'answer';
}]])
    stage.answers(result, '"answer"')
    for _, word in ipairs{ "at load", "log", "info", "write", "fd", "child" } do
      assert.truthy(("\n" .. result.err):find("\n" .. word .. "\n", 1, true), word)
    end
  end)

  it("gives 10 MiB back whole", function()
    local text = '"' .. ("x"):rep(10 * 1024 * 1024) .. '"'
    stage.answers(run("function execute(i) { return i }", text), text)
  end)

  it("has its answer in a file, too, between what others write there", function()
    local dir = helper.tmpdir()
    local script = javascript.wrap("function execute(i) { console.log('log'); return i }")
    for name, text in pairs(script.files) do
      helper.write(dir .. "/" .. name, text)
    end
    helper.shell(("{ echo before; echo 7 | %s %s/runner.js 2>%s/err; echo after; } >%s/out"):format(
      stage.probe(javascript).path, dir, dir, dir))
    assert.equal("before\n7\nafter\n", helper.read(dir .. "/out"))
    assert.equal("log\n", helper.read(dir .. "/err"))
  end)
end)

describe("a JavaScript stage that fails", function()
  local cases = {
    { "tells type, message and line of an exception",
      "function f(x) {\n  return x.a.b\n}\nfunction execute(i) {\n  return f({})\n}", "TypeError",
      "Cannot read properties of undefined", 2 },
    { "tells them of an ES module",
      "import fs from 'fs';\nexport function execute(i) {\n  throw new RangeError('r')\n}",
      "RangeError", "r", 3 },
    { "tells them of a rejected promise",
      "async function execute(i) {\n  await null;\n  throw new Error('later')\n}", "Error",
      "later", 3 },
    { "has its syntax errors placed", "function execute(i) {\n  let b = ;\n}", "SyntaxError",
      "Unexpected token ';'", 2 },
    { "has those at its very end placed", "function execute(i) {\n", "SyntaxError",
      "Unexpected end of input", 2 },
    { "has those of an ES module placed",
      "import {\n  sep\n} from 'path';\nexport default function (i) {\n  let b = ;\n}",
      "SyntaxError", "Unexpected token ';'", 5 },
    { "places an error at load", "\nnope()", "ReferenceError", "nope is not defined", 2 },
    { "does not let a message choose the line",
      "function execute(i) {\n  throw new Error('x\\n    at y (stage.js:99:1)')\n}", "Error", "x",
      2 },
    { "is told how to define execute", "let x = 1", "MissingExecute",
      "no function named execute; define one, as in: function execute(input) { return input; }" },
    { "is told so as an ES module", "export const x = 1", "MissingExecute",
      "no function named execute" },
    { "is told that execute is no function", "let execute = 1", "MissingExecute",
      "execute is not a function but of type number" },
    { "answers nothing", "function execute(i) {}", "AnswerError",
      "the answer is undefined: return a value, or null" },
    { "answers a hole", "function execute(i) { return { a: [1, , 2] } }", "AnswerError",
      'the answer["a"][1] is undefined' },
    { "answers NaN", "function execute(i) { return { a: [1, NaN] } }", "AnswerError",
      'the answer["a"][1] is NaN' },
    { "answers infinity", "function execute(i) { return -1 / 0 }", "AnswerError",
      "the answer is -Infinity" },
    { "answers a function", "function execute(i) { return [execute] }", "AnswerError",
      "the answer[0] is a function" },
    { "answers a symbol", "function execute(i) { return [Symbol('x')] }", "AnswerError",
      "the answer[0] is a symbol" },
    { "answers a BigInt", "function execute(i) { return { n: 10n } }", "AnswerError",
      'the answer["n"] is a BigInt' },
    { "answers a Map", "function execute(i) { return new Map([[1, 2]]) }", "AnswerError",
      "the answer is a Map" },
    { "answers an invalid date", "function execute(i) { return [new Date(NaN)] }", "AnswerError",
      "the answer[0] is an invalid Date" },
    { "answers what contains itself", "function execute(i) { const a = []; a.push(a); return a }",
      "AnswerError", "nested more than 512 deep, or contains itself" },
    { "answers a lone surrogate", "function execute(i) { return ['\\\\ud800', '\\ud800'] }",
      "AnswerError", "the answer[1] holds a lone surrogate" },
    { "answers a lone surrogate as a key", "function execute(i) { return { '\\udfff': 1 } }",
      "AnswerError", "holds a lone surrogate" },
    { "leaves a rejection unhandled",
      "function execute(i) {\n  Promise.reject(new Error('stray'));\n  return 1\n}", "Error",
      "stray", 2 },
    { "throws in a callback", [[
function execute(i) {
  setTimeout(() => { throw new Error('callback') }, 1);
  return new Promise(() => {});
}]], "Error", "callback", 2 },
    { "never settles its promise", "function execute(i) { return new Promise(() => {}) }",
      "MissingAnswer", "before execute's promise was settled" },
    { "leaves by process.exit", "function execute(i) { process.exit(0) }", "MissingAnswer",
      "called process.exit(0)" },
    { "leaves by process.exit at load", "process.exit(3)", "MissingAnswer",
      "called process.exit(3)" },
    { "throws text", "function execute(i) { throw 'text' }", "Thrown", "text" },
    { "throws null", "function execute(i) { throw null }", "Thrown", "null" },
    { "throws what has no text", "function execute(i) { throw Object.create(null) }", "Thrown",
      "a value without text" },
    { "throws an error that refuses to be read", [[
function execute(i) {
  const error = new Error('x');
  Object.defineProperty(error, 'message', { get() { throw 1 } });
  throw error;
}]], "Error", "" },
    { "throws lone surrogates", "function execute(i) { throw new Error('\\ud800') }", "Error",
      "\u{FFFD}", 1 },
    { "recurses without end", "function execute(i) {\n  return execute(i)\n}", "RangeError",
      "Maximum call stack", 2 },
    { "requires a package", "require('lodash')", "Error", "Cannot find module 'lodash'", 1 },
    -- node 18 says "Invalid URL", later ones name the package too
    { "imports a package", "import x from 'lodash'; export default x", "TypeError", "" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      stage.fails(run(case[2]), case[3], case[4], case[5])
    end)
  end

  it("shows the user's frames only, and causes", function()
    local err = stage.fails(run([[
function parse(text) {
  return JSON.parse(text);
}
function execute(i) {
  try { parse('{') } catch (error) { throw new Error('bad', { cause: error }) }
}]]), "Error", "bad", 5)
    assert.truthy(err.traceback:find("at parse (stage.js:2:15)", 1, true))
    assert.truthy(err.traceback:find("caused by: SyntaxError", 1, true))
    assert.falsy(err.traceback:find("runner.js", 1, true))
    assert.falsy(err.traceback:find("node:", 1, true))
  end)

  it("is not hidden by what it prints", function()
    local result = run([[
function execute(i) {
  for (let n = 0; n < 20000; n += 1) console.log('noise', n);
  throw new Error('lost?');
}]])
    stage.fails(result, "Error", "lost?", 3)
    assert.truthy(result.err:find("noise 19999\n", 1, true))
  end)

  it("has its message and traceback bounded", function()
    local err = stage.fails(run("function execute(i) { throw new Error('x'.repeat(10 ** 7)) }"),
      "Error", "characters left out", 1)
    assert.is_true(#err.message < 5000)
    assert.is_true(#err.traceback < 20000)
  end)

  it("is told of input that is no JSON", function()
    stage.fails(run("function execute(i) { return i }", "[1"), "InputError", "standard input: ")
  end)

  it("finds no packages around its files", function()
    local setup = [[
const fs = require('fs');
fs.mkdirSync('node_modules/trap', { recursive: true });
fs.writeFileSync('node_modules/trap/index.js', 'console.log("sprung")');
fs.writeFileSync('near.js', 'console.log("sprung")');
function execute(i) { require(i) }]]
    for _, name in ipairs{ '"trap"', '"./near.js"', '"near"' } do
      local result = run(setup, name)
      stage.fails(result, "Error", "Cannot find module", 5)
      assert.falsy(result.err:find("sprung", 1, true))
    end
    stage.fails(run("import './near.js'; export default 1"), "TypeError", "")
  end)
end)
