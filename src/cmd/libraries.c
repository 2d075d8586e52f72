/* SPDX-License-Identifier: MIT */
/*
 * The libraries inside noether-lua, and where others are looked for.
 *
 * Two things differ from `lua`. The modules inside win over any file of the
 * same name. And the current directory is not searched for modules, unless
 * LUA_PATH or LUA_CPATH name it: whoever can write there would be run.
 */
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "embedded.h"
#include "front.h"

int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);
int luaopen_lpeg(lua_State *L);
int luaopen_noether_core(lua_State *L);
int luaopen_noether_redis(lua_State *L);

static const luaL_Reg embedded_libraries[] = {
    {"cjson", luaopen_cjson},
    {"cjson.safe", luaopen_cjson_safe},
    {"lpeg", luaopen_lpeg},
    {"noether.core", luaopen_noether_core},
    {"noether.redis", luaopen_noether_redis},
    {"noether.signals", luaopen_noether_signals},
    {"noether.terminal", luaopen_noether_terminal},
    {NULL, NULL},
};

static int load_embedded(lua_State *L)
{
    const struct embedded_module *module =
        lua_touserdata(L, lua_upvalueindex(1));
    int status = luaL_loadbufferx(L, (const char *)module->chunk, module->len,
                                  module->name, "b");

    if (status != LUA_OK)
        return lua_error(L);
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* package.preload is asked before any file is looked for. [-0, +0] */
static void preload_libraries(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    luaL_setfuncs(L, embedded_libraries, 0);
    for (int i = 0; embedded_modules[i].name != NULL; i++) {
        lua_pushlightuserdata(L, (void *)&embedded_modules[i]);
        lua_pushcclosure(L, load_embedded, 1);
        lua_setfield(L, -2, embedded_modules[i].name);
    }
    lua_pop(L, 1);
}

/* A search path without what lies in the current directory. [-0, +1] */
static void push_safe_path(lua_State *L, const char *path)
{
    luaL_Buffer kept;

    luaL_buffinit(L, &kept);
    while (*path != '\0') {
        size_t len = strcspn(path, LUA_PATH_SEP);
        if (strncmp(path, "./", 2) != 0) {
            if (luaL_bufflen(&kept) > 0)
                luaL_addstring(&kept, LUA_PATH_SEP);
            luaL_addlstring(&kept, path, len);
        }
        path += len + (path[len] != '\0');
    }
    luaL_pushresult(&kept);
}

/* The user's path, the default in place of the first ";;". [-0, +1] */
static void push_user_path(lua_State *L, const char *path, const char *standard)
{
    const char *mark = strstr(path, LUA_PATH_SEP LUA_PATH_SEP);
    luaL_Buffer whole;

    luaL_buffinit(L, &whole);
    luaL_addlstring(&whole, path,
                    mark != NULL ? (size_t)(mark - path) : strlen(path));
    if (mark != NULL) {
        if (mark > path)
            luaL_addstring(&whole, LUA_PATH_SEP);
        luaL_addstring(&whole, standard);
        if (mark[2] != '\0') {
            luaL_addstring(&whole, LUA_PATH_SEP);
            luaL_addstring(&whole, mark + 2);
        }
    }
    luaL_pushresult(&whole);
}

/* Sets package.path or package.cpath, which is at its default, from what the
 * environment says, if anything. [-0, +0] */
static void set_search_path(lua_State *L, const char *field, const char *value)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, field);
    push_safe_path(L, lua_tostring(L, -1));
    push_user_path(L, value != NULL ? value : ";;", lua_tostring(L, -1));
    lua_setfield(L, -4, field);
    lua_pop(L, 3);
}

static const char *first_set(const char *name, const char *other)
{
    const char *value = getenv(name);

    return value != NULL ? value : getenv(other);
}

static void set_ignore_environment(lua_State *L, bool ignore)
{
    lua_pushboolean(L, ignore);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
}

/* The environment is hidden while Lua opens its libraries, so that they set
 * their default paths; then it is read here. */
void noeL_openlibraries(lua_State *L, bool ignore_environment)
{
    const char *path = NULL, *cpath = NULL;

    set_ignore_environment(L, true);
    luaL_openlibs(L);
    set_ignore_environment(L, ignore_environment);
    if (!ignore_environment) {
        path = first_set("LUA_PATH" LUA_VERSUFFIX, "LUA_PATH");
        cpath = first_set("LUA_CPATH" LUA_VERSUFFIX, "LUA_CPATH");
    }
    set_search_path(L, "path", path);
    set_search_path(L, "cpath", cpath);
    preload_libraries(L);
}
