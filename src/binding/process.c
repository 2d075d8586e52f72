/* SPDX-License-Identifier: MIT */
/*
 * Processes for Lua. process.lua checks what people pass and speaks to them;
 * here every table is read once, into memory that Lua owns, and acted on after,
 * so that nothing leaks when a wrong value raises half-way.
 */
#include "binding.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/launch.h"
#include "core/pid.h"

#ifndef NOE_JAIL_PATH
#define NOE_JAIL_PATH NULL
#endif

#define LAUNCHER "noether.launcher"
#define PROCESS "noether.process"
#define BLOCK "noether.block"

struct launcher {
    struct noe_launcher *launcher;
};

static int launcher_gc(lua_State *L)
{
    struct launcher *box = luaL_checkudata(L, 1, LAUNCHER);

    noe_launcher_close(box->launcher);
    box->launcher = NULL;
    return 0;
}

/* The state's own, made when it is first asked for; or nil and an error.
 * [-0, +1 | +2]; 0, or the number of results. */
static int noeL_pushlauncher(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;

    lua_getfield(L, LUA_REGISTRYINDEX, LAUNCHER ".instance");
    if (!lua_isnil(L, -1))
        return 0;
    lua_pop(L, 1);
    struct launcher *box = lua_newuserdata(L, sizeof(*box));
    box->launcher = NULL;
    luaL_getmetatable(L, LAUNCHER);
    lua_setmetatable(L, -2);
    if (noe_launcher_open(&box->launcher, NOE_JAIL_PATH, &err) != 0)
        return noeL_pusherror(L, &err);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, LAUNCHER ".instance");
    return 0;
}

/* A field of the table at `at`, checked. [-0, +1] */
static int field(lua_State *L, int at, const char *name, int type)
{
    lua_getfield(L, at, name);
    if (lua_isnil(L, -1))
        return 0;
    if (lua_type(L, -1) != type)
        luaL_error(L, "spawn: '%s' must be a %s, not a %s", name,
                   lua_typename(L, type), luaL_typename(L, -1));
    return 1;
}

static const char *text_field(lua_State *L, int at, const char *name)
{
    size_t len;
    const char *text = NULL;

    if (field(L, at, name, LUA_TSTRING)) {
        text = lua_tolstring(L, -1, &len);
        if (strlen(text) != len)
            luaL_error(L, "spawn: '%s' holds a NUL byte", name);
    }
    lua_pop(L, 1); /* the table keeps it */
    return text;
}

static bool flag_field(lua_State *L, int at, const char *name, bool otherwise)
{
    bool value = otherwise;

    if (field(L, at, name, LUA_TBOOLEAN))
        value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* A count; anything beyond what fits is "no limit". */
static uint64_t number_field(lua_State *L, int at, const char *name,
                             uint64_t otherwise)
{
    uint64_t value = otherwise;

    if (field(L, at, name, LUA_TNUMBER)) {
        lua_Number number = lua_tonumber(L, -1);
        if (!(number >= 0))
            luaL_error(L, "spawn: '%s' must not be negative", name);
        value = number >= 9.2e18 ? NOE_UNLIMITED : (uint64_t)number;
    }
    lua_pop(L, 1);
    return value;
}

/* A list of strings as a NULL-terminated vector, which is left on the stack;
 * the strings belong to the list. [-0, +1] */
static const char **noeL_pushvector(lua_State *L, int at, const char *name)
{
    if (!field(L, at, name, LUA_TTABLE)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    size_t count = lua_rawlen(L, -1);
    const char **vector = lua_newuserdata(L, (count + 1) * sizeof(*vector));
    for (size_t i = 0; i < count; i++) {
        size_t len;
        lua_rawgeti(L, -2, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "spawn: '%s' must hold strings", name);
        vector[i] = lua_tolstring(L, -1, &len);
        if (strlen(vector[i]) != len)
            luaL_error(L, "spawn: '%s' holds a NUL byte", name);
        lua_pop(L, 1);
    }
    vector[count] = NULL;
    lua_remove(L, -2);
    return vector;
}

/* A list of { source =, target = }. [-0, +1] */
static const struct noe_bind *noeL_pushbinds(lua_State *L, int at,
                                             const char *name, size_t *count)
{
    if (!field(L, at, name, LUA_TTABLE)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    *count = lua_rawlen(L, -1);
    struct noe_bind *binds = lua_newuserdata(L, (*count + 1) * sizeof(*binds));
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, -2, (int)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        binds[i].source = text_field(L, lua_gettop(L), "source");
        binds[i].target = text_field(L, lua_gettop(L), "target");
        lua_pop(L, 1);
    }
    lua_remove(L, -2);
    return binds;
}

static const char *const BACKENDS[] = {[NOE_BACKEND_NONE] = "none",
                                       [NOE_BACKEND_BWRAP] = "bwrap",
                                       [NOE_BACKEND_NATIVE] = "native",
                                       [NOE_BACKEND_LANDLOCK] = "landlock",
                                       [NOE_BACKEND_LANDLOCK + 1] = NULL};

static const char *const NETWORKS[] = {[NOE_NETWORK_NONE] = "none",
                                       [NOE_NETWORK_HOST] = "host",
                                       [NOE_NETWORK_LIST] = "list",
                                       [NOE_NETWORK_NO_IP] = "no_ip",
                                       [NOE_NETWORK_NO_IP + 1] = NULL};

/* Which of the words a field has, as its number. One that is not there is the
 * first; any other word is a mistake: taken for the first, it would be a wall
 * more or less than was asked for. */
static int word_field(lua_State *L, int at, const char *name,
                      const char *const *words)
{
    const char *given = text_field(L, at, name);

    for (int i = 0; given != NULL && words[i] != NULL; i++)
        if (strcmp(given, words[i]) == 0)
            return i;
    if (given != NULL)
        luaL_error(L, "spawn: no %s '%s'", name, given);
    return 0;
}

/* Pushes what the struct points to. [-0, +4] */
static void noeL_readsandbox(lua_State *L, int at, struct noe_sandbox *sandbox)
{
    *sandbox = (struct noe_sandbox){.size = sizeof(*sandbox)};
    sandbox->backend = (enum noe_backend)word_field(L, at, "backend", BACKENDS);
    sandbox->bwrap_path = text_field(L, at, "bwrap_path");
    sandbox->work_dir = text_field(L, at, "work_dir");
    sandbox->private_dir = text_field(L, at, "private_dir");
    sandbox->network = (enum noe_network)word_field(L, at, "network", NETWORKS);
    sandbox->processes = flag_field(L, at, "processes", false);
    sandbox->resolved = flag_field(L, at, "resolved", false);
    sandbox->ro_binds =
        noeL_pushbinds(L, at, "ro_binds", &sandbox->ro_bind_count);
    sandbox->rw_binds =
        noeL_pushbinds(L, at, "rw_binds", &sandbox->rw_bind_count);
    sandbox->links = noeL_pushbinds(L, at, "links", &sandbox->link_count);
    sandbox->hosts = noeL_pushvector(L, at, "hosts");
    while (sandbox->hosts[sandbox->host_count] != NULL)
        sandbox->host_count++;
    sandbox->learn = flag_field(L, at, "learn", false);
}

static void read_limits(lua_State *L, int at, struct noe_limits *limits)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        {"memory_bytes", offsetof(struct noe_limits, memory_bytes)},
        {"cpu_ms", offsetof(struct noe_limits, cpu_ms)},
        {"processes", offsetof(struct noe_limits, processes)},
        {"open_files", offsetof(struct noe_limits, open_files)},
        {"file_bytes", offsetof(struct noe_limits, file_bytes)},
        {"private_bytes", offsetof(struct noe_limits, private_bytes)},
        {"private_files", offsetof(struct noe_limits, private_files)},
        {"connections", offsetof(struct noe_limits, connections)},
        {"network_bytes", offsetof(struct noe_limits, network_bytes)}};

    noe_limits_init(limits);
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
        *(uint64_t *)((char *)limits + fields[i].offset) =
            number_field(L, at, fields[i].name, NOE_UNLIMITED);
}

static int64_t timeout_field(lua_State *L, int at)
{
    uint64_t ms = number_field(L, at, "timeout_ms", NOE_UNLIMITED);

    return ms > INT64_MAX ? -1 : (int64_t)ms;
}

static int fd_field(lua_State *L, int at)
{
    uint64_t fd = number_field(L, at, "fd", UINT64_MAX);

    return fd > INT_MAX ? -1 : (int)fd;
}

/* nil, { path = }, { fd =, share = }, or true: input in pieces. Pushes the
 * table that the path belongs to. [-0, +1] */
static void noeL_readstream(lua_State *L, int at, const char *name,
                            struct noe_stream *stream)
{
    lua_getfield(L, at, name);
    int own = lua_gettop(L);
    if (lua_isboolean(L, own)) {
        stream->kind = NOE_STREAM_PIECES;
    } else if (lua_istable(L, own)) {
        stream->path = text_field(L, own, "path");
        stream->fd = fd_field(L, own);
        stream->kind = NOE_STREAM_FD;
        if (stream->path != NULL)
            stream->kind = NOE_STREAM_PATH;
        else if (flag_field(L, own, "share", false))
            stream->kind = NOE_STREAM_SHARED;
    } else if (!lua_isnil(L, own)) {
        luaL_error(L, "spawn: '%s' must be a table", name);
    }
}

/* [-0, +3] */
static void noeL_readstreams(lua_State *L, int at, struct noe_stream streams[3],
                             struct noe_options *options)
{
    static const char *const names[] = {"stdin_from", "stdout_to", "stderr_to"};

    for (int i = 0; i < 3; i++) {
        streams[i] = (struct noe_stream){.size = sizeof(streams[i])};
        noeL_readstream(L, at, names[i], &streams[i]);
        options->streams[i] = &streams[i];
    }
    streams[1].tapped = flag_field(L, at, "tap_stdout", false);
    streams[2].tapped = flag_field(L, at, "tap_stderr", false);
}

static int poller_field(lua_State *L, int at)
{
    int fd = -1;

    lua_getfield(L, at, "poller");
    if (!lua_isnil(L, -1))
        fd = noeL_checkpoller(L, -1);
    lua_pop(L, 1);
    return fd;
}

struct process {
    struct noe_process *process;
    pid_t owner;
};

static struct process *check_process(lua_State *L)
{
    struct process *box = luaL_checkudata(L, 1, PROCESS);

    if (box->process == NULL)
        luaL_error(L, "the process is closed");
    if (box->owner != noe_pid_own())
        luaL_error(L, "the process belongs to the parent of this one");
    return box;
}

/* { server = process, ahead, place }: as struct noe_fork */
static bool read_fork(lua_State *L, int at, struct noe_fork *fork)
{
    *fork = (struct noe_fork){.size = sizeof(*fork)};
    if (!field(L, at, "fork", LUA_TTABLE)) {
        lua_pop(L, 1);
        return false;
    }
    int own = lua_gettop(L);
    fork->ahead = (size_t)number_field(L, own, "ahead", 0);
    fork->idle_ms = (int64_t)number_field(L, own, "idle_ms", 0);
    fork->place = text_field(L, own, "place");
    lua_getfield(L, own, "server");
    if (!lua_isnil(L, -1)) {
        struct process *server = luaL_checkudata(L, -1, PROCESS);
        if (server->process == NULL)
            luaL_error(L, "the process is closed");
        fork->server = server->process;
    }
    lua_pop(L, 1);
    return true; /* the table stays, for its texts */
}

/* The plain ones, of the table at `own`, which keeps their texts. */
static void read_options(lua_State *L, int own, struct noe_options *options)
{
    noe_options_init(options);
    options->cwd = text_field(L, own, "cwd");
    options->timeout_ms = timeout_field(L, own);
    options->max_output_bytes = (size_t)number_field(L, own, "max_output_bytes",
                                                     options->max_output_bytes);
    options->max_stderr_bytes = (size_t)number_field(L, own, "max_stderr_bytes",
                                                     options->max_stderr_bytes);
    options->supervise = flag_field(L, own, "supervise", true);
    options->wait_ms = (int64_t)number_field(L, own, "wait_ms", 0);
    options->launcher = flag_field(L, own, "launcher", true);
    options->poller = poller_field(L, own);
    options->hold_ms = (int64_t)number_field(L, own, "hold_ms", 0);
    if (flag_field(L, own, "shows_work", false))
        options->hold_ms = -1;
    if (field(L, own, "stdin", LUA_TSTRING))
        options->input = lua_tolstring(L, -1, &options->input_len);
    lua_pop(L, 1);
}

/* core.spawn{ argv, env, cwd, stdin, stdin_from, stdout_to, stderr_to,
 * tap_stdout, tap_stderr, timeout_ms, max_output_bytes, max_stderr_bytes,
 * supervise, fork, launcher, poller, limits, sandbox, hold_ms, max_frame_bytes
 * (then there is a channel), wait_ms (it is started ahead) } -> process, or nil
 * and an error */
static int process_spawn(lua_State *L)
{
    struct noe_options options;
    struct noe_limits limits;
    struct noe_sandbox sandbox;
    struct noe_stream streams[3];
    struct noe_channel channel = {.size = sizeof(channel)};
    struct noe_fork fork;
    struct noe_error err = NOE_ERROR_INIT;
    enum { OPTIONS = 1, HANDLE = 3 }; /* between them: the launcher */

    luaL_checktype(L, OPTIONS, LUA_TTABLE);
    lua_settop(L, OPTIONS);
    /* Made before the handle, hence finalized after it when the state closes:
     * a handle that is collected gives its child to the launcher. */
    int failed = noeL_pushlauncher(L);
    if (failed)
        return failed;
    struct launcher *launcher = lua_touserdata(L, -1);
    struct process *box = lua_newuserdata(L, sizeof(*box));
    *box = (struct process){NULL, noe_pid_own()};
    luaL_getmetatable(L, PROCESS);
    lua_setmetatable(L, HANDLE);
    /* The handle keeps the input, which is read while the program runs. */
    lua_pushvalue(L, OPTIONS);
    lua_setuservalue(L, HANDLE);

    read_options(L, OPTIONS, &options);
    noeL_readstreams(L, OPTIONS, streams, &options);
    channel.max_frame_bytes =
        (size_t)number_field(L, OPTIONS, "max_frame_bytes", 0);
    if (channel.max_frame_bytes > 0)
        options.channel = &channel;
    if (read_fork(L, OPTIONS, &fork))
        options.fork = &fork;
    if (field(L, OPTIONS, "limits", LUA_TTABLE)) {
        read_limits(L, lua_gettop(L), &limits);
        options.limits = &limits;
    }
    if (field(L, OPTIONS, "sandbox", LUA_TTABLE)) {
        noeL_readsandbox(L, lua_gettop(L), &sandbox);
        options.sandbox = &sandbox;
    }
    options.argv = noeL_pushvector(L, OPTIONS, "argv");
    options.envp = noeL_pushvector(L, OPTIONS, "env");
    if (noe_process_start(&box->process, launcher->launcher, &options, &err))
        return noeL_pusherror(L, &err);
    lua_settop(L, HANDLE);
    return 1;
}

/* A field as bytes; the table keeps them. */
static const void *bytes_field(lua_State *L, int at, const char *name,
                               size_t *len)
{
    const void *data = NULL;

    *len = 0;
    if (field(L, at, name, LUA_TSTRING))
        data = lua_tolstring(L, -1, len);
    lua_pop(L, 1);
    return data;
}

/* process:begin{ input, frame, timeout_ms, max_output_bytes, max_stderr_bytes,
 * poller, tap_stderr } -> true, or nil and an error */
static int process_begin(lua_State *L)
{
    struct process *box = check_process(L);
    struct noe_beginning beginning = {.size = sizeof(beginning)};
    struct noe_error err = NOE_ERROR_INIT;
    enum { OPTIONS = 2 };

    luaL_checktype(L, OPTIONS, LUA_TTABLE);
    lua_settop(L, OPTIONS);
    /* The handle keeps the input. */
    lua_getuservalue(L, 1);
    lua_pushvalue(L, OPTIONS);
    lua_setfield(L, -2, "beginning");
    beginning.input = bytes_field(L, OPTIONS, "input", &beginning.input_len);
    beginning.frame = bytes_field(L, OPTIONS, "frame", &beginning.frame_len);
    beginning.timeout_ms = timeout_field(L, OPTIONS);
    beginning.max_output_bytes =
        (size_t)number_field(L, OPTIONS, "max_output_bytes", SIZE_MAX);
    beginning.max_stderr_bytes =
        (size_t)number_field(L, OPTIONS, "max_stderr_bytes", SIZE_MAX);
    beginning.poller = poller_field(L, OPTIONS);
    beginning.taps_stderr = flag_field(L, OPTIONS, "tap_stderr", false);
    if (noe_process_begin(box->process, &beginning, &err) != 0)
        return noeL_pusherror(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* process:wait_longer(ms) -> whether it still waits */
static int process_wait_longer(lua_State *L)
{
    struct process *box = check_process(L);
    lua_Number ms = luaL_checknumber(L, 2);

    lua_pushboolean(L, noe_process_wait_longer(box->process, (int64_t)ms) == 0);
    return 1;
}

/* process:has_begun() -> whether its program has read any of its request */
static int process_has_begun(lua_State *L)
{
    lua_pushboolean(L, noe_process_has_begun(check_process(L)->process));
    return 1;
}

/* 1, 0 as a boolean; -1 as nil and an error. */
static int push_progress(lua_State *L, int progress,
                         const struct noe_error *err)
{
    if (progress < 0)
        return noeL_pusherror(L, err);
    lua_pushboolean(L, progress);
    return 1;
}

static int process_step(lua_State *L)
{
    struct process *box = check_process(L);
    struct noe_error err = NOE_ERROR_INIT;

    return push_progress(L, noe_process_step(box->process, &err), &err);
}

static int process_wait(lua_State *L)
{
    struct process *box = check_process(L);
    struct noe_error err = NOE_ERROR_INIT;
    int timeout_ms = noeL_totimeout(L, 2);

    return push_progress(L, noe_process_wait(box->process, timeout_ms, &err),
                         &err);
}

static int process_wait_started(lua_State *L)
{
    struct process *box = check_process(L);
    struct noe_error err = NOE_ERROR_INIT;
    int timeout_ms = noeL_totimeout(L, 2);

    return push_progress(
        L, noe_process_wait_started(box->process, timeout_ms, &err), &err);
}

/* process:take() -> what came on stdout and on stderr since the last call; nil
 * where nothing did, or where it is not tapped */
static int process_take(lua_State *L)
{
    struct process *box = check_process(L);

    for (int stream = 1; stream <= 2; stream++) {
        const char *data;
        size_t len = noe_process_take(box->process, stream, &data);
        if (len > 0)
            lua_pushlstring(L, data, len);
        else
            lua_pushnil(L);
    }
    return 2;
}

/* process:frame() -> the next frame that the program sent, or nil; then what
 * the channel is: "open", "closed", "broken", or nil where there is none */
static int process_frame(lua_State *L)
{
    static const char *const states[] = {[NOE_CHANNEL_NONE] = NULL,
                                         [NOE_CHANNEL_OPEN] = "open",
                                         [NOE_CHANNEL_CLOSED] = "closed",
                                         [NOE_CHANNEL_BROKEN] = "broken"};
    struct noe_process *process = check_process(L)->process;
    size_t len;
    const char *frame = noe_process_channel_take(process, &len);

    if (frame != NULL)
        lua_pushlstring(L, frame, len);
    else
        lua_pushnil(L);
    lua_pushstring(L, states[noe_process_channel_state(process)]);
    return 2;
}

/* process:send_frame(text) -> true, or nil and an error */
static int process_send_frame(lua_State *L)
{
    struct process *box = check_process(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    struct noe_error err = NOE_ERROR_INIT;

    if (noe_process_channel_put(box->process, text, len) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    noe_error_set(&err, NOE_FAULT_SYSTEM, errno, "channel", "%s", "");
    return noeL_pusherror(L, &err);
}

/* process:question() -> an id, a host and a port, to which the program wants to
 * connect; nil: there is none */
static int process_question(lua_State *L)
{
    uint32_t id;
    uint16_t port;
    const char *host =
        noe_process_question(check_process(L)->process, &id, &port);

    if (host == NULL)
        return 0;
    lua_pushinteger(L, (lua_Integer)id);
    lua_pushstring(L, host);
    lua_pushinteger(L, port);
    return 3;
}

/* process:answer(id, yes) -> whether anybody was there to be told */
static int process_answer(lua_State *L)
{
    struct noe_process *process = check_process(L)->process;
    uint32_t id = (uint32_t)luaL_checkinteger(L, 2);

    lua_pushboolean(
        L, noe_process_answer(process, id, lua_toboolean(L, 3) != 0) == 0);
    return 1;
}

/* process:put_file(text) -> true, or nil and an error */
static int process_put_file(lua_State *L)
{
    struct process *box = check_process(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    struct noe_error err = NOE_ERROR_INIT;

    if (noe_process_put_file(box->process, text, len) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    noe_error_set(&err, NOE_FAULT_SYSTEM, errno, "put_file", "%s", "");
    return noeL_pusherror(L, &err);
}

/* process:places() -> how many copies of a fork server can be had now */
static int process_places(lua_State *L)
{
    lua_pushinteger(L,
                    (lua_Integer)noe_process_places(check_process(L)->process));
    return 1;
}

/* process:retire(): a fork server makes no more copies */
static int process_retire(lua_State *L)
{
    noe_process_retire(check_process(L)->process);
    return 0;
}

/* process:work_dir() -> the directory in which the program had started, once it
 * may be looked at, and until when; or nil, and perhaps an error */
static int process_work_dir(lua_State *L)
{
    int64_t until_us;
    int fd = noe_process_work_dir(check_process(L)->process, &until_us);
    int count = fd < 0 ? 0 : noeL_pushdirectory(L, fd);

    if (count != 1)
        return count;
    lua_pushnumber(L, (lua_Number)until_us / 1e6);
    return 2;
}

/* process:release(): that directory is needed no more */
static int process_release(lua_State *L)
{
    noe_process_release(check_process(L)->process);
    return 0;
}

/* process:hungry() -> whether there is room for the next piece of input */
static int process_hungry(lua_State *L)
{
    lua_pushboolean(L, noe_process_hungry(check_process(L)->process));
    return 1;
}

/* process:feed(piece): the next piece of input; "" or nil is its end */
static int process_feed(lua_State *L)
{
    struct process *box = check_process(L);
    size_t len;
    const char *piece = luaL_optlstring(L, 2, "", &len);

    if (!noe_process_hungry(box->process))
        return 0;
    /* The handle keeps it until the next one comes. */
    lua_settop(L, 2);
    lua_getuservalue(L, 1);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "piece");
    noe_process_feed(box->process, piece, len);
    return 0;
}

/* process:rest(): there is no next piece yet */
static int process_rest(lua_State *L)
{
    noe_process_rest(check_process(L)->process);
    return 0;
}

static void set_seconds(lua_State *L, const char *name, int64_t microseconds)
{
    if (microseconds < 0)
        return;
    lua_pushnumber(L, (lua_Number)microseconds / 1e6);
    lua_setfield(L, -2, name);
}

static void set_count(lua_State *L, const char *name, uint64_t count)
{
#if LUA_VERSION_NUM >= 503
    lua_pushinteger(L, (lua_Integer)count);
#else
    lua_pushnumber(L, (lua_Number)count);
#endif
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void set_bytes(lua_State *L, const char *name, const char *data,
                      size_t len)
{
    lua_pushlstring(L, data != NULL ? data : "", len);
    lua_setfield(L, -2, name);
}

static void set_enforced(lua_State *L, uint32_t enforced)
{
    int count = 0;

    lua_newtable(L);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        const char *name = enforced & bit ? noe_enforced_name(bit) : NULL;
        if (name == NULL)
            continue;
        lua_pushstring(L, name);
        lua_rawseti(L, -2, ++count);
    }
    lua_setfield(L, -2, "enforced");
}

/* "SIGSEGV"; "SIG35" for one without a name. [-0, +1] */
static void push_signal_name(lua_State *L, int sig)
{
    const char *name = sigabbrev_np(sig);

    if (name != NULL)
        lua_pushfstring(L, "SIG%s", name);
    else
        lua_pushfstring(L, "SIG%d", sig);
}

/* core.signal_number("TERM" | "SIGTERM" | 15) -> 15, or nil */
static int process_signal_number(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TNUMBER) {
        lua_Number number = lua_tonumber(L, 1);
        if (!(number >= 1 && number < NSIG) || number != (int)number)
            return 0;
        lua_pushinteger(L, (int)number);
        return 1;
    }
    const char *name = luaL_checkstring(L, 1);
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (int sig = 1; sig < NSIG; sig++) {
        const char *known = sigabbrev_np(sig);
        if (known == NULL || strcmp(known, name) != 0)
            continue;
        lua_pushinteger(L, sig);
        return 1;
    }
    return 0;
}

/* process:result() -> the fields of a result that C knows; nil while it runs */
static int process_result(lua_State *L)
{
    struct process *box = check_process(L);
    const struct noe_result *result = noe_process_result(box->process);

    if (result == NULL)
        return 0;
    lua_createtable(L, 0, 20);
    lua_pushstring(L, noe_reason_name(result->reason));
    lua_setfield(L, -2, "reason");
    set_flag(L, "ok",
             result->reason == NOE_REASON_EXIT && result->exit_code == 0);
    if (result->exit_code >= 0)
        set_count(L, "exit_code", (uint64_t)result->exit_code);
    if (result->signal > 0) {
        push_signal_name(L, result->signal);
        lua_setfield(L, -2, "signal");
    }
    lua_pushstring(L, noe_process_by_launcher(box->process) ? "launcher"
                                                            : "direct");
    lua_setfield(L, -2, "launch");
    set_bytes(L, "stdout", result->output, result->output_len);
    set_bytes(L, "stderr", result->errors, result->errors_len);
    set_count(L, "stdout_bytes", result->output_bytes);
    set_count(L, "stderr_bytes", result->errors_bytes);
    set_flag(L, "stdout_truncated", result->output_truncated);
    set_flag(L, "stderr_truncated", result->errors_truncated);
    set_seconds(L, "duration_secs", result->duration_us);
    set_seconds(L, "answer_secs", result->answer_us);
    set_seconds(L, "cpu_user_secs", result->cpu_user_us);
    set_seconds(L, "cpu_system_secs", result->cpu_system_us);
    if (result->max_rss_bytes >= 0)
        set_count(L, "max_rss_bytes", (uint64_t)result->max_rss_bytes);
    if (result->denied_processes > 0)
        set_count(L, "denied_processes", result->denied_processes);
    if (result->at_process_limit)
        set_flag(L, "at_process_limit", true);
    if (result->denied_connections >= 0)
        set_count(L, "denied_connections",
                  (uint64_t)result->denied_connections);
    if (result->network != NULL)
        set_bytes(L, "network", result->network, result->network_len);
    if (result->failed_stream >= 0) {
        static const char *const names[] = {"stdin", "stdout", "stderr"};
        lua_pushstring(L, names[result->failed_stream]);
        lua_setfield(L, -2, "failed_stream");
        lua_pushstring(L, noe_errno_name(result->stream_code));
        lua_setfield(L, -2, "errno");
    }
    set_enforced(L, result->enforced);
    return 1;
}

/* process:setup_steps() -> list of { name =, secs = }; empty unless native */
static int process_setup_steps(lua_State *L)
{
    struct process *box = check_process(L);
    const char *name;
    uint32_t us;

    lua_newtable(L);
    for (int i = 0;
         noe_process_setup_step(box->process, (size_t)i, &name, &us) == 0;
         i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, name);
        lua_setfield(L, -2, "name");
        set_seconds(L, "secs", us);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int process_pollfd(lua_State *L)
{
    lua_pushinteger(L, noe_process_pollfd(check_process(L)->process));
    return 1;
}

static int process_timeout(lua_State *L)
{
    int ms = noe_process_timeout_ms(check_process(L)->process);

    if (ms < 0)
        return 0;
    lua_pushnumber(L, ms / 1000.0);
    return 1;
}

static int process_pid(lua_State *L)
{
    lua_pushinteger(L, noe_process_pid(check_process(L)->process));
    return 1;
}

/* process:kill(number) -> true, or nil and an error */
static int process_kill(lua_State *L)
{
    struct process *box = check_process(L);
    int sig = (int)luaL_checkinteger(L, 2);

    if (noe_process_kill(box->process, sig) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return noeL_pusherrno(L, errno, "kill");
}

/* process:kill_group(number) -> as of kill */
static int process_kill_group(lua_State *L)
{
    struct process *box = check_process(L);
    int sig = (int)luaL_checkinteger(L, 2);

    if (noe_process_kill_group(box->process, sig) != 0)
        return noeL_pusherrno(L, errno, "kill");
    lua_pushboolean(L, 1);
    return 1;
}

/* process:signalled() -> how many signals of kill_group were sent by now */
static int process_signalled(lua_State *L)
{
    uint64_t count = noe_process_signalled(check_process(L)->process);

    lua_pushinteger(L, (lua_Integer)count);
    return 1;
}

/* process:set_terms([timeout_ms], [cpu_ms]) -> as of kill */
static int process_set_terms(lua_State *L)
{
    struct process *box = check_process(L);
    lua_Number timeout_ms = luaL_optnumber(L, 2, -1);
    lua_Number cpu_ms = luaL_optnumber(L, 3, -1);
    uint64_t cpu = NOE_UNLIMITED;
    const lua_Number most = 1e15;

    if (cpu_ms >= 0 && cpu_ms < most)
        cpu = (uint64_t)cpu_ms;
    if (!(timeout_ms < most))
        timeout_ms = -1;
    if (noe_process_set_terms(box->process, (int64_t)timeout_ms, cpu) != 0)
        return noeL_pusherrno(L, errno, "send");
    lua_pushboolean(L, 1);
    return 1;
}

static int process_cancel(lua_State *L)
{
    noe_process_cancel(check_process(L)->process);
    return 0;
}

static int process_close(lua_State *L)
{
    struct process *box = luaL_checkudata(L, 1, PROCESS);

    noe_process_close(box->process);
    box->process = NULL;
    return 0;
}

/* A vector from the core, freed even if a push raises. */
struct block {
    char **strings;
};

static int block_gc(lua_State *L)
{
    struct block *block = lua_touserdata(L, 1);

    free(block->strings);
    block->strings = NULL;
    return 0;
}

/* core.bwrap_argv(sandbox, limits, argv) -> list, or nil and an error */
static int process_bwrap_argv(lua_State *L)
{
    struct noe_sandbox sandbox;
    struct noe_limits limits;
    struct noe_error err = NOE_ERROR_INIT;

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    noeL_readsandbox(L, 1, &sandbox);
    read_limits(L, 2, &limits);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "argv");
    const char **program = noeL_pushvector(L, lua_gettop(L), "argv");
    struct block *block = lua_newuserdata(L, sizeof(*block));
    block->strings = NULL;
    luaL_getmetatable(L, BLOCK);
    lua_setmetatable(L, -2);
    block->strings = noe_sandbox_bwrap_argv(&sandbox, &limits, program, &err);
    if (block->strings == NULL)
        return noeL_pusherror(L, &err);
    lua_newtable(L);
    for (int i = 0; block->strings[i] != NULL; i++) {
        lua_pushstring(L, block->strings[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* core.reap(): reaps what closed handles left, as far as it has ended. Every
 * spawn and close does so too. */
static int process_reap(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, LAUNCHER ".instance");
    struct launcher *box = lua_touserdata(L, -1);
    if (box != NULL && box->launcher != NULL)
        noe_launcher_reap(box->launcher);
    return 0;
}

/* core.pretend{ landlock =, memory_programs =, cgroups =, launcher =, idle_ms =
 * }: for tests, as if the kernel had less than it has; what is not named is
 * there. */
static int process_pretend(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct noe_pretence pretence = {
        .landlock = (uint32_t)number_field(L, 1, "landlock", UINT32_MAX),
        .no_memory_programs = !flag_field(L, 1, "memory_programs", true),
        .no_cgroups = !flag_field(L, 1, "cgroups", true),
        .no_launcher = !flag_field(L, 1, "launcher", true),
        .idle_ms = (uint32_t)number_field(L, 1, "idle_ms", 0)};
    int failed = noeL_pushlauncher(L);
    if (failed)
        return failed;
    struct launcher *launcher = lua_touserdata(L, -1);
    noe_launcher_pretend(launcher->launcher, &pretence);
    return 0;
}

/* core.use_supervisor(path): where a copy of the supervisor's program lies, for
 * a kernel that runs nothing from memory; true, or nil and a failure */
static int process_use_supervisor(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct noe_error err = NOE_ERROR_INIT;
    int failed = noeL_pushlauncher(L);

    if (failed)
        return failed;
    struct launcher *launcher = lua_touserdata(L, -1);
    if (noe_launcher_use_copy(launcher->launcher, path, &err) != 0)
        return noeL_pusherror(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.launcher() -> the id of the process that makes supervisors, or nil, and
 * a list of the descriptors that are kept between runs */
static int process_launcher(lua_State *L)
{
    enum { MOST = 256 };
    int fds[MOST];
    size_t count = 0;
    int pid = -1;

    lua_getfield(L, LUA_REGISTRYINDEX, LAUNCHER ".instance");
    struct launcher *box = lua_touserdata(L, -1);
    if (box != NULL && box->launcher != NULL) {
        count = noe_launcher_descriptors(box->launcher, fds, MOST);
        pid = noe_launcher_pid(box->launcher);
    }
    if (pid > 0)
        lua_pushinteger(L, pid);
    else
        lua_pushnil(L);
    lua_newtable(L);
    for (size_t i = 0; i < count && i < MOST; i++) {
        lua_pushinteger(L, fds[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 2;
}

/* core.fork_helper() -> what a fork server loads, as a string */
static int process_fork_helper(lua_State *L)
{
    size_t len;
    const void *helper = noe_fork_helper(&len);

    lua_pushlstring(L, helper, len);
    return 1;
}

/* core.jail_image() -> the supervisor's program, as a string */
static int process_jail_image(lua_State *L)
{
    size_t len;
    const void *image = noe_launcher_image(&len);

    lua_pushlstring(L, image, len);
    return 1;
}

void noeL_open_process(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"spawn", process_spawn},
        {"bwrap_argv", process_bwrap_argv},
        {"signal_number", process_signal_number},
        {"reap", process_reap},
        {"jail_image", process_jail_image},
        {"fork_helper", process_fork_helper},
        {"use_supervisor", process_use_supervisor},
        {"pretend", process_pretend},
        {"launcher", process_launcher},
        {NULL, NULL}};
    static const luaL_Reg methods[] = {{"begin", process_begin},
                                       {"wait_longer", process_wait_longer},
                                       {"has_begun", process_has_begun},
                                       {"step", process_step},
                                       {"wait", process_wait},
                                       {"wait_started", process_wait_started},
                                       {"take", process_take},
                                       {"frame", process_frame},
                                       {"send_frame", process_send_frame},
                                       {"question", process_question},
                                       {"answer", process_answer},
                                       {"put_file", process_put_file},
                                       {"places", process_places},
                                       {"retire", process_retire},
                                       {"work_dir", process_work_dir},
                                       {"release", process_release},
                                       {"hungry", process_hungry},
                                       {"feed", process_feed},
                                       {"rest", process_rest},
                                       {"result", process_result},
                                       {"setup_steps", process_setup_steps},
                                       {"pollfd", process_pollfd},
                                       {"timeout", process_timeout},
                                       {"pid", process_pid},
                                       {"kill", process_kill},
                                       {"kill_group", process_kill_group},
                                       {"signalled", process_signalled},
                                       {"set_terms", process_set_terms},
                                       {"cancel", process_cancel},
                                       {"close", process_close},
                                       {NULL, NULL}};
    static const luaL_Reg finalizers[] = {
        {"__gc", process_close}, {"__close", process_close}, {NULL, NULL}};
    static const luaL_Reg block_finalizers[] = {{"__gc", block_gc},
                                                {NULL, NULL}};
    static const luaL_Reg no_methods[] = {{NULL, NULL}};
    static const luaL_Reg launcher_finalizers[] = {{"__gc", launcher_gc},
                                                   {NULL, NULL}};

    noeL_newtype(L, PROCESS, methods, finalizers);
    noeL_newtype(L, LAUNCHER, no_methods, launcher_finalizers);
    noeL_newtype(L, BLOCK, no_methods, block_finalizers);
    luaL_setfuncs(L, functions, 0);
}
