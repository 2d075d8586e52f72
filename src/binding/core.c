/* SPDX-License-Identifier: MIT */
/* The module `noether.core`: opens its parts in order, and holds the few
 * helpers that all of them use. */
#include "binding.h"

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
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", err->operation, err->message);
    lua_pushstring(L, err->code != 0 ? noe_errno_name(err->code) : NULL);
    return 3;
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

int luaopen_noether_core(lua_State *L);

__attribute__((visibility("default"))) int luaopen_noether_core(lua_State *L)
{
    lua_newtable(L);
    lua_pushstring(L, noe_version());
    lua_setfield(L, -2, "version");
    noeL_open_sys(L);
    noeL_open_json(L);
    noeL_open_process(L);
    noeL_open_poller(L);
    return 1;
}
