/* SPDX-License-Identifier: MIT */
#ifndef NOE_OUTLET_H
#define NOE_OUTLET_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "far.h"
#include "watch.h"

/*
 * One of the program's outputs: what comes out of its pipe is kept in memory,
 * goes to a far end, is shown to the caller, or all of these. While the far end
 * does not take what was read, or the caller does not, no more is read.
 */
struct noe_outlet {
    struct noe_watched pipe; /* the reading end */
    uint64_t total;          /* as many bytes as were read */
    uint64_t limit;
    int64_t last_us; /* when the last of them came; 0: none did */
    bool keeps_ends; /* of more than the limit first and last, or else more than
                        the limit is too much */
    bool over;       /* it was */
    bool cut;        /* something is missing where it should be */
    int failure;     /* errno: the rest cannot be had, or not be passed on */
    struct noe_buffer kept;
    struct noe_ends ends;
    struct noe_far to;
    bool has_far;
    char *queue; /* read, and on its way to the far end */
    size_t queue_at;
    size_t queue_len;
    bool tapped;
    struct noe_buffer tap; /* read, and to be shown to the caller */
};

void noe_outlet_init(struct noe_outlet *outlet, bool keeps_ends, size_t limit);

/* Opens the far end, where the stream names one. 0, or -1 with `err`. */
int noe_outlet_open(struct noe_outlet *outlet, const struct noe_stream *stream,
                    int poller, const char *name, struct noe_error *err);

/* Reads what has come, until about `stop` bytes are read in all. */
void noe_outlet_read(struct noe_outlet *outlet, int poller, uint64_t stop);

/* What came until now, also what is on its way, is forgotten; `limit` counts
 * from here. */
void noe_outlet_restart(struct noe_outlet *outlet, int poller, size_t limit);

/* Passes on what waits for the far end. */
void noe_outlet_flush(struct noe_outlet *outlet, int poller);

/* Whether reading must wait for the far end, or for the caller to look. */
bool noe_outlet_waits(const struct noe_outlet *outlet);

/* The far end gets no more. */
void noe_outlet_give_up(struct noe_outlet *outlet, int poller);

/* `poller` -1: the set is not to be touched. What is kept stays. */
void noe_outlet_close(struct noe_outlet *outlet, int poller);

void noe_outlet_free(struct noe_outlet *outlet);

#endif
