/* SPDX-License-Identifier: MIT */
/*
 * Strict validation of JSON text (RFC 8259), and the tags that carry what a
 * common decoder would lose.
 *
 * The decoder this is made for (lua-cjson 2.1) turns every number into a
 * double, makes one thing of `[]` and `{}`, and lets through what is no JSON.
 * So the scanner lets nothing through, and replaces a token that would lose
 * its meaning by a string: the tag, and then the token itself. `1.0` becomes
 * "<tag>1.0", `[]` becomes "<tag>[]". A real string that begins with the tag
 * gets a second one in front. The tag is U+FDD0, which Unicode keeps out of
 * interchange, and which stands in text as it is, so that text with tags is
 * JSON still. Keys of objects are never tagged.
 *
 * Blanks after a long token make its string too long for Lua 5.4 to intern,
 * which took longer than all the rest, for strings that are seldom seen twice.
 *
 * An integer of at most 2^53 is left as it is: who decodes the text takes every
 * double with an integral value for an integer, since a token that would be
 * such a double and is none is tagged.
 */
#ifndef NOE_JSON_SCAN_H
#define NOE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "noether.h"

#define NOE_JSON_TAG "\xEF\xB7\x90"
#define NOE_JSON_TAG_BYTES 3

/* Lua interns strings of up to 40 bytes (LUAI_MAXSHORTLEN). A token shorter
 * than that of a big integer is left alone: it may come again, and would grow
 * most. */
#define NOE_JSON_PADDED_BYTES 41
#define NOE_JSON_LONG_TOKEN 16

/* How many blanks follow a token of `length` bytes. */
static inline size_t noe_json_padding(size_t length)
{
    size_t most = NOE_JSON_PADDED_BYTES - NOE_JSON_TAG_BYTES;

    return length >= NOE_JSON_LONG_TOKEN && length < most ? most - length : 0;
}

/* Arrays and objects inside each other. */
#define NOE_JSON_MAX_DEPTH 512

/* lua-cjson counts bytes in an int, and tags make a text longer. */
#define NOE_JSON_MAX_BYTES ((size_t)256 << 20)

enum noe_json_mode {
    NOE_JSON_EXACT = 0,
    NOE_JSON_DOUBLES = 1 << 0,     /* no integer type: none beyond 2^53 */
    NOE_JSON_TAG_NUMBERS = 1 << 1, /* tag every number */
    NOE_JSON_BIG_STRINGS = 1 << 2, /* integers beyond 2^53 become strings */
};

/* What a valid text has in it. */
struct noe_json_scan {
    size_t most; /* given: a text of more values is refused; 0: of no number */
    size_t values; /* arrays, objects, and all that is in them but keys */
    bool has_integer;
    bool has_number; /* of any kind */
    bool has_array;  /* not counting [] */
    bool tagged;     /* then the text to decode is in data */
    char *data;
    size_t length;
    size_t capacity;
};

/*
 * Reads one JSON text of `length` bytes, which a zero byte must follow, and
 * fills `scan`, which must be all zeros but for `most`. `mode` is enum
 * noe_json_mode, or-ed. 0; or -1 with `err` set (text that is not JSON:
 * NOE_FAULT_ARGUMENT, and the message ends in "at line 1 column 2", counted in
 * characters; too many values: likewise, and `values` is above `most`; no
 * memory: NOE_FAULT_SYSTEM). Either way noe_json_scan_free frees what `scan`
 * holds.
 */
int noe_json_scan(const char *text, size_t length, unsigned mode,
                  struct noe_json_scan *scan, struct noe_error *err);

void noe_json_scan_free(struct noe_json_scan *scan);

/* Writes `text`, valid JSON, to `out` with every tag taken off (see above; here
 * keys too), and returns its length, which is at most `length`. */
size_t noe_json_untag(const char *text, size_t length, char *out);

#endif
