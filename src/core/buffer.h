/* SPDX-License-Identifier: MIT */
#ifndef NOE_BUFFER_H
#define NOE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Bytes that grow at the end. Large buffers are mappings of their own: they
 * grow without being copied, only what was written to counts as memory, and all
 * of it goes back to the system at once.
 */
struct noe_buffer {
    char *data;
    size_t len;
    size_t capacity;
};

/* Room for at least one byte more, at most `limit` bytes in all: where to write
 * in *space and how much in the return value; 0 if there is no memory. */
size_t noe_buffer_space(struct noe_buffer *buffer, size_t limit, char **space);

void noe_buffer_truncate(struct noe_buffer *buffer, size_t len);
void noe_buffer_free(struct noe_buffer *buffer);

/*
 * The first and the last half of a stream that may be longer than `limit`. The
 * last half is a ring.
 */
struct noe_ends {
    struct noe_buffer head;
    char *ring;
    size_t ring_size;
    uint64_t total;
    size_t limit;
};

/* 0, or -1 if there is no memory (what was kept so far stays). */
int noe_ends_add(struct noe_ends *ends, const char *data, size_t len);

/* Joins the parts in `head`, with a line between them that says how much is
 * missing. Called once, at the end. 0, or -1 if there is no memory. */
int noe_ends_join(struct noe_ends *ends);

void noe_ends_free(struct noe_ends *ends);

#endif
