/* SPDX-License-Identifier: MIT */
#include "buffer.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FIRST_CAPACITY = 4096, MAPPED_FROM = 128 * 1024, NOTE_SIZE = 64 };

static bool is_mapped(size_t capacity)
{
    return capacity >= MAPPED_FROM;
}

static void *map(size_t size)
{
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return NULL;
    return data;
}

static void *resize(const struct noe_buffer *buffer, size_t capacity)
{
    if (!is_mapped(capacity))
        return realloc(buffer->data, capacity);
    if (is_mapped(buffer->capacity)) {
        void *data =
            mremap(buffer->data, buffer->capacity, capacity, MREMAP_MAYMOVE);
        if (data == MAP_FAILED)
            return NULL;
        if (capacity >= 8u << 20)
            madvise(data, capacity, MADV_HUGEPAGE);
        return data;
    }
    char *data = map(capacity);
    if (data == NULL)
        return NULL;
    if (buffer->len > 0)
        memcpy(data, buffer->data, buffer->len);
    free(buffer->data);
    return data;
}

size_t noe_buffer_space(struct noe_buffer *buffer, size_t limit, char **space)
{
    if (buffer->len >= limit)
        return 0;
    if (buffer->len == buffer->capacity) {
        size_t capacity =
            buffer->capacity > 0 ? buffer->capacity * 2 : FIRST_CAPACITY;
        char *data = resize(buffer, capacity);
        if (data == NULL)
            return 0;
        buffer->data = data;
        buffer->capacity = capacity;
    }
    size_t room = buffer->capacity - buffer->len;
    *space = buffer->data + buffer->len;
    return room < limit - buffer->len ? room : limit - buffer->len;
}

void noe_buffer_truncate(struct noe_buffer *buffer, size_t len)
{
    size_t capacity = MAPPED_FROM;

    if (buffer->len <= len)
        return;
    buffer->len = len;
    while (capacity < len)
        capacity *= 2;
    if (!is_mapped(buffer->capacity) || capacity >= buffer->capacity)
        return;
    /* Shrinking a mapping in place cannot fail. */
    void *data = mremap(buffer->data, buffer->capacity, capacity, 0);
    if (data != MAP_FAILED)
        buffer->capacity = capacity;
}

void noe_buffer_free(struct noe_buffer *buffer)
{
    if (is_mapped(buffer->capacity))
        munmap(buffer->data, buffer->capacity);
    else
        free(buffer->data);
    *buffer = (struct noe_buffer){NULL, 0, 0};
}

/* Fills `head` up to `limit`; how many bytes it took. */
static size_t fill_head(struct noe_buffer *head, size_t limit, const char *data,
                        size_t len)
{
    size_t taken = 0;

    while (taken < len) {
        char *space;
        size_t room = noe_buffer_space(head, limit, &space);
        if (room == 0)
            break;
        if (room > len - taken)
            room = len - taken;
        memcpy(space, data + taken, room);
        head->len += room;
        taken += room;
    }
    return taken;
}

/* The ring holds the bytes `head_limit + k` of the stream at k % ring_size. */
static void fill_ring(struct noe_ends *ends, uint64_t position,
                      const char *data, size_t len)
{
    if (len > ends->ring_size) {
        position += len - ends->ring_size;
        data += len - ends->ring_size;
        len = ends->ring_size;
    }
    while (len > 0) {
        size_t at = (size_t)(position % ends->ring_size);
        size_t part = ends->ring_size - at < len ? ends->ring_size - at : len;
        memcpy(ends->ring + at, data, part);
        position += part;
        data += part;
        len -= part;
    }
}

int noe_ends_add(struct noe_ends *ends, const char *data, size_t len)
{
    size_t head_limit = ends->limit - ends->limit / 2;
    size_t taken = fill_head(&ends->head, head_limit, data, len);

    ends->total += taken;
    if (taken == len)
        return 0;
    if (ends->head.len < head_limit)
        return -1;
    if (ends->ring == NULL && ends->limit / 2 > 0) {
        ends->ring = malloc(ends->limit / 2);
        if (ends->ring == NULL)
            return -1;
        ends->ring_size = ends->limit / 2;
    }
    if (ends->ring != NULL)
        fill_ring(ends, ends->total - head_limit, data + taken, len - taken);
    ends->total += len - taken;
    return 0;
}

static int append(struct noe_buffer *buffer, const char *data, size_t len)
{
    return fill_head(buffer, SIZE_MAX / 2, data, len) == len ? 0 : -1;
}

int noe_ends_join(struct noe_ends *ends)
{
    uint64_t tail = ends->total - ends->head.len;
    size_t at = 0;
    size_t len = (size_t)tail;

    if (tail > ends->ring_size) {
        char note[NOTE_SIZE];
        int note_len =
            snprintf(note, sizeof(note), "\n[%" PRIu64 " bytes left out]\n",
                     tail - ends->ring_size);
        if (append(&ends->head, note, (size_t)note_len) != 0)
            return -1;
        len = ends->ring_size;
        at = len > 0 ? (size_t)(tail % ends->ring_size) : 0;
    }
    if (len == 0)
        return 0;
    size_t to_end = ends->ring_size - at < len ? ends->ring_size - at : len;
    if (append(&ends->head, ends->ring + at, to_end) != 0)
        return -1;
    return append(&ends->head, ends->ring, len - to_end);
}

void noe_ends_free(struct noe_ends *ends)
{
    noe_buffer_free(&ends->head);
    free(ends->ring);
    ends->ring = NULL;
    ends->ring_size = 0;
}
