/* SPDX-License-Identifier: MIT */
/* The module `spec.support.posix`: what the specs need of the system and Lua
 * alone cannot do. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

/* setenv(name, value): a nil value takes the name away. */
static int support_setenv(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *value = luaL_optstring(L, 2, NULL);
    int failed = value != NULL ? setenv(name, value, 1) : unsetenv(name);

    if (failed != 0)
        return luaL_error(L, "setenv: %s", strerror(errno));
    return 0;
}

/* has_children(): true while this process has a child, ended or not, of
 * whatever kind; reaps none. */
static int support_has_children(lua_State *L)
{
    siginfo_t info;
    int flags = WEXITED | WNOHANG | WNOWAIT | __WALL;
    bool none = waitid(P_ALL, 0, &info, flags) != 0 && errno == ECHILD;

    lua_pushboolean(L, !none);
    return 1;
}

/* listen() -> descriptor, port: a TCP socket on loopback that listens. */
static int support_listen(lua_State *L)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return luaL_error(L, "listen: %s", strerror(errno));
    lua_pushinteger(L, fd);
    lua_pushinteger(L, ntohs(address.sin_port));
    return 2;
}

/* accepted(descriptor): how many connections have come since the last call. */
static int support_accepted(lua_State *L)
{
    int listener = (int)luaL_checkinteger(L, 1);
    int count = 0;

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        close(fd);
        count++;
    }
    lua_pushinteger(L, count);
    return 1;
}

static int support_close(lua_State *L)
{
    close((int)luaL_checkinteger(L, 1));
    return 0;
}

static int push_pair(lua_State *L, const int fds[2])
{
    lua_pushinteger(L, fds[0]);
    lua_pushinteger(L, fds[1]);
    return 2;
}

/* pipe() -> descriptor to read, descriptor to write */
static int support_pipe(lua_State *L)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        return luaL_error(L, "pipe: %s", strerror(errno));
    return push_pair(L, fds);
}

/* socketpair() -> two descriptors of a connected pair of streams */
static int support_socketpair(lua_State *L)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return luaL_error(L, "socketpair: %s", strerror(errno));
    return push_pair(L, fds);
}

/* terminal() -> descriptor of its master, of the terminal, which is raw */
static int support_terminal(lua_State *L)
{
    struct termios mode;
    int fds[2] = {posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), -1};

    if (fds[0] < 0 || grantpt(fds[0]) != 0 || unlockpt(fds[0]) != 0)
        return luaL_error(L, "posix_openpt: %s", strerror(errno));
    fds[1] = open(ptsname(fds[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fds[1] < 0 || tcgetattr(fds[1], &mode) != 0)
        return luaL_error(L, "open a terminal: %s", strerror(errno));
    cfmakeraw(&mode);
    tcsetattr(fds[1], TCSANOW, &mode);
    return push_pair(L, fds);
}

/* read(descriptor, most) -> what there is, "" at the end; nil: nothing yet */
static int support_read(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    size_t most = (size_t)luaL_checkinteger(L, 2);
    struct pollfd ready = {fd, POLLIN, 0};
    char *data = lua_newuserdata(L, most);

    if (poll(&ready, 1, 0) <= 0)
        return 0;
    ssize_t got = read(fd, data, most);
    lua_pushlstring(L, data, got > 0 ? (size_t)got : 0);
    return 1;
}

/* write(descriptor, text) -> how much of it was written */
static int support_write(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);

    lua_pushinteger(L, write((int)luaL_checkinteger(L, 1), text, len));
    return 1;
}

/* flags(descriptor) -> those of its description, a number */
static int support_flags(lua_State *L)
{
    lua_pushinteger(L, fcntl((int)luaL_checkinteger(L, 1), F_GETFL));
    return 1;
}

/* open(path) -> a descriptor to read and write */
static int support_open(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    bool reads = lua_toboolean(L, 2) != 0; /* only */
    int fd =
        open(path, (reads ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC, 0600);

    if (fd < 0)
        return luaL_error(L, "open %s: %s", path, strerror(errno));
    lua_pushinteger(L, fd);
    return 1;
}

/* The child's part of forked(fn): what fn returned, or raised, into the pipe.
 * Never returns: what the parent has to clean up is none of its business. */
static void tell_and_exit(lua_State *L, int fd)
{
    size_t len;

    lua_pushvalue(L, 1);
    (void)lua_pcall(L, 0, 1, 0);
    const char *text = luaL_tolstring(L, -1, &len);
    while (len > 0) {
        ssize_t wrote = write(fd, text, len);
        if (wrote <= 0)
            break;
        text += wrote;
        len -= (size_t)wrote;
    }
    _exit(0);
}

/* forked(fn) -> what fn returned in a forked copy of this process, as text. */
static int support_forked(lua_State *L)
{
    char chunk[4096];
    luaL_Buffer text;
    ssize_t got;
    int fds[2];

    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (pipe2(fds, O_CLOEXEC) != 0)
        return luaL_error(L, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        return luaL_error(L, "fork: %s", strerror(errno));
    if (pid == 0)
        tell_and_exit(L, fds[1]);
    close(fds[1]);
    luaL_buffinit(L, &text);
    while ((got = read(fds[0], chunk, sizeof(chunk))) > 0)
        luaL_addlstring(&text, chunk, (size_t)got);
    close(fds[0]);
    waitpid(pid, NULL, 0);
    luaL_pushresult(&text);
    return 1;
}

/* become(uid): for good, without what root may do. */
static int support_become(lua_State *L)
{
    uid_t uid = (uid_t)luaL_checkinteger(L, 1);

    if (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)
        return luaL_error(L, "setresuid: %s", strerror(errno));
    return 0;
}

/* copy() -> pid of a forked copy of this process that does nothing, and holds
 * whatever is open here; end_copy(pid) ends it. */
static int support_copy(lua_State *L)
{
    pid_t pid = fork();

    if (pid < 0)
        return luaL_error(L, "fork: %s", strerror(errno));
    if (pid == 0)
        for (;;)
            pause();
    lua_pushinteger(L, pid);
    return 1;
}

static int support_end_copy(lua_State *L)
{
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 0;
}

/* As a careless host does: whatever child there is, it is reaped. */
static void reap_all(int sig)
{
    int saved = errno;

    (void)sig;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    errno = saved;
}

/* sigchld("default" | "ignore" | "reap"): what this process does about it. */
static int support_sigchld(lua_State *L)
{
    static const char *const names[] = {"default", "ignore", "reap", NULL};
    void (*const handlers[])(int) = {SIG_DFL, SIG_IGN, reap_all};
    struct sigaction action = {.sa_flags = SA_RESTART};

    action.sa_handler = handlers[luaL_checkoption(L, 1, NULL, names)];
    sigaction(SIGCHLD, &action, NULL);
    return 0;
}

static pthread_t threads[4];
static volatile bool threads_run;

/* Busy, so that it is often this thread that a signal comes to. */
static void *run_thread(void *unused)
{
    (void)unused;
    while (threads_run) {
        void *block = malloc(1 << 16);
        usleep(100);
        free(block);
    }
    return NULL;
}

/* threads(true) starts some, which allocate and sleep; threads(false) ends
 * them. */
static int support_threads(lua_State *L)
{
    const size_t count = sizeof(threads) / sizeof(*threads);

    threads_run = lua_toboolean(L, 1);
    for (size_t i = 0; i < count; i++) {
        if (!threads_run)
            pthread_join(threads[i], NULL);
        else if (pthread_create(&threads[i], NULL, run_thread, NULL) != 0)
            return luaL_error(L, "pthread_create failed");
    }
    return 0;
}

/* files_limit([count]) -> the soft limit of open files, as it was. */
static int support_files_limit(lua_State *L)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    lua_pushinteger(L, (lua_Integer)limit.rlim_cur);
    if (!lua_isnoneornil(L, 1)) {
        limit.rlim_cur = (rlim_t)luaL_checkinteger(L, 1);
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            return luaL_error(L, "setrlimit: %s", strerror(errno));
    }
    return 1;
}

/* pause(): a moment, for who polls what has no descriptor */
static int support_pause(lua_State *L)
{
    const struct timespec moment = {0, 2000000};

    (void)L;
    nanosleep(&moment, NULL);
    return 0;
}

/* trim(): what was freed, and is kept to be given out again, goes back */
static int support_trim(lua_State *L)
{
    (void)L;
    malloc_trim(0);
    return 0;
}

/* refuse(name, ...): from now on the kernel refuses these calls with EPERM to
 * this process and what it starts, as the filter of a container does */
static int support_refuse(lua_State *L)
{
    static const struct {
        const char *name;
        unsigned number;
    } calls[] = {{"sethostname", SYS_sethostname},
                 {"unshare", SYS_unshare},
                 {"mount", SYS_mount},
                 {"landlock_create_ruleset", SYS_landlock_create_ruleset}};
    struct sock_filter code[40] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned short len = 1;

    for (int i = 1; i <= lua_gettop(L) && i < 10; i++) {
        const char *name = luaL_checkstring(L, i);
        for (size_t k = 0; k < sizeof(calls) / sizeof(*calls); k++) {
            if (strcmp(name, calls[k].name) != 0)
                continue;
            code[len++] = (struct sock_filter)BPF_JUMP(
                BPF_JMP | BPF_JEQ | BPF_K, calls[k].number, 0, 1);
            code[len++] = (struct sock_filter)BPF_STMT(
                BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
        }
    }
    code[len++] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {len, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return luaL_error(L, "refuse: %s", strerror(errno));
    return 0;
}

static const luaL_Reg functions[] = {
    {"refuse", support_refuse},
    {"setenv", support_setenv},
    {"has_children", support_has_children},
    {"listen", support_listen},
    {"accepted", support_accepted},
    {"close", support_close},
    {"pipe", support_pipe},
    {"socketpair", support_socketpair},
    {"terminal", support_terminal},
    {"read", support_read},
    {"write", support_write},
    {"flags", support_flags},
    {"open", support_open},
    {"pause", support_pause},
    {"trim", support_trim},
    {"forked", support_forked},
    {"become", support_become},
    {"copy", support_copy},
    {"end_copy", support_end_copy},
    {"sigchld", support_sigchld},
    {"threads", support_threads},
    {"files_limit", support_files_limit},
    {NULL, NULL},
};

int luaopen_spec_support_posix(lua_State *L);

int luaopen_spec_support_posix(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
