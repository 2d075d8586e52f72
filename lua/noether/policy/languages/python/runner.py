# SPDX-License-Identifier: MIT
"""Answers one request on standard input with the stage beside this file."""
import builtins
import os
import sys
from itertools import chain

try:
    # json's C halves: json itself brings in re, a third of the whole start-up. Taken before the
    # stage is loaded, they are also out of reach of a stage that patches json.
    from _json import encode_basestring, make_encoder, make_scanner
except ImportError:
    make_scanner = None

# A copy: what a stage, or a cell before this one, puts in place of them is not for what is here.
__builtins__ = dict(builtins.__dict__)

LEGACY_INPUT = False
END_THREADS = False
FIGURES = False
SESSION = False
FUNCTIONS = False
FORKS = False
IMPORTS = []
wait_for_request = end = prepare = None  # where it is started ahead: ahead.py
DIRECTORY = os.path.dirname(os.path.abspath(__file__))
STAGE = "stage.py"


PLAIN = {str, int, float, bool, type(None)}


class MissingExecute(Exception):
    """The code has no function to call."""


class InputError(Exception):
    """The request is not JSON."""


class Loader:
    """Where tracebacks, the stage's own too, find its lines."""

    def __init__(self, source):
        self.source = source

    def get_source(self, name):
        from importlib.util import decode_source

        return decode_source(self.source)


class Stage(type(sys)):
    """The stage, which is the main module too: unittest, doctest and timeit look there for what
    they try. As the file that a worker process runs anew it names this one."""

    __file__ = property(lambda self: os.path.join(DIRECTORY, "runner.py"))


class Finder:
    """Where a worker process finds the stage."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "stage":
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(name, os.path.join(DIRECTORY, STAGE))


class Syntax:
    """What the C scanner asks of a decoder."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int

    @staticmethod
    def parse_constant(name):
        raise ValueError(name + " is not JSON")


def in_python(value):
    """The Python value that another kind of number stands for."""
    return helper("in_python")(value)


def codec():
    """The functions text -> value and value -> text."""
    if make_scanner is None:
        import json

        return (
            json.JSONDecoder().decode,
            json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=in_python).encode,
        )
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
        parts = make_encoder(
            {}, in_python, encode_basestring, None, ": ", ", ", False, False, False
        )
        return "".join(parts(value, 0))

    return decode, encode


decode, encode = codec()


helpers = {}


def read_file(path):
    """Without what a file object brings with it: that is memory which each copy has to copy."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        source = part = os.read(fd, 16384)
        while part:
            part = os.read(fd, 65536)
            source += part
    finally:
        os.close(fd)
    return source


def helper(name, file_name="failure.py"):
    """A function of a file beside this one."""
    if file_name not in helpers:
        path = os.path.join(DIRECTORY, file_name)
        scope = helpers[file_name] = {"__builtins__": __builtins__}
        exec(compile(read_file(path), path, "exec"), scope)
    return helpers[file_name][name]


def load(path):
    """Runs the stage's code as the module `stage`, gives its execute."""
    source = read_file(path)
    stage = Stage("stage")
    stage.__dict__["__file__"], stage.__loader__ = path, Loader(source)
    stage.__dict__["__builtins__"] = builtins
    # Data classes, pickle and typing look their module up by name.
    sys.modules["stage"] = sys.modules["__main__"] = stage
    exec(compile(source, STAGE, "exec", dont_inherit=True), stage.__dict__)
    execute = stage.__dict__.get("execute")
    if not callable(execute):
        raise MissingExecute(helper("missing_execute")(stage.__dict__))
    return execute


def read_input(request):
    try:
        return as_asked(decode(request.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise InputError("standard input: %s" % error) from None


def next_request():
    try:
        return as_asked(wait_for_request(IMPORTS, encode, decode)["input"])
    except (ValueError, RecursionError) as error:
        raise InputError("standard input: %s" % error) from None


def as_asked(value):
    if not LEGACY_INPUT:
        return value
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


def kinds_of(values):
    return set(map(type, values))


def has_mixed_keys(answer):
    """Whether a dict may have two keys that are the same text in JSON. (All of one depth at once:
    this is a fraction of what encoding costs.)"""
    level = [answer]
    while level:
        dicts = [value for value in level if isinstance(value, dict)]
        if len(kinds_of(chain.from_iterable(dicts))) > 1:
            if any(len(kinds_of(value)) > 1 for value in dicts):
                return True
        lists = [value for value in level if isinstance(value, (list, tuple))]
        values = chain.from_iterable(map(dict.values, dicts))
        level = list(chain(values, chain.from_iterable(lists)))
        if PLAIN.issuperset(kinds_of(level)):
            return False
        level = [value for value in level if type(value) not in PLAIN]
    return False


def serve(execute, request):
    """One request to one answer, both bytes."""
    answer = execute(request)
    if hasattr(type(answer), "__await__"):
        answer = finish(answer)
    text = None
    try:
        encoded = (encode(answer) + "\n").encode("utf-8")
        if not has_mixed_keys(answer):
            text = encoded
    except (TypeError, ValueError, RecursionError):
        pass
    return text or (helper("encode")(answer, encode) + "\n").encode("utf-8")


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
        rest = rest[os.write(fd, rest) :]


def print_to_stderr():
    """Line by line: what a stage printed before it was killed is not lost."""
    sys.stderr.reconfigure(line_buffering=True)
    sys.stdout = sys.__stdout__ = sys.stderr


def take_stdout():
    """Keeps descriptor 1 for the answer; whatever else writes there reaches standard error."""
    answer = os.dup(1)
    os.dup2(2, 1)
    return answer


def open_channel():
    """Makes functions of the host callable, where there are any."""
    fd = os.environ.pop("NOETHER_CHANNEL", None)
    if fd is not None:
        helper("install", "channel.py")(int(fd), encode, decode)


def hold_session():
    """Runs cells until the host has no more."""
    print_to_stderr()
    take_stdout()
    helper("report")  # from now on a cell may have changed what compiles it
    fd = int(os.environ.pop("NOETHER_CHANNEL"))
    return helper("serve", "session.py")(sys.modules[__name__], fd, FUNCTIONS)


def make_copies():
    """Goes on in each copy, and in none but a copy."""
    serve_copies = helper("serve_copies", "fork.py")
    serve_copies(lambda: prepare(IMPORTS, encode, decode), bool(IMPORTS), encode, DIRECTORY)


def main():
    if SESSION:
        return hold_session()
    print_to_stderr()
    channel = []

    def close():
        while channel:
            os.close(channel.pop())

    # Only this process may answer: where a fork of it comes to the stage's end, it ends.
    os.register_at_fork(after_in_child=close)
    if FORKS:
        make_copies()
    channel.append(take_stdout())
    status = 0
    finish_figures = helper("install", "figures.py")() if FIGURES else None
    try:
        if wait_for_request:
            request = next_request()
            open_channel()
        else:
            open_channel()
            request = read_input(sys.stdin.buffer.read())
        text = serve(load(os.path.join(DIRECTORY, STAGE)), request)
    except BaseException as error:
        if isinstance(error, SystemExit) and not channel:
            raise
        text, status = explain(error), 1
    if channel:
        write(channel[0], text)
        close()
        if finish_figures:
            finish_figures(write)
        threading = sys.modules.get("threading")
        if threading and len(threading.enumerate()) > 1:
            helper("end_threads" if END_THREADS else "watch_threads")(threading, write, status)
        if end:
            end(status, sys.modules.get("stage"))
    return status


if __name__ == "__main__":
    sys.exit(main())
elif __name__ == "__mp_main__":
    sys.meta_path.append(Finder)
