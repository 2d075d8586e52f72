/* SPDX-License-Identifier: MIT */
/* What the files of src/binding share: the parts of the module `noether.core`,
 * and what the Lua versions do not. */
#ifndef NOE_BINDING_H
#define NOE_BINDING_H

#include <lauxlib.h>
#include <lua.h>

#include "noether.h"

/* Each adds its functions to the table on the top. [-0, +0] */
void noeL_open_sys(lua_State *L);
void noeL_open_json(lua_State *L);
void noeL_open_process(lua_State *L);

/* nil, "operation: Sentence", "ENOENT" (or nil). [-0, +3]; returns 3. */
int noeL_pusherror(lua_State *L, const struct noe_error *err);

/* Makes the metatable `name` with methods and metamethods in tables of their
 * own, so that no metamethod can be called as a method. [-0, +0] */
void noeL_newtype(lua_State *L, const char *name, const luaL_Reg *methods,
                  const luaL_Reg *metamethods);

#if LUA_VERSION_NUM < 502
#define lua_rawlen(L, i) lua_objlen((L), (i))
#define lua_setuservalue(L, i) lua_setfenv((L), (i))
#define lua_getuservalue(L, i) lua_getfenv((L), (i))
#define luaL_newlibtable(L, l) \
    lua_createtable((L), 0, (int)(sizeof(l) / sizeof((l)[0]) - 1))
void luaL_setfuncs(lua_State *L, const luaL_Reg *functions, int upvalues);
#endif

#if LUA_VERSION_NUM < 503
#define lua_isinteger(L, i) ((void)(L), (void)(i), 0)
#endif

#endif
