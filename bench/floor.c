/* SPDX-License-Identifier: MIT */
/* The bare floor that the bench compares with: the same work in plain C, with
 * nothing around it. A Lua module, so that both are timed in one process. */
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Reads to the end and keeps all of it. */
static size_t read_all(int fd)
{
    size_t size = 64 * 1024;
    size_t len = 0;
    char *data = malloc(size);
    ssize_t got;

    while (data != NULL && (got = read(fd, data + len, size - len)) > 0) {
        len += (size_t)got;
        if (len == size)
            data = realloc(data, size *= 2);
    }
    free(data);
    return len;
}

/* floor.run(path, arguments...) -> seconds, bytes: vfork, exec, read stdout to
 * its end, wait. stderr is the caller's. */
static int floor_run(lua_State *L)
{
    int count = lua_gettop(L);
    char **argv = lua_newuserdata(L, ((size_t)count + 1) * sizeof(*argv));
    char *envp[] = {NULL};
    int fds[2];
    int status;

    for (int i = 0; i < count; i++)
        argv[i] = (char *)luaL_checkstring(L, i + 1);
    argv[count] = NULL;
    double start = now();
    if (pipe2(fds, O_CLOEXEC) != 0)
        return luaL_error(L, "pipe2 failed");
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(fds[1], 1);
        execve(argv[0], argv, envp);
        _exit(127);
    }
    close(fds[1]);
    size_t len = read_all(fds[0]);
    close(fds[0]);
    waitpid(pid, &status, 0);
    lua_pushnumber(L, now() - start);
    lua_pushinteger(L, (lua_Integer)len);
    return 2;
}

/* floor.spawn(path) -> seconds: vfork, exec, wait, and nothing else. */
static int floor_spawn(lua_State *L)
{
    char *argv[] = {(char *)luaL_checkstring(L, 1), NULL};
    char *envp[] = {NULL};
    int status;

    double start = now();
    pid_t pid = vfork();
    if (pid == 0) {
        execve(argv[0], argv, envp);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    lua_pushnumber(L, now() - start);
    return 1;
}

/* floor.fork() -> seconds: fork, exit, wait. */
static int floor_fork(lua_State *L)
{
    int status;

    double start = now();
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, &status, 0);
    lua_pushnumber(L, now() - start);
    return 1;
}

/* Gives back each byte that comes. */
static void echo(int from, int to)
{
    char byte;

    while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1)
        continue;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

/* floor.ping(count) -> seconds: the median of so many bytes that go through a
 * pipe to another process and back. */
static int floor_ping(lua_State *L)
{
    int count = (int)luaL_checkinteger(L, 1);
    double *secs = lua_newuserdata(L, (size_t)count * sizeof(*secs));
    int there[2];
    int back[2];
    int status;

    if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0)
        return luaL_error(L, "pipe2 failed");
    pid_t pid = fork();
    if (pid == 0) {
        close(there[1]);
        echo(there[0], back[1]);
        _exit(0);
    }
    close(there[0]);
    for (int i = 0; i < count; i++) {
        char byte = 'x';
        double start = now();
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            return luaL_error(L, "the other process is gone");
        secs[i] = now() - start;
    }
    close(there[1]);
    close(back[0]);
    close(back[1]);
    waitpid(pid, &status, 0);
    qsort(secs, (size_t)count, sizeof(*secs), compare);
    lua_pushnumber(L, secs[count / 2]);
    return 1;
}

/* floor.grow(bytes) -> a block of touched memory, kept by the caller. */
static int floor_grow(lua_State *L)
{
    size_t size = (size_t)luaL_checkinteger(L, 1);

    memset(lua_newuserdata(L, size), 1, size);
    return 1;
}

/* floor.files_limit(count): raises the soft limit of open files, as far as the
 * hard one lets it. */
static int floor_files_limit(lua_State *L)
{
    rlim_t wanted = (rlim_t)luaL_checkinteger(L, 1);
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return 0;
}

int luaopen_floor(lua_State *L);

__attribute__((visibility("default"))) int luaopen_floor(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"run", floor_run},   {"spawn", floor_spawn},
        {"fork", floor_fork}, {"ping", floor_ping},
        {"grow", floor_grow}, {"files_limit", floor_files_limit},
        {NULL, NULL}};

    luaL_newlib(L, functions);
    return 1;
}
