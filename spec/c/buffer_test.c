/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buffer.h"
#include "tap.h"

static char pattern(size_t at)
{
    return (char)(at * 31 + at / 256);
}

/* Adds `len` bytes in pieces of at most `piece`. */
static bool fill(struct noe_buffer *buffer, size_t len, size_t piece)
{
    size_t limit = buffer->len + len;

    while (buffer->len < limit) {
        char *space;
        size_t room = noe_buffer_space(buffer, limit, &space);
        if (room == 0 || room > limit - buffer->len)
            return false;
        room = room < piece ? room : piece;
        for (size_t i = 0; i < room; i++)
            space[i] = pattern(buffer->len + i);
        buffer->len += room;
    }
    return true;
}

static bool holds_pattern(const struct noe_buffer *buffer)
{
    for (size_t i = 0; i < buffer->len; i++)
        if (buffer->data[i] != pattern(i))
            return false;
    return true;
}

static void test_growth(void)
{
    static const size_t sizes[] = {1,     4095,   4096,   4097,
                                   65536, 131071, 131073, 3000001};
    bool all = true;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct noe_buffer buffer = {NULL, 0, 0};
        all = all && fill(&buffer, sizes[i], 1000) && buffer.len == sizes[i] &&
              holds_pattern(&buffer);
        noe_buffer_free(&buffer);
        all = all && buffer.data == NULL && buffer.len == 0;
    }
    ok(all,
       "a buffer keeps what is put into it, over every change of its kind");
}

static void test_limit(void)
{
    struct noe_buffer buffer = {NULL, 0, 0};
    char *space;

    ok(noe_buffer_space(&buffer, 0, &space) == 0, "no room under a limit of 0");
    ok(noe_buffer_space(&buffer, 1, &space) == 1, "one byte under one of 1");
    ok(fill(&buffer, 5000, SIZE_MAX) &&
           noe_buffer_space(&buffer, 5000, &space) == 0,
       "no room at the limit");
    ok(noe_buffer_space(&buffer, SIZE_MAX, &space) > 0, "room without a limit");
    noe_buffer_free(&buffer);
    noe_buffer_free(&buffer);
}

static void test_truncate(void)
{
    struct noe_buffer buffer = {NULL, 0, 0};

    (void)fill(&buffer, 10 * 1000 * 1000, SIZE_MAX);
    noe_buffer_truncate(&buffer, 65536);
    ok(buffer.len == 65536 && buffer.capacity <= 1024 * 1024 &&
           holds_pattern(&buffer),
       "truncating keeps the start, and gives the memory back");
    noe_buffer_truncate(&buffer, 70000);
    ok(buffer.len == 65536, "and never makes longer");
    ok(fill(&buffer, 500000, 4096) && holds_pattern(&buffer),
       "and what was truncated may grow again");
    noe_buffer_free(&buffer);
}

/* Feeds `total` bytes in pieces and compares with what must be left. */
static bool ends_are_right(size_t limit, size_t total, size_t piece)
{
    struct noe_ends ends = {.limit = limit};
    size_t head = limit - limit / 2;
    size_t tail = limit / 2;
    char *all = malloc(total + 1);
    char *expected = malloc(total + 100);
    size_t len = total;

    for (size_t i = 0; i < total; i++)
        all[i] = pattern(i);
    memcpy(expected, all, total);
    if (total > limit) {
        int note =
            sprintf(expected + head, "\n[%zu bytes left out]\n", total - limit);
        memcpy(expected + head + note, all + total - tail, tail);
        len = limit + (size_t)note;
    }
    bool right = true;
    for (size_t at = 0; at < total; at += piece) {
        size_t part = total - at < piece ? total - at : piece;
        right = right && noe_ends_add(&ends, all + at, part) == 0;
    }
    right = right && noe_ends_join(&ends) == 0 && ends.total == total &&
            ends.head.len == len &&
            (len == 0 || memcmp(ends.head.data, expected, len) == 0);
    if (!right)
        printf("# limit %zu, %zu bytes by %zu\n", limit, total, piece);
    noe_ends_free(&ends);
    free(all);
    free(expected);
    return right;
}

static void test_ends(void)
{
    static const size_t limits[] = {1, 2, 3, 10, 11, 4096, 65536};
    bool all = true;

    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        const size_t limit = limits[i];
        const size_t totals[] = {0,         1,         limit / 2,
                                 limit - 1, limit,     limit + 1,
                                 2 * limit, 5 * limit, 5 * limit + 3};
        const size_t pieces[] = {1, 2, 7, limit, 3 * limit + 1};
        for (size_t t = 0; t < sizeof(totals) / sizeof(*totals); t++)
            for (size_t p = 0; p < sizeof(pieces) / sizeof(*pieces); p++)
                all = ends_are_right(limit, totals[t], pieces[p]) && all;
    }
    ok(all, "the first and the last half are kept, byte for byte");
    ok(ends_are_right(SIZE_MAX, 300000, 1000), "without a limit all is kept");
}

int main(void)
{
    test_growth();
    test_limit();
    test_truncate();
    test_ends();
    return plan_done();
}
