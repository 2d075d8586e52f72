// SPDX-License-Identifier: MIT
const fs = require("fs");
const path = require("path");
const real = fs.realpathSync(process.execPath);
const dirs = new Set();
const bin = path.dirname(real);
dirs.add(path.basename(bin) === "bin" ? path.dirname(bin) : bin);
try {
  for (const line of fs.readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const name = line.slice(line.indexOf("/"));
    if (line.includes(".so")) dirs.add(fs.realpathSync(path.dirname(name)));
  }
} catch {
  /* without /proc the host adds the usual directories */
}
const answer = {
  path: real,
  version: process.versions.node,
  dirs: [...dirs].sort(),
};
console.log(JSON.stringify(answer));
