/* SPDX-License-Identifier: MIT */
/*
 * Waiting for descriptors: a set of them that is itself one descriptor, and a
 * plain poll of a list. A set may have an alarm, so that a moment in time makes
 * its descriptor readable too. set.lua decides what is waited for, and when.
 */
#include "binding.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/error.h"
#include "core/pid.h"
#include "base/fd.h"

#define POLLER "noether.poller"

enum { ALARM = 0 }; /* what is reported of it; other numbers are the caller's */

struct poller {
    int fd;
    int alarm; /* made when it is first set */
    pid_t owner;
};

/* A forked copy of the host shares the set with it: what it put in, its parent
 * would be woken by. */
static struct poller *check_poller(lua_State *L)
{
    struct poller *poller = luaL_checkudata(L, 1, POLLER);

    if (poller->fd < 0)
        luaL_error(L, "the poller is closed");
    if (poller->owner != noe_pid_own())
        luaL_error(L, "the poller belongs to the parent of this process");
    return poller;
}

int noeL_checkpoller(lua_State *L, int at)
{
    return ((struct poller *)luaL_checkudata(L, at, POLLER))->fd;
}

int noeL_totimeout(lua_State *L, int at)
{
    if (lua_isnoneornil(L, at))
        return -1;
    lua_Number ms = luaL_checknumber(L, at) * 1000;
    if (!(ms > 0))
        return 0;
    return ms >= INT_MAX - 1 ? -1 : (int)ms + ((lua_Number)(int)ms < ms);
}

static int poller_close(lua_State *L)
{
    struct poller *poller = luaL_checkudata(L, 1, POLLER);

    noe_fd_close(&poller->fd);
    noe_fd_close(&poller->alarm);
    return 0;
}

static int poller_pollfd(lua_State *L)
{
    lua_pushinteger(L, check_poller(L)->fd);
    return 1;
}

static int watch(const struct poller *poller, int fd, uint64_t number)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = number}};

    return epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event);
}

/* poller:add(fd, number): true, or nil and an error. The number, above
 * 0, is what wait tells of the descriptor. */
static int poller_add(lua_State *L)
{
    struct poller *poller = check_poller(L);
    int fd = (int)luaL_checkinteger(L, 2);
    lua_Number number = luaL_checknumber(L, 3);

    luaL_argcheck(L, number > ALARM, 3, "a number above 0 expected");
    if (watch(poller, fd, (uint64_t)number) != 0)
        return noeL_pusherrno(L, errno, "epoll_ctl");
    lua_pushboolean(L, 1);
    return 1;
}

/* poller:remove(fd): no matter whether it is there. */
static int poller_remove(lua_State *L)
{
    struct poller *poller = check_poller(L);

    (void)epoll_ctl(poller->fd, EPOLL_CTL_DEL, (int)luaL_checkinteger(L, 2),
                    NULL);
    return 0;
}

static int need_alarm(struct poller *poller)
{
    if (poller->alarm >= 0)
        return 0;
    poller->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (poller->alarm < 0)
        return -1;
    if (watch(poller, poller->alarm, ALARM) == 0)
        return 0;
    noe_fd_close(&poller->alarm);
    return -1;
}

/* A time of zero would switch the alarm off. */
static struct itimerspec in_seconds(lua_Number secs)
{
    const lua_Number century = 3e9;
    struct itimerspec when = {.it_value = {0, 1}};

    if (secs > century)
        secs = century;
    if (secs > 1e-9) {
        when.it_value.tv_sec = (time_t)secs;
        when.it_value.tv_nsec =
            (long)((secs - (lua_Number)when.it_value.tv_sec) * 1e9);
    }
    if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0)
        when.it_value.tv_nsec = 1;
    return when;
}

/* poller:alarm([secs]): the descriptor becomes readable after that time, and
 * stays so until the next wait; nil takes the alarm back. True, or nil
 * and an error. */
static int poller_alarm(lua_State *L)
{
    struct poller *poller = check_poller(L);
    struct itimerspec when = {.it_value = {0, 0}};

    if (!lua_isnoneornil(L, 2))
        when = in_seconds(luaL_checknumber(L, 2));
    else if (poller->alarm < 0)
        return 0;
    if (need_alarm(poller) != 0 ||
        timerfd_settime(poller->alarm, 0, &when, NULL) != 0)
        return noeL_pusherrno(L, errno, "timerfd");
    lua_pushboolean(L, 1);
    return 1;
}

static void silence_alarm(const struct poller *poller)
{
    uint64_t times;

    (void)!read(poller->alarm, &times, sizeof(times));
}

/* poller:wait(secs, list) -> how many descriptors are ready, but for the alarm;
 * their numbers are in the list. Not all, if they are many: the others come
 * first the next time. */
static int poller_wait(lua_State *L)
{
    enum { MAX_EVENTS = 256 };
    struct epoll_event events[MAX_EVENTS];
    struct poller *poller = check_poller(L);
    int timeout_ms = noeL_totimeout(L, 2);
    int ready = 0;

    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    int count = epoll_wait(poller->fd, events, MAX_EVENTS, timeout_ms);
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == ALARM) {
            silence_alarm(poller);
            continue;
        }
        lua_pushnumber(L, (lua_Number)events[i].data.u64);
        lua_rawseti(L, 3, ++ready);
    }
    lua_pushinteger(L, ready);
    return 1;
}

/* core.poller() -> an epoll descriptor that outlives what is in it */
static int poller_new(lua_State *L)
{
    struct poller *poller = lua_newuserdata(L, sizeof(*poller));

    *poller = (struct poller){-1, -1, noe_pid_own()};
    luaL_getmetatable(L, POLLER);
    lua_setmetatable(L, -2);
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd >= 0)
        return 1;
    return noeL_pusherrno(L, errno, "epoll_create1");
}

/* core.poll(fds, secs [, list]) -> how many are readable; their positions are
 * in the list */
static int poller_poll(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    size_t count = lua_rawlen(L, 1);
    int timeout_ms = noeL_totimeout(L, 2);
    int ready = 0;
    struct pollfd *fds = lua_newuserdata(L, (count + 1) * sizeof(*fds));

    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        fds[i] = (struct pollfd){(int)luaL_checkinteger(L, -1), POLLIN, 0};
        lua_pop(L, 1);
    }
    int found = poll(fds, count, timeout_ms);
    for (size_t i = 0; i < count && ready < found; i++) {
        if (fds[i].revents == 0)
            continue;
        lua_pushinteger(L, (lua_Integer)i + 1);
        lua_rawseti(L, 3, ++ready);
    }
    lua_pushinteger(L, ready);
    return 1;
}

void noeL_open_poller(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"poller", poller_new}, {"poll", poller_poll}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"pollfd", poller_pollfd},
                                       {"add", poller_add},
                                       {"remove", poller_remove},
                                       {"alarm", poller_alarm},
                                       {"wait", poller_wait},
                                       {"close", poller_close},
                                       {NULL, NULL}};
    static const luaL_Reg finalizers[] = {
        {"__gc", poller_close}, {"__close", poller_close}, {NULL, NULL}};

    noeL_newtype(L, POLLER, methods, finalizers);
    luaL_setfuncs(L, functions, 0);
}
