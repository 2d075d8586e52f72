/* SPDX-License-Identifier: MIT */
/*
 * Text that is called UTF-8 is what the C library decodes, and where it ends
 * to be, it does for the C library too.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

/* RFC 3629, written another way: the value, then whether it may be coded so. */
static size_t one(const uint8_t *at, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = at[0] < 0x80             ? 1
                 : (at[0] & 0xe0) == 0xc0 ? 2
                 : (at[0] & 0xf0) == 0xe0 ? 3
                 : (at[0] & 0xf8) == 0xf0 ? 4
                                          : 0;
    if (len < 2 || len > left)
        return len > left ? 0 : len;
    uint32_t value = at[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3fu);
    }
    if (value < least[len] || value > 0x10ffff ||
        (value >= 0xd800 && value <= 0xdfff))
        return 0;
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t good = 0;
    char *copy = malloc(size + 1);

    require(copy != NULL);
    memcpy(copy, data, size);
    copy[size] = '\0';
    while (good < size) {
        size_t len = one(data + good, size - good);
        if (len == 0)
            break;
        good += len;
    }
    require(noe_utf8_check(copy, size) == good);
    free(copy);
    return 0;
}
