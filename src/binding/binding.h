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
void noeL_open_poller(lua_State *L);
void noeL_open_stream(lua_State *L);
void noeL_open_beneath(lua_State *L);

/* A copy of a descriptor of a directory; or nil and an error. [-0, +1 | +3];
 * the number of results. */
int noeL_pushdirectory(lua_State *L, int fd);

/* nil and an error: { operation, message (a sentence), errno ("ENOENT", or
 * nil), fault ("argument", "spawn", "sandbox", "system") }. [-0, +2]; returns
 * 2. */
int noeL_pusherror(lua_State *L, const struct noe_error *err);

/* As above, of an errno of the system's. [-0, +2]; returns 2. */
int noeL_pusherrno(lua_State *L, int code, const char *operation);

/* Makes the metatable `name` with methods and metamethods in tables of their
 * own, so that no metamethod can be called as a method. [-0, +0] */
void noeL_newtype(lua_State *L, const char *name, const luaL_Reg *methods,
                  const luaL_Reg *metamethods);

/* The epoll descriptor of a poller; raises if there is none at `at`. */
int noeL_checkpoller(lua_State *L, int at);

/* Seconds as milliseconds, rounded up; -1 for nil, or too many: for ever. */
int noeL_totimeout(lua_State *L, int at);

/* What not every Lua has. The module can be loaded without them, so that it is
 * core.c that tells of the wrong Lua, and not the dynamic linker. (clang takes
 * weak names only where they are declared.) */
#if LUA_VERSION_NUM < 502
#pragma weak luaL_prepbuffer
#pragma weak lua_getfenv
#pragma weak lua_objlen
#pragma weak lua_setfenv
#pragma weak lua_tointeger
#pragma weak lua_tonumber
#else
#pragma weak luaL_checkversion_
#pragma weak luaL_prepbuffsize
#pragma weak luaL_setfuncs
#pragma weak lua_copy
#pragma weak lua_rawlen
#pragma weak lua_tointegerx
#pragma weak lua_tonumberx
#endif
#if LUA_VERSION_NUM < 503
#pragma weak lua_insert
#pragma weak lua_remove
#pragma weak lua_replace
#else
#pragma weak lua_isinteger
#pragma weak lua_rotate
#endif
#if LUA_VERSION_NUM < 504
#pragma weak lua_newuserdata
#else
#pragma weak lua_getiuservalue
#pragma weak lua_newuserdatauv
#pragma weak lua_setiuservalue
#endif
#if LUA_VERSION_NUM == 502 || LUA_VERSION_NUM == 503
#pragma weak lua_getuservalue
#pragma weak lua_setuservalue
#endif

#if LUA_VERSION_NUM < 502
#define lua_rawlen(L, i) lua_objlen((L), (i))
#define lua_setuservalue(L, i) lua_setfenv((L), (i))
#define lua_getuservalue(L, i) lua_getfenv((L), (i))
void luaL_setfuncs(lua_State *L, const luaL_Reg *functions, int upvalues);
#endif

#if LUA_VERSION_NUM < 503
#define lua_isinteger(L, i) ((void)(L), (void)(i), 0)
#endif

#endif
