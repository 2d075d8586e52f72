/* SPDX-License-Identifier: MIT */
#include "outlet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"

enum {
    CHUNK = 64 * 1024,
    SHOWN_AT_ONCE = 256 * 1024, /* more waits in the pipe */
    KEPT_OF_TOO_MUCH = 64 * 1024
};

void noe_outlet_init(struct noe_outlet *outlet, bool keeps_ends, size_t limit)
{
    *outlet = (struct noe_outlet){.pipe = {-1, 0},
                                  .limit = limit,
                                  .keeps_ends = keeps_ends,
                                  .ends = {.limit = limit},
                                  .to = {.end = {-1, 0}}};
}

int noe_outlet_open(struct noe_outlet *outlet, const struct noe_stream *stream,
                    int poller, const char *name, struct noe_error *err)
{
    outlet->tapped = stream->tapped;
    if (stream->kind != NOE_STREAM_PATH && stream->kind != NOE_STREAM_FD)
        return 0;
    outlet->has_far = true;
    outlet->queue = malloc(CHUNK);
    if (outlet->queue == NULL)
        return noe_error_set(err, NOE_FAULT_SPAWN, ENOMEM, "spawn", "%s", "");
    return noe_far_open(&outlet->to, stream, true, poller, name, err);
}

void noe_outlet_close(struct noe_outlet *outlet, int poller)
{
    noe_watch_end(poller, &outlet->pipe);
    noe_watch_end(poller, &outlet->to.end);
}

void noe_outlet_free(struct noe_outlet *outlet)
{
    noe_buffer_free(&outlet->kept);
    noe_buffer_free(&outlet->tap);
    noe_ends_free(&outlet->ends);
    free(outlet->queue);
    outlet->queue = NULL;
}

bool noe_outlet_waits(const struct noe_outlet *outlet)
{
    return outlet->queue_len > 0 || outlet->tap.len >= SHOWN_AT_ONCE;
}

void noe_outlet_give_up(struct noe_outlet *outlet, int poller)
{
    if (outlet->queue_len > 0)
        outlet->cut = true;
    outlet->queue_len = 0;
    noe_watch_end(poller, &outlet->to.end);
}

static void fail(struct noe_outlet *outlet, int poller, int code)
{
    outlet->failure = code;
    outlet->cut = true;
    noe_outlet_give_up(outlet, poller);
    noe_watch_end(poller, &outlet->pipe);
}

/* Never for both: the pipe would wake the host all the time while the far end
 * is full. */
static void wait_for(struct noe_outlet *outlet, int poller, bool far)
{
    uint32_t far_events = far && outlet->to.pollable ? EPOLLOUT : 0;

    if (noe_watch(poller, &outlet->pipe, far ? 0 : EPOLLIN) != 0 ||
        noe_watch(poller, &outlet->to.end, far_events) != 0)
        fail(outlet, poller, errno);
}

void noe_outlet_flush(struct noe_outlet *outlet, int poller)
{
    while (outlet->queue_len > 0) {
        ssize_t wrote = noe_far_write(
            &outlet->to, outlet->queue + outlet->queue_at, outlet->queue_len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN && outlet->to.pollable) {
            wait_for(outlet, poller, true);
            return;
        }
        if (wrote < 0) {
            fail(outlet, poller, errno);
            return;
        }
        outlet->queue_at += (size_t)wrote;
        outlet->queue_len -= (size_t)wrote;
    }
    wait_for(outlet, poller, false);
}

static int add(struct noe_buffer *buffer, const char *data, size_t len)
{
    while (len > 0) {
        char *space;
        size_t room = noe_buffer_space(buffer, SIZE_MAX / 2, &space);
        if (room == 0)
            return -1;
        if (room > len)
            room = len;
        memcpy(space, data, room);
        buffer->len += room;
        data += room;
        len -= room;
    }
    return 0;
}

/* What of `len` new bytes is within the limit. */
static size_t within(const struct noe_outlet *outlet, size_t len)
{
    if (outlet->total >= outlet->limit)
        return 0;
    uint64_t left = outlet->limit - outlet->total;
    return left < len ? (size_t)left : len;
}

/* `data` was read: counted, shown, passed on. */
static void note(struct noe_outlet *outlet, int poller, const char *data,
                 size_t len)
{
    size_t passed = within(outlet, len);

    outlet->total += len;
    outlet->last_us = noe_clock_us();
    if (outlet->tapped && add(&outlet->tap, data, len) != 0) {
        fail(outlet, poller, ENOMEM);
        return;
    }
    if (!outlet->has_far)
        return;
    if (outlet->to.end.fd < 0 || passed < len)
        outlet->cut = true;
    if (outlet->to.end.fd < 0)
        return;
    outlet->queue_at = 0;
    outlet->queue_len = passed;
    noe_outlet_flush(outlet, poller);
}

/* As read; but -1 means that nothing can be read now, and 0 never again. */
static ssize_t read_pipe(struct noe_outlet *outlet, int poller, char *data,
                         size_t room)
{
    ssize_t got;

    do
        got = read(outlet->pipe.fd, data, room);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        noe_watch_end(poller, &outlet->pipe);
    if (got >= 0 || errno == EAGAIN)
        return got;
    fail(outlet, poller, errno);
    return 0;
}

static void too_much(struct noe_outlet *outlet, int poller)
{
    outlet->over = outlet->cut = true;
    noe_buffer_truncate(&outlet->kept, KEPT_OF_TOO_MUCH);
    noe_watch_end(poller, &outlet->pipe);
}

/* Where the next bytes go, if there may be more: 0 if there is no memory. */
static size_t find_room(struct noe_outlet *outlet, char **space)
{
    if (!outlet->has_far)
        return noe_buffer_space(&outlet->kept, outlet->limit, space);
    *space = outlet->queue;
    return within(outlet, CHUNK);
}

/* True if there may be more at once. */
static bool read_whole(struct noe_outlet *outlet, int poller)
{
    bool full = outlet->total >= outlet->limit;
    char one_more;
    char *space = &one_more;
    size_t room = full ? 1 : find_room(outlet, &space);

    if (room == 0) {
        fail(outlet, poller, ENOMEM);
        /* So that the host has memory to hear of it. */
        noe_buffer_truncate(&outlet->kept, KEPT_OF_TOO_MUCH);
        return false;
    }
    ssize_t got = read_pipe(outlet, poller, space, room);
    if (got > 0 && full) {
        outlet->total++;
        too_much(outlet, poller);
    }
    if (got <= 0 || full)
        return false;
    if (!outlet->has_far)
        outlet->kept.len += (size_t)got;
    note(outlet, poller, space, (size_t)got);
    return (size_t)got == room;
}

/* Likewise. */
static bool read_ends(struct noe_outlet *outlet, int poller)
{
    char chunk[CHUNK];
    char *space = outlet->has_far ? outlet->queue : chunk;
    ssize_t got = read_pipe(outlet, poller, space, CHUNK);

    if (got <= 0)
        return false;
    if (noe_ends_add(&outlet->ends, space, (size_t)got) != 0)
        outlet->cut = true;
    note(outlet, poller, space, (size_t)got);
    return got == CHUNK;
}

void noe_outlet_read(struct noe_outlet *outlet, int poller, uint64_t stop)
{
    while (outlet->pipe.fd >= 0 && outlet->total < stop &&
           !noe_outlet_waits(outlet) &&
           (outlet->keeps_ends ? read_ends(outlet, poller)
                               : read_whole(outlet, poller)))
        continue;
}

void noe_outlet_restart(struct noe_outlet *outlet, int poller, size_t limit)
{
    enum { MOST = 1024 * 1024 };

    noe_outlet_read(outlet, poller, outlet->total + MOST);
    noe_buffer_free(&outlet->kept);
    noe_buffer_free(&outlet->tap);
    noe_ends_free(&outlet->ends);
    outlet->kept = outlet->tap = (struct noe_buffer){NULL, 0, 0};
    outlet->ends = (struct noe_ends){.limit = limit};
    outlet->limit = limit;
    outlet->total = 0;
    outlet->last_us = 0;
    outlet->cut = false;
}
