/* SPDX-License-Identifier: MIT */
/*
 * noether-lua: a Lua interpreter that takes what `lua` takes, with the library
 * and all it needs inside, so that this one file can be copied anywhere. Called
 * `noether`, it is the command of that name.
 *
 * Here is what the command line asks for. libraries.c has what differs from
 * `lua` in loading modules, prompt.c and editor.c what the prompt needs of C.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "front.h"
#include "noether.h"

/* The command line, as understood before anything of it is done. */
struct command {
    int argc;
    char **argv;
    int script; /* index in argv; argc if there is no script */
    int wrong;  /* index of an argument that cannot be used, or 0 */
    bool interactive;
    bool version;
    bool statement;
    bool ignore_environment;
};

const char *front_program = "noether-lua";

static void print_version(void)
{
    printf("%s\nnoether %s\n", LUA_COPYRIGHT, NOE_VERSION);
    fflush(stdout);
}

static void print_usage(const struct command *command)
{
    const char *wrong = command->argv[command->wrong];
    bool lacks = wrong[1] == 'e' || wrong[1] == 'l'; /* else: unknown */

    fprintf(stderr,
            lacks ? "%s: '%s' needs argument\n"
                  : "%s: unrecognized option '%s'\n",
            front_program, wrong);
    fprintf(stderr,
            "usage: %s [options] [script [args]]\n"
            "Available options are:\n"
            "  -e stat   execute string 'stat'\n"
            "  -i        enter interactive mode after executing 'script'\n"
            "  -l mod    require library 'mod' into global 'mod'\n"
            "  -l g=mod  require library 'mod' into global 'g'\n"
            "  -v        show version information\n"
            "  -E        ignore environment variables\n"
            "  -W        turn warnings on\n"
            "  --        stop handling options\n"
            "  -         stop handling options and execute stdin\n",
            front_program);
}

/* Calls a chunk that luaL_load* has just left with `status`. */
static bool run_chunk(lua_State *L, int status)
{
    if (status == LUA_OK)
        status = noeL_docall(L, 0, 0);
    return noeL_report(L, front_program, status);
}

static bool run_text(lua_State *L, const char *text, const char *name)
{
    return run_chunk(L, luaL_loadbuffer(L, text, strlen(text), name));
}

/* -l: `module` or `global=module`. */
static bool require_module(lua_State *L, const char *argument)
{
    const char *equals = strchr(argument, '=');
    const char *module = equals != NULL ? equals + 1 : argument;
    size_t len = equals != NULL ? (size_t)(equals - argument) : strlen(module);

    lua_pushlstring(L, argument, len);
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    int status = noeL_docall(L, 1, 1);
    if (status != LUA_OK)
        return noeL_report(L, front_program, status);
    lua_pushglobaltable(L);
    lua_insert(L, -3);
    lua_settable(L, -3);
    lua_pop(L, 1);
    return true;
}

/* Takes the option argv[*i] and, if it has one, its argument. */
static bool take_option(struct command *command, int *i)
{
    const char *option = command->argv[*i];

    switch (option[1]) {
    case 'e':
    case 'l':
        command->statement |= option[1] == 'e';
        if (option[2] != '\0')
            return true;
        (*i)++;
        return command->argv[*i] != NULL && command->argv[*i][0] != '-';
    case 'i':
        command->interactive = true;
        command->version = true;
        break;
    case 'v':
        command->version = true;
        break;
    case 'E':
        command->ignore_environment = true;
        break;
    case 'W':
        break;
    default:
        return false;
    }
    return option[2] == '\0';
}

static void parse_command(struct command *command)
{
    char **argv = command->argv;
    int i = 1;

    for (; i < command->argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        int option = i;
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (!take_option(command, &i)) {
            command->wrong = option;
            return;
        }
    }
    command->script = i;
}

/* The global `arg`: the script at 0, its arguments after it, what came before
 * it at negative indices. [-0, +0] */
static void set_arg(lua_State *L, const struct command *command)
{
    int zero = command->script < command->argc ? command->script : 0;

    lua_createtable(L, command->argc - zero, zero + 1);
    for (int i = 0; i < command->argc; i++) {
        lua_pushstring(L, command->argv[i]);
        lua_rawseti(L, -2, i - zero);
    }
    lua_setglobal(L, "arg");
}

static bool run_init(lua_State *L)
{
    const char *name = "=LUA_INIT" LUA_VERSUFFIX;
    const char *init = getenv(name + 1);

    if (init == NULL) {
        name = "=LUA_INIT";
        init = getenv(name + 1);
    }
    if (init == NULL)
        return true;
    if (init[0] == '@')
        return run_chunk(L, luaL_loadfile(L, init + 1));
    return run_text(L, init, name);
}

/* Does what -e, -l and -W ask, in the order given. */
static bool run_options(lua_State *L, const struct command *command)
{
    for (int i = 1; i < command->script; i++) {
        char option = command->argv[i][1];
        if (option == 'W')
            lua_warning(L, "@on", 0);
        if (option != 'e' && option != 'l')
            continue;
        const char *argument = command->argv[i] + 2;
        if (*argument == '\0')
            argument = command->argv[++i];
        bool done = option == 'e' ? run_text(L, argument, "=(command line)")
                                  : require_module(L, argument);
        if (!done)
            return false;
    }
    return true;
}

/* The arguments are read from `arg`, which what ran before may have changed.
 * [-0, +n]; returns n */
static int push_arguments(lua_State *L)
{
    if (lua_getglobal(L, "arg") != LUA_TTABLE)
        luaL_error(L, "'arg' is not a table");
    int table = lua_gettop(L);
    int count = (int)luaL_len(L, table);
    luaL_checkstack(L, count + LUA_MINSTACK, "too many arguments to script");
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, table, i);
    lua_remove(L, table);
    return count;
}

static bool run_script(lua_State *L, const struct command *command)
{
    const char *name = command->argv[command->script];
    const char *before = command->argv[command->script - 1];

    if (strcmp(name, "-") == 0 && strcmp(before, "--") != 0)
        name = NULL; /* standard input */
    int status = luaL_loadfile(L, name);
    if (status == LUA_OK)
        status = noeL_docall(L, push_arguments(L), LUA_MULTRET);
    return noeL_report(L, front_program, status);
}

/* What is left to do after the options: a script, a prompt, or standard input
 * as a script. */
static bool run_main(lua_State *L, const struct command *command)
{
    bool script = command->script < command->argc;

    if (script && !run_script(L, command))
        return false;
    if (command->interactive)
        return noeL_runprompt(L);
    if (script || command->statement || command->version)
        return true;
    if (!isatty(STDIN_FILENO)) {
        (void)run_chunk(L, luaL_loadfile(L, NULL));
        return true; /* so does `lua`; not with "-" */
    }
    print_version();
    return noeL_runprompt(L);
}

/* Does all that the command line asks. True if nothing failed. */
static bool interpret(lua_State *L, struct command *command)
{
    lua_settop(L, 0);
    parse_command(command);
    if (command->wrong != 0) {
        print_usage(command);
        return false;
    }
    if (command->version)
        print_version();
    noeL_openlibraries(L, command->ignore_environment);
    set_arg(L, command);
    lua_gc(L, LUA_GCGEN, 0, 0); /* as `lua` does */
    return (command->ignore_environment || run_init(L)) &&
           run_options(L, command) && run_main(L, command);
}

/* Lua function: the command `noether`, which is Lua's. What the environment
 * says to interpreters is not for it. Returns its exit code; that of an
 * interrupt is a shell's for SIGINT, and nothing is said. */
static int run_noether(lua_State *L)
{
    struct command *command = lua_touserdata(L, 1);

    lua_settop(L, 0);
    noeL_openlibraries(L, true);
    lua_gc(L, LUA_GCGEN, 0, 0);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "noether.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_createtable(L, command->argc, 1);
    for (int i = 0; i < command->argc; i++) {
        lua_pushstring(L, command->argv[i]);
        lua_rawseti(L, -2, i);
    }
    int status = noeL_docall(L, 1, 1);
    if (status != LUA_OK && !noeL_wasinterrupted())
        return lua_error(L);
    lua_pushinteger(L,
                    status == LUA_OK ? luaL_checkinteger(L, -1) : 128 + SIGINT);
    return 1;
}

/* Lua function: the interpreter. Returns its exit code. */
static int run_lua(lua_State *L)
{
    int status = interpret(L, lua_touserdata(L, 1));

    lua_pushinteger(L, status ? EXIT_SUCCESS : EXIT_FAILURE);
    return 1;
}

/* One file, two programs: which one it is, its name says. */
static lua_CFunction program_named(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strcmp(slash != NULL ? slash + 1 : path, "noether") == 0
               ? run_noether
               : run_lua;
}

/* A standard stream that is closed stays as good as closed, but its number is
 * not given to what is opened next: print() would write there. */
static void keep_standard_numbers(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}

int main(int argc, char **argv)
{
    struct command command = {.argc = argc, .argv = argv};
    lua_State *L = luaL_newstate();
    int code = EXIT_FAILURE;

    keep_standard_numbers();
    if (L == NULL) {
        front_complain(front_program, "cannot create state: not enough memory");
        return EXIT_FAILURE;
    }
    if (argc > 0 && argv[0][0] != '\0')
        front_program = argv[0];
    lua_pushcfunction(L, program_named(front_program));
    lua_pushlightuserdata(L, &command);
    if (noeL_report(L, front_program, lua_pcall(L, 1, 1, 0)))
        code = (int)lua_tointeger(L, -1);
    lua_close(L);
    return code;
}
