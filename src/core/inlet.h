/* SPDX-License-Identifier: MIT */
#ifndef NOE_INLET_H
#define NOE_INLET_H

#include <stdbool.h>
#include <stddef.h>

#include "far.h"
#include "watch.h"

/*
 * The program's input. What is written to its pipe is text of the caller's, in
 * one piece or in several that the caller gives when asked, or is read from a
 * far end. The host keeps the reading end of the pipe too, for as long as it
 * writes, so that a program that closes its input cannot send it a SIGPIPE.
 */
struct noe_inlet {
    struct noe_watched pipe; /* the writing end */
    int reader;
    const char *data; /* what the pipe has not taken yet */
    size_t left;
    bool by_pieces;
    bool hungry;  /* there is room for the next piece */
    bool resting; /* which the caller does not have yet */
    struct noe_far from;
    char *chunk; /* what was read from there */
    int failure; /* errno: the rest will not come */
};

void noe_inlet_init(struct noe_inlet *inlet);

/* Opens the far end, where the stream names one. 0, or -1 with `err`. */
int noe_inlet_open(struct noe_inlet *inlet, const struct noe_stream *stream,
                   int poller, struct noe_error *err);

/* Whether there is anything to write, now or later. */
bool noe_inlet_has_input(const struct noe_inlet *inlet);

/* Writes what the pipe takes now, and waits for what it needs to go on. Closes
 * the pipe at the end of the input, or at a failure. */
void noe_inlet_feed(struct noe_inlet *inlet, int poller);

/* Gives the next piece, which stays the caller's and must be valid until the
 * inlet is hungry again; nothing is the end. */
void noe_inlet_give(struct noe_inlet *inlet, const char *data, size_t len,
                    int poller);

/* Gives the last piece of an inlet that rests: its end follows. */
void noe_inlet_finish(struct noe_inlet *inlet, const char *data, size_t len,
                      int poller);

/* The next piece is not there yet: the pipe is not watched until it is. */
void noe_inlet_rest(struct noe_inlet *inlet, int poller);

/* `poller` -1: the set is not to be touched. */
void noe_inlet_close(struct noe_inlet *inlet, int poller);

#endif
