/* SPDX-License-Identifier: MIT */
#include "inside.h"

#include <stddef.h>
#include <string.h>

bool noe_inside_is_private(const char *path)
{
    static const char *const tops[] = {NOE_INSIDE_WORK, NOE_INSIDE_TMP,
                                       NOE_INSIDE_SHM};

    for (size_t i = 0; i < sizeof(tops) / sizeof(*tops); i++) {
        size_t len = strlen(tops[i]);
        if (strncmp(path, tops[i], len) == 0 &&
            (path[len] == '/' || path[len] == '\0'))
            return true;
    }
    return false;
}
