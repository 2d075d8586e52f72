-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
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
    { "may export a default as CommonJS", "exports.default = (i) => i + 1", "1", "2" },
    { "may export a default as a compiler does",
      "Object.defineProperty(exports, '__esModule', { value: true });\n"
      .. "exports.default = async function (i) { return i * 2 }", "2", "4" },
    { "may export a default with execute", "exports.default = { execute: (i) => [i] }", "1",
      "[1]" },
    { "may begin with a byte order mark", "\239\187\191function execute(i) { return i }", "1",
      "1" },
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

describe("an answer of JavaScript that JSON.stringify would change in silence", function()
  local strange = {
    { "[1, 2].map(async (n) => n)", "the answer[0] is a Promise: await it, and a list of them" },
    { "{ a: { b: Promise.resolve(1) } }", 'the answer["a"]["b"] is a Promise: await it' },
    { "[new Error('x')]", "the answer[0] is an Error, of which JSON keeps nothing" },
    { "{ e: new (class E extends TypeError {})('x') }", 'the answer["e"] is an Error' },
    { "Object.assign(new Error('x'), { code: 1 })", "the answer is an Error" },
    { "[/x/g]", "the answer[0] is a RegExp, which JSON has no form for: return its source" },
    { "[1].values()", "the answer is an iterator, which JSON has no form for: return [...it]" },
    { "new Map([[1, 2]]).keys()", "the answer is an iterator" },
    { "'ab'.matchAll(/a/g)", "the answer is an iterator" },
    { "(function* () { yield 1 })()", "the answer is a generator" },
    { "[(async function* () {})()]", "the answer[0] is a generator" },
    { "new WeakMap()", "the answer is a WeakMap, of which JSON keeps nothing" },
    { "{ s: new WeakSet() }", 'the answer["s"] is a WeakSet' },
    { "new WeakRef({})", "the answer is a WeakRef" },
    { "new Headers({ a: 'b' })", "the answer is a Headers, of which JSON keeps nothing" },
    { "[new Blob(['x'])]", "the answer[0] is a Blob" },
    { "new URLSearchParams('a=1')", "the answer is a URLSearchParams" },
    { "new FormData()", "the answer is a FormData" },
    { "new AbortController()", "the answer is an AbortController" },
    { "new ArrayBuffer(8)", "the answer is an ArrayBuffer" },
    { "[new Uint8Array([1, 2])]", "the answer[0] is binary data" },
    { "new DataView(new ArrayBuffer(1))", "the answer is binary data" },
    { "new Intl.NumberFormat()", "the answer is an Intl.NumberFormat" },
    { "new Set([1])", "the answer is a Set, which JSON has no form for: return [...it]" },
    { "new (class M extends Map {})()", "is a Map" },
    { "[new Number(NaN)]", "the answer[0] is NaN, which is not JSON" },
    { "Object(-Infinity)", "the answer is -Infinity" },
    { "{ n: Object(1n) }", 'the answer["n"] is a BigInt, which JSON has no form for' },
    { "[Object(Symbol('x'))]", "the answer[0] is a symbol" },
    { "{ toJSON() { return NaN } }", "the answer is NaN, which is not JSON" },
    { "[{ toJSON: () => [1, Infinity] }]", "the answer[0][1] is Infinity" },
    { "{ toJSON() {} }", "the answer is undefined: return a value, or null" },
    { "[{ toJSON() { return new Map() } }]", "the answer[0] is a Map" },
    { "{ toJSON: () => ({ then: Promise.resolve() }) }", 'the answer["then"] is a Promise' },
    { "{ toJSON: () => [{ toJSON: () => () => 1 }] }", "the answer[0] is a function" },
    { "(() => { const a = []; a.push({ toJSON: () => a }); return a })()", "nested more than 512" },
  }
  for _, case in ipairs(strange) do
    it("is refused with its place: " .. case[1], function()
      stage.fails(run("function execute(i) { return " .. case[1] .. " }"), "AnswerError", case[2])
    end)
  end

  local good = {
    { "new (class P { constructor() { this.x = 1 } })()", '{"x":1}' },
    { "[new (class Empty {})(), Object.create(null), Object.create({ a: 1 })]", "[{},{},{}]" },
    { "[new Number(1), new String('x'), new Boolean(false)]", '[1,"x",false]' },
    { "[new Date(0), new URL('http://a/'), Buffer.from('a')]",
      '["1970-01-01T00:00:00.000Z","http://a/",{"type":"Buffer","data":[97]}]' },
    { "{ a: { toJSON(key) { return [key, { toJSON: () => 'x' }] } }, b: { toJSON() {} } }",
      '{"a":["a","x"]}' },
    { "(() => { let n = 0; return { toJSON: () => (n += 1) } })()", "1" },
    { "JSON.parse('{\"__proto__\": [{\"toJSON\": 1}], \"d\": 2}')",
      '{"__proto__":[{"toJSON":1}],"d":2}' },
    { "Object.assign(JSON.parse('{\"__proto__\": 1}'), { d: new Date(0) })",
      '{"__proto__":1,"d":"1970-01-01T00:00:00.000Z"}' },
    { "require('vm').runInNewContext('[{ a: [1] }]')", '[{"a":[1]}]' },
    { "{ f: undefined, g: null }", '{"g":null}' },
  }
  for _, case in ipairs(good) do
    it("is no such thing: " .. case[1], function()
      stage.answers(run("function execute(i) { return (" .. case[1] .. ") }"), case[2])
    end)
  end

  it("may be a BigInt where the stage says how", function()
    stage.answers(run([[
BigInt.prototype.toJSON = function () { return String(this) };
function execute(i) { return [1n, { n: 2n }] }]]), '["1",{"n":"2"}]')
  end)
end)

describe("a number of JavaScript beyond 2^53 - 1", function()
  local factorial = "[...Array(%d)].reduce((all, _, n) => all * (n + 1), 1)"
  local cases = {
    { "1e19", 1e19 }, { "2 ** 60", 2.0 ^ 60 }, { "-(2 ** 53)", -2.0 ^ 53 }, { "1e20", 1e20 },
    { "2 ** 63", 2.0 ^ 63 }, { "-(2 ** 63)", -2.0 ^ 63 }, { "2 ** 64", 2.0 ^ 64 },
    { factorial:format(20), 2432902008176640000.0 },
    { factorial:format(21), 51090942171709440000.0 },
    { factorial:format(22), 1124000727777607680000.0 },
    { "Number.MAX_VALUE", 1.7976931348623157e308 }, { "new Number(2 ** 70)", 2.0 ^ 70 },
    { "Number('123456789012345678901')", 123456789012345678901.0 },
  }
  for _, case in ipairs(cases) do
    it("arrives as the float that it is: " .. case[1], function()
      for _, form in ipairs{ "%s", "[%s]", "{ a: [1, { b: %s, s: '1e19 0.5' }], c: 2 }" } do
        local code = "function execute(i) { return (" .. form:format(case[1]) .. ") }"
        local result = run(code)
        assert.equal(0, result.status, result.err)
        local value = result.answer
        if type(value) == "table" then value = value[1] or value.a[2].b end
        assert.equal(case[2], value)
        assert.equal("float", math.type(value))
      end
    end)
  end

  it("leaves text and smaller numbers as they are", function()
    stage.answers(run([[
Math.random = () => 0.5;
function execute(i) {
  return ['0.5', '0.50.59007199254740992', 9007199254740991, -9007199254740991, 2 ** 53, 0.5,
    { '9007199254740992': '"9007199254740992"' }];
}]]), '["0.5","0.50.59007199254740992",9007199254740991,-9007199254740991,9007199254740992.0,0.5,'
      .. '{"9007199254740992":"\\"9007199254740992\\""}]')
  end)
end)

describe("an ES module of JavaScript", function()
  local cases = {
    { "makes a require of its own", [[
import { createRequire } from 'module';
const require = createRequire(import.meta.url);
export const execute = () => require('path').sep;]], '"/"' },
    { "knows its file", [[
import { fileURLToPath } from 'node:url';
import { basename } from 'path';
export default () => basename(fileURLToPath(import.meta.url));]], '"stage.js"' },
    { "makes URLs of its own", "export default () => new URL('./x', import.meta.url).protocol",
      '"file:"' },
    { "has a name and a directory",
      "export default () => [import.meta.filename, import.meta.dirname + '/stage.js']\n"
      .. "  .every((name) => new URL('file://' + name).href === import.meta.url)", "true" },
    { "imports a file by its path", [[
import { writeFileSync } from 'fs';
import { resolve } from 'path';
writeFileSync('a.mjs', 'export const x = 42');
const { x } = await import(resolve('a.mjs'));
export default () => x;]], "42" },
    { "imports a file by its path, later", [[
export default async () => {
  const { resolve } = await import('path');
  (await import('fs')).writeFileSync('b.mjs', 'export default 7');
  return (await import(resolve('b.mjs'))).default;
}]], "7" },
    { "imports a file by its URL", [[
import { writeFileSync } from 'fs';
import { pathToFileURL } from 'url';
writeFileSync('c.mjs', 'export default 8');
export default async () => (await import(pathToFileURL('c.mjs'))).default;]], "8" },
    { "may begin with a byte order mark", "\239\187\191import 'fs';\nexport default () => 1",
      "1" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function() stage.answers(run(case[2]), case[3]) end)
  end

  for _, case in ipairs{
    { "first line", "import 'fs'; export function execute() { nope(); }", "stage.js:1:42)" },
    { "other lines", "import 'fs';\nexport function execute() { nope(); }", "stage.js:2:29)" },
    { "first line, while it is loaded", "import 'fs'; nope();", "stage.js:1:14" },
  } do
    it("fails in the column where it was written: " .. case[1], function()
      local report = run(case[2]).out
      assert.truthy(report:find(case[3], 1, true), report)
    end)
  end

  it("imports a file by a path that is written in it", function()
    local path = helper.tmpdir() .. "/d.mjs"
    helper.write(path, "export const x = 5;\nexport default import.meta.url;\n")
    local code = "import url, { x } from '%s';\nexport default () => [url, x];"
    stage.answers(run(code:format(path)), ('["file://%s",5]'):format(path))
  end)
end)

describe("what a JavaScript stage says of itself", function()
  it("is not the runner's own", function()
    local result = run("async function execute(i) { return (await import('path')).sep }")
    stage.answers(result, '"/"')
    assert.equal("", result.err)
  end)

  it("holds other warnings of import", function()
    local result = run("process.emitWarning('mine');\n"
      .. "async function execute(i) { await import('fs'); return 1 }")
    stage.answers(result, "1")
    assert.truthy(result.err:find("Warning: mine", 1, true))
  end)

  for _, name in ipairs{
    "setImmediate", "setTimeout", "Promise", "JSON", "Atomics", "Map", "Set", "queueMicrotask",
  } do
    it("comes through where it has taken " .. name .. " away", function()
      stage.answers(run(("globalThis.%s = undefined;\n"):format(name)
        .. "async function execute(i) { return [i, 'x'] }", "1"), '[1,"x"]')
    end)
  end
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
    { "throws a plain object", "function execute(i) { throw { code: 42, why: 'no' } }", "Thrown",
      "{ code: 42, why: 'no' }" },
    { "throws a list", "function execute(i) { throw [{ a: 1 }] }", "Thrown", "[ { a: 1 } ]" },
    { "throws a map", "function execute(i) { throw new Map([['k', 1]]) }", "Thrown", "'k' => 1" },
    { "throws an object with a text", "function execute(i) { throw { toString: () => 'mine' } }",
      "Thrown", "mine" },
    { "throws an instance", "class F { x = 1 }\nfunction execute(i) { throw new F() }", "Thrown",
      "F { x: 1 }" },
    { "rejects with an object", "async function execute(i) { await Promise.reject({ a: [1] }) }",
      "Thrown", "{ a: [ 1 ] }" },
    { "throws what looks at itself", [[
function execute(i) { throw { a: 1, [Symbol.for('nodejs.util.inspect.custom')]() { throw 1 } } }]],
      "Thrown", "a: 1" },
    { "fails in several ways", [[
async function execute(i) {
  await Promise.any([Promise.reject(new TypeError('one')), Promise.reject({ two: 2 })]);
}]], "AggregateError", "All promises were rejected (TypeError: one; { two: 2 })" },
    { "gathers errors", "function execute(i) {\n  throw new AggregateError([new Error('a'),"
      .. " new AggregateError([new RangeError('b')], 'inner')])\n}", "AggregateError",
      "several errors (Error: a; AggregateError: inner (RangeError: b))", 2 },
    { "gathers many errors", "function execute(i) {\n  throw new AggregateError([...Array(9)].map("
      .. "(_, n) => new Error('e' + n)), 'many')\n}", "AggregateError",
      "many (Error: e0; Error: e1", 2 },
    { "awaits in a plain function", "async function f() {}\nfunction execute(i) {\n"
      .. "  const x = await f();\n  return x;\n}", "SyntaxError",
      "await is only valid in async functions", 3 },
    { "awaits in a callback", "async function execute(i) {\n  return [1].map((n) => {\n"
      .. "    return await n;\n  });\n}", "SyntaxError", "await is only valid", 3 },
    { "awaits in a method", "class A {\n  f() {\n    await 1;\n  }\n}\nfunction execute(i) {}",
      "SyntaxError", "await is only valid in async functions", 3 },
    { "awaits in a plain function of a module", "import fs from 'fs';\nexport function execute(i) {"
      .. "\n  return await fs;\n}", "SyntaxError", "await is only valid in async functions", 3 },
    { "awaits in a plain function of an exported default", "export default function (i) {\n"
      .. "  for (const x of i) await x;\n}", "SyntaxError", "await is only valid", 2 },
    { "awaits in an arrow function that it exports", "import 'path';\n"
      .. "export const execute = (i) => {\n\n  await i;\n};", "SyntaxError",
      "await is only valid in async functions", 4 },
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

  it("keeps what it had printed where nobody has read it yet", function()
    for code, status in pairs{
      ["throw new Error('lost?')"] = 1, ["process.exit(3)"] = 1, ["return i"] = 0,
    } do
      local result = run([[
function execute(i) {
  for (let n = 0; n < 20000; n += 1) console.log('noise', n);
  ]] .. code .. "\n}", nil, { late_secs = 0.5 })
      assert.equal(status, result.status)
      assert.truthy(result.err:find("noise 19999\n", 1, true), code)
    end
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
