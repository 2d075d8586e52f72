/* SPDX-License-Identifier: MIT */
/* What the files of the JSON binding share. Their functions are for
 * lua/noether/json.lua alone, which says what they are for. */
#ifndef NOE_BINDING_JSON_H
#define NOE_BINDING_JSON_H

#include <stdbool.h>
#include <string.h>

#include "binding.h"
#include "core/json_scan.h"

/* The one kind of number of Lua 5.1, 5.2 and LuaJIT is a double. */
#if LUA_VERSION_NUM < 503
#define NOEL_ONLY_DOUBLES true
#else
#define NOEL_ONLY_DOUBLES false
#endif

/* Each adds its functions to the table on the top. [-0, +0] */
void noeL_open_json_check(lua_State *L);
void noeL_open_json_tag(lua_State *L);
void noeL_open_json_canonical(lua_State *L);

/* What json.lua found out about its lua-cjson, from the arguments of
 * json_check and json_tag. */
struct noeL_json_codec {
    int array_metatable; /* its index on the stack */
    bool exact_integers; /* all of them are encoded as they are */
    bool tag_points;     /* what needs a decimal point must be tagged */
};

/* Whether the encoder would not write the number at `index` as it is: NaN and
 * the infinities excepted. *point: it would write a decimal point. [-0, +0] */
bool noeL_json_is_lossy(lua_State *L, int index,
                        const struct noeL_json_codec *codec, bool *point);

/* Whether a string begins with the tag. */
static inline bool noeL_json_is_tagged(const char *text, size_t length)
{
    return length >= NOE_JSON_TAG_BYTES && text[0] == NOE_JSON_TAG[0] &&
           memcmp(text, NOE_JSON_TAG, NOE_JSON_TAG_BYTES) == 0;
}

/* Whether the table at `index` is marked as an array. *foreign: it has another
 * metatable than that of the mark. [-0, +0] */
static inline bool noeL_json_is_marked(lua_State *L, int index,
                                       int array_metatable, bool *foreign)
{
    *foreign = false;
    if (!lua_getmetatable(L, index))
        return false;
    bool marked = lua_rawequal(L, -1, array_metatable) != 0;
    lua_pop(L, 1);
    *foreign = !marked;
    return marked;
}

/* Writes the number at `index` as JSON and returns the length. [-0, +0] */
size_t noeL_json_format(lua_State *L, int index, char *out);

#endif
