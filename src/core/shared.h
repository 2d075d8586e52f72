/* SPDX-License-Identifier: MIT */
/* The network namespace that runs without IP share (src/jail/shared.c), as the
 * host keeps it from one run to the next. */
#ifndef NOE_SHARED_H
#define NOE_SHARED_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "kept.h"

enum { NOE_SHARED_FDS = 2, NOE_SHARED_LIMITS = 4 };

/* What it was made by: the limits are those that hold for all below it. */
struct noe_shared_maker {
    pid_t process;
    uid_t user;
    gid_t group;
    struct rlimit limits[NOE_SHARED_LIMITS];
};

struct noe_shared {
    int fds[NOE_SHARED_FDS]; /* the user's and the network's, or -1 */
    struct noe_kept ids[NOE_SHARED_FDS];
    struct noe_shared_maker maker;
};

void noe_shared_init(struct noe_shared *shared);

/* Whether there is one that a run of ours may be in now. What is another's, or
 * was made by other limits, is let go. */
bool noe_shared_check(struct noe_shared *shared);

/* Takes over what the first run made; of several the first stays. */
void noe_shared_keep(struct noe_shared *shared, int fds[NOE_SHARED_FDS]);

void noe_shared_close(struct noe_shared *shared);

#endif
