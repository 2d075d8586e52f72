# SPDX-License-Identifier: MIT
# A stage that looks at the walls around it from inside: what a fork server has to show before it
# serves. Each thing that is tried fails behind walls that hold, and none does harm where they do not.
import ctypes
import errno
import os
import random
import socket

UNSHARE, SETNS, MOUNT, PIVOT, PTRACE, LANDLOCK_CREATE, LANDLOCK_RESTRICT = CALLS = {
    "x86_64": (272, 308, 165, 155, 101, 444, 446),
    "aarch64": (97, 268, 40, 41, 117, 444, 446),
}[os.uname().machine]
NEW_USER = 0x10000000
SCOPE_OF_SIGNALS = 2

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *args):
    result = libc.syscall(number, *args)
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def outcome(attempt, *args):
    try:
        attempt(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def write_to(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def fork():
    if os.fork() == 0:
        os._exit(0)


def status():
    kinds = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Threads")
    with open("/proc/self/status") as lines:
        found = dict(line.rstrip("\n").split(":\t", 1) for line in lines)
    return {kind: found[kind] for kind in kinds}


def descriptors():
    listed = sorted(map(int, os.listdir("/proc/self/fd")))
    return [fd for fd in listed if outcome(os.fstat, fd) == "done"]


def landlock_layers():
    """How many more there may be, of 16: what is in force can be seen by nothing else."""
    rules = (ctypes.c_uint64 * 3)(0, 0, SCOPE_OF_SIGNALS)
    count = 0
    while count < 16:
        try:
            ruleset = call(LANDLOCK_CREATE, ctypes.byref(rules), 24, 0)
        except OSError:
            return None
        try:
            call(LANDLOCK_RESTRICT, ruleset, 0)
        except OSError:
            return 16 - count
        finally:
            os.close(ruleset)
        count += 1
    return 0


def connect():
    with socket.socket() as one:
        one.settimeout(5)
        one.connect(("127.0.0.1", 9))


def execute(own_file):
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    return {
        "numbers": [os.getpid(), os.getppid(), os.getsid(0), os.getpgid(0)],
        "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
        "status": status(),
        "descriptors": descriptors(),
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "namespaces": {kind: os.readlink("/proc/self/ns/" + kind) for kind in kinds},
        "private": [os.listdir(path) for path in ("/work", "/tmp", "/dev/shm")],
        "directory": os.getcwd(),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "random": [random.getrandbits(48), int.from_bytes(os.urandom(6), "little")],
        "fork": outcome(fork),
        "attempts": {
            "write to the root": outcome(write_to, "/x"),
            "write to /usr": outcome(write_to, "/usr/x"),
            "write to its own code": outcome(write_to, own_file),
            "write to /proc": outcome(write_to, "/proc/self/comm"),
            "signal its init": outcome(os.kill, 1, 0),
            "make a namespace": outcome(call, UNSHARE, NEW_USER),
            "enter a namespace": outcome(call, SETNS, 0, 0),
            "mount": outcome(call, MOUNT, b"x", b"/work", b"tmpfs", 0, 0),
            "leave its root": outcome(call, PIVOT, b"/", b"/"),
            "trace its init": outcome(call, PTRACE, 16, 1, 0, 0),
            "connect": outcome(connect),
        },
        "landlock": landlock_layers(),
    }
