// SPDX-License-Identifier: MIT
"use strict";
// Servers for spec/deep/programs.lua: servers.js WS HTTP2. Both send back what comes; the first
// speaks WebSocket, the second HTTP/2 without TLS. They end with standard input.
const http2 = require("http2");
const { WebSocketServer } = require("ws");

const [wsPort, http2Port] = process.argv.slice(2).map(Number);
new WebSocketServer({ host: "127.0.0.1", port: wsPort }).on("connection", (socket) => {
  socket.on("message", (data) => socket.send(data));
});
http2
  .createServer()
  .on("stream", (stream) => {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  })
  .listen(http2Port, "127.0.0.1");
process.stdin.resume().on("end", () => process.exit(0));
