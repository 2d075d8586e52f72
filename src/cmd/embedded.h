/* SPDX-License-Identifier: MIT */
/* The Lua modules inside noether-lua; the table is made by
 * tools/build/embed.sh. */
#ifndef NOE_EMBEDDED_H
#define NOE_EMBEDDED_H

#include <stddef.h>

struct embedded_module {
    const char *name;           /* "noether.json" */
    const unsigned char *chunk; /* compiled, as of "@noether/json.lua" */
    size_t len;
};

/* Ends with an entry without a name. */
extern const struct embedded_module embedded_modules[];

#endif
