/* SPDX-License-Identifier: MIT */
/*
 * noether-lua: a Lua interpreter that takes what `lua` takes, with the library
 * and all it needs inside, so that this one file can be copied anywhere.
 *
 * Two things differ from `lua`. The modules inside it win over any file of the
 * same name. And the current directory is not searched for modules, unless
 * LUA_PATH or LUA_CPATH name it: whoever can write there would be run.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "embedded.h"
#include "noether.h"

#define ENV_SUFFIX "_" LUA_VERSION_MAJOR "_" LUA_VERSION_MINOR

int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);
int luaopen_lpeg(lua_State *L);
int luaopen_noether_core(lua_State *L);

static const luaL_Reg embedded_libraries[] = {
    {"cjson", luaopen_cjson},
    {"cjson.safe", luaopen_cjson_safe},
    {"lpeg", luaopen_lpeg},
    {"noether.core", luaopen_noether_core},
    {NULL, NULL},
};

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

static const char *program = "noether-lua";

/* `name` may be NULL: at a prompt nobody doubts who is speaking. */
static void complain(const char *name, const char *message)
{
    fflush(stdout);
    if (name != NULL)
        fprintf(stderr, "%s: ", name);
    fprintf(stderr, "%s\n", message);
    fflush(stderr);
}

/* Says what went wrong, if anything did. [-1, +0] unless status is LUA_OK */
static bool succeeded(lua_State *L, const char *name, int status)
{
    if (status == LUA_OK)
        return true;
    const char *message = lua_tostring(L, -1);
    complain(name, message != NULL ? message : "(error without a message)");
    lua_pop(L, 1);
    return false;
}

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
            program, wrong);
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
            program);
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

/* A signal handler takes no argument: the state that it is to interrupt. */
static lua_State *running;
static bool interrupted;

static void raise_interrupted(lua_State *L, lua_Debug *activation)
{
    (void)activation;
    interrupted = true;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted!");
}

/* Raising here, in the middle of anything, would break the state: a hook
 * raises at the next step. A second signal ends the process. */
static void on_interrupt(int signal_number)
{
    signal(signal_number, SIG_DFL);
    lua_sethook(running, raise_interrupted,
                LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* Calls the function under its `count` arguments, interruptibly.
 * [-(count + 1), +results], or an explained error instead of results */
static int call(lua_State *L, int count, int results)
{
    int base = lua_gettop(L) - count;

    lua_pushcfunction(L, explain);
    lua_insert(L, base);
    running = L;
    signal(SIGINT, on_interrupt);
    int status = lua_pcall(L, count, results, base);
    signal(SIGINT, SIG_DFL);
    lua_remove(L, base);
    return status;
}

/* Calls a chunk that luaL_load* has just left with `status`. */
static bool run_chunk(lua_State *L, int status)
{
    if (status == LUA_OK)
        status = call(L, 0, 0);
    return succeeded(L, program, status);
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
    int status = call(L, 1, 1);
    if (status != LUA_OK)
        return succeeded(L, program, status);
    lua_pushglobaltable(L);
    lua_insert(L, -3);
    lua_settable(L, -3);
    lua_pop(L, 1);
    return true;
}

static int load_embedded(lua_State *L)
{
    const struct embedded_module *module =
        lua_touserdata(L, lua_upvalueindex(1));
    int status = luaL_loadbufferx(L, (const char *)module->text, module->len,
                                  module->chunk, "t");

    if (status != LUA_OK)
        return lua_error(L);
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* package.preload is asked before any file is looked for. [-0, +0] */
static void preload_libraries(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    luaL_setfuncs(L, embedded_libraries, 0);
    for (int i = 0; embedded_modules[i].name != NULL; i++) {
        lua_pushlightuserdata(L, (void *)&embedded_modules[i]);
        lua_pushcclosure(L, load_embedded, 1);
        lua_setfield(L, -2, embedded_modules[i].name);
    }
    lua_pop(L, 1);
}

/* A search path without what lies in the current directory. [-0, +1] */
static void push_safe_path(lua_State *L, const char *path)
{
    luaL_Buffer kept;

    luaL_buffinit(L, &kept);
    while (*path != '\0') {
        size_t len = strcspn(path, LUA_PATH_SEP);
        if (strncmp(path, "./", 2) != 0) {
            if (luaL_bufflen(&kept) > 0)
                luaL_addstring(&kept, LUA_PATH_SEP);
            luaL_addlstring(&kept, path, len);
        }
        path += len + (path[len] != '\0');
    }
    luaL_pushresult(&kept);
}

/* The user's path, the default in place of the first ";;". [-0, +1] */
static void push_user_path(lua_State *L, const char *path, const char *standard)
{
    const char *mark = strstr(path, LUA_PATH_SEP LUA_PATH_SEP);
    luaL_Buffer whole;

    luaL_buffinit(L, &whole);
    luaL_addlstring(&whole, path,
                    mark != NULL ? (size_t)(mark - path) : strlen(path));
    if (mark != NULL) {
        if (mark > path)
            luaL_addstring(&whole, LUA_PATH_SEP);
        luaL_addstring(&whole, standard);
        if (mark[2] != '\0') {
            luaL_addstring(&whole, LUA_PATH_SEP);
            luaL_addstring(&whole, mark + 2);
        }
    }
    luaL_pushresult(&whole);
}

/* Sets package.path or package.cpath, which is at its default, from what the
 * environment says, if anything. [-0, +0] */
static void set_search_path(lua_State *L, const char *field, const char *value)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, field);
    push_safe_path(L, lua_tostring(L, -1));
    push_user_path(L, value != NULL ? value : ";;", lua_tostring(L, -1));
    lua_setfield(L, -4, field);
    lua_pop(L, 3);
}

static const char *first_set(const char *name, const char *other)
{
    const char *value = getenv(name);

    return value != NULL ? value : getenv(other);
}

static void set_ignore_environment(lua_State *L, bool ignore)
{
    lua_pushboolean(L, ignore);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
}

/* The environment is hidden while Lua opens its libraries, so that they set
 * their default paths; then it is read here. [-0, +0] */
static void open_libraries(lua_State *L, bool ignore_environment)
{
    const char *path = NULL, *cpath = NULL;

    set_ignore_environment(L, true);
    luaL_openlibs(L);
    set_ignore_environment(L, ignore_environment);
    if (!ignore_environment) {
        path = first_set("LUA_PATH" LUA_VERSUFFIX, "LUA_PATH");
        cpath = first_set("LUA_CPATH" LUA_VERSUFFIX, "LUA_CPATH");
    }
    set_search_path(L, "path", path);
    set_search_path(L, "cpath", cpath);
    preload_libraries(L);
}

/* Reads one line, without its end, after the prompt that the global `variable`
 * or else `standard` is. False, and nothing pushed, at the end of input.
 * [-0, +1] */
static bool read_line(lua_State *L, const char *variable, const char *standard)
{
    luaL_Buffer line;
    bool any = false, whole = false;

    if (lua_getglobal(L, variable) == LUA_TNIL) {
        lua_pushstring(L, standard);
        lua_replace(L, -2);
    }
    fputs(luaL_tolstring(L, -1, NULL), stdout);
    fflush(stdout);
    lua_pop(L, 2);
    luaL_buffinit(L, &line);
    while (!whole) {
        char *part = luaL_prepbuffer(&line);
        if (fgets(part, (int)LUAL_BUFFERSIZE, stdin) == NULL)
            break;
        size_t len = strlen(part);
        any = true;
        whole = len > 0 && part[len - 1] == '\n';
        luaL_addsize(&line, len - whole);
    }
    luaL_pushresult(&line);
    if (!any)
        lua_pop(L, 1);
    return any;
}

static bool incomplete(lua_State *L, int status)
{
    static const char mark[] = "<eof>";
    size_t len;

    if (status != LUA_ERRSYNTAX)
        return false;
    const char *message = lua_tolstring(L, -1, &len);
    return len >= sizeof(mark) - 1 &&
           strcmp(message + len - (sizeof(mark) - 1), mark) == 0;
}

static int load_typed(lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);

    return luaL_loadbufferx(L, text, len, "=stdin", "t");
}

/* Leaves in place of the line on the top the chunk that begins with it, or the
 * message that says why there is none. [-1, +1] */
static int load_lines(lua_State *L)
{
    int text = lua_gettop(L);
    int status = load_typed(L, text);

    while (incomplete(L, status) && read_line(L, "_PROMPT2", ">> ")) {
        lua_remove(L, -2);
        lua_pushliteral(L, "\n");
        lua_insert(L, -2);
        lua_concat(L, 3);
        status = load_typed(L, text);
    }
    lua_remove(L, text);
    return status;
}

/* What is typed may be an expression, whose values are then shown, or
 * statements over several lines. [-1, +1] */
static int load_expression_or_lines(lua_State *L)
{
    const char *line = lua_tostring(L, -1);

    if (line[0] == '=') { /* how it was asked for before Lua 5.3 */
        lua_pushfstring(L, "return %s", line + 1);
        lua_remove(L, -2);
        return load_lines(L);
    }
    lua_pushfstring(L, "return %s", line);
    if (load_typed(L, -1) == LUA_OK) {
        lua_replace(L, -3);
        lua_pop(L, 1);
        return LUA_OK;
    }
    lua_pop(L, 2);
    return load_lines(L);
}

/* Prints all that is on the stack. [-n, +0] */
static void show_values(lua_State *L)
{
    int count = lua_gettop(L);

    if (count == 0)
        return;
    luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
    lua_getglobal(L, "print");
    lua_insert(L, 1);
    if (lua_pcall(L, count, 0, 0) != LUA_OK)
        complain(NULL, lua_pushfstring(L, "error calling 'print' (%s)",
                                       lua_tostring(L, -1)));
    lua_settop(L, 0);
}

static void run_prompt(lua_State *L)
{
    lua_settop(L, 0);
    while (read_line(L, "_PROMPT", "> ")) {
        int status = load_expression_or_lines(L);
        if (status == LUA_OK)
            status = call(L, 0, LUA_MULTRET);
        if (succeeded(L, NULL, status))
            show_values(L);
        lua_settop(L, 0);
    }
    putchar('\n');
    fflush(stdout);
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

    for (; argv[i] != NULL && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
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
        status = call(L, push_arguments(L), LUA_MULTRET);
    return succeeded(L, program, status);
}

/* What is left to do after the options: a script, a prompt, or standard input
 * as a script. */
static bool run_main(lua_State *L, const struct command *command)
{
    bool script = command->script < command->argc;

    if (script && !run_script(L, command))
        return false;
    if (command->interactive) {
        run_prompt(L);
        return true;
    }
    if (script || command->statement || command->version)
        return true;
    if (!isatty(STDIN_FILENO))
        return run_chunk(L, luaL_loadfile(L, NULL));
    print_version();
    run_prompt(L);
    return true;
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
    open_libraries(L, command->ignore_environment);
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
    open_libraries(L, true);
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
    int status = call(L, 1, 1);
    if (status != LUA_OK && !interrupted)
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

int main(int argc, char **argv)
{
    struct command command = {.argc = argc, .argv = argv};
    lua_State *L = luaL_newstate();
    int code = EXIT_FAILURE;

    if (L == NULL) {
        complain(program, "cannot create state: not enough memory");
        return EXIT_FAILURE;
    }
    if (argc > 0 && argv[0][0] != '\0')
        program = argv[0];
    lua_pushcfunction(L, program_named(program));
    lua_pushlightuserdata(L, &command);
    if (succeeded(L, program, lua_pcall(L, 1, 1, 0)))
        code = (int)lua_tointeger(L, -1);
    lua_close(L);
    return code;
}
