/* SPDX-License-Identifier: MIT */
/*
 * The module `noether.redis`: connections to a Redis server, and nothing that
 * decides. Where hiredis was not there when it was built it can be loaded, and
 * says so. lua/noether/fleet/ has the rest.
 */
#include <lauxlib.h>
#include <lua.h>

#include "socket.h"

int luaopen_noether_redis(lua_State *L);

#define VISIBLE __attribute__((visibility("default")))

#ifndef HAS_HIREDIS
VISIBLE int luaopen_noether_redis(lua_State *L)
{
    lua_newtable(L);
    return 1;
}
#else

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTION "noether.redis"

enum { MOST_WORDS = 1024, MOST_RANDOM = 256 };

/* What is handed to Lua is held until it is there: Lua may run out of memory
 * in between. */
struct connection {
    struct redis_socket socket;
    struct redis_reply *reply;
};

static struct connection *check_connection(lua_State *L)
{
    struct connection *own = luaL_checkudata(L, 1, CONNECTION);

    if (own->socket.poller < 0)
        luaL_error(L, "the connection is closed");
    return own;
}

/* nil, a message, and the errno's name where there is one. [-0, +3] */
static int push_failure(lua_State *L, int code, const char *why)
{
    const char *text = why;

    if (text == NULL)
        text = code != 0 ? strerrordesc_np(code) : NULL;
    lua_pushnil(L);
    lua_pushstring(L, text != NULL ? text : "it failed");
    if (code != 0)
        lua_pushstring(L, strerrorname_np(code));
    else
        lua_pushnil(L);
    return 3;
}

static int push_own_failure(lua_State *L, const struct connection *own)
{
    return push_failure(L, own->socket.code, own->socket.why);
}

static int connection_close(lua_State *L)
{
    struct connection *own = luaL_checkudata(L, 1, CONNECTION);

    redis_reply_free(own->reply);
    own->reply = NULL;
    redis_socket_end(&own->socket);
    return 0;
}

static int connection_pollfd(lua_State *L)
{
    lua_pushinteger(L, check_connection(L)->socket.poller);
    return 1;
}

static int connection_unsent(lua_State *L)
{
    struct connection *own = check_connection(L);

    lua_pushnumber(L, (lua_Number)redis_socket_unsent(&own->socket));
    return 1;
}

/* connection:moved(): how many bytes came and went by this connection. */
static int connection_moved(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)check_connection(L)->socket.moved);
    return 1;
}

/* connection:shut(): ends what is connected; it can be opened again. */
static int connection_shut(lua_State *L)
{
    redis_socket_shut(&check_connection(L)->socket);
    return 0;
}

static const char *field(lua_State *L, int at, const char *name)
{
    lua_getfield(L, at, name);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1); /* the table keeps it */
    return text;
}

static struct redis_tls *open_tls(lua_State *L, int at, const char **why)
{
    struct redis_tls_names names = {.host = field(L, at, "host"),
                                    .ca_file = field(L, at, "ca_file"),
                                    .cert_file = field(L, at, "cert_file"),
                                    .key_file = field(L, at, "key_file")};

    luaL_argcheck(L, names.host != NULL && names.ca_file != NULL, at,
                  "host and ca_file expected");
    return redis_tls_new(&names, why);
}

/* connection:open(bounds, path), or (bounds, address, port [, tls]): begins to
 * connect; true, or nil, a message and an errno's name. `bounds`: `values` and
 * `bytes` of one reply. `tls`: `host`, `ca_file`, `cert_file`, `key_file`. */
static int connection_open(lua_State *L)
{
    struct connection *own = check_connection(L);
    struct redis_bounds bounds;
    struct redis_tls *tls = NULL;
    const char *why = NULL;
    const char *address = luaL_checkstring(L, 3);
    const char *port = luaL_optstring(L, 4, NULL);

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "values");
    lua_getfield(L, 2, "bytes");
    bounds.values = (size_t)luaL_checknumber(L, -2);
    bounds.bytes = (size_t)luaL_checknumber(L, -1);
    lua_pop(L, 2);
    if (lua_istable(L, 5)) {
        tls = open_tls(L, 5, &why);
        if (tls == NULL)
            return push_failure(L, 0, why);
    }
    if (redis_socket_open(&own->socket, address, port, tls, bounds) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    int count = push_own_failure(L, own);
    redis_socket_shut(&own->socket);
    return count;
}

/* connection:send(words): appends a command of at most 1024 strings to what is
 * sent by the next steps. True, or nil, a message and an errno's name. */
static int connection_send(lua_State *L)
{
    const char *words[MOST_WORDS];
    size_t lens[MOST_WORDS];
    struct connection *own = check_connection(L);
    int count = 0;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    for (;; count++) {
        lua_rawgeti(L, 2, count + 1);
        if (lua_isnil(L, -1))
            break;
        if (count == MOST_WORDS || lua_type(L, -1) != LUA_TSTRING)
            return luaL_error(L, "a command is of at most %d strings",
                              MOST_WORDS);
        words[count] = lua_tolstring(L, -1, &lens[count]); /* the table's */
        lua_pop(L, 1);
    }
    if (redis_socket_add(&own->socket, count, words, lens) != 0)
        return push_own_failure(L, own);
    lua_pushboolean(L, 1);
    return 1;
}

/* connection:step(): goes on without waiting; whether it is connected; or nil,
 * a message and an errno's name, and then there is no connection any more. */
static int connection_step(lua_State *L)
{
    struct connection *own = check_connection(L);

    if (redis_socket_step(&own->socket) != 0)
        return push_own_failure(L, own);
    lua_pushboolean(L, own->socket.connected);
    return 1;
}

/* connection:flush(): sends what it can; true, or as of step. What has come is
 * left for step, by which it is noticed. */
static int connection_flush(lua_State *L)
{
    struct connection *own = check_connection(L);

    if (redis_socket_flush(&own->socket) != 0)
        return push_own_failure(L, own);
    lua_pushboolean(L, 1);
    return 1;
}

/* A reply as a value: text and status as strings, numbers, nothing as false,
 * what failed as { failed = text }, lists. [-0, +1] */
static void push_reply(lua_State *L, const struct redis_reply *reply)
{
    luaL_checkstack(L, 4, "a reply is nested too deep");
    switch (reply->kind) {
    case REDIS_NUMBER:
        lua_pushnumber(L, (lua_Number)reply->number);
        break;
    case REDIS_NOTHING:
        lua_pushboolean(L, 0);
        break;
    case REDIS_FAILURE:
        lua_createtable(L, 0, 1);
        lua_pushlstring(L, reply->text, reply->len);
        lua_setfield(L, -2, "failed");
        break;
    case REDIS_LIST:
        lua_createtable(L, (int)reply->len, 0);
        for (size_t i = 0; i < reply->len; i++) {
            push_reply(L, reply->items[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    case REDIS_TEXT:
    case REDIS_STATUS:
        lua_pushlstring(L, reply->text, reply->len);
        break;
    }
}

/* connection:next(): true and the next reply; false where there is none yet; or
 * nil and a message, and nothing more can be read. */
static int connection_next(lua_State *L)
{
    struct connection *own = check_connection(L);

    if (own->socket.inbox == NULL) {
        lua_pushboolean(L, 0);
        return 1;
    }
    redis_reply_free(own->reply);
    own->reply = NULL;
    if (redis_inbox_next(own->socket.inbox, &own->reply) != 0)
        return push_failure(L, EPROTO, redis_inbox_why(own->socket.inbox));
    lua_pushboolean(L, own->reply != NULL);
    if (own->reply == NULL)
        return 1;
    push_reply(L, own->reply);
    redis_reply_free(own->reply);
    own->reply = NULL;
    return 2;
}

/* redis.connection(): one that is not opened yet; or nil, a message and an
 * errno's name. */
static int connection_new(lua_State *L)
{
    struct connection *own = lua_newuserdata(L, sizeof(*own));

    memset(own, 0, sizeof(*own));
    own->socket.poller = own->socket.fd = -1;
    luaL_getmetatable(L, CONNECTION);
    lua_setmetatable(L, -2);
    if (redis_socket_init(&own->socket) == 0)
        return 1;
    return push_failure(L, errno, NULL);
}

/* redis.random(count): so many bytes that nobody can guess. */
static int redis_random(lua_State *L)
{
    char bytes[MOST_RANDOM];
    lua_Integer count = luaL_checkinteger(L, 1);

    luaL_argcheck(L, count > 0 && count <= MOST_RANDOM, 1, "1 to 256");
    if (getrandom(bytes, (size_t)count, 0) != (ssize_t)count)
        return luaL_error(L, "getrandom: %s", strerrordesc_np(errno));
    lua_pushlstring(L, bytes, (size_t)count);
    return 1;
}

/* redis.notify(path, text): a datagram to a Unix socket; "@" begins the name of
 * an abstract one. True, or nil, a message and an errno's name. */
static int redis_notify(lua_State *L)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t path_len, len;
    const char *path = luaL_checklstring(L, 1, &path_len);
    const char *text = luaL_checklstring(L, 2, &len);

    if (path_len == 0 || path_len >= sizeof(address.sun_path))
        return push_failure(L, ENAMETOOLONG, NULL);
    memcpy(address.sun_path, path, path_len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    socklen_t whole =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ssize_t sent = -1;
    if (fd >= 0)
        sent = sendto(fd, text, len, MSG_NOSIGNAL, (struct sockaddr *)&address,
                      whole);
    int code = errno;
    if (fd >= 0)
        close(fd);
    if (sent < 0)
        return push_failure(L, code, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

/* Puts functions into the table on the top, in every Lua. [-0, +0] */
static void add(lua_State *L, const luaL_Reg *functions)
{
    for (; functions->name != NULL; functions++) {
        lua_pushcfunction(L, functions->func);
        lua_setfield(L, -2, functions->name);
    }
}

VISIBLE int luaopen_noether_redis(lua_State *L)
{
    static const luaL_Reg functions[] = {{"connection", connection_new},
                                         {"random", redis_random},
                                         {"notify", redis_notify},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{"open", connection_open},
                                       {"send", connection_send},
                                       {"step", connection_step},
                                       {"flush", connection_flush},
                                       {"next", connection_next},
                                       {"unsent", connection_unsent},
                                       {"moved", connection_moved},
                                       {"pollfd", connection_pollfd},
                                       {"shut", connection_shut},
                                       {"close", connection_close},
                                       {NULL, NULL}};
    static const luaL_Reg finalizers[] = {{"__gc", connection_close},
                                          {"__close", connection_close},
                                          {NULL, NULL}};

    luaL_newmetatable(L, CONNECTION);
    lua_pushstring(L, CONNECTION);
    lua_setfield(L, -2, "__name");
    add(L, finalizers);
    lua_newtable(L);
    add(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    add(L, functions);
    return 1;
}
#endif
