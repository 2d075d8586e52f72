/* SPDX-License-Identifier: MIT */
/* The module `spec.support`: what the specs need of the system and Lua alone
 * cannot do. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
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
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return luaL_error(L, "open %s: %s", path, strerror(errno));
    lua_pushinteger(L, fd);
    return 1;
}

static const luaL_Reg functions[] = {
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
    {NULL, NULL},
};

int luaopen_spec_support(lua_State *L);

int luaopen_spec_support(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
