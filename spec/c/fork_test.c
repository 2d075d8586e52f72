/* SPDX-License-Identifier: MIT */
/*
 * Runs that are copies of a fork server: a Python, where there is one. What is
 * run is told by its standard input.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "noether.h"
#include "tap.h"

static struct noe_launcher *launcher;
enum { PLACES = 3 };

static char directory[] = "/tmp/noether-fork-XXXXXX";

static const char server_code[] = "import ctypes, os, sys\n"
                                  "lib = ctypes.PyDLL('/helper/helper.so')\n"
                                  "ctypes.pythonapi.PyOS_BeforeFork()\n"
                                  "if lib.noe_fork_serve() != 0:\n"
                                  "    os._exit(0)\n"
                                  "ctypes.pythonapi.PyOS_AfterFork_Child()\n"
                                  "exec(sys.stdin.read())\n";

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void write_helper(void)
{
    char path[PATH_MAX];
    size_t len;
    const void *helper = noe_fork_helper(&len);

    if (mkdtemp(directory) == NULL || chmod(directory, 0755) != 0)
        abort();
    snprintf(path, sizeof(path), "%s/helper.so", directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (write(fd, helper, len) != (ssize_t)len)
        abort();
    close(fd);
    snprintf(path, sizeof(path), "%s/place", directory);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

struct run {
    const char *code;
    const struct noe_limits *limits;
    const char *const *envp;
    const char *file;
    const char *server_code; /* another one, of a server */
    bool processes;
};

static struct noe_process *begin(struct noe_process *server,
                                 const struct run *run)
{
    const char *code =
        run->server_code != NULL ? run->server_code : server_code;
    const char *argv[] = {"/usr/bin/python3", "-I", "-B", "-c", code, NULL};
    const struct noe_bind binds[] = {{"/usr", "/usr"}, {directory, "/helper"}};
    static const struct noe_bind links[] = {
        {"usr/lib", "/lib"}, {"usr/lib64", "/lib64"}, {"usr/bin", "/bin"}};
    const struct noe_sandbox sandbox = {.size = sizeof(sandbox),
                                        .backend = NOE_BACKEND_NATIVE,
                                        .processes = run->processes,
                                        .ro_binds = binds,
                                        .ro_bind_count = 2,
                                        .links = links,
                                        .link_count = 3};
    const struct noe_fork fork = {.size = sizeof(fork),
                                  .server = server,
                                  .ahead = PLACES,
                                  .place = "/helper/place"};
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *process = NULL;
    struct noe_options options;

    noe_options_init(&options);
    options.argv = argv;
    options.envp = run->envp;
    options.sandbox = &sandbox;
    options.fork = &fork;
    options.limits = run->limits;
    options.timeout_ms = server == NULL ? -1 : 60 * 1000;
    options.input = run->code;
    options.input_len = run->code != NULL ? strlen(run->code) : 0;
    if (noe_process_start(&process, launcher, &options, &err) != 0)
        printf("# %s: %s\n", err.operation, err.message);
    /* (Its code comes with its input, after this.) */
    if (run->file != NULL &&
        noe_process_put_file(process, run->file, strlen(run->file)) != 0)
        printf("# no file\n");
    return process;
}

static bool wait_for_places(struct noe_process *server, size_t count)
{
    struct noe_error err = NOE_ERROR_INIT;
    int64_t until = now_us() + 60 * 1000 * 1000;

    while (noe_process_places(server) < count && now_us() < until)
        if (noe_process_wait(server, 5, &err) != 0)
            break;
    return noe_process_places(server) >= count;
}

static const char *why_none(struct noe_process *server)
{
    static struct noe_error err = NOE_ERROR_INIT;
    static char text[600];
    const struct noe_result *r = noe_process_result(server);

    if (r == NULL) {
        (void)noe_process_step(server, &err);
        return err.message;
    }
    snprintf(text, sizeof(text), "reason %d, exit %d, signal %d: %.*s",
             (int)r->reason, r->exit_code, r->signal, (int)r->errors_len,
             r->errors);
    return text;
}

static struct noe_process *start_server(void)
{
    static const struct run nothing;
    struct noe_process *server = begin(NULL, &nothing);

    if (server != NULL && !wait_for_places(server, PLACES))
        printf("# no places: %s\n", why_none(server));
    return server;
}

static const struct noe_result *finish(struct noe_process *process)
{
    struct noe_error err = NOE_ERROR_INIT;

    if (process == NULL)
        return NULL;
    while (noe_process_wait(process, -1, &err) == 0)
        continue;
    const struct noe_result *result = noe_process_result(process);
    if (result == NULL)
        printf("# nothing ran: %s: %s (%d)\n", err.operation, err.message,
               err.code);
    else if (result->errors_len > 0)
        printf("# %.*s\n", (int)result->errors_len, result->errors);
    return result;
}

/* Runs it by a copy; the result must be freed with its process. */
static struct noe_process *run(struct noe_process *server,
                               const struct run *what,
                               const struct noe_result **result)
{
    (void)wait_for_places(server, 1);
    struct noe_process *process = begin(server, what);

    *result = finish(process);
    return process;
}

static bool prints(struct noe_process *server, const struct run *what,
                   const char *wanted)
{
    const struct noe_result *r;
    struct noe_process *process = run(server, what, &r);
    bool same = r != NULL && r->reason == NOE_REASON_EXIT &&
                r->exit_code == 0 && r->output_len == strlen(wanted) &&
                memcmp(r->output, wanted, r->output_len) == 0;

    if (!same && r != NULL)
        printf("# reason %d, exit %d, signal %d: %.*s\n", (int)r->reason,
               r->exit_code, r->signal, (int)r->output_len, r->output);
    noe_process_close(process);
    return same;
}

static void test_what_it_finds(struct noe_process *server)
{
    static const char *const envp[] = {"A=1", "B=two words", NULL};

    ok(prints(server, &(struct run){.code = "print(os.getpid(), os.getppid())"},
              "3 1\n"),
       "a copy has the number that a program has in a new sandbox");
    ok(prints(server,
              &(struct run){.code = "print(sorted(os.listdir('/proc/self/fd')),"
                                    " [n for n in os.listdir('/proc') if"
                                    " n.isdigit()])"},
              "['0', '1', '2', '3'] ['1', '3']\n"),
       "it has its streams open, and sees nobody but its init");
    ok(prints(server,
              &(struct run){.code = "while not open('/helper/place').read(): "
                                    "pass\nprint(open('/helper/place').read(),"
                                    " os.getcwd(), os.listdir('.'))",
                            .file = "its own"},
              "its own /work []\n"),
       "it finds its own file in the server's place");
    ok(prints(server,
              &(struct run){.code = "lib.noe_fork_variables.restype ="
                                    " ctypes.c_void_p\n"
                                    "print(ctypes.string_at("
                                    "lib.noe_fork_variables(),"
                                    " lib.noe_fork_variables_len()))",
                            .envp = envp},
              "b'A=1\\x00B=two words\\x00'\n"),
       "it is told its variables");
    ok(prints(server,
              &(struct run){.code = "open('/work/left', 'w').write('x')\n"
                                    "print(os.listdir('/work'))"},
              "['left']\n") &&
           prints(server, &(struct run){.code = "print(os.listdir('/work'))"},
                  "[]\n"),
       "what one leaves behind another does not find");
}

static const char *walls =
    "def attempt(f, *a):\n"
    "    try:\n"
    "        f(*a)\n"
    "        return 'done'\n"
    "    except OSError as e:\n"
    "        return errno.errorcode[e.errno]\n"
    "import errno\n"
    "c = ctypes.CDLL(None, use_errno=True)\n"
    "def call(*a):\n"
    "    if c.syscall(*a) < 0:\n"
    "        raise OSError(ctypes.get_errno(), '')\n"
    "print(attempt(open, '/usr/x', 'w'), attempt(open, '/helper/place', 'w'),\n"
    "      attempt(os.kill, 1, 0), attempt(os.fork),\n"
    "      attempt(call, 308, 0, 0), attempt(call, 272, 0x10000000),\n"
    "      attempt(call, 165, b'a', b'/work', b'tmpfs', 0, 0),\n"
    "      attempt(call, 155, b'/', b'/'),\n"
    "      attempt(call, 59, b'/usr/bin/true', None, None, 0, 0, 0))\n";

static void test_walls(struct noe_process *server)
{
    const struct noe_result *r;
    struct noe_process *process = run(server, &(struct run){.code = walls}, &r);

    ok(r != NULL && r->output_len > 0 &&
           memcmp(r->output,
                  "EROFS EROFS EPERM EPERM EPERM EPERM EPERM EPERM EPERM",
                  53) == 0,
       "it is behind all walls");
    if (r != NULL)
        printf("# %.*s", (int)r->output_len, r->output);
    ok(r != NULL && r->denied_processes == 2, "what it tried is told");
    noe_process_close(process);
}

static void test_ends(struct noe_process *server)
{
    const struct noe_result *r;
    struct noe_process *p;

    p = run(server, &(struct run){.code = "os._exit(7)"}, &r);
    ok(noe_process_pid(p) > 1, "its process has a number of ours");
    ok(r != NULL && r->reason == NOE_REASON_EXIT && r->exit_code == 7,
       "its exit code is told");
    noe_process_close(p);
    p = run(server, &(struct run){.code = "os.abort()"}, &r);
    ok(r != NULL && r->reason == NOE_REASON_SIGNAL && r->signal == SIGABRT,
       "so is the signal that it died of");
    noe_process_close(p);
    p = run(server, &(struct run){.code = "os.killpg(0, 9)"}, &r);
    ok(r != NULL && r->signal == SIGKILL, "it may kill its group");
    noe_process_close(p);
    p = run(server,
            &(struct run){
                .code = "try:\n    os.kill(-1, 9)\nexcept OSError: print(1)"},
            &r);
    ok(r != NULL && r->reason == NOE_REASON_EXIT, "and all that it sees");
    noe_process_close(p);
    ok(noe_process_result(server) == NULL, "the server is there all the same");
}

static void test_limits(struct noe_process *server)
{
    struct noe_limits limits;
    const struct noe_result *r;

    noe_limits_init(&limits);
    limits.processes = 8;
    limits.memory_bytes = 64 * 1024 * 1024;
    struct run many = {.code = "n = 0\n"
                               "try:\n"
                               "    while n < 50:\n"
                               "        if os.fork() == 0:\n"
                               "            import time; time.sleep(60)\n"
                               "        n += 1\n"
                               "except OSError: pass\n"
                               "print(n)\n"
                               "sys.stdout.flush()\n"
                               "os._exit(0)",
                       .limits = &limits,
                       .processes = true};
    ok(prints(server, &many, "7\n"), "it has as many processes as are allowed");
    struct run much = {.code = "a = []\n"
                               "while True:\n"
                               "    a.append(bytearray(1 << 20))\n",
                       .limits = &limits};
    struct noe_process *p = run(server, &much, &r);
    ok(r != NULL && r->reason == NOE_REASON_MEMORY_LIMIT, "and as much memory");
    noe_process_close(p);
    noe_limits_init(&limits);
    limits.cpu_ms = 300;
    p = run(server,
            &(struct run){.code = "while True: pass", .limits = &limits}, &r);
    ok(r != NULL && r->reason == NOE_REASON_CPU_LIMIT, "and time");
    noe_process_close(p);
}

/* The server is the first child of its init, and that the only one of its
 * supervisor. */
static pid_t first_child(pid_t pid)
{
    char path[64];
    int child = -1;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid,
             (int)pid);
    FILE *file = fopen(path, "re");
    if (file != NULL && fscanf(file, "%d", &child) != 1)
        child = -1;
    if (file != NULL)
        fclose(file);
    return child;
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static void test_server_dies(void)
{
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *server = start_server();
    struct noe_process *copy =
        begin(server, &(struct run){.code = "import time\n"
                                            "time.sleep(1)\n"
                                            "print('whole')"});
    pid_t pid = first_child(first_child(noe_process_pid(server)));

    (void)noe_process_wait_started(copy, 30000, &err);
    ok(pid > 0 && kill(pid, SIGKILL) == 0, "a server is killed");
    const struct noe_result *r = finish(copy);
    ok(r != NULL && r->exit_code == 0 && r->output_len == 6,
       "what it had made by then goes on");
    noe_process_close(copy);
    const struct run nothing = {.code = "print(1)"};
    struct noe_process *late = begin(server, &nothing);
    ok(late == NULL || finish(late) == NULL, "nothing more comes of it");
    noe_process_close(late);
    while (noe_process_wait(server, 1000, &err) == 0)
        continue;
    r = noe_process_result(server);
    ok(r != NULL && r->signal == SIGKILL, "its end is told");
    noe_process_close(server);
}

static void test_server_stops(void)
{
    struct noe_process *server = start_server();
    pid_t pid = first_child(first_child(noe_process_pid(server)));
    bool stopped = pid > 0 && kill(pid, SIGSTOP) == 0;
    struct noe_process *copy = begin(server, &(struct run){.code = "print(1)"});

    ok(stopped && copy != NULL && finish(copy) == NULL,
       "of a server that is stopped comes nothing, and that is told");
    noe_process_close(copy);
    noe_process_close(server);
}

/* What it was about to do is not waited for. */
static void test_server_does_not_go(void)
{
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *server = start_server();
    pid_t pid = first_child(first_child(noe_process_pid(server)));

    ok(pid > 0 && kill(pid, SIGSTOP) == 0, "a server is stopped");
    noe_process_retire(server);
    int64_t until = now_us() + 30 * 1000000LL;
    while (now_us() < until && noe_process_wait(server, 1000, &err) == 0)
        continue;
    const struct noe_result *r = noe_process_result(server);
    ok(r != NULL && r->signal == SIGKILL,
       "where it is to make no more, it is ended");
    noe_process_close(server);
}

/* What an import could do in place of the helper. */
static const char *enters =
    "import errno, fcntl, resource, socket, struct\n"
    "c = ctypes.CDLL(None, use_errno=True)\n"
    "def attempt(f, *a):\n"
    "    try:\n"
    "        f(*a)\n"
    "        return 'done'\n"
    "    except OSError as e:\n"
    "        return errno.errorcode[e.errno]\n"
    "def call(*a):\n"
    "    if c.syscall(*a) < 0:\n"
    "        raise OSError(ctypes.get_errno(), '')\n"
    "def held():\n"
    "    sets = (ctypes.c_uint32 * 6)()\n"
    "    call(125, struct.pack('Ii', 0x20080522, 0), sets)\n"
    "    return sets[0]\n"
    "own = held()\n"
    "orders = socket.socket(fileno=os.dup(5))\n"
    "fds = socket.recv_fds(orders, 64, 16)[1]\n"
    "for fd in fds[1:]:\n"
    "    call(308, fd, 0)\n"
    "one = socket.socket()\n"
    "route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n"
    "def add_link():\n"
    "    kind = struct.pack('HHHH8s', 16, 18, 10, 1, b'dummy')\n"
    "    route.send(struct.pack('IHHII16s', 32 + len(kind), 16, 0x605, 1, 0,\n"
    "                           b'') + kind)\n"
    "    answer = struct.unpack_from('i', route.recv(4096), 16)[0]\n"
    "    if answer != 0: raise OSError(-answer, '')\n"
    "def flags(): fcntl.ioctl(one, 0x8914, struct.pack('16sH14x', b'lo', 0))\n"
    "def address(): fcntl.ioctl(one, 0x8916, struct.pack('16sHH4s8x', b'lo',\n"
    "                           2, 0, bytes((10, 0, 0, 1))))\n"
    "print('%x' % own, held() > own,\n"
    "      attempt(fcntl.ioctl, one, 0x894c),\n" /* SIOCGSKNS */
    "      attempt(flags), attempt(address), attempt(add_link),\n"
    "      attempt(one.bind, ('127.0.0.1', 80)))\n";

static const char *has_one_right =
    "import errno\n"
    "c = ctypes.CDLL(None, use_errno=True)\n"
    "def call(*a):\n"
    "    return c.syscall(*a) < 0 and errno.errorcode[ctypes.get_errno()]\n"
    "print(call(165, b'a', b'/work', b'tmpfs', 0, 0), call(272, 0x20000),\n"
    "      call(170, b'x', 1), call(155, b'/', b'/'), call(161, b'/'),\n"
    "      call(430, b'tmpfs', 0), call(321, 0, 0, 0), call(155, b'.', "
    "b'.'))\n";

/* As `code` says, with a request that waits for a copy. */
static const struct noe_result *run_server(struct noe_process **server,
                                           const char *code,
                                           const struct noe_limits *limits)
{
    char whole[8192];

    snprintf(whole, sizeof(whole), "import ctypes, os, sys\n%s", code);
    *server =
        begin(NULL, &(struct run){.server_code = whole, .limits = limits});
    if (*server == NULL || !wait_for_places(*server, 1))
        return finish(*server);
    struct noe_process *copy = begin(*server, &(struct run){.code = ""});
    const struct noe_result *result = finish(*server);
    noe_process_close(copy);
    return result;
}

static void test_what_a_server_may(void)
{
    static const char wanted[] = "200000 True EPERM EPERM EPERM EPERM EACCES\n";
    struct noe_process *server;
    const struct noe_result *r = run_server(&server, enters, NULL);

    ok(r != NULL && r->output_len == sizeof(wanted) - 1 &&
           memcmp(r->output, wanted, sizeof(wanted) - 1) == 0,
       "who enters a copy's namespaces has no rights over its network");
    if (r != NULL)
        printf("# %.*s\n", (int)r->output_len, r->output);
    noe_process_close(server);
    r = run_server(&server, has_one_right, NULL);
    ok(r != NULL && r->output_len > 0 &&
           memcmp(r->output, "EPERM EPERM EPERM EPERM EPERM EPERM EPERM EPERM",
                  47) == 0,
       "and of what the server's one right is good for, it may enter alone");
    if (r != NULL)
        printf("# %.*s\n", (int)r->output_len, r->output);
    noe_process_close(server);
}

/* Who lifts all limits that it can, and waits to be seen. */
static void test_limits_of_a_server(void)
{
    static const char *lift = "import resource, time\n"
                              "for kind in range(16):\n"
                              "    hard = resource.getrlimit(kind)[1]\n"
                              "    resource.setrlimit(kind, (hard, hard))\n";
    struct noe_process *server;
    struct noe_limits limits;
    char code[1024];

    noe_limits_init(&limits);
    limits.processes = 8;
    snprintf(code, sizeof(code), "%sprint(resource.getrlimit(6))", lift);
    const struct noe_result *r = run_server(&server, code, &limits);
    ok(r != NULL && r->output_len == 11 &&
           memcmp(r->output, "(352, 352)\n", 11) == 0,
       "what runs below a server has an end, copies and all");
    noe_process_close(server);
    snprintf(code, sizeof(code),
             "%sfor n in range(60):\n"
             "    if os.fork() == 0: break\n"
             "time.sleep(60)",
             lift);
    r = run_server(&server, code, &limits);
    ok(r != NULL && r->reason != NOE_REASON_EXIT && r->at_process_limit,
       "a server with more processes than a copy may have is ended");
    noe_process_close(server);
    noe_limits_init(&limits);
    limits.memory_bytes = 64 * 1024 * 1024;
    snprintf(code, sizeof(code), "%sa = b'x' * (160 << 20)\ntime.sleep(60)",
             lift);
    r = run_server(&server, code, &limits);
    ok(r != NULL && r->reason == NOE_REASON_MEMORY_LIMIT,
       "so is one with more memory");
    noe_process_close(server);
}

/* All that it has started dies with a host. */
static void test_host_dies(void)
{
    int ends[2];
    char byte;

    if (pipe(ends) != 0)
        abort();
    pid_t host = fork();
    if (host == 0) {
        struct noe_error err = NOE_ERROR_INIT;
        struct noe_process *server = start_server();
        struct noe_process *copy = begin(
            server, &(struct run){.code = "import time; time.sleep(600)"});
        (void)noe_process_wait_started(copy, 30000, &err);
        pid_t init = first_child(noe_process_pid(server));
        (void)!write(ends[1], &init, sizeof(init));
        for (;;)
            pause();
    }
    pid_t init = -1;
    (void)!read(ends[0], &init, sizeof(init));
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    bool gone = false;
    for (int i = 0; i < 3000 && !gone; i++) {
        gone = init > 0 && kill(init, 0) != 0;
        pause_ms(10);
    }
    ok(gone, "with a host that is killed all of it ends");
    (void)byte;
    close(ends[0]);
    close(ends[1]);
}

/* A file that a library has open, and believes to have under its number. Other
 * than that one nothing of the server's stays. */
static void test_keeps(void)
{
    static const char *own = "import ctypes, os, sys\n"
                             "lib = ctypes.PyDLL('/helper/helper.so')\n"
                             "ours = os.open(sys.executable, os.O_RDONLY)\n"
                             "os.dup2(ours, 3)\n"
                             "os.dup2(ours, 4)\n"
                             "os.dup2(ours, 9)\n"
                             "lib.noe_fork_keep(4)\n"
                             "lib.noe_fork_keep(9)\n"
                             "ctypes.pythonapi.PyOS_BeforeFork()\n"
                             "if lib.noe_fork_serve() != 0: os._exit(0)\n"
                             "ctypes.pythonapi.PyOS_AfterFork_Child()\n"
                             "exec(sys.stdin.read())\n";
    static const char *looks =
        "def there(fd):\n"
        "    path = '/proc/self/fd/%d' % fd\n"
        "    return os.path.exists(path) and os.path.samefile(path, "
        "sys.executable)\n"
        "print(there(4), there(3), there(9))";
    struct noe_process *server = begin(NULL, &(struct run){.server_code = own});

    ok(server != NULL && wait_for_places(server, 1) &&
           prints(server, &(struct run){.code = looks}, "True False False\n"),
       "a copy has what a library keeps, under its number, and no more");
    noe_process_close(server);
}

static void test_retires(void)
{
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *server = start_server();
    struct noe_process *copy =
        begin(server, &(struct run){.code = "import time\n"
                                            "time.sleep(1)\n"
                                            "print('whole')"});

    (void)noe_process_wait_started(copy, 30000, &err);
    noe_process_retire(server);
    const struct noe_result *r = finish(copy);
    ok(r != NULL && r->exit_code == 0 && r->output_len == 6,
       "a server that retires lets its copies end");
    while (noe_process_wait(server, 1000, &err) == 0)
        continue;
    r = noe_process_result(server);
    ok(r != NULL && r->reason == NOE_REASON_EXIT && r->exit_code == 0,
       "and then ends");
    noe_process_close(copy);
    noe_process_close(server);
}

/* Where /proc is covered in part, as in some containers, a sandbox has a stub
 * in its place, and nothing that a copy does could be looked at. */
static bool has_proc(void)
{
    static const char *const argv[] = {"/usr/bin/true", NULL};
    static const struct noe_bind binds[] = {{"/usr", "/usr"}};
    static const struct noe_bind links[] = {{"usr/lib", "/lib"},
                                            {"usr/lib64", "/lib64"}};
    const struct noe_sandbox sandbox = {.size = sizeof(sandbox),
                                        .backend = NOE_BACKEND_NATIVE,
                                        .ro_binds = binds,
                                        .ro_bind_count = 1,
                                        .links = links,
                                        .link_count = 2};
    struct noe_process *process = NULL;
    struct noe_options options;

    noe_options_init(&options);
    options.argv = argv;
    options.sandbox = &sandbox;
    if (noe_process_start(&process, launcher, &options, NULL) != 0)
        return true; /* which is a failure of its own */
    const struct noe_result *r = finish(process);
    bool has = r == NULL || (r->enforced & NOE_ENFORCED_FRESH_PROC) != 0;
    noe_process_close(process);
    return has;
}

int main(void)
{
    struct noe_error err = NOE_ERROR_INIT;

    if (noe_launcher_open(&launcher, NULL, &err) != 0)
        return 1;
    if (!has_proc()) {
        printf("ok 1 - fork servers # SKIP /proc is covered here\n1..1\n");
        noe_launcher_close(launcher);
        return 0;
    }
    write_helper();
    struct noe_process *server = start_server();
    if (ok(server != NULL, "a server starts")) {
        test_what_it_finds(server);
        test_walls(server);
        test_ends(server);
        test_limits(server);
    }
    noe_process_close(server);
    test_what_a_server_may();
    test_limits_of_a_server();
    test_keeps();
    test_retires();
    test_server_dies();
    test_server_stops();
    test_server_does_not_go();
    test_host_dies();
    noe_launcher_close(launcher);
    return plan_done();
}
