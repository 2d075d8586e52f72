/* SPDX-License-Identifier: MIT */
/* The module `spec.support`: what the specs need of the system and Lua alone
 * cannot do. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

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

static const luaL_Reg functions[] = {
    {"setenv", support_setenv},
    {"has_children", support_has_children},
    {NULL, NULL},
};

int luaopen_spec_support(lua_State *L);

int luaopen_spec_support(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
