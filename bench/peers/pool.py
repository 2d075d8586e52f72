# SPDX-License-Identifier: MIT
"""A pool of processes as Python brings it: a request per line, an answer per line. The second
argument: after how many calls a worker ends."""
import json
import multiprocessing
import sys


def execute(text):
    scope = {}
    code, value = json.loads(text)
    exec(code, scope)
    return json.dumps(scope["execute"](value))


if __name__ == "__main__":
    # A worker closes what it finds as standard input, whose lock is held here where it is read.
    requests, sys.stdin = sys.stdin, None
    context = multiprocessing.get_context("fork")
    calls = int(sys.argv[1]) or None
    with context.Pool(2, maxtasksperchild=calls) as pool:
        for line in requests:
            print(pool.apply(execute, (line,)), flush=True)
