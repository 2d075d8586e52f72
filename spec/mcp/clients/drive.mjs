// SPDX-License-Identifier: MIT
// Drives a server by an SDK: drive.mjs ERA COMMAND ARGS...; ERA is "legacy" (the SDK of version 1)
// or "modern" (that of version 2). Prints a line for each thing that went as it should.
import assert from "node:assert/strict";

const [era, command, ...args] = process.argv.slice(2);
const modern = era === "modern";
const base = modern ? "@modelcontextprotocol/client" : "@modelcontextprotocol/sdk/client";
const { Client } = await import(modern ? base : `${base}/index.js`);
const { StdioClientTransport } = await import(modern ? `${base}/stdio` : `${base}/stdio.js`);

const options = modern ? { versionNegotiation: { mode: "auto" } } : undefined;
const client = new Client({ name: "drive", version: "1" }, options);
await client.connect(new StdioClientTransport({ command, args }));

function call(code, settings, more) {
  const params = { name: "run_bash", arguments: { code, ...more } };
  return modern ? client.callTool(params, settings) : client.callTool(params, undefined, settings);
}

const { tools } = await client.listTools();
assert.ok(tools.some((tool) => tool.name === "run_bash"));
console.log("list");

const answer = await call("execute() { echo 4; }");
assert.equal(answer.content[0].text, "4");
assert.ok(!answer.isError);
console.log("call");

const failure = await call("execute() { exit 3; }");
assert.ok(failure.isError);
assert.match(failure.content[0].text, /^stage_failed: /);
console.log("error");

const drawn = await call('execute() { printf "%b" "\\x89PNG" >chart.png; echo 1; }', undefined, {
  outputs: ["*.png"],
});
const image = drawn.content.find((block) => block.type === "image");
assert.equal(image.mimeType, "image/png");
assert.equal(image.data, "iVBORw==");
console.log("image");

let beats = 0;
const slow = await call("execute() { sleep 2.5; echo 5; }", { onprogress: () => (beats += 1) });
assert.equal(slow.content[0].text, "5");
assert.ok(beats >= 1);
console.log("progress");

const abort = new AbortController();
setTimeout(() => abort.abort(), 300);
await assert.rejects(call("execute() { sleep 60; }", { signal: abort.signal }));
assert.equal((await call("execute() { echo 6; }")).content[0].text, "6");
console.log("cancel");

function cell(code, settings, more) {
  return call(code, settings, { session: "work", ...more });
}

await cell("n=40");
assert.equal((await cell('echo "$((n + 2))"')).content[0].text, "42");
const chart = await cell('printf "%b" "\\x89PNG" >chart.png', undefined, { outputs: ["*.png"] });
assert.equal(chart.content.find((block) => block.type === "image").data, "iVBORw==");
const stop = new AbortController();
setTimeout(() => stop.abort(), 300);
await assert.rejects(cell("sleep 60", { signal: stop.signal }));
let left;
do left = await cell('echo "$n"');
while (left.isError && left.content[0].text.startsWith("session_busy: "));
assert.equal(left.content[0].text, "40");
for (let times = 0; times < 2; times += 1) {
  const lost = await cell("kill -9 $$");
  assert.ok(lost.isError);
  assert.match(lost.content[0].text, /^session_lost: /);
}
console.log("session");

await client.close();
console.log("end");
