// SPDX-License-Identifier: MIT
"use strict";
// Runs the cells of a session, one after the other, with one set of globals.
//
// A cell is a script, whose value is the one that scripts have. What its top level declares becomes
// a property of the global object, so that a later cell can declare it anew: `let`, `const` and
// `class` are written as assignments to a `var`. Where it awaits or imports at its top level it is
// the body of an async function, and its value that of its last statement, if that is an expression.
// The text is changed within its lines, so that places are the user's.
const { Buffer } = require("buffer");
const fs = require("fs");
const path = require("path");
const { pathToFileURL } = require("url");
const { inspect, types } = require("util");
const vm = require("vm");

// Held from the start: a cell may change the globals.
const { stringify } = JSON;
const { listeners, on, removeAllListeners, removeListener } = process;
const nextTurn = setImmediate;
const later = setTimeout;
const DISPLAY_CHARACTERS = 16000;
const LATE_MS = 400;

// --- The text of a cell ------------------------------------------------------------------------

const WORD = /[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/uy;
const NUMBER = /\d[\w.]*/y;
const SPACE = /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const STRING = /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y;
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
const BEFORE_VALUE =
  /^(?:return|typeof|case|in|of|delete|void|throw|new|instanceof|do|else|yield|await)$/;

function match(pattern, text, at) {
  pattern.lastIndex = at;
  const found = pattern.exec(text);
  return found ? found[0] : null;
}

// The end of a template that begins at a backtick.
function endOfTemplate(text, from) {
  for (let at = from + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "`") return at + 1;
    else if (text.startsWith("${", at)) at = endOfPart(text, at + 2);
  }
  return text.length;
}

// Where the brace is that closes a part of a template.
function endOfPart(text, from) {
  let depth = 0;
  for (const token of tokensOf(text, from)) {
    if (token.text === "{") depth += 1;
    if (token.text === "}" && depth === 0) return token.start;
    if (token.text === "}") depth -= 1;
  }
  return text.length;
}

function canBeDivided(last) {
  if (!last) return false;
  if (last.kind === "word") return !BEFORE_VALUE.test(last.text);
  return last.kind !== "sign" || last.text === ")" || last.text === "]" || last.text === "}";
}

function tokenAt(text, at, last) {
  const of = (kind, found) => ({ kind, text: found, start: at, end: at + found.length });
  if (text[at] === "`") return of("value", text.slice(at, endOfTemplate(text, at)));
  const word = match(WORD, text, at);
  if (word) return of("word", word);
  const value = match(NUMBER, text, at) || match(STRING, text, at);
  if (value) return of("value", value);
  const regex = text[at] === "/" && !canBeDivided(last) && match(REGEX, text, at);
  return regex ? of("value", regex) : of("sign", text[at]);
}

// The tokens of a text, each with whether a line ends before it.
function* tokensOf(text, from = 0) {
  let last;
  for (let at = from; at < text.length; ) {
    const start = at;
    for (let space = match(SPACE, text, at); space; space = match(SPACE, text, at)) {
      at += space.length;
    }
    if (at >= text.length) return;
    const token = tokenAt(text, at, last);
    token.newline = text.slice(start, at).includes("\n");
    yield token;
    last = token;
    at = token.end;
  }
}

const OPENS = "([{";
const CLOSES = ")]}";

// Whether a word that may begin a statement does, by what is before it.
function beginsStatement(last, token) {
  if (!last || last.text === ";" || last.text === "}") return true;
  if (!token.newline) return false;
  return last.kind !== "sign" || CLOSES.includes(last.text);
}

const IMPORT =
  /import\s*(?:([\p{ID_Start}$_][\w$]*)\s*,?\s*)?(?:\*\s*as\s+([\w$]+)\s*|\{([^}]*)\}\s*)?(?:from\s*)?('[^'\n]*'|"[^"\n]*")/uy;

// An import as what does the same in a function: [text, names]; nothing if it is none.
function importAt(text, at) {
  IMPORT.lastIndex = at;
  const found = IMPORT.exec(text);
  if (!found) return null;
  const [whole, name, space, list, from] = found;
  const lines = "\n".repeat(whole.split("\n").length - 1);
  const call = `await noetherImport(${from})`;
  const parts = (list || "").split(",").map((part) => part.trim());
  const pairs = parts.filter(Boolean).map((part) => part.split(/\s+as\s+/));
  if (name) pairs.push(["default", name]);
  const names = pairs.map((pair) => pair[pair.length - 1]);
  let made = `;${call}`;
  if (space) {
    made = `;0,${space} = ${call}${name ? `, ${name} = ${space}.default` : ""}`;
    names.push(space);
  } else if (pairs.length > 0) {
    made = `;0,{ ${pairs.map((pair) => `${pair[0]}: ${pair[pair.length - 1]}`).join(", ")} } = ${call}`;
  }
  return { text: `${made};${lines}`, end: at + whole.length, names };
}

// Reads what a cell declares at its top level, and the pieces of it that are to be written otherwise.
class Reader {
  constructor(text) {
    this.text = text;
    this.edits = [];
    this.names = [];
    this.functions = [];
    this.depth = 0;
    this.next = null; // of a declaration: "name" or "value"
    this.unclosed = null; // a class before the end of its body: its name, or "" before that
  }

  edit(kind, start, end, more) {
    this.edits.push({ kind, start, end, ...more });
  }

  read() {
    let last;
    let before;
    let skipTo = 0;
    for (const token of tokensOf(this.text)) {
      if (token.start < skipTo) continue;
      if (token.kind === "word" && last?.text !== ".") {
        skipTo = this.readWord(token, last, before) || skipTo;
      }
      if (token.kind === "sign") this.readSign(token);
      before = last;
      last = token;
    }
    return this;
  }

  // Perhaps the place at which to go on.
  readWord(token, last, before) {
    const begins = this.depth === 0 && beginsStatement(last, token);
    if (begins && this.next === "value") this.next = null;
    if (token.text === "import") return this.readImport(token, begins);
    if (begins && /^(?:let|const|var)$/.test(token.text)) {
      this.edit("declaration", token.start, token.end);
      this.next = "name";
    } else if (begins && token.text === "class") {
      this.unclosed = "";
      this.classStart = token.start;
    } else if (this.unclosed === "") {
      this.unclosed = token.text;
      this.names.push(token.text);
      this.edit("class", this.classStart, this.classStart, { name: token.text });
    } else if (this.next === "name") {
      if (!/^\s*:/.test(this.text.slice(token.end))) this.names.push(token.text);
    } else if (this.depth === 0 && this.next === null) {
      const isNamed =
        last?.text === "function" || (last?.text === "*" && before?.text === "function");
      if (isNamed) this.functions.push(token.text);
    }
    return 0;
  }

  readImport(token, begins) {
    const statement = begins && importAt(this.text, token.start);
    if (statement) {
      this.edit("import", token.start, statement.end, { made: statement.text });
      this.names.push(...statement.names);
      return statement.end;
    }
    if (/^\s*\(/.test(this.text.slice(token.end))) this.edit("call", token.start, token.end);
    return 0;
  }

  readSign({ text, end }) {
    if (OPENS.includes(text)) this.depth += 1;
    if (CLOSES.includes(text)) this.depth -= 1;
    if (this.depth !== 0) return;
    if (text === ";") this.next = null;
    else if (text === "=" && this.next === "name") this.next = "value";
    else if (text === "," && this.next) this.next = "name";
    else if (text === "}" && this.unclosed) {
      this.edit("classEnd", end, end);
      this.unclosed = null;
    }
  }
}

const SCRIPT = {
  declaration: (was) => (was === "const" ? "var  " : "var"),
  class: (_was, edit) => `var ${edit.name} = `,
  classEnd: () => ";",
  import: (was) => was,
  call: () => "noetherImport",
};

// In a function what is declared is assigned to: `0,` makes of a pattern's brace no block.
const FUNCTION = {
  ...SCRIPT,
  declaration: (was) => (was === "const" ? ";0,  " : ";0,"),
  class: (_was, edit) => `;${edit.name} = `,
  import: (_was, edit) => edit.made,
};

function rewritten(text, edits, how) {
  let made = "";
  let at = 0;
  for (const edit of edits) {
    made += text.slice(at, edit.start) + how[edit.kind](text.slice(edit.start, edit.end), edit);
    at = edit.end;
  }
  return made + text.slice(at);
}

function scriptOf(text, filename, options) {
  return new vm.Script(text, { filename, ...options });
}

function compiles(text) {
  try {
    scriptOf(text, "cell");
    return true;
  } catch {
    return false;
  }
}

const NO_EXPRESSION = /^(?:function|class|async\s+function|let|const|var|if|for|while|return)\b/;

// The text as the body of a function, whose last statement, if it is an expression, is its value.
function withReturn(text) {
  const starts = [];
  let depth = 0;
  let last;
  for (const token of tokensOf(text)) {
    const canBegin = token.kind !== "sign" || "{[(!~".includes(token.text);
    const isAfter = last?.text === ";" || last?.text === "}" || !last;
    const goesOn = token.kind === "sign" && "([".includes(token.text) && !isAfter;
    if (depth === 0 && canBegin && !goesOn && (isAfter || token.newline)) starts.push(token.start);
    if (token.kind === "sign" && OPENS.includes(token.text)) depth += 1;
    if (token.kind === "sign" && CLOSES.includes(token.text)) depth -= 1;
    last = token;
  }
  for (const start of starts.reverse().slice(0, 50)) {
    const head = text.slice(0, start);
    const tail = text.slice(start).replace(/[\s;]+$/, "");
    const isValue =
      tail !== "" && !NO_EXPRESSION.test(tail) && compiles(`(async () => (${tail}\n))`);
    if (isValue && compiles(`(async () => {${head}\n})`)) return `${head}return (${tail}\n);`;
  }
  return text;
}

// As the body of a function, whose declarations become properties of the global object.
function compileFunction(cell, filename) {
  const { text, edits, names, functions } = cell;
  const known = [...new Set([...names, ...functions])].filter((name) => compiles(`var ${name};`));
  const hoisted = functions.map((name) => `globalThis.${name} = ${name};`).join("");
  const prefix = `(async () => {${hoisted}`;
  const body = `${withReturn(rewritten(text, edits, FUNCTION))}\n})()`;
  const script = scriptOf(prefix + body, filename, { columnOffset: -prefix.length });
  if (known.length > 0) vm.runInThisContext(`var ${known.join(", ")};`);
  return script;
}

// What a cell is run as. Where it awaits only functions may tell: in the block of a class `await` is
// no name.
function compile(text, filename) {
  if (/^\s*\{[\s\S]*\}\s*$/.test(text) && compiles(`(${text}\n)`)) {
    return scriptOf(`(${text}\n)`, filename, { columnOffset: -1 });
  }
  const cell = new Reader(text).read();
  const asScript = rewritten(text, cell.edits, SCRIPT);
  const imports = cell.edits.some((edit) => edit.kind === "import");
  if (imports || (/\bawait\b/.test(text) && !compiles(`class X { static {${asScript}\n} }`))) {
    return compileFunction(cell, filename);
  }
  try {
    return scriptOf(asScript, filename);
  } catch (error) {
    if (cell.edits.length > 0 && compiles(text)) return scriptOf(text, filename);
    throw error;
  }
}

// --- Cells -------------------------------------------------------------------------------------

class Interrupted extends Error {
  constructor() {
    super("the cell was interrupted");
    this.name = "Interrupted";
    this.stack = "Interrupted: the cell was interrupted";
  }
}

let runner;
let channel;
let seen = 0; // interrupts
let giveUp = null; // of the cell that runs

function onInterrupt() {
  seen += 1;
  if (giveUp) giveUp(new Interrupted());
}

const SIGINT = 2;

// A signal that finds neither a listener nor a script that it breaks is the end of node. To break a
// script, node takes all listeners away before it begins, and puts its own handler in their place:
// what comes between would end the session. Of a watch below the listeners it knows nothing, and its
// handler takes the place of that one's at once. Null where there is none to be had.
function newWatch() {
  const { noDeprecation } = process;
  process.noDeprecation = true;
  try {
    const { Signal } = process.binding("signal_wrap");
    const made = new Signal();
    made.unref();
    made.onsignal = onInterrupt;
    return made.start(SIGINT) === 0 ? made : null;
  } catch {
    return null;
  } finally {
    process.noDeprecation = noDeprecation;
  }
}

const watch = newWatch();
const { start, stop } = watch ?? {};

// What a cell has done to its listeners is its own affair, until the next one.
function listen() {
  if (watch) return;
  removeListener.call(process, "SIGINT", onInterrupt);
  on.call(process, "SIGINT", onInterrupt);
}

// Node's own handler is gone, and ours is not back before the last who listens has begun anew.
function breakable(script) {
  if (!watch) return script.runInThisContext({ breakOnSigint: true });
  const others = listeners.call(process, "SIGINT");
  removeAllListeners.call(process, "SIGINT");
  try {
    return script.runInThisContext({ breakOnSigint: true });
  } finally {
    stop.call(watch);
    start.call(watch, SIGINT);
    for (const other of others) on.call(process, "SIGINT", other);
  }
}

// Of the interrupts that were sent to earlier cells some may be on their way still.
async function awaitSent(sent) {
  for (let waited = 0; seen < sent && waited < LATE_MS; waited += 2) {
    await new Promise((resolve) => later(resolve, 2));
  }
  const isEarly = seen > sent;
  seen = Math.max(seen, sent);
  return isEarly;
}

function runScript(script) {
  try {
    return breakable(script);
  } catch (error) {
    if (error?.code !== "ERR_SCRIPT_EXECUTION_INTERRUPTED") throw error;
    seen += 1;
    throw new Interrupted();
  }
}

async function evaluate(frame) {
  const given = new Promise((_resolve, reject) => {
    giveUp = reject;
  });
  given.catch(() => {});
  const value = runScript(compile(frame.code, `cell ${frame.cell}`));
  return types.isPromise(value) ? Promise.race([value, given]) : value;
}

function displayOf(value) {
  try {
    return runner.bounded(inspect(value, { depth: 4 }), DISPLAY_CHARACTERS);
  } catch (error) {
    return `a value whose text cannot be had: ${runner.messageOfThrown(error)}`;
  }
}

function jsonOf(value) {
  try {
    return value === undefined ? "null" : runner.encode(value);
  } catch {
    return null;
  }
}

function answerTo(frame, value) {
  const text = jsonOf(value);
  if (text !== null && Buffer.byteLength(text) > frame.most) {
    return `{"type":"answer","cell":${frame.cell},"bytes":${Buffer.byteLength(text)}}`;
  }
  const wanted = text === null || (frame.display && value !== undefined);
  const display = wanted ? `,"display":${stringify(displayOf(value), runner.wellFormed)}` : "";
  const given = text === null ? "" : `,"value":${text}`;
  return `{"type":"answer","cell":${frame.cell}${given}${display}}`;
}

// Behind the last line stands what runs the cell.
function withoutOwnFrame(traceback, frame) {
  const last = frame.code.split("\n").length;
  return traceback.replace(/^ {4}at .*\bcell (\d+):(\d+):\d+\)?\n/gm, (whole, cell, line) =>
    Number(cell) === frame.cell && Number(line) > last ? "" : whole,
  );
}

function failureOf(frame, error) {
  const report = runner.describe(error);
  report.traceback = withoutOwnFrame(report.traceback, frame);
  const interrupted = error instanceof Interrupted;
  if (!interrupted) {
    try {
      fs.writeSync(2, report.traceback);
    } catch {
      /* a cell has closed standard error */
    }
  }
  const text = stringify(report, runner.wellFormed);
  return `{"type":"error","cell":${frame.cell},"interrupted":${interrupted},"error":${text}}`;
}

async function run(frame) {
  const isEarly = await awaitSent(frame.interrupts);
  listen();
  let text;
  try {
    if (isEarly) throw new Interrupted();
    if (frame.input_bytes) globalThis.input = frame.input;
    else delete globalThis.input;
    const value = await evaluate(frame);
    text = answerTo(frame, value);
  } catch (error) {
    text = failureOf(frame, error);
  }
  // A turn of the event loop: a rejection that nobody handles shows up before the answer.
  nextTurn(() => {
    giveUp = null;
    channel.send(text);
  });
}

// What nobody catches is the cell's that runs, or is told in the log of the next one.
function onUncaught(error) {
  if (giveUp) {
    giveUp(error);
    return;
  }
  try {
    fs.writeSync(2, runner.describe(error).traceback);
  } catch {
    /* as above */
  }
}

function importFor(name) {
  const text = String(name);
  if (text === "noether" && runner.hasFunctions) {
    return import(pathToFileURL(path.join(__dirname, "noether.mjs")).href);
  }
  if (path.isAbsolute(text)) return import(pathToFileURL(text).href);
  return import(text);
}

function hide(name, value) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
}

exports.serve = (own) => {
  runner = own;
  Error.stackTraceLimit = 30;
  hide("require", runner.requireFor(path.join(__dirname, "session.js")));
  hide("noetherImport", importFor);
  process.on("uncaughtException", onUncaught);
  process.on("unhandledRejection", onUncaught);
  listen();
  channel = require("./channel.js")[Symbol.for("noether.channel")];
  channel.listen(run);
  channel.send('{"type":"ready"}');
};
