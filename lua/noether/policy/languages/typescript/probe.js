// SPDX-License-Identifier: MIT
// What comes after the probe of JavaScript, in the place of its last line: `answer` is its own.
function isProgram(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    const start = Buffer.alloc(4);
    const fd = fs.openSync(file, "r");
    fs.readSync(fd, start, 0, 4, 0);
    fs.closeSync(fd);
    return start.toString("latin1") === "\x7fELF";
  } catch {
    return false;
  }
}

// What npm calls esbuild may be a script that starts the program, which lies in another package.
function findEsbuild() {
  const within = `@esbuild/${process.platform}-${process.arch}/bin/esbuild`;
  for (const directory of (process.env.PATH || "").split(":")) {
    const found = path.join(directory, "esbuild");
    if (!directory.startsWith("/") || !fs.existsSync(found)) continue;
    const file = fs.realpathSync(found);
    if (isProgram(file)) return file;
    for (let at = path.dirname(file); at !== "/"; at = path.dirname(at)) {
      const other = path.join(at, "node_modules", within);
      if (isProgram(other)) return fs.realpathSync(other);
    }
  }
  return undefined;
}

// Debian builds a node that could, by its version, without what does it.
const strips = Boolean(process.features.typescript);
if (!strips) answer.compiler = findEsbuild();
if (!strips && !answer.compiler) {
  console.error(`node ${answer.version} knows no types, and there is no esbuild in PATH`);
  process.exit(1);
}
console.log(JSON.stringify(answer));
