# SPDX-License-Identifier: MIT
"""For runner.py where it makes copies of itself: each serves one request, as a process that waited
for it. The helper makes them (src/fork/fork.c), and puts each behind walls of its own. Nothing of a
request ever comes here."""
import os
import sys

CHANNEL = 5  # here it is the helper's, in a copy its channel
STATUS = 3  # where the host hears of us
LIBRARY = 4  # the first number that is free for what an import opens
HELPER = "helper.so"
LIMITS = {}  # while modules are imported: memory_bytes, processes

# Libraries of numbers would start threads, and those are not copied.
ONE_THREAD = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)

unseeded = []  # generators of random numbers that were made at import, and drew their own seed


def tell(text):
    os.write(STATUS, (text + "\n").encode("utf-8", "backslashreplace"))


def limited(importing):
    """Runs it under the limits of a stage, which can be taken back afterwards."""
    try:
        import resource
    except ImportError:
        return importing()
    kinds = {"memory_bytes": resource.RLIMIT_DATA, "processes": resource.RLIMIT_NPROC}
    before = {}
    for name, most in LIMITS.items():
        kind = kinds[name]
        before[kind] = resource.getrlimit(kind)
        resource.setrlimit(kind, (most, before[kind][1]))
    try:
        return importing()
    finally:
        for kind, limits in before.items():
            resource.setrlimit(kind, limits)


def noting_generators(importing):
    import random

    seed = random.Random.seed

    def noting(self, a=None, *rest, **options):
        if a is None and self is not random._inst:
            unseeded.append(self)
        return seed(self, a, *rest, **options)

    random.Random.seed = noting
    try:
        return importing()
    finally:
        random.Random.seed = seed


def import_alone(prepare, has_imports):
    """Whatever is printed meanwhile is not for the host."""
    added = [name for name in ONE_THREAD if name not in os.environ]
    for name in added:
        os.environ[name] = "1"

    failed = limited((lambda: noting_generators(prepare)) if has_imports else prepare)
    for name in added:
        os.environ.pop(name, None)
    for stream in sys.stdout, sys.stderr:
        stream.flush()
    return failed


def shared_memory():
    """A line of a mapping that copies would write to together, if there is one."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            kind, path = line.split(None, 2)[1], line[73:].strip()
            of_system = "w" not in kind and not path.startswith(("/work", "/tmp", "/dev"))
            if kind[3] == "s" and not (of_system and path):
                return line.strip()
    return None


def has_child():
    try:
        os.waitpid(-1, os.WNOHANG)
        return True
    except ChildProcessError:
        return False


def has_orphan():
    """One that was left, and that we are not the parent of. (Of ours beside us nothing is told.)"""
    own = os.readlink("/proc/self/ns/pid")
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if os.readlink("/proc/%s/ns/pid" % name) == own:
                    return True
            except OSError:
                pass
    return False


def is_open(fd):
    """Not those that were open only to list all."""
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False


def is_library(fd):
    """libffi keeps itself open, to map more of itself when it needs that. So it does in a fresh
    process, and in a copy it must have what it believes to have."""
    path = os.readlink("/proc/self/fd/%d" % fd)
    with open("/proc/self/fdinfo/%d" % fd) as info:
        flags = [int(line.split()[1], 8) for line in info if line.startswith("flags:")]
    if flags[0] & (os.O_WRONLY | os.O_RDWR):
        return False
    with open("/proc/self/maps") as maps:
        return any(line[:-1].endswith(" " + path) and " r-xp " in line for line in maps)


def unfit():
    """Why copies would not be as fresh processes are; None if they are."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        return "an import has started %d threads" % (threads - 1)
    if has_child() or has_orphan():
        return "an import has started a process"
    listed = set(map(int, os.listdir("/proc/self/fd"))) - {0, 1, 2, STATUS, CHANNEL}
    extra = [fd for fd in listed if is_open(fd)]
    if extra and not (extra == [LIBRARY] and is_library(LIBRARY)):
        return "an import has left descriptor %d open" % min(extra)
    line = shared_memory()
    return line and "an import shares memory: " + line


def renew():
    """What must not be the same in two copies, beyond what Python itself sees to."""
    for generator in unseeded:
        generator.seed()
    for name, forget_random in RANDOM_STATE.items():
        module = sys.modules.get(name)
        if module is not None:
            forget_random(module)


def forget_identity(uuid):
    uuid._node = uuid._last_timestamp = None


def forget_names(tempfile):
    tempfile._name_sequence = None
    tempfile.tempdir = None


def forget_key(process):
    process.current_process().authkey = os.urandom(32)


RANDOM_STATE = {
    "numpy.random": lambda module: module.seed(),
    "tempfile": forget_names,
    "uuid": forget_identity,
    "multiprocessing.process": forget_key,
}


def namespaces():
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    return {kind: os.readlink("/proc/self/ns/" + kind) for kind in kinds}


def load_helper(directory):
    import ctypes

    helper = ctypes.PyDLL(os.path.join(directory, HELPER))
    before, after = ctypes.pythonapi.PyOS_BeforeFork, ctypes.pythonapi.PyOS_AfterFork_Child
    for function in before, after:
        function.argtypes, function.restype = (), None
    return helper, before, after


def serve_copies(prepare, has_imports, encode, directory):
    """Comes back in each copy only."""
    problem = failed = None
    if os.dup(1) != STATUS:
        os._exit(1)
    os.dup2(2, 1)
    try:
        helper, before, after = load_helper(directory)
        failed = import_alone(prepare, has_imports)
        problem = unfit()
        keeps = is_open(LIBRARY)
        if keeps:
            helper.noe_fork_keep(LIBRARY)
    except BaseException as error:
        problem = "%s: %s" % (type(error).__name__, error)
    if problem:
        tell('{"type":"unfit","reason":%s}' % encode(problem[:1000]))
        os._exit(0)
    tell(
        '{"type":"serving","failed":%s,"namespaces":%s,"keeps":%s}'
        % (encode(failed), encode(namespaces()), encode(keeps))
    )
    # Each page that a copy writes to is copied then: whatever can be done here is done here.
    before()
    if helper.noe_fork_serve() != 0:
        os._exit(0)
    after()
    renew()
