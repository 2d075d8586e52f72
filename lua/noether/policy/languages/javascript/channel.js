// SPDX-License-Identifier: MIT
"use strict";
// The module `noether` of a stage: functions of its host, called over the channel. Calls give
// promises, any number at once, answered in any order.
const { Buffer } = require("buffer");
const net = require("net");

const { parse, stringify } = JSON;

class CallError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = "CallError";
    this.kind = kind;
  }
}

let socket;
let lastId = 0;
const waiting = new Map();

// What has come and is no whole frame yet.
let pieces = [];
let size = 0;

// Of a session: who gets the frames that answer nothing.
let listener = null;

function deliver(text) {
  const frame = parse(text);
  if (listener && frame.type === "run") {
    listener(frame);
    return;
  }
  const call = waiting.get(frame.id);
  if (!call) return;
  waiting.delete(frame.id);
  if (waiting.size === 0 && !listener) socket.unref();
  if (frame.type === "result") call.resolve(frame.value);
  else call.reject(new CallError(frame.kind || "call_failed", frame.message || ""));
}

function take(piece) {
  pieces.push(piece);
  size += piece.length;
  while (size >= 4) {
    if (pieces[0].length < 4) pieces = [Buffer.concat(pieces)];
    const end = 4 + pieces[0].readUInt32LE(0);
    if (size < end) return;
    const all = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
    pieces = all.length === end ? [] : [all.subarray(end)];
    size -= end;
    deliver(all.toString("utf8", 4, end));
  }
}

function failAll(message) {
  for (const call of waiting.values()) call.reject(new CallError("call_failed", message));
  waiting.clear();
}

function open() {
  socket = new net.Socket({ fd: Number(process.env.NOETHER_CHANNEL) });
  socket.on("data", take);
  socket.on("error", (error) => failAll(error.message));
  socket.on("close", () => failAll("the host has closed the channel"));
}

function send(frame) {
  const body = Buffer.from(frame);
  const header = Buffer.alloc(4);
  header.writeUInt32LE(body.length);
  socket.write(Buffer.concat([header, body]));
}

// A session ends with its channel.
function listen(own) {
  listener = own;
  open();
  socket.on("close", () => process.exit(0));
}

// One argument is itself, several are an array, none is null.
function call(name, ...args) {
  return new Promise((resolve, reject) => {
    let text;
    try {
      const value = args.length > 1 ? args : args[0];
      text = value === undefined ? "null" : stringify(value);
      if (text === undefined) throw new TypeError("a function or symbol has no JSON form");
    } catch (error) {
      reject(new CallError("input_invalid", `the arguments are not JSON: ${error.message}`));
      return;
    }
    const most = Number(process.env.NOETHER_CALL_BYTES || 2 ** 30);
    const bytes = Buffer.byteLength(text);
    if (bytes > most) {
      const why = `the arguments have ${bytes} bytes, and limits.call_bytes is ${most}`;
      reject(new CallError("call_failed", why));
      return;
    }
    if (!socket) open();
    lastId += 1;
    waiting.set(lastId, { resolve, reject });
    socket.ref();
    send(`{"type":"call","id":${lastId},"name":${stringify(String(name))},"args":${text}}`);
  });
}

const OWN = { call, CallError, [Symbol.for("noether.channel")]: { listen, send } };

// Any name is a function of the host; which ones there are, the host says.
module.exports = new Proxy(OWN, {
  get(target, name) {
    if (name in target || typeof name === "symbol" || name === "then" || name === "__esModule") {
      return target[name];
    }
    return (...args) => call(name, ...args);
  },
});
