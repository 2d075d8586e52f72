/* SPDX-License-Identifier: MIT */
/* The module `noether.core`: opens its parts in order, and holds the few
 * helpers that all of them use. */
#include "binding.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#if LUA_VERSION_NUM < 502
void luaL_setfuncs(lua_State *L, const luaL_Reg *functions, int upvalues)
{
    for (; functions->name != NULL; functions++) {
        for (int i = 0; i < upvalues; i++)
            lua_pushvalue(L, -upvalues);
        lua_pushcclosure(L, functions->func, upvalues);
        lua_setfield(L, -upvalues - 2, functions->name);
    }
    lua_pop(L, upvalues);
}
#endif

int noeL_pusherror(lua_State *L, const struct noe_error *err)
{
    static const char *const faults[] = {[NOE_FAULT_NONE] = "system",
                                         [NOE_FAULT_ARGUMENT] = "argument",
                                         [NOE_FAULT_SPAWN] = "spawn",
                                         [NOE_FAULT_SANDBOX] = "sandbox",
                                         [NOE_FAULT_SYSTEM] = "system"};
    const char *const fields[][2] = {
        {"operation", err->operation},
        {"message", err->message},
        {"errno", err->code != 0 ? noe_errno_name(err->code) : NULL},
        {"fault", faults[err->fault]}};

    lua_pushnil(L);
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        lua_pushstring(L, fields[i][1]);
        lua_setfield(L, -2, fields[i][0]);
    }
    return 2;
}

int noeL_pusherrno(lua_State *L, int code, const char *operation)
{
    struct noe_error err = NOE_ERROR_INIT;

    noe_error_set(&err, NOE_FAULT_SYSTEM, code, operation, "%s", "");
    return noeL_pusherror(L, &err);
}

void noeL_newtype(lua_State *L, const char *name, const luaL_Reg *methods,
                  const luaL_Reg *metamethods)
{
    luaL_newmetatable(L, name);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    luaL_setfuncs(L, metamethods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

/* One of each Lua's functions, there or not; 5.1 and LuaJIT have none. */
#define PROBE(name) extern const char has_##name[] __asm__(#name)
PROBE(lua_numbertocstring) __attribute__((weak));
PROBE(lua_newuserdatauv) __attribute__((weak));
PROBE(lua_rotate) __attribute__((weak));
PROBE(lua_rawlen) __attribute__((weak));

static const void *object_of(const void *address)
{
    Dl_info info;

    return dladdr(address, &info) != 0 ? info.dli_fbase : NULL;
}

/* The version of the Lua that lies in this object: another one may be in the
 * process, too. */
static int version_of(const void *lua)
{
    const struct {
        const char *function;
        int version;
    } newest_first[] = {{has_lua_numbertocstring, 505},
                        {has_lua_newuserdatauv, 504},
                        {has_lua_rotate, 503},
                        {has_lua_rawlen, 502}};

    for (size_t i = 0; i < sizeof(newest_first) / sizeof(*newest_first); i++)
        if (newest_first[i].function != NULL &&
            object_of(newest_first[i].function) == lua)
            return newest_first[i].version;
    return 501;
}

/* The Lua that calls is not the one whose functions were found: none of those
 * may be called with this state, and it is its own that raises. Where whoever
 * calls is no Lua at all, nothing is known of it. */
static void check_alone(lua_State *L, const Dl_info *caller)
{
    union {
        void *found;
        int (*call)(lua_State *, const char *, ...);
    } raise = {NULL};
    void *lua = dlopen(caller->dli_fname, RTLD_LAZY | RTLD_NOLOAD);

    if (lua == NULL)
        return;
    raise.found = dlsym(lua, "luaL_error");
    if (raise.found != NULL && object_of(raise.found) == caller->dli_fbase)
        raise.call(L, "noether.core: there are two Luas in this process, and "
                      "the one that runs this is not the one that its modules "
                      "are linked to: load this one first, or alone");
    dlclose(lua);
}

/* Raises if this is not the Lua that the module was built for. Up to there only
 * functions may be called that all of them have, with the same arguments. */
static void check_version(lua_State *L, const void *caller)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): where a function is */
    const void *linked = object_of((const void *)(uintptr_t)&lua_pushstring);
    int around = version_of(linked);
    Dl_info info;

    if (dladdr(caller, &info) != 0 && info.dli_fbase != linked)
        check_alone(L, &info);
    if (around != LUA_VERSION_NUM)
        luaL_error(L,
                   "noether.core was built for Lua 5.%d, and this is Lua 5.%d: "
                   "package.cpath leads to the module of another Lua",
                   LUA_VERSION_NUM - 500, around - 500);
#if LUA_VERSION_NUM >= 502
    luaL_checkversion(L);
#endif
}

int luaopen_noether_core(lua_State *L);

__attribute__((visibility("default"))) int luaopen_noether_core(lua_State *L)
{
    check_version(L, __builtin_return_address(0));
    lua_newtable(L);
    lua_pushstring(L, noe_version());
    lua_setfield(L, -2, "version");
    noeL_open_sys(L);
    noeL_open_json(L);
    noeL_open_process(L);
    noeL_open_poller(L);
    noeL_open_stream(L);
    noeL_open_beneath(L);
    return 1;
}
