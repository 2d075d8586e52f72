/* SPDX-License-Identifier: MIT */
/*
 * Is a Lua value JSON? The answer to no names the place.
 *
 * While tables are walked, the stack above the root holds, for each level, the
 * key and then its value, which is the next level's table. So a place is read
 * off the stack when it is needed, and costs nothing when it is not. Tables are
 * read raw: no metamethod runs.
 */
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json_number.h"
#include "core/json_scan.h"
#include "core/utf8.h"

/* lua-cjson doubles its buffer and counts in an int: beyond 1 GiB it would
 * overflow. It may write six bytes for one of a string. */
enum {
    MAX_BYTES = 1 << 30,
    STRING_FACTOR = 6,
    NUMBER_BYTES = 40, /* any other value too */
};

/* How much of a place is shown. */
enum { MAX_LEVELS = 16, LAST_LEVELS = 4, MAX_KEY_BYTES = 64 };

struct checker {
    lua_State *L;
    struct noeL_json_codec codec;
    const char *name; /* of the root */
    int root;         /* its index on the stack */
    int depth;        /* the keys above the root */
    size_t bytes;     /* of the text, at most */
    bool strict;      /* look at what strings hold */
    bool large;       /* more than MAX_BYTES */
    bool lossy;
    bool point;
};

/* The keys of one table. */
struct keys {
    lua_Number max;
    size_t numbers;
    size_t strings;
};

static bool is_name(const char *key, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
                                  "0123456789";

    return length > 0 && length <= MAX_KEY_BYTES &&
           !(key[0] >= '0' && key[0] <= '9') && strspn(key, letters) == length;
}

/* Only what is printable ASCII, and not all of what is long. */
static void add_quoted(luaL_Buffer *buffer, const char *key, size_t length)
{
    char escape[8];

    luaL_addstring(buffer, "[\"");
    for (size_t i = 0; i < length && i < MAX_KEY_BYTES; i++) {
        unsigned char byte = (unsigned char)key[i];
        if (byte >= ' ' && byte < 0x7F && byte != '"' && byte != '\\') {
            luaL_addchar(buffer, key[i]);
        } else {
            snprintf(escape, sizeof(escape), "\\x%02X", byte);
            luaL_addstring(buffer, escape);
        }
    }
    luaL_addstring(buffer, length > MAX_KEY_BYTES ? "...\"]" : "\"]");
}

/* The key at an absolute index. */
static void add_key(struct checker *c, luaL_Buffer *buffer, int index)
{
    char number[32];
    size_t length;

    if (lua_type(c->L, index) == LUA_TNUMBER) {
        snprintf(number, sizeof(number), "[%.0f]", lua_tonumber(c->L, index));
        luaL_addstring(buffer, number);
        return;
    }
    const char *key = lua_tolstring(c->L, index, &length);
    if (is_name(key, length)) {
        luaL_addchar(buffer, '.');
        luaL_addlstring(buffer, key, length);
    } else {
        add_quoted(buffer, key, length);
    }
}

/* Pushes "input.items[3].name", the place `depth` keys below the root; from a
 * deep one, parts in the middle are left out. [-0, +1] */
static void push_place(struct checker *c, int depth)
{
    luaL_Buffer buffer;

    luaL_buffinit(c->L, &buffer);
    luaL_addstring(&buffer, c->name);
    for (int level = 0; level < depth; level++) {
        if (depth > MAX_LEVELS && level == MAX_LEVELS - LAST_LEVELS) {
            luaL_addstring(&buffer, "...");
            level = depth - LAST_LEVELS;
        }
        add_key(c, &buffer, c->root + 1 + 2 * level);
    }
    luaL_pushresult(&buffer);
}

/* Pushes "place: reason", where %s in the reason is `detail`. Returns -1.
 * [-0, +1] */
static int fail(struct checker *c, const char *reason, const char *detail)
{
    luaL_checkstack(c->L, LUA_MINSTACK, "a JSON error");
    push_place(c, c->depth);
    lua_pushfstring(c->L, reason, detail);
    lua_pushfstring(c->L, "%s: %s", lua_tostring(c->L, -2),
                    lua_tostring(c->L, -1));
    return -1;
}

/* Too deep; and where one of the tables on the way down is inside itself, that
 * is why. [-0, +1] */
static int fail_deep(struct checker *c)
{
    for (int outer = 0; outer < c->depth; outer++)
        for (int inner = outer + 1; inner <= c->depth; inner++)
            if (lua_rawequal(c->L, c->root + 2 * outer, c->root + 2 * inner)) {
                luaL_checkstack(c->L, LUA_MINSTACK, "a JSON error");
                push_place(c, outer);
                c->depth = inner;
                return fail(c, "a cycle, it is %s again",
                            lua_tostring(c->L, -1));
            }
    return fail(c, "more than 512 levels of tables", NULL);
}

static int add_bytes(struct checker *c, size_t bytes)
{
    c->large = bytes > MAX_BYTES - c->bytes;
    if (c->large)
        return fail(c,
                    "too large: as JSON it could have more bytes than "
                    "1073741824, each of a string counting as 6",
                    NULL);
    c->bytes += bytes;
    return 0;
}

_Static_assert(MAX_BYTES == 1073741824 && STRING_FACTOR == 6,
               "add_bytes says so");

bool noeL_json_is_lossy(lua_State *L, int index,
                        const struct noeL_json_codec *codec, bool *point)
{
    lua_Number number = lua_tonumber(L, index);

    if (lua_isinteger(L, index))
        return !codec->exact_integers && fabs(number) >= 1e14;
    if (NOEL_ONLY_DOUBLES && fabs(number) < 1e14 && number == floor(number))
        return number == 0 && signbit(number);
    if (!noe_json_number_is_short(number))
        return true;
    *point = true;
    return codec->tag_points;
}

static int check_number(struct checker *c)
{
    lua_Number number = lua_tonumber(c->L, -1);

    if (isnan(number))
        return fail(c, "NaN is no JSON value", NULL);
    if (isinf(number))
        return fail(c, "infinity is no JSON value", NULL);
    if (noeL_json_is_lossy(c->L, -1, &c->codec, &c->point))
        c->lossy = true;
    return add_bytes(c, NUMBER_BYTES);
}

/* A string at `index`: a value, or a key. */
static int check_string(struct checker *c, int index, const char *reason)
{
    size_t length;
    const char *text = lua_tolstring(c->L, index, &length);

    if (length > MAX_BYTES / STRING_FACTOR)
        length = MAX_BYTES / STRING_FACTOR;
    /* First: to look at what is too large anyway takes long. */
    if (add_bytes(c, length * STRING_FACTOR + NOE_JSON_TAG_BYTES + 3) != 0)
        return -1;
    if (c->strict && noe_utf8_check(text, length) != length)
        return fail(c, reason, NULL);
    if (noeL_json_is_tagged(text, length))
        c->lossy = true;
    return 0;
}

static int check_table(struct checker *c);

static int check_value(struct checker *c)
{
    int type = lua_type(c->L, -1);

    switch (type) {
    case LUA_TNIL: /* only as the root */
    case LUA_TBOOLEAN:
        return add_bytes(c, NUMBER_BYTES);
    case LUA_TNUMBER:
        return check_number(c);
    case LUA_TSTRING:
        return check_string(c, -1, "a string that is not UTF-8");
    case LUA_TTABLE:
        return check_table(c);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(c->L, -1) == NULL)
            return add_bytes(c, NUMBER_BYTES);
        break;
    default:
        break;
    }
    return fail(c, "a %s is no JSON value", lua_typename(c->L, type));
}

static int check_key(struct checker *c, struct keys *keys)
{
    int type = lua_type(c->L, -2);
    char text[NOE_JSON_NUMBER_BYTES];

    if (type == LUA_TSTRING) {
        keys->strings++;
        return check_string(c, -2, "a key that is not UTF-8");
    }
    if (type != LUA_TNUMBER)
        return fail(c, "a %s as a key (keys are strings)",
                    lua_typename(c->L, type));
    lua_Number number = lua_tonumber(c->L, -2);
    if (number < 1 || number != floor(number)) {
        snprintf(text, sizeof(text), "%.14g", number);
        return fail(c, "the number %s as a key (keys are strings)", text);
    }
    keys->numbers++;
    if (number > keys->max)
        keys->max = number;
    return 0;
}

static int judge_keys(struct checker *c, const struct keys *keys, bool marked)
{
    if (marked && keys->strings > 0)
        return fail(c, "an array with string keys", NULL);
    if (keys->strings > 0 && keys->numbers > 0)
        return fail(c, "a table with string keys and numbers as keys", NULL);
    if (keys->max != (lua_Number)keys->numbers)
        return fail(c, "an array with holes (fill them with null)", NULL);
    return 0;
}

/*
 * A marked array is lossy if it is empty; and so is a table with a metatable of
 * its own: newer encoders would call its metamethods, but not those of a copy.
 * On an error the stack is left as it is, with the message on the top.
 */
static int check_table(struct checker *c)
{
    struct keys keys = {0};
    bool foreign;

    if (c->depth == NOE_JSON_MAX_DEPTH)
        return fail_deep(c);
    luaL_checkstack(c->L, 6, "nested tables");
    bool marked =
        noeL_json_is_marked(c->L, -1, c->codec.array_metatable, &foreign);
    lua_pushnil(c->L);
    while (lua_next(c->L, -2) != 0) {
        if (check_key(c, &keys) != 0)
            return -1;
        c->depth++;
        if (check_value(c) != 0)
            return -1;
        c->depth--;
        lua_pop(c->L, 1);
    }
    if (foreign || (marked && keys.numbers == 0))
        c->lossy = true;
    return judge_keys(c, &keys, marked) != 0 ? -1 : add_bytes(c, NUMBER_BYTES);
}

/*
 * json_check(value, name, array_metatable, exact_integers, strict) -> lossy,
 * points
 * Whether lua-cjson alone would lose something of the value, and whether it
 * would write a decimal point. Or nil, "input.items[3]: what is wrong", and the
 * limit in bytes for what is too large. Only if `strict` must strings be UTF-8:
 * of a text, json_is_utf8 tells faster.
 */
static int json_check(lua_State *L)
{
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 5);
    lua_pushvalue(L, 1);
    struct checker c = {
        .L = L,
        .codec = {.array_metatable = 3, .exact_integers = lua_toboolean(L, 4)},
        .name = luaL_checkstring(L, 2),
        .root = 6,
        .strict = lua_toboolean(L, 5)};

    if (check_value(&c) != 0) {
        lua_pushnil(L);
        lua_insert(L, -2);
        if (!c.large)
            return 2;
        lua_pushinteger(L, MAX_BYTES);
        return 3;
    }
    lua_pushboolean(L, c.lossy);
    lua_pushboolean(L, c.point);
    return 2;
}

/* json_is_utf8(text) -> boolean */
static int json_is_utf8(lua_State *L)
{
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);

    lua_pushboolean(L, noe_utf8_check(text, length) == length);
    return 1;
}

void noeL_open_json_check(lua_State *L)
{
    static const luaL_Reg functions[] = {{"json_check", json_check},
                                         {"json_is_utf8", json_is_utf8},
                                         {NULL, NULL}};

    luaL_setfuncs(L, functions, 0);
}
