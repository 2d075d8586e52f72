/* SPDX-License-Identifier: MIT */
/*
 * The module `noether.signals`, for commands that serve: the first SIGTERM,
 * SIGINT or SIGHUP asks them to make an end, and is read from a descriptor; the
 * next one ends them. And for one that holds a session: SIGINT is for what it
 * runs, as often as it comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "front.h"

static const int watched[] = {SIGTERM, SIGINT, SIGHUP};

enum { COUNT = sizeof(watched) / sizeof(*watched) };

static int ends[2] = {-1, -1};

static void on_signal(int number)
{
    int saved = errno;

    for (size_t i = 0; i < COUNT; i++)
        signal(watched[i], SIG_DFL);
    (void)!write(ends[1], &number, 1);
    errno = saved;
}

static void on_interrupt(int number)
{
    int saved = errno;

    (void)!write(ends[1], &number, 1);
    errno = saved;
}

static void open_ends(lua_State *L)
{
    if (ends[0] < 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        luaL_error(L, "pipe2 failed");
}

/* signals.listen(): a descriptor that becomes readable at each SIGINT, which
 * does nothing else. */
static int signals_listen(lua_State *L)
{
    struct sigaction action = {.sa_handler = on_interrupt};

    open_ends(L);
    sigaction(SIGINT, &action, NULL);
    lua_pushinteger(L, ends[0]);
    return 1;
}

/* signals.watch(): a descriptor that becomes readable at the first of them. */
static int signals_watch(lua_State *L)
{
    struct sigaction action = {.sa_handler = on_signal};

    open_ends(L);
    for (size_t i = 0; i < COUNT; i++)
        sigaction(watched[i], &action, NULL);
    lua_pushinteger(L, ends[0]);
    return 1;
}

/* signals.came(): whether one came. */
static int signals_came(lua_State *L)
{
    char number;

    lua_pushboolean(L, ends[0] >= 0 && read(ends[0], &number, 1) == 1);
    return 1;
}

int luaopen_noether_signals(lua_State *L)
{
    static const luaL_Reg functions[] = {{"watch", signals_watch},
                                         {"listen", signals_listen},
                                         {"came", signals_came},
                                         {NULL, NULL}};

    luaL_newlib(L, functions);
    return 1;
}
