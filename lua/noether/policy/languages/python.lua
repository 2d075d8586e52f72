-- SPDX-License-Identifier: MIT
--- Python stages: what they are called, how they are found, wrapped and started.
--
-- A stage defines `execute(input)`, plain or `async`. Its code stands alone in `stage.py`, so line
-- numbers, `from __future__`, encodings and docstrings are the user's own; `runner.py` loads it as
-- the module `stage` (so a block under `if __name__ == "__main__"` does not run) and answers one
-- request. `failure.py` is read only when something went wrong: compiling it costs a millisecond
-- that a stage which works should not pay.
--
-- What a stage may count on:
--
-- * Descriptor 1 and `sys.stdout` are standard error from the first line on; the answer travels on
--   a private descriptor that children do not inherit.
-- * The answer is written as soon as `execute` is over; then Python ends as it always does: it
--   waits for threads that are no daemons, runs `atexit` and flushes files. A thread that never
--   ends therefore meets the deadline, and the run is no success.
-- * Keys of an answer follow Python's `json`: `int`, `float`, `bool` and `None` become text, other
--   types are an error. NaN, infinities and lone surrogates are errors which name their place.
-- * `os._exit` leaves no answer, and so fails.
--
-- Runs on Python 3.8 and later.
local M = {
  name = "python",
  names = { "python", "python3", "" },
  extension = "py",
}

-- Started without site: a probe must not depend on what is installed.
local PROBE = [==[
import json, os, sys, sysconfig

def directories():
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    yield from (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        yield sysconfig.get_config_var("LIBDIR")
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                if ".so" in line:
                    yield os.path.dirname(line.split(None, 5)[5].strip())
    except (OSError, IndexError):
        pass

found = {os.path.realpath(name) for name in directories() if name and os.path.isdir(name)}
print(json.dumps({
    "program": os.path.realpath("/proc/self/exe"),
    "variables": {name: value for name, value in os.environ.items() if "PYTHON" in name},
    "path": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": "%d.%d.%d" % sys.version_info[:3],
    "dirs": sorted(found),
}))
]==]

--- How an interpreter is found. `programs`: names looked for, in order. `probe`: arguments after
-- the program; it prints one JSON object `{ path, version, dirs }`, and for what a wrapper hides
-- `{ program, variables }`: the file that runs, and its environment. `attribute`: its name in
-- nixpkgs. `packages`: it has `withPackages` there, for what the packages policy detects.
M.runtime = {
  programs = { "python3", "python" },
  probe = { "-I", "-S", "-B", "-c", PROBE },
  attribute = "python3",
  packages = true,
}

local RUNNER = [==[
"""Answers one request on standard input with the stage beside this file."""
import os
import sys

try:
    # json's C halves: json itself brings in re, a third of the whole start-up. Taken before the
    # stage is loaded, they are also out of reach of a stage that patches json.
    from _json import encode_basestring, make_encoder, make_scanner
except ImportError:
    make_scanner = None

LEGACY_INPUT = @LEGACY_INPUT@
DIRECTORY = os.path.dirname(os.path.abspath(__file__))
STAGE = "stage.py"

class MissingExecute(Exception):
    """The code has no function to call."""

class AnswerError(Exception):
    """JSON has no form for what execute returned."""

class InputError(Exception):
    """The request is not JSON."""

class Loader:
    """Where tracebacks, the stage's own too, find its lines."""

    def __init__(self, source):
        self.source = source

    def get_source(self, name):
        from importlib.util import decode_source
        return decode_source(self.source)

class Syntax:
    """What the C scanner asks of a decoder."""
    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int

    @staticmethod
    def parse_constant(name):
        raise ValueError(name + " is not JSON")

def not_serialisable(value):
    raise TypeError(type(value).__name__)

def codec():
    """The functions text -> value and value -> text."""
    if make_scanner is None:
        import json
        return (json.JSONDecoder().decode,
                json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode)
    scan = make_scanner(Syntax)

    def decode(text):
        text = text.strip(" \t\r\n")
        try:
            value, end = scan(text, 0)
        except (StopIteration, SystemError):
            # What is wrong, the scanner can only say through json.
            end = -1
        if end != len(text):
            import json
            return json.loads(text)
        return value

    def encode(value):
        parts = make_encoder({}, not_serialisable, encode_basestring, None,
                             ": ", ", ", False, False, False)
        return "".join(parts(value, 0))

    return decode, encode

decode, encode = codec()

def helper(name):
    """A function of failure.py."""
    path = os.path.join(DIRECTORY, "failure.py")
    scope = {"STAGE": STAGE}
    with open(path, "rb") as file:
        source = file.read()
    exec(compile(source, path, "exec"), scope)
    return scope[name]

def load(path):
    """Runs the stage's code as the module `stage`, gives its execute."""
    with open(path, "rb") as file:
        source = file.read()
    stage = type(sys)("stage")
    stage.__file__, stage.__loader__ = path, Loader(source)
    # Data classes, pickle and typing look their module up by name.
    sys.modules["stage"] = stage
    exec(compile(source, STAGE, "exec", dont_inherit=True), stage.__dict__)
    execute = stage.__dict__.get("execute")
    if not callable(execute):
        raise MissingExecute(helper("missing_execute")(stage.__dict__))
    return execute

def read_input(request):
    try:
        value = decode(request.decode("utf-8"))
        if not LEGACY_INPUT:
            return value
    except (ValueError, RecursionError) as error:
        raise InputError("standard input: %s" % error) from None
    if isinstance(value, str):
        try:
            value = decode(value)
        except ValueError:
            pass
    return {} if value is None else value

def finish(awaitable):
    import asyncio

    async def wait():
        return await awaitable
    return asyncio.run(wait())

def serve(execute, request):
    """One request to one answer, both bytes."""
    answer = execute(request)
    if hasattr(type(answer), "__await__"):
        answer = finish(answer)
    try:
        return (encode(answer) + "\n").encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        reason = helper("find_fault")(answer) or str(error)
    raise AnswerError(reason)

def explain(error):
    """The error as the answer channel carries it, told to people on standard error too."""
    try:
        # The request is read: its descriptor may be the only one left to open failure.py by.
        os.close(0)
        report, text = helper("report")(error)
    except BaseException:
        # Out of descriptors or memory, perhaps: say the least that helps.
        name, message = type(error).__name__, repr(error)[:4000]
        report = encode({"error": {"type": name, "message": message, "traceback": ""}})
        text = "%s: %s\n" % (name, message)
    try:
        sys.stderr.flush()
    except Exception:
        pass
    write(2, text.encode("utf-8", "backslashreplace"))
    return (report + "\n").encode("utf-8", "backslashreplace")

def write(fd, data):
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest):]

def take_stdout():
    """Keeps descriptor 1 for the answer; whatever else writes there reaches standard error."""
    answer = os.dup(1)
    os.dup2(2, 1)
    # Line by line: what a stage printed before it was killed is not lost.
    sys.stderr.reconfigure(line_buffering=True)
    sys.stdout = sys.__stdout__ = sys.stderr
    return answer

def main():
    answer = take_stdout()
    status = 0
    try:
        request = read_input(sys.stdin.buffer.read())
        text = serve(load(os.path.join(DIRECTORY, STAGE)), request)
    except BaseException as error:
        text, status = explain(error), 1
    write(answer, text)
    os.close(answer)
    return status

if __name__ == "__main__":
    sys.exit(main())
]==]

local FAILURE = [==[
"""What runner.py needs when something went wrong. STAGE is the name of the stage's file."""
import json
import traceback

MESSAGE_CHARACTERS = 4000
TRACEBACK_CHARACTERS = 16000
MAX_DEPTH = 512

HOW_TO_DEFINE = "define one, as in: def execute(input): return input"

def bounded(text, limit):
    if len(text) <= limit:
        return text
    half = limit // 2
    return "%s ... %d characters left out ... %s" % (
        text[:half], len(text) - 2 * half, text[-half:])

def missing_execute(names):
    if "execute" not in names:
        return "the code defines no function named execute; " + HOW_TO_DEFINE
    return "execute is not a function but of type %s; %s" % (
        type(names["execute"]).__name__, HOW_TO_DEFINE)

def fault_of_text(text):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is not Unicode text"
    return None

def fault_of(value):
    """What keeps one value, its contents aside, out of JSON."""
    if value is None or isinstance(value, (bool, int, list, tuple, dict)):
        return None
    if isinstance(value, str):
        return fault_of_text(value)
    if isinstance(value, float):
        finite = value == value and value not in (float("inf"), float("-inf"))
        return None if finite else "is %r, which is not JSON: return None or text" % value
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else "%s.%s" % (
        kind.__module__, kind.__qualname__)
    return "is of type %s, which JSON has no form for" % name

def fault_of_key(key):
    if isinstance(key, (str, float)):
        return fault_of(key)
    if key is None or isinstance(key, int):
        return None
    return "is a key of type %s: keys must be text" % type(key).__name__

def children(value):
    if isinstance(value, dict):
        return [(repr(key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(str(index), item) for index, item in enumerate(value)]
    return []

def find_fault(answer):
    """Where and why an answer is not JSON; None if nothing was found."""
    pending = [("the answer", answer, 0)]
    while pending:
        path, value, depth = pending.pop()
        fault = fault_of(value)
        if fault:
            return "%s %s" % (bounded(path, 300), fault)
        if depth > MAX_DEPTH:
            return "the answer is nested more than %d deep, or contains itself" % MAX_DEPTH
        if isinstance(value, dict):
            for key in value:
                fault = fault_of_key(key)
                if fault:
                    return "%s[%s] %s" % (bounded(path, 300), bounded(repr(key), 100), fault)
        for name, item in reversed(children(value)):
            pending.append(("%s[%s]" % (path, name), item, depth + 1))
    return None

def message_of(error):
    if isinstance(error, SyntaxError):
        return str(error.msg)
    if isinstance(error, SystemExit):
        return "the code called sys.exit(%r) instead of returning an answer" % (error.code,)
    try:
        return str(error)
    except Exception as second:
        return "(its text cannot be had: %s)" % type(second).__name__

def line_of(error):
    """The innermost line of the stage, or None."""
    line = None
    if isinstance(error, SyntaxError) and error.filename == STAGE:
        line = error.lineno
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == STAGE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line

def keep_frames_of_stage(summary):
    pending = [summary]
    while pending:
        part = pending.pop()
        if part is not None:
            part.stack[:] = [frame for frame in part.stack if frame.filename == STAGE]
            pending += [part.__cause__, part.__context__]
            pending += getattr(part, "exceptions", None) or []

def traceback_of(error):
    summary = traceback.TracebackException(type(error), error, error.__traceback__)
    keep_frames_of_stage(summary)
    lines = list(summary.format())
    if not summary.stack and lines and lines[0].startswith("Traceback"):
        lines = lines[1:]
    return bounded("".join(lines), TRACEBACK_CHARACTERS)

def plain(text):
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

def report(error):
    """The answer that tells of an error, and the text for people."""
    text = traceback_of(error)
    fields = {
        "type": type(error).__name__,
        "message": plain(bounded(message_of(error), MESSAGE_CHARACTERS)),
        "traceback": plain(text),
    }
    line = line_of(error)
    if line is not None:
        fields["line"] = line
    return json.dumps({"error": fields}), text
]==]

--- The files of a stage.
-- @tparam string code the user's code
-- @tparam[opt] table opts `legacy_input`: a string input that is itself JSON is decoded once more,
-- and null becomes an empty dict
-- @treturn ?table `{ files = { [name] = text }, entry = name }`; or nil and the reason
-- @treturn ?string
function M.wrap(code, opts)
  if code:find("%z") then return nil, "the code holds a NUL byte" end
  local legacy = opts and opts.legacy_input and "True" or "False"
  return {
    files = {
      ["runner.py"] = (RUNNER:gsub("@LEGACY_INPUT@", legacy)),
      ["failure.py"] = FAILURE,
      ["stage.py"] = code,
    },
    entry = "runner.py",
  }
end

--- The command that runs a wrapped stage.
-- Isolated (-I: no PYTHON* variables, no user site, nothing imported from the working directory),
-- no bytecode written (-B), UTF-8 whatever the locale.
-- @tparam table runtime description with `path`
-- @tparam string entry path of the entry file
-- @treturn table list, the program first
function M.argv(runtime, entry)
  return { runtime.path, "-I", "-B", "-X", "utf8", entry }
end

--- Variables for a stage's environment. The stage itself ignores them; a Python that it starts
-- shall not write bytecode next to what it imports either.
-- @treturn table values by name
function M.env()
  return { PYTHONDONTWRITEBYTECODE = "1" }
end

--- Whether Python can hold an input exactly: any JSON.
-- @treturn boolean true
function M.check_input()
  return true
end

return M
