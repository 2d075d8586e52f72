# SPDX-License-Identifier: MIT
"""The module `noether` of a stage: functions of its host, called over the channel.

Any thread may call, and coroutines by `acall`; answers come in any order. There is no thread of
ours: of the threads that wait for an answer one reads, for all, and whoever is answered goes on by
itself; coroutines are answered by their own loop.
"""
import os
import sys
from _collections import deque
from _thread import allocate_lock

# json's C halves: `encode` and `decode` are set by the runner.
encode = decode = None

HEADER = 4
READ_AT_ONCE = 4096

# So much a socket takes without waiting, where it takes anything.
PIECE = 32768


class CallError(Exception):
    """A call that the host refused, or that failed there."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Waiting:
    """One call that was made and is not answered: by a thread, or by the coroutine of a future."""

    __slots__ = ("frame", "loop", "future", "turn")

    def __init__(self, loop=None, future=None):
        self.frame = None
        self.loop = loop
        self.future = future
        self.turn = None  # what its thread sleeps on while another one reads

    def wake(self):
        turn, self.turn = self.turn, None
        if turn:
            turn.release()


def frame_of(text):
    data = text.encode("utf-8", "backslashreplace")
    return len(data).to_bytes(HEADER, "little") + data


class Channel:
    def __init__(self, fd):
        self.fd = fd
        os.set_inheritable(fd, False)
        self.writing = allocate_lock()
        self.unsent = deque()
        self.ids = 0
        self.waiting = {}
        # Of all that follows; who waits for what comes is without it.
        self.lock = allocate_lock()
        self.reading = False
        self.asleep = {}
        self.kept = bytearray()
        self.broken = None
        self.coroutines = None  # those of asyncio, once there is one
        # A longer frame is none to the host, which would end the stage.
        self.most = int(os.environ.pop("NOETHER_CALL_BYTES", 1 << 30))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.leave)

    def leave(self):
        """In a forked copy: the channel is its parent's."""
        os.close(self.fd)
        self.fd = -1

    def encoded(self, args):
        if args is None:
            return "null"
        try:
            text = encode(args)
            size = len(text) if text.isascii() else len(text.encode("utf-8"))
        except (TypeError, ValueError, RecursionError) as error:
            raise CallError("input_invalid", "the arguments are not JSON: %s" % error) from None
        if size > self.most:
            too_many = "the arguments have %d bytes, and limits.call_bytes is %d"
            raise CallError("call_failed", too_many % (size, self.most))
        return text

    def send(self, name, args, waiting):
        """`name` is JSON. From here on it may be answered."""
        if self.fd < 0:
            raise CallError("call_failed", "a forked process cannot call its host")
        text = self.encoded(args)
        if self.broken:
            raise self.broken
        with self.lock:
            self.ids = own = self.ids + 1
            self.waiting[own] = waiting
        text = '{"type":"call","id":%d,"name":%s,"args":%s}' % (own, name, text)
        self.unsent.append(frame_of(text))

    def write(self, text):
        self.unsent.append(frame_of(text))
        self.send_all()

    def send_all(self):
        """Who finds somebody else writing leaves it to them."""
        while self.unsent and self.writing.acquire(False):
            try:
                while self.unsent:
                    if self.coroutines and self.coroutines.waiting:
                        self.coroutines.await_room()
                    self.send_piece()
            finally:
                self.writing.release()

    def send_piece(self):
        data = self.unsent.popleft()
        while self.unsent and len(data) + len(self.unsent[0]) <= PIECE:
            data = b"".join((data, self.unsent.popleft()))
        sent = os.write(self.fd, data if len(data) <= PIECE else memoryview(data)[:PIECE])
        if sent < len(data):
            self.unsent.appendleft(memoryview(data)[sent:])

    # What a session does otherwise: it waits so that it can be interrupted, and only there.

    def undisturbed(self, how, *arguments):
        return how(*arguments)

    def sleep(self, turn):
        turn.acquire()

    def receive(self, size):
        return os.read(self.fd, size)

    def needed(self):
        """How many bytes the next frame has, as far as that is known."""
        if len(self.kept) < HEADER:
            return HEADER
        return HEADER + int.from_bytes(self.kept[:HEADER], "little")

    def read(self):
        """Takes what comes next. The lock is held, but for the time of waiting."""
        missing = self.needed() - len(self.kept)
        reason = "the host has closed the channel"
        self.reading = True
        self.lock.release()
        try:
            data = self.receive(max(missing, READ_AT_ONCE))
        except OSError as error:
            data, reason = None, error
        finally:
            self.lock.acquire()
            self.reading = False
        if data:
            self.take(data)
        else:
            self.give_up(reason)

    def take(self, data):
        kept = self.kept
        kept += data
        while len(kept) > HEADER:
            size = self.needed()
            if len(kept) < size:
                break
            text = kept[HEADER:size].decode("utf-8")
            del kept[:size]
            self.deliver(decode(text))

    def deliver(self, frame):
        waiting = self.waiting.pop(frame.get("id"), None)
        if waiting is not None:
            waiting.frame = frame
            self.wake(waiting)

    def wake(self, waiting):
        if waiting.future is None:
            waiting.wake()
        else:
            self.coroutines.wake(waiting)

    def give_up(self, reason):
        self.broken = CallError("call_failed", str(reason))
        for waiting in list(self.waiting.values()):
            self.wake(waiting)

    def rest(self, waiting):
        """Until it is answered, or is to read itself. The lock is held, but for that time."""
        turn = allocate_lock()
        turn.acquire()
        waiting.turn = turn
        self.asleep[waiting] = True
        self.lock.release()
        try:
            self.sleep(turn)
        finally:
            self.lock.acquire()
            waiting.turn = None
            del self.asleep[waiting]

    def hand_over(self):
        """Somebody who waits is to read: who called last, who is mostly answered last."""
        if self.reading:
            return
        for waiting in reversed(self.asleep):
            if waiting.frame is None:
                waiting.wake()
                return

    def await_frame(self, waiting):
        """Reads, or lets another thread read, until it is answered."""
        with self.lock:
            try:
                while waiting.frame is None:
                    if self.broken:
                        raise self.broken
                    if self.reading:
                        self.rest(waiting)
                    else:
                        self.read()
            finally:
                if self.asleep:
                    self.hand_over()

    def call(self, name, args):
        waiting = Waiting()
        self.send(name, args, waiting)
        self.send_all()
        self.await_frame(waiting)
        return value_of(waiting.frame)

    async def acall(self, name, args):
        if self.coroutines is None:
            self.coroutines = Coroutines(self)
        waiting = self.coroutines.begin()
        self.send(name, args, waiting)
        await self.coroutines.answer_to(waiting)
        if waiting.frame is None:
            raise self.broken
        return value_of(waiting.frame)


class Coroutines:
    """Calls of coroutines: their loop writes and reads, and never waits in between."""

    def __init__(self, channel):
        from asyncio import _get_running_loop
        from select import select

        self.channel = channel
        self.running_loop = _get_running_loop
        self.select = select
        self.waiting = {}  # how many, by loop
        self.writers = set()  # loops that are to write

    def begin(self):
        loop = self.running_loop()
        return Waiting(loop, loop.create_future())

    async def answer_to(self, waiting):
        loop = waiting.loop
        if loop not in self.waiting:
            loop.add_reader(self.channel.fd, self.channel.undisturbed, self.read)
            self.waiting[loop] = 0
        self.waiting[loop] += 1
        # What is called at the same time goes at once.
        if loop not in self.writers:
            self.writers.add(loop)
            loop.call_soon(self.channel.undisturbed, self.write, loop)
        try:
            await waiting.future
        finally:
            self.waiting[loop] -= 1
            if self.waiting[loop] == 0:
                self.leave(loop)

    def leave(self, loop):
        del self.waiting[loop]
        if not loop.is_closed():
            loop.remove_reader(self.channel.fd)

    def wake(self, waiting):
        if self.running_loop() is waiting.loop:
            settle(waiting.future)
            return
        try:
            waiting.loop.call_soon_threadsafe(settle, waiting.future)
        except RuntimeError:
            pass  # the loop is closed, and nobody waits any more

    def read(self):
        """Something has come, unless a thread has taken it."""
        channel = self.channel
        with channel.lock:
            if not channel.reading and self.select([channel.fd], [], [], 0)[0]:
                channel.read()
                channel.hand_over()

    def has_room(self):
        return self.select([], [self.channel.fd], [], 0)[1]

    def await_room(self):
        """For a thread. Its own may be that of a loop which is to read, or the host reads nothing
        any more."""
        while not self.has_room():
            fd = self.channel.fd
            if self.select([fd], [fd], [])[0]:
                self.read()

    def write(self, loop):
        channel = self.channel
        if channel.writing.acquire(False):
            try:
                while channel.unsent and self.has_room():
                    channel.send_piece()
            except OSError as error:
                channel.unsent.clear()
                channel.give_up(error)
            finally:
                channel.writing.release()
        self.writers.discard(loop)
        loop.remove_writer(channel.fd)
        if channel.unsent:
            self.writers.add(loop)
            loop.add_writer(channel.fd, channel.undisturbed, self.write, loop)


def settle(future):
    if not future.done():
        future.set_result(None)


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
    as_json = encode(name)

    def call(*positional, **named):
        args = arguments(positional, named) if positional or named else None
        return channel.call(as_json, args)

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
        return channel.call(encode(name), arguments(positional, named))

    async def acall(name, *positional, **named):
        return await channel.acall(encode(name), arguments(positional, named))

    def missing(name):
        if name.startswith("__"):
            raise AttributeError(name)
        return function(channel, name)

    CallError.__module__ = "noether"
    module.call, module.acall, module.CallError = call, acall, CallError
    module.__getattr__ = missing
    sys.modules["noether"] = module
