# SPDX-License-Identifier: MIT
# A part of runner.py where that is started ahead of its request: it imports what is wanted, says
# that it is ready, and gets one request over the channel.
import _io
import atexit
import gc
import os
import sys

CHANNEL = 5
SAMPLE = '{"a": [1, 2.5, "b", null]}'


def frame(text):
    data = text.encode("utf-8", "backslashreplace")
    return len(data).to_bytes(4, "little") + data


def read(size):
    parts = []
    while size > 0:
        part = os.read(CHANNEL, min(size, 1 << 20))
        if not part:
            os._exit(1)  # the host is gone, or wants nothing of us any more
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def import_all(names):
    """What could not be imported, and why, by name."""
    failed = {}
    for name in names:
        try:
            __import__(name)
        except BaseException as error:
            failed[name] = ("%s: %s" % (type(error).__name__, error))[:1000]
    return failed


def rehearse(encode, decode):
    """What is slow the first time in each process."""
    compile("def execute(input):\n    return input\n", "stage.py", "exec", dont_inherit=True)
    encode(decode(SAMPLE))


prepared = []  # the frame that says so, once prepare is done


def prepare(imports, encode, decode):
    """All that can be done before there is a request: what could not be imported."""
    failed = import_all(imports)
    rehearse(encode, decode)
    gc.collect()
    gc.freeze()
    prepared.append(frame('{"type":"ready","failed":%s}' % encode(failed)))
    return failed


def wait_for_request(imports, encode, decode):
    """The request, once there is one. The channel is kept open where the stage has calls."""
    os.set_inheritable(CHANNEL, False)
    if not prepared:
        prepare(imports, encode, decode)
    rest = prepared[0]
    while rest:
        rest = rest[os.write(CHANNEL, rest) :]
    encode(decode(SAMPLE))  # a copy that waits has its memory for this by then
    request = decode(read(int.from_bytes(read(4), "little")).decode("utf-8"))
    if "NOETHER_CHANNEL" not in os.environ:
        os.close(CHANNEL)
    return request


def forget(module):
    """As Python does with each module at its end: private names first."""
    names = module.__dict__
    for private in (True, False):
        for name in list(names):
            if name != "__builtins__" and (name[:1] == "_" and name[1:2] != "_") == private:
                names[name] = None


def end(status, stage):
    """Ends the process as Python does, but for taking apart what was there before the request:
    threads are waited for, `atexit` is run, objects of the stage are finalized, files flushed.
    """
    threading = sys.modules.get("threading")
    try:
        if threading:
            threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    try:
        if not sys.stdout.closed:
            sys.stdout.flush()
    except BaseException:
        status = 120
    if stage is not None:
        forget(stage)
    gc.collect()
    for one in gc.get_objects():
        if isinstance(one, (_io.BufferedWriter, _io.BufferedRandom, _io.TextIOWrapper)):
            try:
                one.flush()
            except Exception:
                pass
    os._exit(status)
