/* SPDX-License-Identifier: MIT */
/* The module `spec.support`: what the specs need of the system and Lua alone
 * cannot do. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
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

static const luaL_Reg functions[] = {
    {"setenv", support_setenv}, {"has_children", support_has_children},
    {"listen", support_listen}, {"accepted", support_accepted},
    {"close", support_close},   {NULL, NULL},
};

int luaopen_spec_support(lua_State *L);

int luaopen_spec_support(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
