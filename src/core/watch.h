/* SPDX-License-Identifier: MIT */
#ifndef NOE_WATCH_H
#define NOE_WATCH_H

#include <stdint.h>

/* A descriptor of ours (or -1), and what an epoll set waits for on it: nothing
 * (0) means that it is not in the set. */
struct noe_watched {
    int fd;
    uint32_t events;
};

/* Waits for `events` from now on, or for nothing. 0, or -1 with errno. */
int noe_watch(int poller, struct noe_watched *watched, uint32_t events);

/* Closes it. Taken out of the set first, unless `poller` is -1: where a forked
 * copy of the host still holds the descriptor, closing alone would leave it in
 * the set for ever. */
void noe_watch_end(int poller, struct noe_watched *watched);

/* What one set waits for the other one waits for from now on. 0, or -1 with
 * errno. */
int noe_watch_move(int from, int to, struct noe_watched *watched);

#endif
