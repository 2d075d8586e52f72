/* SPDX-License-Identifier: MIT */
/* Calls that can be interrupted, and what is said when one fails. */
#include <signal.h>
#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "front.h"

/* A signal handler takes no argument: what it is to interrupt, and how many
 * signals came since the last one was raised as an error. */
static lua_State *running;
static volatile sig_atomic_t signals;
static volatile sig_atomic_t patience;
static volatile sig_atomic_t raised;

void front_complain(const char *name, const char *message)
{
    fflush(stdout);
    if (name != NULL)
        fprintf(stderr, "%s: ", name);
    fprintf(stderr, "%s\n", message);
    fflush(stderr);
}

bool noeL_report(lua_State *L, const char *name, int status)
{
    if (status == LUA_OK)
        return true;
    const char *message = lua_tostring(L, -1);
    front_complain(name,
                   message != NULL ? message : "(error without a message)");
    lua_pop(L, 1);
    return false;
}

/* Makes of any error value a text with a traceback. */
static int explain(lua_State *L)
{
    if (lua_tostring(L, 1) == NULL) {
        if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
            return 1; /* it knows best how it wants to be shown */
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    }
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    return 1;
}

/* Once is for code that has something to clean up. Asked a second time it goes
 * on raising, so that no loop over pcall survives. */
static void raise_interrupted(lua_State *L, lua_Debug *activation)
{
    (void)activation;
    signals = 0;
    if (raised++ == 0)
        lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted!");
}

/* Raising here, in the middle of anything, would break the state: a hook
 * raises at the next step. Where no step comes, in a C function that does not
 * return, one signal more ends the process. */
static void on_interrupt(int signal_number)
{
    if (++signals >= patience)
        signal(signal_number, SIG_DFL);
    lua_sethook(running, raise_interrupted,
                LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

int noeL_guard(lua_State *L, int count, int results, int handler, int presses)
{
    /* Without SA_RESTART: what waits is to come back. */
    struct sigaction action = {.sa_handler = on_interrupt}, before;

    running = L;
    signals = 0;
    raised = 0;
    patience = presses;
    sigaction(SIGINT, &action, &before);
    int status = lua_pcall(L, count, results, handler);
    sigaction(SIGINT, &before, NULL);
    if (lua_gethook(L) == raise_interrupted)
        lua_sethook(L, NULL, 0, 0);
    return status;
}

int noeL_docall(lua_State *L, int count, int results)
{
    int base = lua_gettop(L) - count;

    lua_pushcfunction(L, explain);
    lua_insert(L, base);
    int status = noeL_guard(L, count, results, base, 1);
    lua_remove(L, base);
    return status;
}

/* Calls with `thread` as what a signal interrupts. [-(count + 1), +n] */
static int call_as(lua_State *L, lua_State *thread, int count)
{
    lua_State *before = running;
    int base = lua_gettop(L) - count;

    running = thread;
    int status = lua_pcall(L, count, LUA_MULTRET, 0);
    running = before;
    if (lua_gethook(thread) == raise_interrupted)
        lua_sethook(thread, NULL, 0, 0);
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L) - base + 1;
}

/* In place of coroutine.resume, which is the upvalue. A hook belongs to one
 * coroutine, and nothing tells which one runs. */
static int watched_resume(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTHREAD);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return call_as(L, lua_tothread(L, 2), lua_gettop(L) - 1);
}

/* In place of what coroutine.wrap returns, which is the first upvalue; the
 * second is the coroutine. */
static int watched_wrapped(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return call_as(L, lua_tothread(L, lua_upvalueindex(2)), lua_gettop(L) - 1);
}

/* In place of coroutine.wrap, which is the upvalue. */
static int watched_wrap(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    lua_getupvalue(L, -1, 1);
    lua_pushcclosure(L, watched_wrapped, 2);
    return 1;
}

static void replace_field(lua_State *L, const char *name, lua_CFunction watched)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, watched, 1);
    lua_setfield(L, -2, name);
}

void noeL_watchcoroutines(lua_State *L)
{
    lua_getglobal(L, LUA_COLIBNAME);
    if (lua_istable(L, -1)) {
        replace_field(L, "resume", watched_resume);
        replace_field(L, "wrap", watched_wrap);
    }
    lua_pop(L, 1);
}

bool noeL_wasinterrupted(void)
{
    return raised != 0;
}
