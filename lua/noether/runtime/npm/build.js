// SPDX-License-Identifier: MIT
"use strict";
// Runs npm, in this very process, and keeps what it made; it runs inside the sandbox.
//
// It reads a job on standard input: `argv` (npm's own program and its arguments), `files` (texts by
// name, for its directory), `out` (the directory that is to hold what it makes), `keep` (which file
// or directory that is), `private` (whether the private directory is limited in size). If it is, npm
// works there, and what it made is copied out: what is too large ends there and not on the host's
// disk. The exit code 67 is for what npm did not call a failure.
const fs = require("fs");
const path = require("path");

const job = JSON.parse(fs.readFileSync(0, "utf8"));
const temporary = process.env.TMPDIR;
const top = job.private ? path.join(temporary, "npm") : job.out;
const { copyFileSync, chmodSync, lstatSync, mkdirSync, readdirSync } = fs;
const join = path.join;

// Files and directories; npm makes nothing else here.
function copy(from, to) {
  const stat = lstatSync(from);
  if (stat.isDirectory()) {
    if (from !== to) mkdirSync(to);
    for (const name of readdirSync(from)) copy(join(from, name), join(to, name));
  } else if (!stat.isFile()) {
    throw new Error(`neither file nor directory: ${from.slice(top.length + 1)}`);
  } else if (from !== to) {
    copyFileSync(from, to);
  }
  setMode(to, stat.isDirectory() || stat.mode & 0o100 ? 0o755 : 0o644);
}

// Where no mode can be changed none was, and all are those of the umask.
function setMode(file, mode) {
  try {
    chmodSync(file, mode);
  } catch (error) {
    if (error.code !== "EPERM") throw error;
  }
}

// A file that could not be written, whole or in part, is a warning to npm, and no failure.
let unwritten;
process.on("log", (_level, ...words) => {
  const said = words.map(String).join(" ");
  if (said.includes("TAR_ENTRY_ERROR")) unwritten = unwritten || said;
});

// What a full disk takes a part of is no failure to it either: the rest of the file is then lost.
function checked(original, sizeOf) {
  return (...given) => {
    const done = given.pop();
    original.call(fs, ...given, (error, written, ...more) => {
      const isShort = !error && written < sizeOf(given);
      const full = isShort && new Error("ENOSPC: no space left on device, write");
      if (full) full.code = "ENOSPC";
      done(full || error, written, ...more);
    });
  };
}

function sizeOfWrite([, data, offset, length]) {
  if (!ArrayBuffer.isView(data)) return 0;
  if (typeof length === "number") return length;
  return data.byteLength - (typeof offset === "number" ? offset : 0);
}

fs.write = checked(fs.write, sizeOfWrite);
fs.writev = checked(fs.writev, ([, list]) => list.reduce((sum, one) => sum + one.byteLength, 0));

function fail(code, text) {
  console.error(`npm error code ${code}\nnpm error ${text}`);
  process.exit(67);
}

process.umask(0o022);
mkdirSync(top, { recursive: true });
process.chdir(top);
for (const name of Object.keys(job.files)) fs.writeFileSync(name, job.files[name]);
process.on("exit", (code) => {
  if (code !== 0) return;
  if (unwritten !== undefined) {
    fail("TAR_ENTRY_ERROR", unwritten);
    return;
  }
  try {
    copy(join(top, job.keep), join(job.out, job.keep));
    if (!job.private) fs.rmSync(join(top, "package.json"), { force: true });
  } catch (error) {
    fail(error.code || "COPY", error.message);
  }
});
process.env.HOME = temporary;
process.env.npm_config_cache = join(temporary, "cache");
process.argv = [process.execPath, ...job.argv];
require(job.argv[0]);
