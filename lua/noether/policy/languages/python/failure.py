# SPDX-License-Identifier: MIT
"""What runner.py needs when something went wrong."""
import atexit
import json
import os
import sys
import traceback

STAGE = "stage.py"

# Of a session: the names of its cells, and their numbers.
cells = {}
MESSAGE_CHARACTERS = 4000
TRACEBACK_CHARACTERS = 16000
MAX_DEPTH = 512

HOW_TO_DEFINE = "define one, as in: def execute(input): return input"


def is_own(name):
    """Whether code of this name is the user's."""
    return name == STAGE or name in cells


def bounded(text, limit):
    if len(text) <= limit:
        return text
    half = limit // 2
    return "%s ... %d characters left out ... %s" % (
        text[:half],
        len(text) - 2 * half,
        text[-half:],
    )


def missing_execute(names):
    if "execute" not in names:
        return "the code defines no function named execute; " + HOW_TO_DEFINE
    return "execute is not a function but of type %s; %s" % (
        type(names["execute"]).__name__,
        HOW_TO_DEFINE,
    )


class AnswerError(Exception):
    """JSON has no form for what execute returned."""


def bases_of(kind):
    """The names by which a type and what it is made of are known, the nearest first."""
    for base in kind.__mro__:
        if base.__module__ == "builtins":
            yield base.__qualname__
        else:
            yield "%s.%s" % (base.__module__, base.__qualname__)


def in_python(value):
    """The Python value of a scalar of numpy, or of an array without dimensions, where it is the
    same; TypeError for all else."""
    kind = type(value)
    if kind.__module__ == "numpy":
        is_array = kind.__name__ == "ndarray"
        if "numpy.generic" in bases_of(kind) or is_array and value.ndim == 0:
            item = value.item()
            if type(item) in (bool, int, float, str):
                return item
            # Long doubles have no Python value, but many of them are doubles.
            if "numpy.floating" in bases_of(type(item)) and (item == float(item) or item != item):
                return float(item)
    raise TypeError(kind.__name__)


def plain_of(value):
    """As in_python, and all else as it is."""
    try:
        return in_python(value)
    except TypeError:
        return value


# What to return in place of what JSON has no form for, by the names of types.
INSTEAD = {
    "numpy.ndarray": ".tolist()",
    "numpy.datetime64": "str()",
    "numpy.timedelta64": "str()",
    "numpy.complexfloating": "[.real, .imag]",
    "numpy.bytes_": ".decode()",
    "pandas.core.frame.DataFrame": '.to_dict("records")',
    "pandas.core.series.Series": ".tolist() or .to_dict()",
    "pandas.core.indexes.base.Index": ".tolist()",
    "pandas.core.arrays.base.ExtensionArray": ".tolist()",
    "pandas._libs.tslibs.nattype.NaTType": "None",
    "pandas._libs.missing.NAType": "None",
    "datetime.date": ".isoformat()",
    "datetime.time": ".isoformat()",
    "datetime.timedelta": ".total_seconds()",
    "decimal.Decimal": "str() or float()",
    "fractions.Fraction": "str() or float()",
    "enum.Enum": ".value",
    "uuid.UUID": "str()",
    "pathlib.PurePath": "str()",
    "pathlib._local.PurePath": "str()",  # Python 3.13
    "set": "sorted() or list()",
    "frozenset": "sorted() or list()",
    "bytes": ".decode(), or base64.b64encode() and .decode()",
    "bytearray": ".decode(), or base64.b64encode() and .decode()",
    "memoryview": ".tolist()",
    "array.array": ".tolist()",
    "collections.deque": "list()",
    "complex": "[.real, .imag]",
    "range": "list()",
    "generator": "list()",
    "map": "list()",
    "filter": "list()",
    "zip": "list()",
    "enumerate": "list()",
    "reversed": "list()",
    "dict_keys": "list()",
    "dict_values": "list()",
    "dict_items": "dict() or list()",
    "coroutine": "await it",
    "async_generator": "[item async for item in it]",
    "pydantic.main.BaseModel": ".model_dump()",
}


def instead_of(value):
    for name in bases_of(type(value)):
        if name in INSTEAD:
            way = INSTEAD[name]
            return way if way == "await it" else "return %s" % way
    if hasattr(type(value), "__dataclass_fields__"):
        return "return dataclasses.asdict()"
    if hasattr(type(value), "__next__"):
        return "return list()"
    return "return dicts, lists, text, numbers, True, False or None"


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
        return None if finite else "is %s, which is not JSON: return None or text" % float(value)
    return "is of type %s, which JSON has no form for: %s" % (
        next(bases_of(type(value))),
        instead_of(value),
    )


def fault_of_key(key):
    if isinstance(key, (str, float)):
        return fault_of(key)
    if key is None or isinstance(key, int):
        return None
    return "is a key of type %s: keys must be text, as str() gives it" % type(key).__name__


def text_of_key(key):
    """The text that a key is in JSON."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or key is True or key is False:
        return json.dumps(key)
    return int.__repr__(key) if isinstance(key, int) else float.__repr__(key)


def fault_of_keys(value):
    """The first key that a dict cannot have beside the others: a pair of it and why, or None."""
    known = {}
    for key in value:
        plain = plain_of(key)
        fault = fault_of_key(plain)
        if fault:
            return key, fault
        text = text_of_key(plain)
        if text in known:
            return key, "is the same text in JSON as the key %s" % bounded(repr(known[text]), 100)
        known[text] = key
    return None


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
        value = plain_of(value)
        fault = fault_of(value)
        if fault:
            return "%s %s" % (bounded(path, 300), fault)
        if depth > MAX_DEPTH:
            return "the answer is nested more than %d deep, or contains itself" % MAX_DEPTH
        found = fault_of_keys(value) if isinstance(value, dict) else None
        if found:
            return "%s[%s] %s" % (bounded(path, 300), bounded(repr(found[0]), 100), found[1])
        for name, item in reversed(children(value)):
            pending.append(("%s[%s]" % (path, name), item, depth + 1))
    return None


def with_plain_keys(value):
    if isinstance(value, dict):
        return {plain_of(key): with_plain_keys(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_plain_keys(item) for item in value]
    return value


def encode(answer, to_json):
    """The text of an answer that is out of the ordinary."""
    reason = find_fault(answer)
    if not reason:
        try:
            return to_json(with_plain_keys(answer))
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error)
    raise AnswerError(reason)


MOMENT_SECS = 0.1


def line_of_thread(thread):
    """Where in the stage a thread is, as text; nothing where that is not known."""
    frame = sys._current_frames().get(thread.ident)
    while frame and not is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return " (line %d)" % frame.f_lineno if frame else ""


MAX_THREADS = 4  # that are named


def name_threads(threading, write, text):
    """Tells of the threads for which Python waits, in one line; gives how many they are."""
    names = []
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            names.append(plain(bounded(thread.name, 200)) + line_of_thread(thread))
    if names:
        what = "thread " if len(names) == 1 else "%d threads: " % len(names)
        more = ", ..." if len(names) > MAX_THREADS else ""
        line = "execute has answered; %s %s%s%s\n" % (
            text,
            what,
            ", ".join(names[:MAX_THREADS]),
            more,
        )
        write(2, line.encode("utf-8"))
    return len(names)


def watch_threads(threading, write, status):
    """Names the threads for which Python waits, once the answer is given, if that takes time."""
    ended = threading.Event()

    def tell():
        ended.wait(MOMENT_SECS)
        name_threads(threading, write, "waiting for")

    try:
        threading.Thread(target=tell, daemon=True).start()
    except RuntimeError:
        pass  # no more threads may be started: the answer stands, and nobody is named


def end_threads(threading, write, status):
    """Ends the process as Python does, but for the threads that it would wait for."""
    if name_threads(threading, write, "ending"):
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def message_of(error):
    if isinstance(error, SyntaxError):
        return str(error.msg)
    if isinstance(error, SystemExit):
        return "the code called sys.exit(%r) instead of returning an answer" % (error.code,)
    try:
        return str(error)
    except Exception as second:
        return "(its text cannot be had: %s)" % type(second).__name__


def place_of(error):
    """Of the innermost line of the stage the file's name and the number, each perhaps None."""
    name = line = None
    if isinstance(error, SyntaxError) and is_own(error.filename):
        name, line = error.filename, error.lineno
    trace = error.__traceback__
    while trace:
        if is_own(trace.tb_frame.f_code.co_filename):
            name, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return name, line


def keep_frames_of_stage(summary):
    pending = [summary]
    while pending:
        part = pending.pop()
        if part is not None:
            part.stack[:] = [frame for frame in part.stack if is_own(frame.filename)]
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
    name, line = place_of(error)
    if line is not None:
        fields["line"] = line
    if name in cells:
        fields["cell"] = cells[name]
    return json.dumps({"error": fields}), text
