// SPDX-License-Identifier: MIT
"use strict";
// Answers one request on standard input with the stage beside this file, which is JavaScript or, by
// its name, TypeScript.
const fs = require("fs");
const nodeModule = require("module");
const path = require("path");
const { pathToFileURL } = require("url");
const { inspect, types } = require("util");
const vm = require("vm");
const { builtinModules, createRequire } = nodeModule;

// Held from the start: a stage may change the globals.
const { parse, stringify } = JSON;
const { entries, fromEntries, getPrototypeOf, keys } = Object;
const { isArray } = Array;
const { isInteger, MAX_SAFE_INTEGER } = Number;
const { readFileSync, writeSync } = fs;
const bytesOf = Buffer.from;
const nextTurn = setImmediate;
const exit = process.exit.bind(process);

const SESSION = false;
const STAGE = "stage.js";
const FILE = path.join(__dirname, STAGE);
const COMPILED = path.join(__dirname, "compiled.js");
const PLACE = SESSION ? "cell (\\d+):(\\d+)" : `${STAGE.replace(".", "\\.")}:(\\d+)`;
const OF_STAGE = new RegExp(`\\b${PLACE}`);
const HOW_TO_DEFINE = "define one, as in: function execute(input) { return input; }";
const MAX_DEPTH = 512;

class StageError extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
    this.stack = `${name}: ${message}`;
  }
}

// Set in the runner of a process that is started ahead of its request.
const AHEAD = false;

// Packages that were installed for the stage are found from here.
const packages = process.env.NOETHER_PACKAGES;
delete process.env.NOETHER_PACKAGES;
const FROM = packages === undefined ? FILE : path.join(packages, STAGE);

// Functions of the host can be called.
const hasChannel = process.env.NOETHER_CHANNEL !== undefined;

// --- Loading -----------------------------------------------------------------------------------

// What the parser says of an ES module that it reads as CommonJS.
const MODULE_SYNTAX = [
  "Cannot use import statement outside a module",
  "Unexpected token 'export'",
  "Cannot use 'import.meta' outside a module",
  "await is only valid in async functions and the top level bodies of modules",
];

function isPackage(name) {
  return /^(@[\w~-][\w.~-]*\/)?[\w~-][\w.~-]*(\/|$)/.test(name);
}

function requireFor(file) {
  const known = createRequire(file);
  return function require(name) {
    if (name === "noether" && hasChannel) return known(path.join(__dirname, "channel.js"));
    const builtin = String(name).startsWith("node:") || builtinModules.includes(name);
    if (builtin || path.isAbsolute(name)) return known(name);
    if (packages !== undefined && isPackage(name)) return createRequire(FROM)(name);
    throw new Error(
      `Cannot find module '${name}': a stage has node's own modules, ` +
        `${packages === undefined ? "" : "the packages that it requires, "}and files by absolute path`,
    );
  };
}

// Node warns of the loader that import() in CommonJS code is given here; the stage did not ask for it.
function dropWarning(text) {
  const { emitWarning } = process;
  process.emitWarning = function emit(warning, ...rest) {
    if (String(warning).includes(text)) return;
    emitWarning.call(process, warning, ...rest);
  };
}

function dynamicImport() {
  const loader = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  if (!loader) return (name) => import(name);
  dropWarning("vm.USE_MAIN_CONTEXT_DEFAULT_LOADER");
  return loader;
}

// The function of a stage in CommonJS. What comes after the code tells a name that its top level
// has bound.
function compile(source) {
  const options = { filename: STAGE };
  if (/\bimport\b/.test(source)) options.importModuleDynamically = dynamicImport();
  const names = ["exports", "require", "module", "__filename", "__dirname"];
  const tail = '\n;return typeof execute === "undefined" ? undefined : execute;';
  try {
    return vm.compileFunction(source + tail, names, options);
  } catch (error) {
    // Without the tail the place of the mistake is right, at the very end too.
    vm.compileFunction(source, names, options);
    throw error;
  }
}

// A module loaded from text: as a file, node would look for node_modules around it. That it is one
// all the same it is told before its own code runs.
const SELF = pathToFileURL(FILE).href;
const ABOUT_ITSELF =
  `import.meta.url = ${stringify(SELF)};` +
  `import.meta.filename = ${stringify(FILE)};` +
  `import.meta.dirname = ${stringify(__dirname)};`;

let isModule = false;

function importText(source) {
  isModule = true;
  const text = `${ABOUT_ITSELF}${source}\n//# sourceURL=${STAGE}`;
  return import(`data:text/javascript;base64,${bytesOf(text).toString("base64")}`);
}

// In such a module a path names no file by itself. Where node can be told how to read one, it is.
// Packages are looked for from where they are, for import() in CommonJS code, too.
const HERE = stringify(`${pathToFileURL(process.cwd())}/`);
const PLACE_OF_PACKAGES = packages === undefined ? '""' : stringify(pathToFileURL(FROM).href);
const RESOLVE = `(name, context, next) => {
  const { parentURL = ${HERE} } = context;
  if (!parentURL.startsWith("data:") && parentURL !== ${HERE}) return next(name, context);
  if (name.startsWith("/")) return next("file://" + name, context);
  const parent = /^[.]|:/.test(name) ? "" : ${PLACE_OF_PACKAGES};
  return next(name, parent ? { ...context, parentURL: parent } : context);
}`;

// What may be imported otherwise than from node itself.
function importsMore(source) {
  if (packages !== undefined) return /\bimport\b|\bfrom\b/.test(source);
  return /\bimport\s*\(|\b(from|import)\s*['"]\//.test(source);
}

// Hooks within the thread cannot look from elsewhere before node 22.
const hasFreeHooks = nodeModule.registerHooks && Number.parseInt(process.versions.node, 10) >= 22;

function allowPaths(source) {
  if (!importsMore(source)) return;
  if (hasFreeHooks) {
    nodeModule.registerHooks({ resolve: vm.runInThisContext(RESOLVE) });
  } else if (nodeModule.register) {
    const hook = `export const resolve = ${RESOLVE}`;
    nodeModule.register(`data:text/javascript,${encodeURIComponent(hook)}`);
  }
}

// The one module that a stage has by a bare name; imports of it are statements of their own.
function withHost(source) {
  if (!hasChannel) return source;
  const host = pathToFileURL(path.join(__dirname, "noether.mjs")).href;
  const statement = /^([ \t]*(?:import|export)\b[^;'"]*?)(['"])noether\2/gm;
  return source.replace(statement, (_whole, before, quote) => `${before}${quote}${host}${quote}`);
}

async function importStage(source) {
  allowPaths(source);
  let exported;
  try {
    exported = await importText(`${source}\n;export { execute as noetherExecute };`);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    exported = await importText(source);
  }
  const { noetherExecute, execute, default: fallback } = exported;
  return noetherExecute || execute || fallback?.execute || fallback;
}

function loadCommonJs(body) {
  const module = { exports: {}, filename: FILE, id: FILE, loaded: false, children: [], paths: [] };
  const { exports: before } = module;
  const found = body.call(before, before, requireFor(FILE), module, FILE, __dirname);
  if (found !== undefined) return found;
  const { exports } = module;
  if (typeof exports === "function") return exports;
  return exports?.execute || exports?.default?.execute || exports?.default;
}

function readSource(file) {
  return readFileSync(file, "utf8")
    .replace(/^\uFEFF/, "")
    .replace(/^#!/, "//");
}

// What is run. Of TypeScript it is what a compiler made of it, which then lies beside it; where none
// did, node itself blanks the types out, and every place stays what it was.
function readStage() {
  if (!STAGE.endsWith(".ts")) return readSource(FILE);
  if (fs.existsSync(COMPILED)) return readSource(COMPILED);
  dropWarning("stripTypeScriptTypes");
  try {
    return nodeModule.stripTypeScriptTypes(readSource(FILE));
  } catch (error) {
    // It tells the line of a mistake and no file.
    if (/^:\d/.test(error.stack)) error.stack = STAGE + error.stack;
    throw error;
  }
}

async function load() {
  const source = readStage();
  let body;
  try {
    body = compile(source);
  } catch (error) {
    if (!MODULE_SYNTAX.includes(error.message)) throw error;
  }
  if (body && packages !== undefined) allowPaths(source);
  const execute = body ? loadCommonJs(body) : await importStage(withHost(source));
  if (typeof execute === "function") return execute;
  const found =
    execute === undefined
      ? "the code defines no function named execute"
      : `execute is not a function but of type ${typeof execute}`;
  throw new StageError("MissingExecute", `${found}; ${HOW_TO_DEFINE}`);
}

// --- Answering ---------------------------------------------------------------------------------

const FAULTS = {
  undefined: () => "is undefined: return a value, or null",
  function: () => "is a function, which JSON has no form for",
  symbol: () => "is a symbol, which JSON has no form for",
  bigint: () => "is a BigInt, which JSON has no form for: return Number(value) or String(value)",
  number: (value) =>
    Number.isFinite(value) ? null : `is ${value}, which is not JSON: return null or text`,
};

// What JSON.stringify makes {} or something else of without a word, and what to do about it.
const STRANGE = [
  [types.isPromise, "is a Promise: await it, and a list of them by await Promise.all(list)"],
  [types.isMap, "is a Map, which JSON has no form for: return Object.fromEntries(it)"],
  [types.isSet, "is a Set, which JSON has no form for: return [...it]"],
  [types.isNativeError, "is an Error, of which JSON keeps nothing: return its message"],
  [
    (value) => value instanceof Error,
    "is an Error, of which JSON keeps nothing: return its message",
  ],
  [types.isRegExp, "is a RegExp, which JSON has no form for: return its source"],
  [types.isGeneratorObject, "is a generator, which JSON has no form for: return [...it]"],
  [
    (value) => typeof value.next === "function" && typeof value[Symbol.iterator] === "function",
    "is an iterator, which JSON has no form for: return [...it]",
  ],
  [ArrayBuffer.isView, "is binary data, which JSON has no form for: return Array.from(it)"],
  [
    types.isAnyArrayBuffer,
    "is an ArrayBuffer, which JSON has no form for: return Array.from(new Uint8Array(it))",
  ],
];

// Classes that come with node: what they hold is no property that JSON.stringify would see. (A
// class of the stage without properties is the stage's own affair.)
function classWithout(value) {
  const tag = value[Symbol.toStringTag];
  const type = value.constructor;
  const known = typeof type === "function" && type !== Object && globalThis[type.name] === type;
  const name = known ? type.name : tag;
  if (keys(value).length > 0 || typeof name !== "string" || name === "") return null;
  const article = /^[AEIOU](?!RL)/.test(name) ? "an" : "a";
  return `is ${article} ${name}, of which JSON keeps nothing: return what it holds`;
}

// An object that is neither plain nor an array.
function faultOfClass(value) {
  if (types.isBoxedPrimitive(value)) {
    const inner = value.valueOf();
    return FAULTS[typeof inner] ? FAULTS[typeof inner](inner) : null;
  }
  const found = STRANGE.find(([is]) => is(value));
  return found ? found[1] : classWithout(value);
}

function faultOfObject(value, depth, state) {
  const isList = isArray(value);
  const prototype = getPrototypeOf(value);
  if (!isList && prototype !== Object.prototype && prototype !== null) {
    const why = faultOfClass(value);
    if (why) return ["", why];
  }
  if (depth > MAX_DEPTH) return ["", `is nested more than ${MAX_DEPTH} deep, or contains itself`];
  const names = isList ? value.length : keys(value);
  for (let i = 0; i < (isList ? names : names.length); i += 1) {
    const key = isList ? i : names[i];
    const item = value[key];
    const fault =
      item === undefined && !isList
        ? null
        : faultOf(item, depth + 1, state) || (state.strings && faultOf(key, depth, state));
    if (fault) return [`[${stringify(key)}]${fault[0]}`, fault[1]];
  }
  return null;
}

// What JSON.stringify would refuse or change in silence: [place, why], or null. Notes in `state`
// what asks for more than it: numbers beyond 2^53 and toJSON. `state.strings`: look for lone
// surrogates too.
function faultOf(value, depth, state) {
  if (typeof value === "object" && value !== null) {
    if (typeof value.toJSON !== "function") return faultOfObject(value, depth, state);
    state.custom = true;
    return types.isDate(value) && Number.isNaN(value.getTime()) ? ["", "is an invalid Date"] : null;
  }
  if (typeof value === "string") {
    return state.strings && /\p{Surrogate}/u.test(value)
      ? ["", "holds a lone surrogate, which is not Unicode text"]
      : null;
  }
  if (typeof value === "number" && (value > MAX_SAFE_INTEGER || value < -MAX_SAFE_INTEGER)) {
    state.large = true;
  }
  if (typeof value === "bigint" && typeof value.toJSON === "function") {
    state.custom = true;
    return null;
  }
  const check = FAULTS[typeof value];
  const why = check ? check(value) : null;
  return why ? ["", why] : null;
}

function refuse(answer, state) {
  const fault = faultOf(answer, 1, state);
  if (!fault) return;
  const place = fault[0].length > 100 ? `${fault[0].slice(0, 100)}...` : fault[0];
  throw new StageError("AnswerError", `the answer${place} ${fault[1]}`);
}

// A copy in which each toJSON has had its say, once: what it gives is looked at as the rest is.
function withoutToJson(value, key, depth) {
  if (typeof value === "bigint" && typeof value.toJSON === "function") return value.toJSON(key);
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH + 1) return value;
  let plain = value;
  if (typeof value.toJSON === "function") {
    plain = value.toJSON(key);
    if (typeof plain !== "object" || plain === null) return plain;
  }
  const prototype = getPrototypeOf(plain);
  if (isArray(plain)) {
    return Array.from(plain, (item, i) => withoutToJson(item, String(i), depth + 1));
  }
  if (prototype !== Object.prototype && prototype !== null && faultOfClass(plain)) return plain;
  return fromEntries(
    entries(plain).map(([name, item]) => [name, withoutToJson(item, name, depth + 1)]),
  );
}

// Beyond 2^53 JSON.stringify writes the digits of another integer than the number is: such a one is
// written as the floating-point number that it is.
function stringifyLarge(answer) {
  let mark = "";
  for (const plain = stringify(answer); plain.includes(mark); ) mark += Math.random();
  const text = stringify(answer, (_key, item) => {
    const value = types.isNumberObject(item) ? Number(item) : item;
    const large =
      typeof value === "number" && isInteger(value) && Math.abs(value) > MAX_SAFE_INTEGER;
    return large && !String(value).includes("e") ? `${mark}${value}` : value;
  });
  return text.split(`"${mark}`).reduce((done, part) => `${done}${part.replace('"', ".0")}`);
}

function encode(given) {
  let answer = given;
  let state = { strings: false };
  refuse(answer, state);
  if (state.custom) {
    answer = withoutToJson(answer, "", 1);
    state = { strings: false };
    refuse(answer, state);
  }
  const text = state.large ? stringifyLarge(answer) : stringify(answer);
  // JSON.stringify escapes lone surrogates alone this way; a backslash in the text may look alike.
  if (text.includes("\\ud")) refuse(answer, { strings: true });
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

// The map that a compiler has written at the end of its work.
let map;

function compilersMap() {
  if (map !== undefined) return map;
  map = null;
  if (!STAGE.endsWith(".ts") || !fs.existsSync(COMPILED)) return map;
  const text = readFileSync(COMPILED, "utf8");
  const found = /\/\/# sourceMappingURL=data:[^,]*;base64,([\w+/=]+)\s*$/.exec(text);
  if (found) map = new nodeModule.SourceMap(parse(bytesOf(found[1], "base64").toString()));
  return map;
}

// Places in what a compiler made, as those in the code that the user wrote.
function withPlaces(text) {
  if (!compilersMap()) return text;
  return text.replace(new RegExp(`${PLACE}(?::(\\d+))?`, "g"), (whole, line, column) => {
    const before = isModule && line === "1" ? ABOUT_ITSELF.length : 0;
    const at = column ? Math.max(column - 1 - before, 0) : 0;
    const { originalLine, originalColumn } = map.findEntry(line - 1, at);
    if (originalLine === undefined) return whole;
    const place = `${STAGE}:${originalLine + 1}`;
    return column ? `${place}:${originalColumn + 1}` : place;
  });
}

// Any property of any thrown thing, which may be a proxy or have getters. The name by which a
// module was loaded is its whole text.
function textOf(error, key) {
  try {
    const value = error[key];
    if (value === undefined || value === null) return "";
    const text = String(value).replace(/data:text\/javascript;base64,[\w+/=]*/g, STAGE);
    return key === "stack" ? withPlaces(text) : text;
  } catch {
    return "";
  }
}

// Where a module's syntax is wrong node keeps to itself, and calls an await in a plain function a
// reserved word. The same parser says it of the code with its imports and exports blanked out.
function mistakeInModule(error) {
  const blank = (text) => text.replace(/[^\n]/g, " ");
  const source = readStage()
    .replace(/^[ \t]*import\b[^;'"()]*?['"][^'"\n]*['"]/gm, blank)
    .replace(/^[ \t]*export\s*(\*|\{)[^;'"]*?(\}|['"][^'"\n]*['"])/gm, blank)
    .replace(/^[ \t]*export\s+default\b/gm, "void          ")
    .replace(/^[ \t]*export\b/gm, blank);
  try {
    vm.compileFunction(`async () => {${source}\n}`, [], { filename: STAGE });
  } catch (second) {
    const isAwait =
      error.message === "Unexpected reserved word" && second.message.startsWith("await is only");
    if (isAwait || second.message === error.message) return second;
  }
  return error;
}

// The error that says most of what went wrong.
function telling(error) {
  if (SESSION || !(error instanceof SyntaxError)) return error;
  return OF_STAGE.test(textOf(error, "stack")) ? error : mistakeInModule(error);
}

// Where a module is told about itself its first line is longer than what the user wrote.
function withOwnColumn(line) {
  if (!isModule || compilersMap() || !/^ {4}at /.test(line)) return line;
  return line.replace(new RegExp(`\\b${STAGE.replace(".", "\\.")}:1:(\\d+)`), (place, column) => {
    const own = column - ABOUT_ITSELF.length;
    return own > 0 ? `${STAGE}:1:${own}` : place;
  });
}

// The stack with the user's frames only, in the user's terms.
function stackOf(error) {
  const stack = textOf(error, "stack") || `${textOf(error, "name")}: ${textOf(error, "message")}`;
  return stack
    .split("\n")
    .filter((line) => !/^ {4}at /.test(line) || OF_STAGE.test(line))
    .map(withOwnColumn)
    .join("\n");
}

const MAX_ERRORS = 5;

// The errors that one stands for.
function innerErrors(error) {
  const list = error instanceof AggregateError ? error.errors : [];
  return isArray(list) ? list.slice(0, MAX_ERRORS) : [];
}

function tracebackOf(error) {
  const parts = [];
  for (let at = error; at instanceof Error && parts.length < MAX_ERRORS; at = at.cause) {
    const inner = innerErrors(at).map((one, i) => `\n[${i + 1}] ${stackOf(telling(one))}`);
    parts.push(stackOf(at) + inner.join(""));
  }
  return `${bounded(parts.join("\ncaused by: "), 16000)}\n`;
}

// Of an error of several, what they say too.
function messageOf(error, depth = 0) {
  const message = textOf(error, "message");
  const inner = depth < 3 ? innerErrors(error) : [];
  if (inner.length === 0) return message;
  const said = inner.map((one) =>
    one instanceof Error
      ? `${textOf(one, "name")}: ${messageOf(one, depth + 1)}`
      : messageOfThrown(one),
  );
  return `${message || "several errors"} (${said.join("; ")})`;
}

// Of what is no error. A plain object's own text says nothing of it.
function messageOfThrown(value) {
  try {
    const text = typeof value === "object" && value !== null ? `${value}` : String(value);
    if (!text.startsWith("[object ")) return text;
    return inspect(value, { breakLength: Infinity, customInspect: false, maxStringLength: 1000 });
  } catch {
    return "a value without text";
  }
}

// The innermost place in the stage, and in which cell of a session. What a message looks like does
// not count.
function placeOf(error, message) {
  const stack = stackOf(error);
  const end = stack.indexOf(message) + message.length;
  const place =
    new RegExp(`^${PLACE}`).exec(stack) ||
    new RegExp(`^ {4}at .*\\b${PLACE}`, "m").exec(stack.slice(end));
  const [line, cell] = place ? place.slice(1).reverse().map(Number) : [];
  return { line, cell };
}

function describe(given) {
  if (!(given instanceof Error)) {
    const message = bounded(messageOfThrown(given), 4000);
    return { type: "Thrown", message, traceback: `Thrown: ${message}\n` };
  }
  const error = telling(given);
  const type = bounded(textOf(error, "name") || "Error", 100);
  const report = { type, message: bounded(messageOf(error), 4000), traceback: tracebackOf(error) };
  const { line, cell } = placeOf(error, textOf(error, "message"));
  if (line !== undefined) report.line = line;
  if (cell !== undefined) report.cell = cell;
  return report;
}

// Lone surrogates, which UTF-8 cannot hold, become U+FFFD on the way through a buffer.
function wellFormed(_key, value) {
  return typeof value === "string" ? bytesOf(value).toString() : value;
}

// --- One request -------------------------------------------------------------------------------

function writeAll(fd, text) {
  const bytes = bytesOf(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
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
    answer = fs.openSync("/proc/self/fd/1", flags);
    fs.closeSync(fs.openSync("/proc/self/fd/2", flags));
  } catch {
    if (answer !== undefined) fs.closeSync(answer);
    return 1;
  }
  fs.closeSync(1);
  fs.openSync("/proc/self/fd/2", flags);
  return answer;
}

// Node gives up at exit what a slow reader of a pipe has not taken yet.
function waitForReaders() {
  const { get } = Object.getOwnPropertyDescriptor(process, "stderr");
  let stream;
  return () => {
    stream ??= get.call(process);
    stream._handle?.setBlocking?.(true);
    return stream;
  };
}

function takeStdout() {
  const shape = { configurable: true, enumerable: true };
  Object.defineProperty(process, "stderr", { ...shape, get: waitForReaders() });
  Object.defineProperty(process, "stdout", { ...shape, get: () => process.stderr });
  return moveDescriptor();
}

const CHANNEL = 5;

function readBytes(size) {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const got = fs.readSync(CHANNEL, bytes, at, size - at, null);
    if (got === 0) process.reallyExit(1); // the host is gone, or wants nothing of us any more
    at += got;
  }
  return bytes;
}

// What is slow the first time in each process.
function rehearse() {
  compile("function execute(input) { return input; }").call({});
  refuse(parse('{"a":[1,"b",null]}'), {});
  stringify({ a: [1, "b", null] });
}

// Says that it is ready, and gives the one request that comes over the channel.
function waitForRequest() {
  rehearse();
  const ready = bytesOf('....{"type":"ready"}');
  ready.writeUInt32LE(ready.length - 4);
  writeSync(CHANNEL, ready);
  const frame = parse(readBytes(readBytes(4).readUInt32LE()).toString());
  if (!hasChannel) fs.closeSync(CHANNEL);
  return frame.input;
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
    try {
      writeSync(2, report.traceback);
    } catch {
      /* standard error is closed */
    }
    process.exitCode = 1;
    exit(1);
  }

  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  process.on("exit", (code) => {
    if (done) return;
    fail(
      new StageError(
        "MissingAnswer",
        code === 0 && process.exitCode === undefined
          ? "the stage came to its end before execute's promise was settled"
          : `the code called process.exit(${code}) instead of returning an answer`,
      ),
    );
  });

  Error.stackTraceLimit = 30;
  const request = new Promise((resolve) => {
    resolve(AHEAD ? waitForRequest() : parse(readFileSync(0, "utf8")));
  }).catch((error) => {
    throw new StageError("InputError", `standard input: ${error.message}`);
  });
  request
    .then(async (input) => serve(await load(), input))
    // A turn of the event loop: a rejection that nobody handles shows up before the answer.
    .then((text) => {
      nextTurn(() => {
        finish(text);
        exit(0);
      });
    })
    .catch(fail);
}

// Runs cells until the host has no more.
function holdSession() {
  takeStdout();
  require("./session.js").serve({
    bounded,
    describe,
    encode,
    hasFunctions: fs.existsSync(path.join(__dirname, "noether.mjs")),
    messageOfThrown,
    requireFor,
    wellFormed,
  });
}

if (SESSION) holdSession();
else main();
