/* SPDX-License-Identifier: MIT */
/* A value, already found to be JSON, with a tagged string (see
 * src/core/json_scan.h) for whatever lua-cjson would not write as it is. The
 * caller's tables are not changed: those on the way to a tag are copied, the
 * others are used as they are. */
#include "json.h"

#include <stdio.h>
#include <string.h>

#include "core/json_number.h"
#include "core/json_scan.h"

size_t noeL_json_format(lua_State *L, int index, char *out)
{
#if LUA_VERSION_NUM >= 503
    if (lua_isinteger(L, index))
        return (size_t)snprintf(out, NOE_JSON_NUMBER_BYTES, LUA_INTEGER_FMT,
                                lua_tointeger(L, index));
#endif
    return noe_json_number_format(lua_tonumber(L, index), !NOEL_ONLY_DOUBLES,
                                  out);
}

/* In place of the number on the top, its tagged form. [-1, +1] */
static bool tag_number(lua_State *L, const struct noeL_json_codec *codec)
{
    char text[NOE_JSON_PADDED_BYTES + NOE_JSON_NUMBER_BYTES] = NOE_JSON_TAG;
    char *token = text + NOE_JSON_TAG_BYTES;
    bool point;

    if (!noeL_json_is_lossy(L, -1, codec, &point))
        return false;
    size_t length = noeL_json_format(L, -1, token);
    size_t blanks = noe_json_padding(length);
    memset(token + length, ' ', blanks);
    lua_pop(L, 1);
    lua_pushlstring(L, text, NOE_JSON_TAG_BYTES + length + blanks);
    return true;
}

/* In place of a string on the top that begins with the tag, one that begins
 * with two. [-1, +1] */
static bool tag_string(lua_State *L)
{
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);

    if (!noeL_json_is_tagged(text, length))
        return false;
    lua_pushliteral(L, NOE_JSON_TAG);
    lua_insert(L, -2);
    lua_concat(L, 2);
    return true;
}

static bool tag_table(lua_State *L, const struct noeL_json_codec *codec);

/* True if the value on the top was replaced by what to encode for it, which is
 * so if anything in it was. [-1, +1] */
static bool tag_value(lua_State *L, const struct noeL_json_codec *codec)
{
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
        return tag_number(L, codec);
    case LUA_TSTRING:
        return tag_string(L);
    case LUA_TTABLE:
        return tag_table(L, codec);
    default:
        return false;
    }
}

static bool is_tagged_key(lua_State *L, int index)
{
    size_t length;

    if (lua_type(L, index) != LUA_TSTRING)
        return false;
    const char *key = lua_tolstring(L, index, &length);
    return noeL_json_is_tagged(key, length);
}

/* In place of the key and the value on the top: the key, as it was, after
 * setting the value in the table at `copy` under the tagged key. [-1, +0] */
static void set_field(lua_State *L, int copy)
{
    lua_pushvalue(L, -2);
    if (is_tagged_key(L, -1))
        tag_string(L);
    lua_insert(L, -2);
    lua_rawset(L, copy);
}

static int count_fields(lua_State *L, int table)
{
    int count = 0;

    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1))
        count++;
    return count;
}

/* Puts a copy of the table at `table` in the place of the nil at `copy`, unless
 * there is one. [-0, +0] */
static void copy_table(lua_State *L, int table, int copy)
{
    int length = (int)lua_rawlen(L, table);

    if (!lua_isnil(L, copy))
        return;
    lua_createtable(L, length, length > 0 ? 0 : count_fields(L, table));
    lua_replace(L, copy);
    lua_pushnil(L);
    while (lua_next(L, table) != 0)
        set_field(L, copy);
}

/* Sees to the key and the value on the top, of the table at `table`.
 * [-1, +0] */
static void tag_field(lua_State *L, int table, int copy,
                      const struct noeL_json_codec *codec)
{
    if (tag_value(L, codec) || is_tagged_key(L, -2)) {
        copy_table(L, table, copy);
        set_field(L, copy);
    } else {
        lua_pop(L, 1);
    }
}

/* As tag_value, for a table. One with another metatable than ours is always
 * copied: newer encoders would call its metamethods. */
static bool tag_table(lua_State *L, const struct noeL_json_codec *codec)
{
    int table = lua_gettop(L);
    int copy = table + 1;
    bool foreign;
    bool marked =
        noeL_json_is_marked(L, table, codec->array_metatable, &foreign);

    luaL_checkstack(L, 10, "nested tables");
    lua_pushnil(L);
    if (foreign)
        copy_table(L, table, copy);
    lua_pushnil(L);
    while (lua_next(L, table) != 0)
        tag_field(L, table, copy, codec);
    if (marked && lua_rawlen(L, table) == 0) {
        lua_pushliteral(L, NOE_JSON_TAG "[]");
        lua_replace(L, copy);
    }
    bool replaced = !lua_isnil(L, copy);
    lua_replace(L, replaced ? table : copy);
    lua_settop(L, table);
    return replaced;
}

/* json_tag(value, array_metatable, exact_integers, tag_points) -> value */
static int json_tag(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 4);
    struct noeL_json_codec codec = {.array_metatable = 2,
                                    .exact_integers = lua_toboolean(L, 3),
                                    .tag_points = lua_toboolean(L, 4)};

    lua_pushvalue(L, 1);
    tag_value(L, &codec);
    return 1;
}

void noeL_open_json_tag(lua_State *L)
{
    static const luaL_Reg functions[] = {{"json_tag", json_tag}, {NULL, NULL}};

    luaL_setfuncs(L, functions, 0);
}
