-- SPDX-License-Identifier: MIT
--- JavaScript stages: what they are called, how they are found, wrapped and started.
--
-- A stage is CommonJS with a top-level `execute` (a function declaration, or a name bound to a
-- function), or `module.exports.execute`; or an ES module with the same, exported or not, or a
-- default export. Which of the two is for node's own parser to say. The user's code stands alone in
-- `stage.js`, so line numbers are the user's; `runner.js` loads it and answers one request.
--
-- What a stage may count on:
--
-- * `console.log` and `process.stdout` are standard error. Where the output is a pipe and /proc can
--   be used, descriptor 1 itself is moved too: what `fs.writeSync(1)` or children with inherited
--   stdio print is then standard error as well. Elsewhere such writes reach the answer channel, and
--   the answer is no longer one JSON value: an error, never a wrong answer.
-- * Promises are awaited. When the answer is written the process ends: timers, servers and workers
--   left behind end with it. `process.exit` without an answer is an error.
-- * Unhandled rejections and uncaught exceptions fail the stage.
-- * `require` gives node's own modules, and files by absolute path; `import` the former, and files
--   by file: URL. `node_modules` is not searched, but for `import()` in CommonJS code, which looks
--   from the working directory as node does.
-- * In the answer, properties that are `undefined` are left out, as JSON.stringify does. What it
--   would change without a word (NaN, infinities, functions, symbols, Map, Set, `undefined` in an
--   array) is an error that names the place.
--
-- Runs on node 16 and later.
local M = {
  name = "javascript",
  names = { "javascript", "js" },
  extension = "js",
}

local PROBE = [==[
const fs = require('fs');
const path = require('path');
const real = fs.realpathSync(process.execPath);
const dirs = new Set();
const bin = path.dirname(real);
dirs.add(path.basename(bin) === 'bin' ? path.dirname(bin) : bin);
try {
  for (const line of fs.readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const name = line.slice(line.indexOf('/'));
    if (line.includes('.so')) dirs.add(fs.realpathSync(path.dirname(name)));
  }
} catch (error) { /* without /proc the host adds the usual directories */ }
console.log(JSON.stringify({
  path: real, version: process.versions.node, dirs: [...dirs].sort(),
}));
]==]

--- How an interpreter is found; fields as in the Python module.
M.runtime = {
  programs = { "node", "nodejs" },
  probe = { "-e", PROBE },
  attribute = "nodejs",
}

local RUNNER = [==[
'use strict';
// Answers one request on standard input with the stage beside this file.
const fs = require('fs');
const path = require('path');
const vm = require('vm');
const { builtinModules, createRequire } = require('module');

// Held from the start: a stage may change the globals.
const { parse, stringify } = JSON;
const { readFileSync, writeSync } = fs;
const bytesOf = Buffer.from;
const exit = process.exit.bind(process);

const STAGE = 'stage.js';
const FILE = path.join(__dirname, STAGE);
const HOW_TO_DEFINE = 'define one, as in: function execute(input) { return input; }';
const MAX_DEPTH = 512;

class StageError extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
    this.stack = `${name}: ${message}`;
  }
}

// --- Loading -----------------------------------------------------------------------------------

// What the parser says of an ES module that it reads as CommonJS.
const MODULE_SYNTAX = [
  'Cannot use import statement outside a module',
  "Unexpected token 'export'",
  "Cannot use 'import.meta' outside a module",
  'await is only valid in async functions and the top level bodies of modules',
];

function requireFor(file) {
  const known = createRequire(file);
  return function require(name) {
    const builtin = String(name).startsWith('node:') || builtinModules.includes(name);
    if (builtin || path.isAbsolute(name)) return known(name);
    throw new Error(`Cannot find module '${name}': a stage has node's own modules, and files by`
      + ' absolute path');
  };
}

// The function of a stage in CommonJS. What comes after the code tells a name that its top level
// has bound.
function compile(source) {
  const constants = vm.constants || {};
  const options = {
    filename: STAGE,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER || ((name) => import(name)),
  };
  const names = ['exports', 'require', 'module', '__filename', '__dirname'];
  const tail = '\n;return typeof execute === "undefined" ? undefined : execute;';
  try {
    return vm.compileFunction(source + tail, names, options);
  } catch (error) {
    // Without the tail the place of the mistake is right, at the very end too.
    vm.compileFunction(source, names, options);
    throw error;
  }
}

// A module loaded from text: as a file, node would look for node_modules around it.
function importText(source) {
  const text = `${source}\n//# sourceURL=${STAGE}`;
  return import(`data:text/javascript;base64,${bytesOf(text).toString('base64')}`);
}

async function importStage(source) {
  let exported;
  try {
    exported = await importText(`${source}\n;export { execute as noetherExecute };`);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    exported = await importText(source);
  }
  const { noetherExecute, execute, default: fallback } = exported;
  return noetherExecute || execute || (fallback && fallback.execute) || fallback;
}

function loadCommonJs(body) {
  const module = { exports: {}, filename: FILE, id: FILE, loaded: false, children: [], paths: [] };
  const { exports: before } = module;
  const found = body.call(before, before, requireFor(FILE), module, FILE, __dirname);
  if (found !== undefined) return found;
  const { exports } = module;
  return typeof exports === 'function' ? exports : exports && exports.execute;
}

async function load() {
  const source = readFileSync(FILE, 'utf8').replace(/^#!/, '//');
  let body;
  try {
    body = compile(source);
  } catch (error) {
    if (!MODULE_SYNTAX.includes(error.message)) throw error;
  }
  const execute = body ? loadCommonJs(body) : await importStage(source);
  if (typeof execute === 'function') return execute;
  const found = execute === undefined ? 'the code defines no function named execute'
    : `execute is not a function but of type ${typeof execute}`;
  throw new StageError('MissingExecute', `${found}; ${HOW_TO_DEFINE}`);
}

// --- Answering ---------------------------------------------------------------------------------

const FAULTS = {
  undefined: () => 'is undefined: return a value, or null',
  function: () => 'is a function, which JSON has no form for',
  symbol: () => 'is a symbol, which JSON has no form for',
  bigint: (value) => (typeof value.toJSON === 'function' ? null
    : 'is a BigInt, which JSON has no form for: return Number(value) or String(value)'),
  number: (value) => (Number.isFinite(value) ? null
    : `is ${value}, which is not JSON: return null or text`),
};

function faultOfObject(value, depth, strings) {
  if (value instanceof Map || value instanceof Set) {
    const kind = value instanceof Map ? 'Map' : 'Set';
    return ['', `is a ${kind}, which JSON has no form for: return an object or an array`];
  }
  if (depth > MAX_DEPTH) return ['', `is nested more than ${MAX_DEPTH} deep, or contains itself`];
  const isArray = Array.isArray(value);
  const keys = isArray ? value.length : Object.keys(value);
  for (let i = 0; i < (isArray ? keys : keys.length); i += 1) {
    const key = isArray ? i : keys[i];
    const item = value[key];
    const fault = item === undefined && !isArray ? null
      : faultOf(item, depth + 1, strings) || (strings && faultOf(key, depth, strings));
    if (fault) return [`[${stringify(key)}]${fault[0]}`, fault[1]];
  }
  return null;
}

// What JSON.stringify would refuse or change in silence: [place, why], or null. `strings`: look for
// lone surrogates too.
function faultOf(value, depth, strings) {
  if (typeof value === 'object' && value !== null) {
    if (typeof value.toJSON !== 'function') return faultOfObject(value, depth, strings);
    if (value instanceof Date && Number.isNaN(value.getTime())) return ['', 'is an invalid Date'];
    return null;
  }
  if (typeof value === 'string') {
    return strings && /\p{Surrogate}/u.test(value)
      ? ['', 'holds a lone surrogate, which is not Unicode text'] : null;
  }
  const check = FAULTS[typeof value];
  const why = check ? check(value) : null;
  return why ? ['', why] : null;
}

function refuse(fault) {
  if (!fault) return;
  const place = fault[0].length > 100 ? `${fault[0].slice(0, 100)}...` : fault[0];
  throw new StageError('AnswerError', `the answer${place} ${fault[1]}`);
}

function encode(answer) {
  refuse(faultOf(answer, 1, false));
  const text = stringify(answer);
  // JSON.stringify escapes lone surrogates alone this way; a backslash in the text may look alike.
  if (text.includes('\\ud')) refuse(faultOf(answer, 1, true));
  return text;
}

// One request to one answer, as JSON text.
async function serve(execute, input) {
  return encode(await execute(input));
}

// --- Failing -----------------------------------------------------------------------------------

function bounded(text, limit) {
  if (text.length <= limit) return text;
  const half = Math.floor(limit / 2);
  const left = text.length - 2 * half;
  return `${text.slice(0, half)} ... ${left} characters left out ... ${text.slice(-half)}`;
}

// Any property of any thrown thing, which may be a proxy or have getters. The name by which a
// module was loaded is its whole text.
function textOf(error, key) {
  try {
    const value = error[key];
    if (value === undefined || value === null) return '';
    return String(value).replace(/data:text\/javascript;base64,[\w+/=]*/g, STAGE);
  } catch (second) {
    return '';
  }
}

// Where a module's syntax is wrong node keeps to itself. The same parser says it of the code
// with its imports and exports blanked out.
function stackOfModule(error) {
  const blank = (text) => text.replace(/[^\n]/g, ' ');
  const source = readFileSync(FILE, 'utf8').replace(/^#!/, '//')
    .replace(/^[ \t]*import\b[^;'"()]*?['"][^'"\n]*['"]/gm, blank)
    .replace(/^[ \t]*export\s*(\*|\{)[^;'"]*?(\}|['"][^'"\n]*['"])/gm, blank)
    .replace(/^[ \t]*export\s+default\b/gm, 'void          ')
    .replace(/^[ \t]*export\b/gm, blank);
  try {
    vm.compileFunction(`async () => {${source}\n}`, [], { filename: STAGE });
  } catch (second) {
    if (second.message === error.message) return textOf(second, 'stack');
  }
  return '';
}

// The stack with the user's frames only, in the user's terms.
function stackOf(error) {
  let stack = textOf(error, 'stack') || `${textOf(error, 'name')}: ${textOf(error, 'message')}`;
  if (error instanceof SyntaxError && !stack.includes(`${STAGE}:`)) {
    stack = stackOfModule(error) || stack;
  }
  const lines = stack.split('\n');
  return lines.filter((line) => !/^ {4}at /.test(line) || line.includes(`${STAGE}:`)).join('\n');
}

function tracebackOf(error) {
  const parts = [];
  for (let at = error; at instanceof Error && parts.length < 5; at = at.cause) {
    parts.push(stackOf(at));
  }
  return `${bounded(parts.join('\ncaused by: '), 16000)}\n`;
}

// The innermost line of the stage. What a message looks like does not count.
function lineOf(error, message) {
  const stack = stackOf(error);
  const end = stack.indexOf(message) + message.length;
  const place = /^stage\.js:(\d+)/.exec(stack)
    || /^ {4}at .*\bstage\.js:(\d+)/m.exec(stack.slice(end));
  return place ? Number(place[1]) : undefined;
}

function describe(error) {
  if (!(error instanceof Error)) {
    let message;
    try { message = String(error); } catch (second) { message = 'a value without text'; }
    message = bounded(message, 4000);
    return { type: 'Thrown', message, traceback: `Thrown: ${message}\n` };
  }
  const type = bounded(textOf(error, 'name') || 'Error', 100);
  const message = textOf(error, 'message');
  const report = { type, message: bounded(message, 4000), traceback: tracebackOf(error) };
  const line = lineOf(error, message);
  if (line !== undefined) report.line = line;
  return report;
}

// Lone surrogates, which UTF-8 cannot hold, become U+FFFD on the way through a buffer.
function wellFormed(key, value) {
  return typeof value === 'string' ? bytesOf(value).toString() : value;
}

// --- One request -------------------------------------------------------------------------------

function writeAll(fd, text) {
  const bytes = bytesOf(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

// Whether a descriptor can be opened again without harm: a file would get a second position.
function canReopen(fd) {
  const stat = fs.fstatSync(fd);
  return stat.isFIFO() || stat.isCharacterDevice();
}

// Keeps descriptor 1 for the answer, and gives its number to standard error. Node has no dup: a
// descriptor is opened again by its name in /proc, and the lowest free number is 1.
function moveDescriptor() {
  const flags = fs.constants.O_WRONLY | fs.constants.O_APPEND;
  let answer;
  try {
    if (!canReopen(1) || !canReopen(2)) return 1;
    answer = fs.openSync('/proc/self/fd/1', flags);
    fs.closeSync(fs.openSync('/proc/self/fd/2', flags));
  } catch (error) {
    if (answer !== undefined) fs.closeSync(answer);
    return 1;
  }
  fs.closeSync(1);
  fs.openSync('/proc/self/fd/2', flags);
  return answer;
}

function takeStdout() {
  Object.defineProperty(process, 'stdout', {
    configurable: true, enumerable: true, get: () => process.stderr,
  });
  return moveDescriptor();
}

function main() {
  const channel = takeStdout();
  let done = false;

  function finish(text) {
    done = true;
    writeAll(channel, `${text}\n`);
  }

  function fail(error) {
    if (done) return;
    const report = describe(error);
    finish(stringify({ error: report }, wellFormed));
    try { writeSync(2, report.traceback); } catch (second) { /* standard error is closed */ }
    process.exitCode = 1;
    exit(1);
  }

  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  process.on('exit', (code) => {
    if (done) return;
    fail(new StageError('MissingAnswer', code === 0 && process.exitCode === undefined
      ? "the stage came to its end before execute's promise was settled"
      : `the code called process.exit(${code}) instead of returning an answer`));
  });

  Error.stackTraceLimit = 30;
  const request = new Promise((resolve) => { resolve(parse(readFileSync(0, 'utf8'))); })
    .catch((error) => { throw new StageError('InputError', `standard input: ${error.message}`); });
  request
    .then(async (input) => serve(await load(), input))
    // A turn of the event loop: a rejection that nobody handles shows up before the answer.
    .then((text) => { setImmediate(() => { finish(text); exit(0); }); })
    .catch(fail);
}

main();
]==]

--- The files of a stage.
-- @tparam string code the user's code
-- @treturn ?table `{ files = { [name] = text }, entry = name }`; or nil and the reason
-- @treturn ?string
function M.wrap(code)
  if code:find("%z") then return nil, "the code holds a NUL byte" end
  return { files = { ["runner.js"] = RUNNER, ["stage.js"] = code }, entry = "runner.js" }
end

--- The command that runs a wrapped stage.
-- @tparam table runtime description with `path`
-- @tparam string entry path of the entry file
-- @treturn table list, the program first
function M.argv(runtime, entry)
  return { runtime.path, entry }
end

--- Variables for a stage's environment: none; each one that node finds costs it time.
-- @treturn table values by name
function M.env()
  return {}
end

local MAX_INTEGER = "9007199254740991"

local function is_unsafe(digits)
  digits = digits:gsub("^0+", "")
  if #digits ~= #MAX_INTEGER then return #digits > #MAX_INTEGER end
  return digits > MAX_INTEGER
end

--- Whether JavaScript can hold an input exactly.
-- Its numbers are doubles: beyond 2^53-1 an integer would be changed in silence (ECMA-262,
-- Number.MAX_SAFE_INTEGER).
-- @param _ the input as a value; not looked at
-- @tparam string text the input as JSON
-- @treturn ?boolean true; or nil and the reason
-- @treturn ?string
function M.check_input(_, text)
  if not text:find(("%d"):rep(#MAX_INTEGER)) then return true end
  -- What is left when strings are gone is numbers, names and punctuation.
  local bare = text:gsub("\\.", ""):gsub('"[^"]*"', '""')
  for number in bare:gmatch("%-?%d[%d.eE+-]*") do
    if not number:find("[.eE]") and is_unsafe(number:match("%d+")) then
      if #number > 40 then number = number:sub(1, 40) .. "..." end
      return nil, ("the input holds the integer %s, which is beyond 2^53-1: JavaScript would"
        .. " change it; send it as a string"):format(number)
    end
  end
  return true
end

return M
