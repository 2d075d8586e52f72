# SPDX-License-Identifier: MIT
"""Runs the cells of a session, one after the other, in one namespace.

A cell comes as a frame and is answered by one: the value of its last expression, or what it raised.
Beside that a cell is on its own: what it does to the modules, to `builtins` or to this process is
there for the next one. (The names that are used here are bound before the first cell.)
"""
import builtins
import os
import sys
from _ast import Expr, Expression, PyCF_ALLOW_TOP_LEVEL_AWAIT, PyCF_ONLY_AST
from _signal import SIGINT, signal
from _thread import get_ident
from select import select
from time import monotonic, sleep

# Set by `serve`: functions of runner.py and of the files beside it.
runner = None

CO_COROUTINE = 0x80
DISPLAY_CHARACTERS = 16000
LATE_SECS = 0.4


class Interrupts:
    """SIGINT: a KeyboardInterrupt for the cell that runs; between cells nothing.

    Where the channel is in the middle of a frame the cell is interrupted a moment later."""

    def __init__(self):
        self.main = get_ident()
        self.seen = 0
        self.running = False
        self.held = 0
        self.pending = False

    def listen(self):
        signal(SIGINT, self.take)

    def take(self, number, frame):
        self.seen += 1
        if self.running and self.held:
            self.pending = True
        elif self.running:
            raise KeyboardInterrupt

    def raise_pending(self):
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def begin(self, sent):
        """Before a cell. Of those sent to earlier ones some may be on their way still, and are not
        for this one; what has come beside them is, and came before it began."""
        deadline = monotonic() + LATE_SECS
        while self.seen < sent and monotonic() < deadline:
            sleep(0.001)
        self.held, self.pending = 0, self.seen > sent
        self.seen = max(self.seen, sent)
        self.listen()

    def wait(self, how, *arguments):
        """Waits so that it can be interrupted, within what is held."""
        if get_ident() != self.main:
            return how(*arguments)
        held = self.held
        try:
            self.held = 0
            self.raise_pending()
            return how(*arguments)
        finally:
            self.held = held


class Held:
    """Holds interrupts back, in the thread that gets them."""

    def __init__(self, interrupts):
        self.interrupts = interrupts
        self.counts = get_ident() == interrupts.main
        self.before = interrupts.held

    def __enter__(self):
        if self.counts:
            self.interrupts.held = self.before + 1

    def __exit__(self, kind, error, trace):
        if self.counts:
            self.interrupts.held = self.before
            if kind is None and not self.before:
                self.interrupts.raise_pending()


def channel_class(base, Waiting):
    """The channel of a session: runs of cells come by it, too."""

    class Channel(base):
        def __init__(self, fd, interrupts):
            super().__init__(fd)
            self.interrupts = interrupts
            self.cells = []
            self.idle = None  # while there is no cell

        def undisturbed(self, how, *arguments):
            with Held(self.interrupts):
                return how(*arguments)

        def send(self, *arguments):
            self.undisturbed(super().send, *arguments)

        def send_all(self):
            self.undisturbed(super().send_all)

        def await_frame(self, waiting):
            self.undisturbed(super().await_frame, waiting)

        def sleep(self, turn):
            self.interrupts.wait(super().sleep, turn)

        def receive(self, size):
            self.interrupts.wait(select, [self.fd], [], [])
            return super().receive(size)

        def deliver(self, frame):
            if frame.get("type") == "run":
                self.cells.append(frame)
                if self.idle:
                    self.idle.frame = frame
                    self.idle.wake()
            else:
                super().deliver(frame)

        def next_cell(self):
            self.idle = waiting = Waiting()
            if not self.cells:
                self.await_frame(waiting)
            self.idle = None
            return self.cells.pop(0)

    return Channel


class Source:
    """Where a traceback that a cell prints itself finds the cell's lines."""

    text = ""

    def get_source(self, name):
        return self.text


class Session:
    def __init__(self, channel, interrupts):
        self.channel = channel
        self.interrupts = interrupts
        self.module = type(sys)("__main__")
        self.names = self.module.__dict__
        self.names["__builtins__"] = builtins
        self.source = self.names["__loader__"] = Source()
        self.sources = {}
        self.flags = 0
        self.loop = None
        self.cells = runner.helper("cells")
        sys.modules["__main__"] = self.module
        self.finish_figures = runner.helper("install", "figures.py")()

    def note_source(self, number, code):
        name = "cell %d" % number
        self.cells[name] = number
        self.source.text = self.sources[name] = code
        if "linecache" in sys.modules:
            self.tell_lines()
        return name

    def tell_lines(self):
        import linecache

        for name, code in self.sources.items():
            linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        self.sources = {}

    def compile(self, code, name):
        """The parts of a cell: what gives its value is the last one."""
        flags = self.flags | PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code, name, "exec", flags | PyCF_ONLY_AST, True)
        last = tree.body.pop() if tree.body and type(tree.body[-1]) is Expr else None
        parts = [compile(tree, name, "exec", flags, True)]
        if "__future__" in code:
            import __future__

            for feature in __future__.all_feature_names:
                self.flags |= parts[0].co_flags & getattr(__future__, feature).compiler_flag
        if last:
            flags |= self.flags
            parts.append(compile(Expression(last.value), name, "eval", flags, True))
        return parts, bool(last)

    def finish(self, coroutine):
        import asyncio

        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                task.cancel()
                self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise

    def evaluate(self, code, name):
        parts, has_value = self.compile(code, name)
        value = None
        for part in parts:
            value = eval(part, self.names)
            if part.co_flags & CO_COROUTINE:
                value = self.finish(value)
        return value if has_value else None

    def answer(self, cell):
        number = cell["cell"]
        name = self.note_source(number, cell["code"])
        if cell["input_bytes"]:
            self.names["input"] = cell["input"]
        else:
            self.names.pop("input", None)
        value = self.evaluate(cell["code"], name)
        text = json_of(value)
        if text is None or cell["display"]:
            display = runner.encode(display_of(value))
            more = ',"display":%s' % display if value is not None else ""
        else:
            more = ""
        if text and len(text) > cell["most"]:
            return '{"type":"answer","cell":%d,"bytes":%d}' % (number, len(text))
        given = ',"value":%s' % text if text else ""
        return '{"type":"answer","cell":%d%s%s}' % (number, more, given)

    def failed(self, cell, error):
        try:
            self.tell_lines()
            # Where it was raised is the cell's to know, and what ran the cell is ours.
            text, told = runner.helper("report")(error)
        except BaseException:
            kind, message = type(error).__name__, ascii(error)[:4000]
            text = runner.encode({"error": {"type": kind, "message": message, "traceback": ""}})
            told = "%s: %s\n" % (kind, message)
        flush()
        if not isinstance(error, KeyboardInterrupt):
            runner.write(2, told.encode("utf-8", "backslashreplace"))
        interrupted = "true" if isinstance(error, KeyboardInterrupt) else "false"
        head = '{"type":"error","cell":%d,"interrupted":%s,' % (cell["cell"], interrupted)
        return head + text.strip()[1:]

    def write_figures(self):
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            self.finish_figures(runner.write)
            pyplot.close("all")

    def attempt(self, cell):
        try:
            try:
                self.interrupts.running = True
                self.interrupts.raise_pending()
                try:
                    return self.answer(cell)
                finally:
                    if cell["outputs"]:
                        self.write_figures()
            finally:
                self.interrupts.running = False
        except BaseException as error:
            self.interrupts.running = False
            return self.failed(cell, error)

    def run(self, cell):
        self.interrupts.begin(cell["interrupts"])
        try:
            text = self.attempt(cell)
        except BaseException as error:  # a second interrupt, at the very end
            self.interrupts.running = False
            text = self.failed(cell, error)
        flush()
        if self.channel.fd < 0:
            os._exit(0)  # a forked copy has come to the cell's end
        self.channel.write(text)


def flush():
    for stream in {sys.stdout, sys.stderr, sys.__stderr__}:
        try:
            stream.flush()
        except Exception:
            pass  # a cell may have closed it, or put something else there


def json_of(value):
    """The JSON of a value; None where it has no form."""
    try:
        text = runner.encode(value)
        text.encode("utf-8")
        if not runner.has_mixed_keys(value):
            return text
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return runner.helper("encode")(value, runner.encode)
    except runner.helper("AnswerError"):
        return None


def display_of(value):
    try:
        text = repr(value)
    except Exception as error:
        text = "<%s, whose text cannot be had: %s>" % (type(value).__name__, type(error).__name__)
    return runner.helper("plain")(runner.helper("bounded")(text, DISPLAY_CHARACTERS))


def serve(own_runner, fd, has_functions):
    """Runs what comes until nothing comes any more."""
    global runner
    runner = own_runner
    interrupts = Interrupts()
    interrupts.listen()
    make, base, waiting = (
        runner.helper(name, "channel.py") for name in ("make", "Channel", "Waiting")
    )
    channel = channel_class(base, waiting)(fd, interrupts)
    make(channel, runner.encode, runner.decode, has_functions)
    session = Session(channel, interrupts)
    channel.write('{"type":"ready"}')
    while True:
        try:
            cell = channel.next_cell()
        except runner.helper("CallError", "channel.py"):
            return 0
        session.run(cell)
