/* SPDX-License-Identifier: MIT */
/*
 * Compiles a Lua file, and writes it as the bytes of a C array:
 *
 *   chunk NAME FILE
 *
 * It is linked with the same Lua as the interpreter that the bytes go into,
 * which so need not parse them whenever it starts. Names and lines, of which
 * messages speak, stay in.
 */
#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>

enum { PER_LINE = 20 };

static int write_bytes(lua_State *L, const void *bytes, size_t len, void *data)
{
    const unsigned char *next = bytes;
    size_t *count = data;

    (void)L;
    for (size_t i = 0; i < len; i++) {
        if (printf("%d,%s", next[i], ++*count % PER_LINE == 0 ? "\n" : "") < 0)
            return 1;
    }
    return 0;
}

/* luaL_loadfilex would name the chunk by its file. */
static int load(lua_State *L, const char *name, const char *path)
{
    luaL_Buffer text;
    FILE *file = fopen(path, "r");
    size_t got;

    if (file == NULL)
        return luaL_error(L, "cannot open %s", path);
    luaL_buffinit(L, &text);
    do {
        got = fread(luaL_prepbuffer(&text), 1, LUAL_BUFFERSIZE, file);
        luaL_addsize(&text, got);
    } while (got > 0);
    if (fclose(file) != 0)
        return luaL_error(L, "cannot read %s", path);
    luaL_pushresult(&text);
    if (luaL_loadbufferx(L, lua_tostring(L, -1), lua_rawlen(L, -1), name,
                         "t") != LUA_OK)
        return lua_error(L);
    return 1;
}

static int compile(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    size_t count = 0;

    load(L, name, luaL_checkstring(L, 2));
    if (lua_dump(L, write_bytes, &count, 0) != 0 || fflush(stdout) != 0)
        return luaL_error(L, "cannot write %s", name);
    return 0;
}

int main(int argc, char **argv)
{
    lua_State *L = luaL_newstate();

    if (L == NULL || argc != 3) {
        fprintf(stderr, "usage: chunk NAME FILE\n");
        return 2;
    }
    lua_pushcfunction(L, compile);
    lua_pushstring(L, argv[1]);
    lua_pushstring(L, argv[2]);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        fprintf(stderr, "chunk: %s\n", lua_tostring(L, -1));
        return 1;
    }
    lua_close(L);
    return 0;
}
