/* SPDX-License-Identifier: MIT */
/*
 * A descriptor of the host's own, read or written without waiting and without
 * a change that others who share it would notice. Its pollfd is readable when
 * there is something to read, or room to write.
 */
#include "binding.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "core/error.h"
#include "core/far.h"

#define STREAM "noether.stream"

enum { PIECE = 65536 };

struct stream {
    struct noe_far far;
    int poller;
    bool writes;
};

static struct stream *check_stream(lua_State *L)
{
    struct stream *stream = luaL_checkudata(L, 1, STREAM);

    if (stream->poller < 0)
        luaL_error(L, "the stream is closed");
    return stream;
}

static bool would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* stream:read([max]) -> a piece; "" at the end; false where there is nothing
 * yet; or nil and an error. */
static int stream_read(lua_State *L)
{
    struct stream *stream = check_stream(L);
    lua_Integer max = luaL_optinteger(L, 2, PIECE);
    luaL_argcheck(L, max > 0 && max <= 16 * PIECE, 2, "1 to 1 MiB");
    char *piece = lua_newuserdata(L, (size_t)max);
    ssize_t got = noe_far_read(&stream->far, piece, (size_t)max);

    if (got < 0 && !would_wait())
        return noeL_pusherrno(L, errno, "read");
    if (got < 0)
        lua_pushboolean(L, 0);
    else
        lua_pushlstring(L, piece, (size_t)got);
    return 1;
}

/* stream:write(text, from) -> how many bytes of it went, from the byte at that
 * position on; 0 where there is no room yet; or nil and an error. */
static int stream_write(lua_State *L)
{
    struct stream *stream = check_stream(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    lua_Integer from = luaL_optinteger(L, 3, 1);
    luaL_argcheck(L, from >= 1 && (size_t)from <= len + 1, 3,
                  "a position in the text expected");
    size_t left = len - (size_t)(from - 1);
    ssize_t wrote = noe_far_write(&stream->far, text + from - 1,
                                  left < PIECE ? left : PIECE);

    if (wrote < 0 && !would_wait())
        return noeL_pusherrno(L, errno, "write");
    lua_pushinteger(L, wrote < 0 ? 0 : (lua_Integer)wrote);
    return 1;
}

/* stream:watch(wanted): whether its pollfd is to become readable. True where
 * there is nothing to wait for: files are always ready. */
static int stream_watch(lua_State *L)
{
    struct stream *stream = check_stream(L);
    uint32_t events = stream->writes ? EPOLLOUT : EPOLLIN;

    if (stream->far.pollable)
        (void)noe_watch(stream->poller, &stream->far.end,
                        lua_toboolean(L, 2) ? events : 0);
    lua_pushboolean(L, !stream->far.pollable);
    return 1;
}

static int stream_pollfd(lua_State *L)
{
    lua_pushinteger(L, check_stream(L)->poller);
    return 1;
}

static int stream_close(lua_State *L)
{
    struct stream *stream = luaL_checkudata(L, 1, STREAM);

    noe_watch_end(stream->poller, &stream->far.end);
    noe_fd_close(&stream->poller);
    return 0;
}

static int open_stream(struct stream *stream, int fd, struct noe_error *err)
{
    const struct noe_stream from = {.kind = NOE_STREAM_FD, .fd = fd};

    stream->poller = epoll_create1(EPOLL_CLOEXEC);
    if (stream->poller < 0)
        return noe_error_set(err, NOE_FAULT_SYSTEM, errno, "epoll_create1",
                             "%s", "");
    if (noe_far_open(&stream->far, &from, stream->writes, stream->poller,
                     stream->writes ? "stdout" : "stdin", err) == 0)
        return 0;
    noe_fd_close(&stream->poller);
    return -1;
}

/* core.stream(fd, writes) -> a stream; or nil and an error */
static int stream_new(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    bool writes = lua_toboolean(L, 2);
    struct noe_error err = {.size = sizeof(err)};
    struct stream *stream = lua_newuserdata(L, sizeof(*stream));

    *stream = (struct stream){.poller = -1, .writes = writes};
    stream->far.end.fd = -1;
    luaL_getmetatable(L, STREAM);
    lua_setmetatable(L, -2);
    if (open_stream(stream, fd, &err) == 0)
        return 1;
    return noeL_pusherror(L, &err);
}

void noeL_open_stream(lua_State *L)
{
    static const luaL_Reg functions[] = {{"stream", stream_new}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"read", stream_read},   {"write", stream_write},
        {"watch", stream_watch}, {"pollfd", stream_pollfd},
        {"close", stream_close}, {NULL, NULL}};
    static const luaL_Reg finalizers[] = {
        {"__gc", stream_close}, {"__close", stream_close}, {NULL, NULL}};

    noeL_newtype(L, STREAM, methods, finalizers);
    luaL_setfuncs(L, functions, 0);
}
