// SPDX-License-Identifier: MIT
"use strict";
// The module `noether` of a stage: functions of its host, called over the channel. Calls give
// promises, any number at once, answered in any order.
const { Buffer } = require("buffer");
const { writeSync } = require("fs");
const net = require("net");

const { parse, stringify } = JSON;

const FD = Number(process.env.NOETHER_CHANNEL);
const HEADER = 4;
// A longer frame is none to the host, which would end the stage.
const MOST = Number(process.env.NOETHER_CALL_BYTES || 2 ** 30);

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
let missing = HEADER; // so many bytes have to be there before there is more to do

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

// All the frames that are whole; what is left of the bytes.
function takeWhole(bytes) {
  let at = 0;
  while (bytes.length - at >= HEADER) {
    const end = at + HEADER + bytes.readUInt32LE(at);
    if (end > bytes.length) break;
    const text = bytes.toString("utf8", at + HEADER, end);
    at = end;
    deliver(text);
  }
  return bytes.subarray(at);
}

// What comes lies in a buffer that the next one will lie in.
function take(count, buffer) {
  const piece = buffer.subarray(0, count);
  size += count;
  if (size < missing) {
    pieces.push(Buffer.from(piece));
    return true;
  }
  const left = takeWhole(pieces.length === 0 ? piece : Buffer.concat([...pieces, piece]));
  size = left.length;
  pieces = size === 0 ? [] : [Buffer.from(left)];
  missing = HEADER + (size < HEADER ? 0 : left.readUInt32LE(0));
  return true;
}

function failAll(message) {
  for (const call of waiting.values()) call.reject(new CallError("call_failed", message));
  waiting.clear();
}

function open() {
  const onread = { buffer: Buffer.allocUnsafeSlow(65536), callback: take };
  socket = new net.Socket({ fd: FD, onread });
  socket.on("error", (error) => failAll(error.message));
  socket.on("close", () => failAll("the host has closed the channel"));
}

// How much of it the socket takes at once. (It does not wait: net has seen to that.)
function writeNow(bytes) {
  try {
    return writeSync(FD, bytes, 0, bytes.length);
  } catch (error) {
    if (error.code !== "EAGAIN") socket.destroy(error);
    return error.code === "EAGAIN" ? 0 : bytes.length;
  }
}

function send(frame) {
  const length = Buffer.byteLength(frame);
  const bytes = Buffer.allocUnsafe(HEADER + length);
  bytes.writeUInt32LE(length, 0);
  bytes.write(frame, HEADER, length, "utf8");
  const written = socket.writableLength === 0 ? writeNow(bytes) : 0;
  if (written < bytes.length) socket.write(bytes.subarray(written));
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
    const bytes = Buffer.byteLength(text);
    if (bytes > MOST) {
      const why = `the arguments have ${bytes} bytes, and limits.call_bytes is ${MOST}`;
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
