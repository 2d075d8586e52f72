/* SPDX-License-Identifier: MIT */
/* The module `spec.support.pty`: programs on terminals, for the specs. */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

static struct winsize window(lua_State *L, int first)
{
    return (struct winsize){
        .ws_row = (unsigned short)luaL_checkinteger(L, first),
        .ws_col = (unsigned short)luaL_checkinteger(L, first + 1),
    };
}

enum { MAX_WORDS = 64 };

static const char **words_at(lua_State *L, int arg, const char **words)
{
    int count = (int)luaL_len(L, arg);

    luaL_argcheck(L, count < MAX_WORDS, arg, "too many");
    luaL_checkstack(L, count, NULL);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, arg, i + 1);
        words[i] = lua_tostring(L, -1);
    }
    words[count] = NULL;
    return words;
}

/* start(argv, environment, rows, columns) -> descriptor, pid: starts a
 * program on a terminal of its own; the environment is a list of "NAME=value".
 */
static int pty_start(lua_State *L)
{
    const char *argv[MAX_WORDS], *environment[MAX_WORDS];
    struct winsize size = window(L, 3);
    int fd = -1;

    lua_settop(L, 4);
    words_at(L, 1, argv);
    words_at(L, 2, environment);
    pid_t pid = forkpty(&fd, NULL, NULL, &size);
    if (pid < 0)
        return luaL_error(L, "forkpty: %s", strerror(errno));
    if (pid == 0) {
        execve(argv[0], (char **)argv, (char **)environment);
        _exit(127);
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    lua_pushinteger(L, fd);
    lua_pushinteger(L, pid);
    return 2;
}

/* resize(descriptor, rows, columns) */
static int pty_resize(lua_State *L)
{
    struct winsize size = window(L, 2);

    ioctl((int)luaL_checkinteger(L, 1), TIOCSWINSZ, &size);
    return 0;
}

/* read(descriptor) -> what is there now, "" if nothing; nil at the end */
static int pty_read(lua_State *L)
{
    char text[4096];
    ssize_t len = read((int)luaL_checkinteger(L, 1), text, sizeof(text));

    if (len > 0)
        lua_pushlstring(L, text, (size_t)len);
    else if (len < 0 && errno == EAGAIN)
        lua_pushliteral(L, "");
    else
        lua_pushnil(L);
    return 1;
}

/* write(descriptor, text) -> how much of it was taken */
static int pty_write(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    ssize_t wrote = write((int)luaL_checkinteger(L, 1), text, len);

    lua_pushinteger(L, wrote < 0 ? 0 : wrote);
    return 1;
}

/* edits(descriptor) -> whether the terminal edits lines itself, as it does
 * where no program has taken that over. */
static int pty_edits(lua_State *L)
{
    struct termios settings;

    if (tcgetattr((int)luaL_checkinteger(L, 1), &settings) != 0)
        return luaL_error(L, "tcgetattr: %s", strerror(errno));
    lua_pushboolean(L, (settings.c_lflag & ICANON) != 0);
    return 1;
}

/* kill(pid, signal) */
static int pty_kill(lua_State *L)
{
    kill((pid_t)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2));
    return 0;
}

/* ended(pid) -> nil while it runs; then its exit code, or 128 and the signal;
 * once. */
static int pty_ended(lua_State *L)
{
    int status;

    if (waitpid((pid_t)luaL_checkinteger(L, 1), &status, WNOHANG) <= 0)
        return 0;
    lua_pushinteger(L, WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                           : WEXITSTATUS(status));
    return 1;
}

/* close(descriptor) */
static int pty_close(lua_State *L)
{
    close((int)luaL_checkinteger(L, 1));
    return 0;
}

static const luaL_Reg functions[] = {
    {"start", pty_start}, {"resize", pty_resize}, {"read", pty_read},
    {"write", pty_write}, {"edits", pty_edits},   {"kill", pty_kill},
    {"ended", pty_ended}, {"close", pty_close},   {NULL, NULL},
};

int luaopen_spec_support_pty(lua_State *L);

int luaopen_spec_support_pty(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
