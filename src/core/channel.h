/* SPDX-License-Identifier: MIT */
#ifndef NOE_CHANNEL_H
#define NOE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"
#include "noether.h"
#include "watch.h"

/*
 * The host's end of a stage's channel: frames both ways over one socket, each
 * four bytes of length, the lowest first, and as many bytes. What they mean is
 * the caller's business; how many there may be at once is ours.
 *
 * Nothing here waits. A frame that has come is kept until it is taken, and no
 * more is read before; nor while much of what we have to say is not read: who
 * does not listen is not heard. Everything that comes is a stranger's: a length
 * is judged before there is memory for it.
 */
struct noe_channel_end {
    struct noe_watched end;
    size_t max_frame; /* bytes of one that comes; more breaks the channel */
    struct noe_buffer in;
    size_t in_at; /* where the next frame begins in `in` */
    struct noe_buffer out;
    size_t out_at;
    bool closed; /* by the other side: what is kept can still be taken */
    bool broken; /* what came is no frame */
    int failure; /* an errno of our own: no memory, or a socket that fails */
};

void noe_channel_init(struct noe_channel_end *channel, size_t max_frame);

/* What the poller is to wait for now. To be called after each change. */
void noe_channel_watch(struct noe_channel_end *channel, int poller);

/* The descriptor is ready: moves what can be moved. */
void noe_channel_move(struct noe_channel_end *channel, int poller);

/* The next frame: its length in *len and its bytes until the next move; NULL if
 * there is none yet. */
const char *noe_channel_take(struct noe_channel_end *channel, size_t *len);

/* Whether there is one. */
bool noe_channel_has_frame(const struct noe_channel_end *channel);

/* One more frame to send. 0, or -1 with errno: EPIPE, ENOMEM, EMSGSIZE. */
int noe_channel_put(struct noe_channel_end *channel, const void *data,
                    size_t len, int poller);

void noe_channel_close(struct noe_channel_end *channel, int poller);
void noe_channel_free(struct noe_channel_end *channel);

#endif
