/* SPDX-License-Identifier: MIT */
/* One text for one value, to be hashed: keys sorted by their bytes, no blanks,
 * only the escapes that JSON asks for, numbers with the fewest digits. */
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_number.h"

/* Text that grows in a userdata, which the collector frees if an error is
 * raised. */
struct writer {
    lua_State *L;
    int slot; /* of the userdata */
    int array_metatable;
    bool as_sent; /* 1.0 is not 1 */
    char *data;
    size_t length;
    size_t capacity;
};

/* A key, in a table that keeps it alive. */
struct key {
    const char *text;
    size_t length;
};

static void reserve(struct writer *w, size_t more)
{
    if (more <= w->capacity - w->length)
        return;
    size_t capacity = (w->length + more) * 2;
    char *data = lua_newuserdata(w->L, capacity);
    if (w->length > 0)
        memcpy(data, w->data, w->length);
    lua_replace(w->L, w->slot);
    w->data = data;
    w->capacity = capacity;
}

static void write_bytes(struct writer *w, const char *bytes, size_t length)
{
    reserve(w, length);
    memcpy(w->data + w->length, bytes, length);
    w->length += length;
}

static void write_escape(struct writer *w, unsigned char byte)
{
    static const char letters[] = "btn.fr"; /* from 8 on; 11 has none */
    char text[8] = {'\\', (char)byte};
    size_t length = 2;

    if (byte >= 8 && byte <= 13 && byte != 11)
        text[1] = letters[byte - 8];
    else if (byte < ' ')
        length = (size_t)snprintf(text, sizeof(text), "\\u%04x", byte);
    write_bytes(w, text, length);
}

static void write_string(struct writer *w, const char *text, size_t length)
{
    size_t written = 0;

    write_bytes(w, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte >= ' ' && byte != '"' && byte != '\\')
            continue;
        write_bytes(w, text + written, i - written);
        write_escape(w, byte);
        written = i + 1;
    }
    write_bytes(w, text + written, length - written);
    write_bytes(w, "\"", 1);
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left;
    const struct key *b = right;
    size_t common = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->text, b->text, common);

    return order != 0              ? order
           : a->length < b->length ? -1
                                   : a->length > b->length;
}

static void write_value(struct writer *w);

/* Pushes the sorted keys of the object on the top. [-0, +1] */
static struct key *push_keys(lua_State *L, size_t *count)
{
    size_t total = 0;

    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        total++;
    struct key *keys = lua_newuserdata(L, (total + 1) * sizeof(*keys));
    *count = 0;
    for (lua_pushnil(L); lua_next(L, -3) != 0; lua_pop(L, 1)) {
        struct key *key = &keys[(*count)++];
        key->text = lua_tolstring(L, -2, &key->length);
    }
    qsort(keys, total, sizeof(*keys), compare_keys);
    return keys;
}

static void write_object(struct writer *w)
{
    size_t count;
    struct key *keys = push_keys(w->L, &count);

    write_bytes(w, "{", 1);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            write_bytes(w, ",", 1);
        write_string(w, keys[i].text, keys[i].length);
        write_bytes(w, ":", 1);
        lua_pushlstring(w->L, keys[i].text, keys[i].length);
        lua_rawget(w->L, -3);
        write_value(w);
        lua_pop(w->L, 1);
    }
    write_bytes(w, "}", 1);
    lua_pop(w->L, 1);
}

static void write_array(struct writer *w, int count)
{
    write_bytes(w, "[", 1);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            write_bytes(w, ",", 1);
        lua_rawgeti(w->L, -1, i);
        write_value(w);
        lua_pop(w->L, 1);
    }
    write_bytes(w, "]", 1);
}

static void write_table(struct writer *w)
{
    int count = (int)lua_rawlen(w->L, -1);

    bool foreign;

    luaL_checkstack(w->L, 6, "nested tables");
    if (count > 0 ||
        noeL_json_is_marked(w->L, -1, w->array_metatable, &foreign))
        write_array(w, count);
    else
        write_object(w);
}

/* Numbers that are equal give equal text, whether a Lua has integers or not:
 * what has no fraction is digits alone, up to the last 64-bit integer. */
static size_t format_value(lua_State *L, char *text)
{
    lua_Number number = lua_tonumber(L, -1);

    if (lua_isinteger(L, -1))
        return noeL_json_format(L, -1, text);
    if (fabs(number) < 0x1p63 && number == floor(number))
        return (size_t)snprintf(text, NOE_JSON_NUMBER_BYTES, "%lld",
                                (long long)number);
    return noe_json_number_format(number, false, text);
}

static void write_number(struct writer *w)
{
    char text[NOE_JSON_NUMBER_BYTES];

    write_bytes(w, text,
                w->as_sent ? noeL_json_format(w->L, -1, text)
                           : format_value(w->L, text));
}

/* The value on the top. [-0, +0] */
static void write_value(struct writer *w)
{
    size_t length;
    const char *text;

    switch (lua_type(w->L, -1)) {
    case LUA_TBOOLEAN:
        text = lua_toboolean(w->L, -1) ? "true" : "false";
        write_bytes(w, text, strlen(text));
        break;
    case LUA_TNUMBER:
        write_number(w);
        break;
    case LUA_TSTRING:
        text = lua_tolstring(w->L, -1, &length);
        write_string(w, text, length);
        break;
    case LUA_TTABLE:
        write_table(w);
        break;
    default:
        write_bytes(w, "null", 4);
        break;
    }
}

/* json_canonical(value, array_metatable, as_sent) -> text, of what json_check
 * passed. */
static int json_canonical(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    bool as_sent = lua_toboolean(L, 3);
    lua_settop(L, 3); /* the third is for the userdata */
    struct writer w = {
        .L = L, .slot = 3, .array_metatable = 2, .as_sent = as_sent};

    lua_pushvalue(L, 1);
    reserve(&w, 1); /* so that there is always a block */
    write_value(&w);
    lua_pushlstring(L, w.data, w.length);
    return 1;
}

void noeL_open_json_canonical(lua_State *L)
{
    static const luaL_Reg functions[] = {{"json_canonical", json_canonical},
                                         {NULL, NULL}};

    luaL_setfuncs(L, functions, 0);
}
