/* SPDX-License-Identifier: MIT */
/* The prompt: noether.repl, with what it needs of C. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "front.h"

enum { PRESSES = 3 };

/* call(fn, handler, ...) -> true and what fn(...) returns, or false and what
 * handler makes of its error; SIGINT is such an error. */
static int console_call(lua_State *L)
{
    lua_pushboolean(L, true);
    lua_insert(L, 1);
    lua_pushvalue(L, 3);
    lua_insert(L, 2);
    lua_remove(L, 4);
    int status = noeL_guard(L, lua_gettop(L) - 3, LUA_MULTRET, 2, PRESSES);
    lua_remove(L, 2);
    if (status != LUA_OK) {
        lua_pushboolean(L, false);
        lua_replace(L, 1);
    }
    return lua_gettop(L);
}

/* Pushes what noether.repl is given. [-0, +1] */
static void push_console(lua_State *L)
{
    lua_createtable(L, 0, 5);
    lua_pushcfunction(L, console_call);
    lua_setfield(L, -2, "call");
    noeL_pusheditor(L);
    lua_setfield(L, -2, "editor");
    lua_pushboolean(L, isatty(STDIN_FILENO));
    lua_setfield(L, -2, "terminal");
    lua_pushstring(L, getenv("XDG_STATE_HOME"));
    lua_setfield(L, -2, "state_home");
    lua_pushstring(L, getenv("HOME"));
    lua_setfield(L, -2, "home");
}

/* terminal.editor() -> the line editor, or nil */
static int terminal_editor(lua_State *L)
{
    noeL_pusheditor(L);
    return 1;
}

int luaopen_noether_terminal(lua_State *L)
{
    static const luaL_Reg functions[] = {{"editor", terminal_editor},
                                         {NULL, NULL}};

    luaL_newlib(L, functions);
    return 1;
}

static int run(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "noether.repl");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "run");
    push_console(L);
    lua_call(L, 1, 0);
    return 0;
}

/* SIGINT is a word to what was typed, never to the session. */
bool noeL_runprompt(lua_State *L)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;

    lua_settop(L, 0);
    noeL_watchcoroutines(L);
    sigaction(SIGINT, &ignore, &before);
    lua_pushcfunction(L, run);
    bool done = noeL_report(L, front_program, lua_pcall(L, 0, 0, 0));
    sigaction(SIGINT, &before, NULL);
    return done;
}
