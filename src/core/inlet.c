/* SPDX-License-Identifier: MIT */
#include "inlet.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "error.h"
#include "base/fd.h"

enum { CHUNK = 64 * 1024, BYTES_PER_FEED = 1024 * 1024 };

void noe_inlet_init(struct noe_inlet *inlet)
{
    *inlet = (struct noe_inlet){
        .pipe = {-1, 0}, .reader = -1, .from = {.end = {-1, 0}}};
}

int noe_inlet_open(struct noe_inlet *inlet, const struct noe_stream *stream,
                   int poller, struct noe_error *err)
{
    inlet->by_pieces = stream->kind == NOE_STREAM_PIECES;
    if (stream->kind != NOE_STREAM_PATH && stream->kind != NOE_STREAM_FD)
        return 0;
    inlet->chunk = malloc(CHUNK);
    if (inlet->chunk == NULL)
        return noe_error_set(err, NOE_FAULT_SPAWN, ENOMEM, "spawn", "%s", "");
    return noe_far_open(&inlet->from, stream, false, poller, "stdin", err);
}

bool noe_inlet_has_input(const struct noe_inlet *inlet)
{
    return inlet->left > 0 || inlet->by_pieces || inlet->from.end.fd >= 0;
}

void noe_inlet_close(struct noe_inlet *inlet, int poller)
{
    noe_watch_end(poller, &inlet->pipe);
    noe_watch_end(poller, &inlet->from.end);
    noe_fd_close(&inlet->reader);
    free(inlet->chunk);
    inlet->chunk = NULL;
    inlet->hungry = false;
}

static void fail(struct noe_inlet *inlet, int poller)
{
    inlet->failure = errno;
    noe_inlet_close(inlet, poller);
}

/* 1: the pipe took all; 0: it is full; -1 with errno: it is broken. Both its
 * ends are ours here, so there is no SIGPIPE to fear. */
static int push(struct noe_inlet *inlet)
{
    while (inlet->left > 0) {
        ssize_t wrote = write(inlet->pipe.fd, inlet->data, inlet->left);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return errno == EAGAIN ? 0 : -1;
        inlet->data += wrote;
        inlet->left -= (size_t)wrote;
    }
    return 1;
}

/* 1: there is more in `chunk`; 0: not now; -1: that was all, or, with
 * `failure`, it cannot be had. */
static int fetch(struct noe_inlet *inlet)
{
    ssize_t got;

    do
        got = noe_far_read(&inlet->from, inlet->chunk, CHUNK);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN && inlet->from.pollable)
        return 0;
    if (got < 0)
        inlet->failure = errno;
    if (got <= 0)
        return -1;
    inlet->data = inlet->chunk;
    inlet->left = (size_t)got;
    return 1;
}

/* Never for both: a pipe with room would wake the host all the time while the
 * far end has nothing, and the other way round. */
static void wait_for(struct noe_inlet *inlet, int poller, bool room)
{
    uint32_t source = !room && inlet->from.pollable ? EPOLLIN : 0;

    if (noe_watch(poller, &inlet->pipe, room ? EPOLLOUT : 0) != 0 ||
        noe_watch(poller, &inlet->from.end, source) != 0)
        fail(inlet, poller);
}

void noe_inlet_feed(struct noe_inlet *inlet, int poller)
{
    size_t moved = 0;

    while (inlet->pipe.fd >= 0 && !inlet->resting) {
        int pushed = push(inlet);
        if (pushed < 0) {
            fail(inlet, poller);
            return;
        }
        inlet->hungry = pushed == 1 && inlet->by_pieces;
        if (pushed == 0 || inlet->hungry || moved >= BYTES_PER_FEED) {
            wait_for(inlet, poller, true);
            return;
        }
        int fetched = inlet->from.end.fd >= 0 ? fetch(inlet) : -1;
        if (fetched == 0) {
            wait_for(inlet, poller, false);
            return;
        }
        if (fetched < 0)
            noe_inlet_close(inlet, poller);
        moved += inlet->left;
    }
}

void noe_inlet_give(struct noe_inlet *inlet, const char *data, size_t len,
                    int poller)
{
    if (!inlet->hungry)
        return;
    inlet->hungry = inlet->resting = false;
    inlet->data = data;
    inlet->left = len;
    inlet->by_pieces = len > 0;
    noe_inlet_feed(inlet, poller);
}

void noe_inlet_finish(struct noe_inlet *inlet, const char *data, size_t len,
                      int poller)
{
    if (!inlet->hungry)
        return;
    inlet->hungry = inlet->resting = inlet->by_pieces = false;
    inlet->data = data;
    inlet->left = len;
    noe_inlet_feed(inlet, poller);
}

/* Without this the room in the pipe would wake the host all the time. */
void noe_inlet_rest(struct noe_inlet *inlet, int poller)
{
    if (!inlet->hungry || inlet->resting)
        return;
    inlet->resting = true;
    if (noe_watch(poller, &inlet->pipe, 0) != 0)
        fail(inlet, poller);
}
