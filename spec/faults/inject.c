/* SPDX-License-Identifier: MIT */
/*
 * Makes calls of the core fail, for the fault harness. Loaded before everything
 * else (LD_PRELOAD) it stands between the core and the C library; loaded again
 * by Lua it is the module `spec.faults.inject`, which says what is to fail.
 * Only calls from the core's own module count: those of Lua and of the C
 * library itself go through.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <locale.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

/* name; type of the result; parameters; arguments; what a failure returns */
#define PLAIN_CALLS(X)                                                         \
    X(access, int, (const char *p, int m), (p, m), -1)                         \
    X(bind, int, (int f, const struct sockaddr *a, socklen_t n), (f, a, n),    \
      -1)                                                                      \
    X(chdir, int, (const char *p), (p), -1)                                    \
    X(chmod, int, (const char *p, mode_t m), (p, m), -1)                       \
    X(dup2, int, (int a, int b), (a, b), -1)                                   \
    X(dup3, int, (int a, int b, int f), (a, b, f), -1)                         \
    X(epoll_create1, int, (int f), (f), -1)                                    \
    X(epoll_ctl, int, (int p, int o, int f, struct epoll_event *e),            \
      (p, o, f, e), -1)                                                        \
    X(epoll_wait, int, (int p, struct epoll_event *e, int n, int t),           \
      (p, e, n, t), -1)                                                        \
    X(execve, int, (const char *p, char *const a[], char *const e[]),          \
      (p, a, e), -1)                                                           \
    X(fdopen, FILE *, (int f, const char *m), (f, m), NULL)                    \
    X(fgets, char *, (char *b, int n, FILE *f), (b, n, f), NULL)               \
    X(newlocale, locale_t, (int m, const char *n, locale_t l), (m, n, l),      \
      (locale_t)0)                                                             \
    X(faccessat, int, (int d, const char *p, int m, int f), (d, p, m, f), -1)  \
    X(fchmod, int, (int f, mode_t m), (f, m), -1)                              \
    X(fchown, int, (int f, uid_t u, gid_t g), (f, u, g), -1)                   \
    X(fdopendir, DIR *, (int f), (f), NULL)                                    \
    X(flock, int, (int f, int o), (f, o), -1)                                  \
    X(fopen, FILE *, (const char *p, const char *m), (p, m), NULL)             \
    X(fstat, int, (int f, struct stat *s), (f, s), -1)                         \
    X(fstatat, int, (int d, const char *p, struct stat *s, int f),             \
      (d, p, s, f), -1)                                                        \
    X(fsync, int, (int f), (f), -1)                                            \
    X(getsockname, int, (int f, struct sockaddr *a, socklen_t *n), (f, a, n),  \
      -1)                                                                      \
    X(getrandom, ssize_t, (void *b, size_t n, unsigned f), (b, n, f), -1)      \
    X(getpriority, int, (__priority_which_t w, id_t i), (w, i), -1)            \
    X(getrlimit, int, (__rlimit_resource_t r, struct rlimit * l), (r, l), -1)  \
    X(kill, int, (pid_t p, int s), (p, s), -1)                                 \
    X(listen, int, (int f, int n), (f, n), -1)                                 \
    X(linkat, int, (int a, const char *b, int c, const char *d, int f),        \
      (a, b, c, d, f), -1)                                                     \
    X(lstat, int, (const char *p, struct stat *s), (p, s), -1)                 \
    X(madvise, int, (void *a, size_t n, int v), (a, n, v), -1)                 \
    X(memfd_create, int, (const char *n, unsigned f), (n, f), -1)              \
    X(mkdir, int, (const char *p, mode_t m), (p, m), -1)                       \
    X(mkdirat, int, (int d, const char *p, mode_t m), (d, p, m), -1)           \
    X(mmap, void *, (void *a, size_t n, int p, int f, int d, off_t o),         \
      (a, n, p, f, d, o), MAP_FAILED)                                          \
    X(pipe2, int, (int f[2], int g), (f, g), -1)                               \
    X(poll, int, (struct pollfd * f, nfds_t n, int t), (f, n, t), -1)          \
    X(pread, ssize_t, (int f, void *b, size_t n, off_t o), (f, b, n, o), -1)   \
    X(read, ssize_t, (int f, void *b, size_t n), (f, b, n), -1)                \
    X(readdir, struct dirent *, (DIR * d), (d), NULL)                          \
    X(readlink, ssize_t, (const char *p, char *b, size_t n), (p, b, n), -1)    \
    X(readlinkat, ssize_t, (int d, const char *p, char *b, size_t n),          \
      (d, p, b, n), -1)                                                        \
    X(realpath, char *, (const char *p, char *b), (p, b), NULL)                \
    X(recv, ssize_t, (int f, void *b, size_t n, int g), (f, b, n, g), -1)      \
    X(recvmsg, ssize_t, (int f, struct msghdr *m, int g), (f, m, g), -1)       \
    X(renameat, int, (int a, const char *b, int c, const char *d),             \
      (a, b, c, d), -1)                                                        \
    X(renameat2, int,                                                          \
      (int a, const char *b, int c, const char *d, unsigned f),                \
      (a, b, c, d, f), -1)                                                     \
    X(sendfile, ssize_t, (int o, int i, off_t *p, size_t n), (o, i, p, n), -1) \
    X(rmdir, int, (const char *p), (p), -1)                                    \
    X(sched_getaffinity, int, (pid_t p, size_t n, cpu_set_t * s), (p, n, s),   \
      -1)                                                                      \
    X(sched_getparam, int, (pid_t p, struct sched_param * s), (p, s), -1)      \
    X(sched_getscheduler, int, (pid_t p), (p), -1)                             \
    X(send, ssize_t, (int f, const void *b, size_t n, int g), (f, b, n, g),    \
      -1)                                                                      \
    X(sendmsg, ssize_t, (int f, const struct msghdr *m, int g), (f, m, g), -1) \
    X(setsid, pid_t, (void), (), -1)                                           \
    X(setsockopt, int, (int f, int l, int o, const void *v, socklen_t n),      \
      (f, l, o, v, n), -1)                                                     \
    X(shutdown, int, (int f, int h), (f, h), -1)                               \
    X(socket, int, (int d, int t, int p), (d, t, p), -1)                       \
    X(socketpair, int, (int d, int t, int p, int f[2]), (d, t, p, f), -1)      \
    X(stat, int, (const char *p, struct stat *s), (p, s), -1)                  \
    X(timerfd_create, int, (int c, int f), (c, f), -1)                         \
    X(timerfd_settime, int,                                                    \
      (int t, int f, const struct itimerspec *n, struct itimerspec *o),        \
      (t, f, n, o), -1)                                                        \
    X(uname, int, (struct utsname * u), (u), -1)                               \
    X(unlink, int, (const char *p), (p), -1)                                   \
    X(unshare, int, (int f), (f), -1)                                          \
    X(unlinkat, int, (int d, const char *p, int f), (d, p, f), -1)             \
    X(utimensat, int,                                                          \
      (int d, const char *p, const struct timespec t[2], int f), (d, p, t, f), \
      -1)                                                                      \
    X(waitid, int, (idtype_t t, id_t i, siginfo_t * s, int o), (t, i, s, o),   \
      -1)                                                                      \
    X(waitpid, pid_t, (pid_t p, int *s, int o), (p, s, o), -1)                 \
    X(write, ssize_t, (int f, const void *b, size_t n), (f, b, n), -1)

/* These are written out below. */
/* clang-format off */
#define OTHER_CALLS(X) \
    X(__open_2) X(__realpath_chk) X(calloc) X(clone) X(close) X(dup) \
    X(execveat) X(fcntl) X(ioctl) X(malloc) X(mremap) X(open) X(openat) \
    X(prctl) X(realloc) X(strdup) X(syscall)
/* clang-format on */

#define NUMBER(name, ...) CALL_##name,
enum call { PLAIN_CALLS(NUMBER) OTHER_CALLS(NUMBER) CALLS };

#define NAME(name, ...) #name,
static const char *const names[CALLS] = {PLAIN_CALLS(NAME) OTHER_CALLS(NAME)};

static uintptr_t core_begin;
static uintptr_t core_end;
static unsigned long counts[CALLS];
static enum call armed = CALLS;
static unsigned long armed_at;
static int armed_code;
static bool fired;

/* Whether this call is to fail; errno is then set. */
static bool hit(enum call call, const void *from)
{
    if ((uintptr_t)from < core_begin || (uintptr_t)from >= core_end)
        return false;
    if (++counts[call] != armed_at || call != armed)
        return false;
    fired = true;
    errno = armed_code;
    return true;
}

#define HIT(name) hit(CALL_##name, __builtin_return_address(0))

static void *next(const char *name, void **cache)
{
    if (*cache == NULL)
        *cache = dlsym(RTLD_NEXT, name);
    return *cache;
}

#define REAL(name) ((__typeof__(&name))next(#name, &real_##name))

#define DEFINE(name, type, params, args, failure) \
    static void *real_##name;                     \
    type name params                              \
    {                                             \
        if (HIT(name))                            \
            return failure;                       \
        return REAL(name) args;                   \
    }
PLAIN_CALLS(DEFINE)

/* The number is free afterwards, whatever close returns. */
static void *real_close;
int close(int fd)
{
    bool fails = HIT(close);
    int code = errno;
    int result = REAL(close)(fd);

    if (!fails)
        return result;
    errno = code;
    return -1;
}

static void *real_dup;
int dup(int fd)
{
    return HIT(dup) ? -1 : REAL(dup)(fd);
}

#define LAST_ARGUMENT(type, value, last) \
    va_list list;                        \
    va_start(list, last);                \
    type value = va_arg(list, type);     \
    va_end(list)

static void *real_open;
int open(const char *path, int flags, ...)
{
    LAST_ARGUMENT(unsigned, mode, flags);

    return HIT(open) ? -1 : REAL(open)(path, flags, mode);
}

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return HIT(__open_2) ? -1 : REAL(open)(path, flags);
}

static void *real_openat;
int openat(int dir, const char *path, int flags, ...)
{
    LAST_ARGUMENT(unsigned, mode, flags);

    return HIT(openat) ? -1 : REAL(openat)(dir, path, flags, mode);
}

char *__realpath_chk(const char *path, char *out, size_t size);
char *__realpath_chk(const char *path, char *out, size_t size)
{
    (void)size;
    return HIT(__realpath_chk) ? NULL : REAL(realpath)(path, out);
}

static void *real_fcntl;
int fcntl(int fd, int command, ...)
{
    LAST_ARGUMENT(void *, value, command);

    return HIT(fcntl) ? -1 : REAL(fcntl)(fd, command, value);
}

static void *real_ioctl;
int ioctl(int fd, unsigned long request, ...)
{
    LAST_ARGUMENT(void *, value, request);

    return HIT(ioctl) ? -1 : REAL(ioctl)(fd, request, value);
}

static void *real_prctl;
int prctl(int option, ...)
{
    va_list list;
    unsigned long values[4];

    va_start(list, option);
    for (int i = 0; i < 4; i++)
        values[i] = va_arg(list, unsigned long);
    va_end(list);
    if (HIT(prctl))
        return -1;
    return REAL(prctl)(option, values[0], values[1], values[2], values[3]);
}

static void *real_mremap;
void *mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
    LAST_ARGUMENT(void *, where, flags);

    if (HIT(mremap))
        return MAP_FAILED;
    return REAL(mremap)(old, old_size, size, flags, where);
}

static void *real_syscall;
long syscall(long number, ...)
{
    va_list list;
    long values[6];

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        values[i] = va_arg(list, long);
    va_end(list);
    if (HIT(syscall))
        return -1;
    return REAL(syscall)(number, values[0], values[1], values[2], values[3],
                         values[4], values[5]);
}

/* In place of the supervisor's image, strace and the same program from disk: it
 * stays the host's child (-D), and is left alone once it is the stage's program
 * (-b execve). What strace is to do is put here beforehand, for the child runs
 * in our memory. */
enum { MAX_WORDS = 200 };
static char trace_log[PATH_MAX];
static char trace_what[200];
static char trace_program[PATH_MAX];

static void exec_traced(char *const argv[], char *const env[])
{
    static char strace[] = "/usr/bin/strace";
    static char follow[] = "-f";
    static char daemon[] = "-D";
    static char detach[] = "-bexecve";
    static char quiet[] = "-qqq";
    static char log[] = "-o";
    static char what[] = "-e";
    static char *words[MAX_WORDS] = {
        strace, daemon,    follow, detach,     quiet,
        log,    trace_log, what,   trace_what, trace_program};
    int count = 10;

    for (int i = 1; argv[i] != NULL && count < MAX_WORDS - 1; i++)
        words[count++] = argv[i];
    words[count] = NULL;
    execve(strace, words, env);
}

static void *real_execveat;
int execveat(int dir, const char *path, char *const argv[], char *const env[],
             int flags)
{
    if (HIT(execveat))
        return -1;
    if (trace_what[0] != '\0')
        exec_traced(argv, env);
    return REAL(execveat)(dir, path, argv, env, flags);
}

/* The child begins in `fn`, on its own stack: it never returns through here. */
static void *real_clone;
int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
    LAST_ARGUMENT(pid_t *, parent, arg);

    if (HIT(clone))
        return -1;
    return REAL(clone)(fn, stack, flags, arg, parent, NULL, NULL);
}

/* By the C library's own names: dlsym would need memory to find the others. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    return HIT(malloc) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return HIT(calloc) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return HIT(realloc) ? NULL : __libc_realloc(old, size);
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = HIT(strdup) ? NULL : __libc_malloc(size);

    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

static int find_core(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    if (strstr(info->dlpi_name, "noether/core.so") == NULL)
        return 0;
    core_begin = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr +
                        info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && end > core_end)
            core_end = end;
    }
    return 1;
}

static int call_named(lua_State *L, int at)
{
    const char *name = luaL_checkstring(L, at);

    for (int i = 0; i < CALLS; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return luaL_error(L, "no call %s", name);
}

/* arm(name, n, "ENOMEM"): the n-th call from now on fails; arm() counts only */
static int inject_arm(lua_State *L)
{
    bool counts_only = lua_isnoneornil(L, 1);
    int code = 0;

    armed = counts_only ? CALLS : (enum call)call_named(L, 1);
    armed_at = counts_only ? 0 : (unsigned long)luaL_checkinteger(L, 2);
    const char *name = luaL_optstring(L, 3, "EIO");
    for (int i = 1; i < 200; i++)
        if (strerrorname_np(i) != NULL && strcmp(strerrorname_np(i), name) == 0)
            code = i;
    luaL_argcheck(L, code != 0, 3, "no such errno");
    armed_code = code;
    memset(counts, 0, sizeof(counts));
    fired = false;
    core_end = 0;
    if (dl_iterate_phdr(find_core, NULL) == 0)
        return luaL_error(L, "the core is not loaded");
    return 0;
}

/* disarm() -> whether it failed, and how often each was called */
static int inject_disarm(lua_State *L)
{
    core_begin = core_end = 0;
    lua_pushboolean(L, fired);
    lua_newtable(L);
    for (int i = 0; i < CALLS; i++) {
        if (counts[i] == 0)
            continue;
        lua_pushinteger(L, (lua_Integer)counts[i]);
        lua_setfield(L, -2, names[i]);
    }
    return 2;
}

/* trace(what, log, jail): the supervisor on disk at `jail` is started under
 * strace, which is told "-e what"; trace() is none of that */
static int inject_trace(lua_State *L)
{
    snprintf(trace_what, sizeof(trace_what), "%s", luaL_optstring(L, 1, ""));
    snprintf(trace_log, sizeof(trace_log), "%s", luaL_optstring(L, 2, ""));
    snprintf(trace_program, sizeof(trace_program), "%s",
             luaL_optstring(L, 3, ""));
    return 0;
}

/* names() -> all that can be made to fail */
static int inject_names(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; i < CALLS; i++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, names[i]);
    }
    return 1;
}

/* The state's own allocator, behind one that fails. Lua tries again after a
 * collection, so that two in a row must fail; what shrinks may not. */
static lua_Alloc own_alloc;
static void *own_data;
static unsigned long allocations;
static unsigned long failing_from; /* 0: none */

static void *allocate(void *data, void *block, size_t old, size_t size)
{
    bool grows = size > 0 && (block == NULL || size > old);

    (void)data;
    if (grows)
        allocations++;
    if (grows && failing_from > 0 && allocations >= failing_from &&
        allocations <= failing_from + 1) {
        fired = true;
        return NULL;
    }
    return own_alloc(own_data, block, old, size);
}

/* arm_memory(n): Lua's n-th allocation from now on fails; 0: they are counted
 */
static int inject_arm_memory(lua_State *L)
{
    unsigned long from = (unsigned long)luaL_checkinteger(L, 1);

    if (own_alloc == NULL) {
        own_alloc = lua_getallocf(L, &own_data);
        lua_setallocf(L, allocate, NULL);
    }
    fired = false;
    allocations = 0;
    failing_from = from;
    return 0;
}

/* disarm_memory() -> whether one failed, and how many there were */
static int inject_disarm_memory(lua_State *L)
{
    unsigned long count = allocations;

    failing_from = 0;
    lua_pushboolean(L, fired);
    lua_pushinteger(L, (lua_Integer)count);
    return 2;
}

static const luaL_Reg functions[] = {
    {"arm", inject_arm},
    {"disarm", inject_disarm},
    {"trace", inject_trace},
    {"names", inject_names},
    {"arm_memory", inject_arm_memory},
    {"disarm_memory", inject_disarm_memory},
    {NULL, NULL},
};

int luaopen_spec_faults_inject(lua_State *L);

int luaopen_spec_faults_inject(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
