-- SPDX-License-Identifier: MIT
-- What people really run, inside: a filter of system calls that stops attacks and half of the world
-- with them would be of no use.
local helper = require "spec.support.helper"
local descriptions = require "noether.sandbox.description"
local command = require "noether.command"
local isolation_policy = require "noether.policy.isolation"
local sys = require "noether.sys"

local PYTHON = "/usr/bin/python3" -- the system's own, which has numpy and pip

local WORK = {
  {
    name = "git makes, commits to and clones a repository", processes = true,
    argv = { "/bin/sh", "-ec", [[
      git init -q repo && cd repo
      echo hello > file && git add file
      git -c user.name=n -c user.email=e commit -qm first
      cd .. && git clone -q repo copy && cat copy/file && git -C copy log --format=%s]] },
    stdout = "hello\nfirst\n",
  },
  {
    name = "numpy multiplies matrices on several threads",
    argv = { PYTHON, "-c", [[
import numpy
a = numpy.ones((400, 400))
print(int((a @ a).sum()), numpy.linalg.det(numpy.eye(50)) == 1)]] },
    stdout = "64000000 True\n",
  },
  {
    -- Newer pips read certificates when they start, whatever they are to do.
    name = "pip installs a wheel from a directory", processes = true, certificates = true,
    argv = { PYTHON, "-c", [[
import subprocess, sys, zipfile
with zipfile.ZipFile("tiny-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("tiny.py", "value = 42\n")
    info = "tiny-1.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL",
        "Wheel-Version: 1.0\nGenerator: spec\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "tiny.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n"
        + info + "RECORD,,\n")
subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", ".",
    "--target", "site", "tiny"], check=True, stdout=sys.stderr)
sys.path.insert(0, "site")
import tiny
print(tiny.value)]] },
    stdout = "42\n",
  },
  {
    name = "Python uses threads, asyncio and sqlite",
    argv = { PYTHON, "-c", [[
import asyncio, concurrent.futures, sqlite3
async def both():
    return await asyncio.gather(asyncio.sleep(0, 1), asyncio.to_thread(lambda: 2))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    squares = list(pool.map(lambda n: n * n, range(5)))
rows = sqlite3.connect("data.db").execute("select 7").fetchall()
print(asyncio.run(both()), squares, rows)]] },
    stdout = "[1, 2] [0, 1, 4, 9, 16] [(7,)]\n",
  },
  {
    name = "Python uses multiprocessing", processes = true,
    argv = { PYTHON, "-c", [[
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(pool.map(abs, [-1, -2, 3]))]] },
    stdout = "[1, 2, 3]\n",
  },
  {
    name = "node uses workers, WebAssembly, compression and a server of its own",
    argv = { "/usr/bin/node", "-e", [[
const { Worker } = require('worker_threads');
const http = require('http'), zlib = require('zlib');
const empty = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
const code = 'require("worker_threads").parentPort.postMessage(6 * 7)';
const worker = new Worker(code, { eval: true });
worker.on('message', answer => {
  const server = http.createServer((_, response) => response.end(zlib.gzipSync('served')));
  const host = '127.0.0.1';
  server.listen(0, host, () => http.get({ host, port: server.address().port }, response => {
    const parts = [];
    response.on('data', part => parts.push(part)).on('end', () => {
      console.log(answer, WebAssembly.validate(empty),
        zlib.gunzipSync(Buffer.concat(parts)).toString());
      server.close();
    });
  }));
});]] },
    stdout = "42 true served\n",
  },
}

helper.over({ backends = { "native", "bwrap" } }, "under %s", function(backend)
  describe("real work", function()
    for _, work in ipairs(WORK) do
      it(work.name, function()
        local description = descriptions.system()
        description.processes = work.processes == true
        for _, path in ipairs(work.certificates and isolation_policy.certificate_paths or {}) do
          if sys.stat(path, true) then table.insert(description.ro_binds, path) end
        end
        local result, err = command.run(work.argv, {
          isolation = backend, sandbox = description, timeout_secs = 60,
        })
        assert.is_nil(err, tostring(err))
        assert.equal("exit", result.reason)
        assert.equal(work.stdout, result.stdout, result.stderr)
        assert.is_nil(result.denied_processes)
      end)
    end
  end)
end)
