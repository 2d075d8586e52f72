/* SPDX-License-Identifier: MIT */
/* What the files of noether-lua share; none of it is in the library. */
#ifndef NOE_FRONT_H
#define NOE_FRONT_H

#include <stdbool.h>

#include <lua.h>

/* The name that the program was called by, for messages. */
extern const char *front_program;

/* Writes "name: message" to standard error. `name` may be NULL. */
void front_complain(const char *name, const char *message);

/* Opens Lua's own libraries and those inside, and sets the search paths: what
 * the environment says, or safe defaults. [-0, +0] */
void noeL_openlibraries(lua_State *L, bool ignore_environment);

/* Has coroutines that are resumed from now on interrupted, too. [-0, +0] */
void noeL_watchcoroutines(lua_State *L);

/* lua_pcall, in which SIGINT raises the error "interrupted!". `presses`
 * signals that nothing came of end the process. */
int noeL_guard(lua_State *L, int count, int results, int handler, int presses);

/* Calls the function under its `count` arguments, interruptibly.
 * [-(count + 1), +results], or an error with a traceback, and a status */
int noeL_docall(lua_State *L, int count, int results);

/* Whether SIGINT was raised in the last of these calls. */
bool noeL_wasinterrupted(void);

/* Says what went wrong, if anything did. [-1, +0] unless status is LUA_OK */
bool noeL_report(lua_State *L, const char *name, int status);

/* Pushes the line editor of this terminal, or nil where there is none to edit
 * on. [-0, +1] */
void noeL_pusheditor(lua_State *L);

/* Reads, runs and prints until input ends: noether.repl. False if input could
 * not be read. [-0, +0] */
bool noeL_runprompt(lua_State *L);

/* The modules `noether.signals` and `noether.terminal`. */
int luaopen_noether_signals(lua_State *L);
int luaopen_noether_terminal(lua_State *L);

#endif
