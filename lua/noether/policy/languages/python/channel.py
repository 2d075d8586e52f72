# SPDX-License-Identifier: MIT
"""The module `noether` of a stage: functions of its host, called over the channel.

Any thread may call, and coroutines by `acall`; answers come in any order. There is no thread of
ours while nobody waits in a coroutine: of the threads that wait for an answer one reads, for all.
"""
import os
import sys
from _thread import allocate_lock

# json's C halves: `encode` and `decode` are set by the runner.
encode = decode = None


class CallError(Exception):
    """A call that the host refused, or that failed there."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Waiting:
    """One call that was made and is not answered."""

    def __init__(self, done):
        self.done = done
        self.frame = None


class State:
    """A lock, and threads that wait for news. (Condition of threading would be as good, but for its
    price, and for cells of a session that replace what it is made of.)"""

    def __init__(self):
        self.lock = allocate_lock()
        self.acquire, self.release = self.lock.acquire, self.lock.release
        self.waiters = []

    def __enter__(self):
        self.acquire()

    def __exit__(self, *raised):
        self.release()

    def wait(self):
        waiter = allocate_lock()
        waiter.acquire()
        self.waiters.append(waiter)
        self.release()
        try:
            waiter.acquire()
        finally:
            self.acquire()

    def notify_all(self):
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.release()


class Channel:
    def __init__(self, fd):
        self.fd = fd
        os.set_inheritable(fd, False)
        self.writing = allocate_lock()
        self.state = State()
        self.waiting = {}
        self.last_id = 0
        self.reading = False
        self.coroutines = 0
        self.broken = None
        # A longer frame is none to the host, which would end the stage.
        self.most = int(os.environ.pop("NOETHER_CALL_BYTES", 1 << 30))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.leave)

    def leave(self):
        """In a forked copy: the channel is its parent's."""
        os.close(self.fd)
        self.fd = -1

    def send(self, name, args, done=None):
        if self.fd < 0:
            raise CallError("call_failed", "a forked process cannot call its host")
        try:
            text = encode(args).encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            raise CallError("input_invalid", "the arguments are not JSON: %s" % error) from None
        if len(text) > self.most:
            too_many = "the arguments have %d bytes, and limits.call_bytes is %d"
            raise CallError("call_failed", too_many % (len(text), self.most))
        waiting = Waiting(done)
        with self.state:
            if self.broken:
                raise self.broken
            self.last_id += 1
            own = self.last_id
            self.waiting[own] = waiting
        head = '{"type":"call","id":%d,"name":%s,"args":' % (own, encode(name))
        data = head.encode("utf-8") + text + b"}"
        self.write(len(data).to_bytes(4, "little") + data)
        return waiting

    def write(self, data):
        rest = memoryview(data)
        with self.writing:
            while rest:
                rest = rest[os.write(self.fd, rest) :]

    def read(self, size):
        parts = []
        while size > 0:
            part = os.read(self.fd, min(size, 65536))
            if not part:
                raise OSError("the host has closed the channel")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read_frame(self):
        size = int.from_bytes(self.read(4), "little")
        return decode(self.read(size).decode("utf-8"))

    def rest(self):
        self.state.wait()

    def pump(self, is_over):
        """Reads, or lets another thread read, until `is_over`."""
        with self.state:
            while not is_over():
                if self.broken:
                    raise self.broken
                if self.reading:
                    self.rest()
                    continue
                self.reading = True
                self.state.release()
                frame = None
                try:
                    frame = self.read_frame()
                except (OSError, ValueError) as error:
                    self.broken = CallError("call_failed", str(error))
                finally:
                    self.state.acquire()
                    self.reading = False
                    if frame is not None:
                        self.deliver(frame)
                    self.state.notify_all()

    def deliver(self, frame):
        waiting = self.waiting.pop(frame.get("id"), None)
        if waiting is None:
            return
        waiting.frame = frame
        if waiting.done:
            self.coroutines -= 1
            waiting.done()

    def call(self, name, args):
        waiting = self.send(name, args)
        self.pump(lambda: waiting.frame is not None)
        return value_of(waiting.frame)

    async def acall(self, name, args):
        import asyncio

        loop = asyncio.get_running_loop()
        answered = loop.create_future()

        def settle():
            if not answered.done():
                answered.set_result(None)

        def done():
            loop.call_soon_threadsafe(settle)

        with self.state:
            self.coroutines += 1
            is_first = self.coroutines == 1
        try:
            waiting = self.send(name, args, done)
        except BaseException:
            with self.state:
                self.coroutines -= 1
            raise
        if is_first:
            import threading

            threading.Thread(target=self.serve_coroutines, daemon=True).start()
        await answered
        return value_of(waiting.frame)

    def serve_coroutines(self):
        try:
            self.pump(lambda: self.coroutines == 0)
        except CallError as error:
            with self.state:
                left = [one for one in self.waiting.values() if one.done]
                for waiting in left:
                    waiting.frame = {"type": "error", "kind": error.kind, "message": str(error)}
                    waiting.done()


def value_of(frame):
    if frame.get("type") == "result":
        return frame.get("value")
    raise CallError(frame.get("kind", "call_failed"), frame.get("message", ""))


def arguments(positional, named):
    """Named ones are an object, one positional one is itself, several are an array, none null."""
    if named:
        if positional:
            raise TypeError("pass either positional or keyword arguments to a host function")
        return named
    if not positional:
        return None
    return positional[0] if len(positional) == 1 else list(positional)


def function(channel, name):
    def call(*positional, **named):
        return channel.call(name, arguments(positional, named))

    call.__name__ = call.__qualname__ = name
    return call


def install(fd, encoder, decoder):
    """Makes `import noether` work."""
    make(Channel(fd), encoder, decoder, True)


def make(channel, encoder, decoder, has_functions):
    """Gives a channel its codec, and the stage its module if there is something to call."""
    global encode, decode
    encode, decode = encoder, decoder
    if has_functions:
        make_module(channel)


def make_module(channel):
    module = type(sys)("noether", "Functions of the host of this stage.")

    def call(name, *positional, **named):
        return channel.call(name, arguments(positional, named))

    async def acall(name, *positional, **named):
        return await channel.acall(name, arguments(positional, named))

    def missing(name):
        if name.startswith("__"):
            raise AttributeError(name)
        return function(channel, name)

    CallError.__module__ = "noether"
    module.call, module.acall, module.CallError = call, acall, CallError
    module.__getattr__ = missing
    sys.modules["noether"] = module
