/* SPDX-License-Identifier: MIT */
/*
 * What is kept of a stream that comes in pieces of any length is its first and
 * its last part, whatever the pieces were.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check(const struct noe_ends *ends, const uint8_t *data, size_t size)
{
    size_t first = ends->limit - ends->limit / 2;
    size_t last = ends->limit / 2;
    char note[64];

    require(ends->total == size);
    if (size <= ends->limit) {
        require(ends->head.len == size);
        require(size == 0 || memcmp(ends->head.data, data, size) == 0);
        return;
    }
    int len = snprintf(note, sizeof(note), "\n[%zu bytes left out]\n",
                       size - first - last);
    require(ends->head.len == first + (size_t)len + last);
    require(memcmp(ends->head.data, data, first) == 0);
    require(memcmp(ends->head.data + first, note, (size_t)len) == 0);
    require(memcmp(ends->head.data + first + len, data + size - last, last) ==
            0);
}

/* The first byte is the limit, the second says how long the pieces are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || data[0] == 0)
        return 0;
    struct noe_ends ends = {.limit = data[0]};
    unsigned step = data[1];

    data += 2;
    size -= 2;
    for (size_t at = 0; at < size;) {
        size_t len = step % 61;
        if (len > size - at)
            len = size - at;
        require(noe_ends_add(&ends, (const char *)data + at, len) == 0);
        at += len;
        step = step * 7 + 1;
    }
    require(noe_ends_join(&ends) == 0);
    check(&ends, data, size);
    noe_ends_free(&ends);
    return 0;
}
