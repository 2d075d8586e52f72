/* SPDX-License-Identifier: MIT */
/* Decoding: the scan before lua-cjson, and the walk after it. See
 * src/core/json_scan.h for the tags. */
#include "json.h"

#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_number.h"
#include "core/json_scan.h"

#define SCAN_TYPE "noether.json_scan"

static int scan_close(lua_State *L)
{
    noe_json_scan_free(luaL_checkudata(L, 1, SCAN_TYPE));
    return 0;
}

/* What becomes of integers that a double cannot hold: nil, what this Lua can
 * do; "string", strings; "exact", what others can do. */
static unsigned integers_mode(lua_State *L, int at)
{
    const char *word = luaL_optstring(L, at, "");

    if (strcmp(word, "string") == 0)
        return NOE_JSON_BIG_STRINGS;
    return NOEL_ONLY_DOUBLES && strcmp(word, "exact") != 0 ? NOE_JSON_DOUBLES
                                                           : NOE_JSON_EXACT;
}

/*
 * json_scan(text, tag_numbers, big_integers, most) -> text, tagged, integers,
 * arrays, numbers
 * The text for lua-cjson; whether it has tags; whether the text has integers,
 * arrays that are not empty, and numbers at all. Or nil, what is wrong and
 * where, and whether that is that it has more than `most` values. Raises if
 * there is no memory.
 */
static int json_scan(lua_State *L)
{
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    unsigned mode =
        integers_mode(L, 3) | (lua_toboolean(L, 2) ? NOE_JSON_TAG_NUMBERS : 0u);
    size_t most = (size_t)luaL_optnumber(L, 4, 0);
    struct noe_json_scan *scan = lua_newuserdata(L, sizeof(*scan));
    struct noe_error err = NOE_ERROR_INIT;

    *scan = (struct noe_json_scan){.most = most};
    luaL_getmetatable(L, SCAN_TYPE);
    lua_setmetatable(L, -2);
    if (noe_json_scan(text, length, mode, scan, &err) != 0) {
        bool too_many = most > 0 && scan->values > most;
        noe_json_scan_free(scan);
        if (err.fault == NOE_FAULT_SYSTEM)
            return luaL_error(L, "%s", err.message);
        lua_pushnil(L);
        lua_pushstring(L, err.message);
        lua_pushboolean(L, too_many);
        return 3;
    }
    if (scan->tagged)
        lua_pushlstring(L, scan->data, scan->length);
    else
        lua_pushvalue(L, 1);
    lua_pushboolean(L, scan->tagged);
    lua_pushboolean(L, scan->has_integer);
    lua_pushboolean(L, scan->has_array);
    lua_pushboolean(L, scan->has_number);
    noe_json_scan_free(scan);
    return 5;
}

/* In place of the double on the top, the integer that it stands for, if it
 * does: other integral doubles were tagged. True if it did. [-1, +1] */
static bool restore_number(lua_State *L)
{
#if LUA_VERSION_NUM >= 503
    lua_Number number = lua_tonumber(L, -1);

    if (lua_isinteger(L, -1) || fabs(number) > NOE_JSON_MAX_DOUBLE_INTEGER)
        return false;
    lua_Integer integer = (lua_Integer)number;
    if ((lua_Number)integer != number)
        return false;
    lua_pop(L, 1);
    lua_pushinteger(L, integer);
    return true;
#else
    (void)L;
    return false;
#endif
}

/* Pushes the number that a tagged token is: an integer, if it has digits only,
 * and is not -0. [-0, +1] */
static void push_number(lua_State *L, const char *token)
{
#if LUA_VERSION_NUM >= 503
    bool negative = *token == '-';
    const char *p = token + negative;
    lua_Unsigned value = 0;

    for (; *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (lua_Unsigned)(*p - '0');
    if ((*p == '\0' || *p == ' ') && (value != 0 || !negative)) {
        lua_pushinteger(L, (lua_Integer)(negative ? 0 - value : value));
        return;
    }
#endif
    lua_pushnumber(L, noe_json_number_parse(token));
}

/* In place of the string on the top, what it stands for. [-1, +1] */
static bool restore_string(lua_State *L, int array_metatable)
{
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);

    if (text[0] != NOE_JSON_TAG[0] || length <= NOE_JSON_TAG_BYTES ||
        memcmp(text, NOE_JSON_TAG, NOE_JSON_TAG_BYTES) != 0)
        return false;
    text += NOE_JSON_TAG_BYTES;
    if (*text == '[') {
        lua_newtable(L);
        lua_pushvalue(L, array_metatable);
        lua_setmetatable(L, -2);
    } else if (*text == NOE_JSON_TAG[0]) {
        lua_pushlstring(L, text, length - NOE_JSON_TAG_BYTES);
    } else {
        push_number(L, text);
    }
    lua_replace(L, -2);
    return true;
}

static void restore_table(lua_State *L, int array_metatable);

/* True if the value on the top was replaced. [-1, +1] */
static bool restore_value(lua_State *L, int array_metatable)
{
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
        return restore_number(L);
    case LUA_TSTRING:
        return restore_string(L, array_metatable);
    case LUA_TTABLE:
        restore_table(L, array_metatable);
        return false;
    default:
        return false;
    }
}

/* Marks the array on the top and restores its elements. [-0, +0] */
static void restore_array(lua_State *L, int array_metatable)
{
    int count = (int)lua_rawlen(L, -1);

    lua_pushvalue(L, array_metatable);
    lua_setmetatable(L, -2);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        if (restore_value(L, array_metatable))
            lua_rawseti(L, -2, i);
        else
            lua_pop(L, 1);
    }
}

/* A decoded table that is not empty and has no string keys is an array: keys
 * are never numbers, and an empty array comes as a tag. Setting a field that
 * is there does not disturb lua_next. [-0, +0] */
static void restore_table(lua_State *L, int array_metatable)
{
    luaL_checkstack(L, 6, "nested JSON");
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_type(L, -2) == LUA_TNUMBER) {
            lua_pop(L, 2);
            restore_array(L, array_metatable);
            return;
        }
        if (restore_value(L, array_metatable)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);
        } else {
            lua_pop(L, 1);
        }
    }
}

/* json_restore(value, array_metatable) -> value: takes the tags off what was
 * decoded, makes integers of what were integers, and marks the arrays. */
static int json_restore(lua_State *L)
{
    luaL_checkany(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    restore_value(L, 2);
    return 1;
}

/* json_point() -> the decimal point of this thread's locale */
static int json_point(lua_State *L)
{
    lua_pushstring(L, nl_langinfo(RADIXCHAR));
    return 1;
}

/* json_untag(text) -> text: takes the tags off what was encoded. */
static int json_untag(lua_State *L)
{
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    char *out = lua_newuserdata(L, length > 0 ? length : 1);

    lua_pushlstring(L, out, noe_json_untag(text, length, out));
    return 1;
}

void noeL_open_json(lua_State *L)
{
    static const luaL_Reg functions[] = {{"json_scan", json_scan},
                                         {"json_restore", json_restore},
                                         {"json_untag", json_untag},
                                         {"json_point", json_point},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__gc", scan_close}, {NULL, NULL}};

    noeL_newtype(L, SCAN_TYPE, methods, metamethods);
    luaL_setfuncs(L, functions, 0);
    noeL_open_json_check(L);
    noeL_open_json_tag(L);
    noeL_open_json_canonical(L);
}
