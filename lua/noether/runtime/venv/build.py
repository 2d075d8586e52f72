# SPDX-License-Identifier: MIT
# Makes a virtual environment; it runs inside the sandbox.
#
# It reads a job on standard input: `venv` and `install` (commands, in which `{dir}`, `{file}` and
# `{pip}` stand for paths that it knows), `file` (a text for the installer), `out` (the directory
# that is to hold the environment), `final` (the name by which stages see that), `private` (whether
# the private directory is limited in size). If it is, the environment is made there and copied
# out when it is whole: what is too large ends there and not on the host's disk. Nothing that was
# installed is started. With `lock` in the place of both commands, nothing is made: `{report}` stands
# for the file in `out` that it writes. With `places` alone it says where pip looks that is told
# nothing: see `say_places`. Its exit codes name the part that failed: 65 the environment,
# 66 installing, 67 copying.
import glob, json, os, re, shutil, stat, subprocess, sys

job = json.load(sys.stdin.buffer)
os.umask(0o022)
os.chdir(os.environ["TMPDIR"])
top = os.path.join(os.getcwd(), "venv") if job.get("private") else job.get("out", "")
scripts = os.path.join(top, "bin")
names = {"dir": top, "file": os.path.join(os.getcwd(), "wanted")}
names["report"] = os.path.join(job.get("out", ""), "report.json")

# Where modes and times cannot be changed, Python programs are run so that they do without.
LENIENT = """
import os, runpy, sys
def lenient(function):
    def call(*arguments, **options):
        try:
            return function(*arguments, **options)
        except PermissionError:
            return None
    return call
for name in ("chmod", "fchmod", "utime"):
    setattr(os, name, lenient(getattr(os, name)))
del sys.argv[0]
if sys.argv[0] == "-c":
    text = sys.argv.pop(1)
    exec(compile(text, "<string>", "exec"), {"__name__": "__main__"})
elif sys.argv[0] == "-m":
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def fail(code, text):
    print("ERROR: " + text, file=sys.stderr)
    sys.exit(code)


def bundled_pip():
    places = ["/usr/share/python-wheels"]
    try:
        import ensurepip

        places.insert(0, os.path.join(list(ensurepip.__path__)[0], "_bundled"))
    except ImportError:
        places = []
    for place in places:
        for wheel in sorted(glob.glob(os.path.join(place, "pip-*.whl"))):
            return os.path.join(wheel, "pip")
    fail(66, "No module named pip, and ensurepip is not available")


# The machine's own runs faster than the one that ensurepip has: that is packed.
def find_pip():
    import importlib.util

    try:
        found = importlib.util.find_spec("pip")
    except ImportError:
        found = None
    if found is not None and found.origin:
        runner = os.path.join(os.path.dirname(found.origin), "__pip-runner__.py")
        if os.path.exists(runner):
            return runner
    return bundled_pip()


def filled(argument):
    if "{pip}" in argument and "pip" not in names:
        names["pip"] = find_pip()
    for name, path in names.items():
        argument = argument.replace("{" + name + "}", path)
    return argument


def can_change_modes():
    try:
        os.chmod(names["file"], 0o644)
    except PermissionError:
        return False
    return True


def run(argv, code):
    argv = [filled(argument) for argument in argv]
    if argv[1:2] == ["-I"] and not can_change_modes():
        argv[2:2] = ["-c", LENIENT]
    try:
        status = subprocess.call(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    except OSError as error:
        fail(code, "cannot run %s: %s" % (argv[0], error.strerror))
    if status < 0:
        fail(code, "%s was killed by signal %d" % (os.path.basename(argv[0]), -status))
    if status != 0:
        sys.exit(code)


# What an environment is before anything is in it, by name: its links, and the interpreter, which may
# be a copy. A wheel may bring scripts of any name.
def core_files():
    found = {}
    for path in glob.glob(os.path.join(scripts, "*")) + [os.path.join(top, "pyvenv.cfg")]:
        info, name = os.lstat(path), path[len(top) + 1 :]
        if stat.S_ISLNK(info.st_mode) or name.startswith(("bin/python", "pyvenv.cfg")):
            found[name] = (info.st_ino, info.st_mode, info.st_mtime_ns)
    return found


def check_core(before):
    after = core_files()
    interpreters = {name for name in after if name.startswith("bin/python")}
    for name in sorted(set(before) | interpreters):
        if before.get(name) != after.get(name):
            fail(67, "a package replaces a part of the environment: " + name)


# The interpreter's own links are what an environment is made of (python, and from 3.14 on a joke);
# others stay within, also where they lead by way of one another: "two/.." is not what it looks like
# if two is a link.
def check_link(path):
    name = path[len(top) + 1 :]
    if name in core:
        return
    end = os.path.realpath(path)
    if not (end + os.sep).startswith(os.path.realpath(top) + os.sep):
        fail(67, "a link leads out of the environment: " + name)


def check_tree():
    for folder, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                check_link(path)
            elif not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                fail(67, "neither file, directory nor link: " + path[len(top) + 1 :])


# Scripts name the interpreter by the path of the environment.
def relocate_scripts():
    for name in os.listdir(scripts):
        path = os.path.join(scripts, name)
        if os.path.islink(path) or os.path.getsize(path) > 1 << 20:
            continue
        with open(path, "rb") as file:
            data = file.read()
        if not data.startswith(b"#!") and not name.lower().startswith("activate"):
            continue
        os.unlink(path)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755), "wb") as file:
            file.write(data.replace(os.fsencode(top), os.fsencode(job["final"])))


# Times are kept: by them compiled modules know their sources.
def copy_file(path, info, target):
    shutil.copyfile(path, target)
    os.chmod(target, 0o755 if info.st_mode & 0o111 else 0o644)
    os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns))


def copy_directory(path, target):
    for name in os.listdir(path):
        source, copy = os.path.join(path, name), os.path.join(target, name)
        info = os.lstat(source)
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(copy, 0o755)
            copy_directory(source, copy)
        elif stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(source), copy)
        else:
            copy_file(source, info, copy)


# What pip's configuration says, where it reads one (`configured`; `isolated`: of none but the
# machine's own); and, where nothing names an index (`own`), pip's own and where that has its files.
# Those are known to its inner parts alone, which are nobody's promise: what they do not say is left
# out.
def say_places(asked):
    runner, said = find_pip(), ""
    if asked["configured"]:
        argv = [sys.executable, "-I", runner, "config", "list"]
        found = subprocess.run(
            argv + ["--isolated"] * asked["isolated"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        said = found.stdout.decode("utf-8", "replace").replace("\\n", "\n")
    if asked["own"] and not re.search(r"\.(index-url|no-index)=", said):
        sys.path.insert(0, os.path.dirname(re.sub(r"/__pip-runner__\.py$", "", runner)))
        try:
            from pip._internal.models.index import PyPI

            said += "\n%s\nhttps://%s" % (PyPI.simple_url, PyPI.file_storage_domain)
        except (ImportError, AttributeError):
            pass
    print(said)


if "places" in job:
    say_places(job["places"])
    sys.exit(0)
with open(names["file"], "w", encoding="utf-8") as file:
    file.write(job["file"])
if "lock" in job:
    run(job["lock"], 66)
    sys.exit(0)
run(job["venv"], 65)
try:
    core = core_files()
except OSError as error:
    fail(65, "the installer made no virtual environment: " + str(error))
run(job["install"], 66)
try:
    check_core(core)
    check_tree()
    relocate_scripts()
    if job["private"]:
        copy_directory(top, job["out"])
except OSError as error:
    fail(67, str(error))
