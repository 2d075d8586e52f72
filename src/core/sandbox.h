/* SPDX-License-Identifier: MIT */
#ifndef NOE_SANDBOX_H
#define NOE_SANDBOX_H

#include <stdbool.h>

#include "noether.h"

/* 0 if every path is one that can be bound or entered; else -1 with `err`. What
 * no policy may ask for is refused here, whatever the policy said. */
int noe_sandbox_check(const struct noe_sandbox *sandbox, struct noe_error *err);

/* Likewise for where a bind's source leads when its links are followed. */
int noe_sandbox_check_source(const char *resolved, struct noe_error *err);

/* Whether everything lies where it does on the host, and rules say what of it
 * may be touched. */
bool noe_sandbox_is_in_place(const struct noe_sandbox *sandbox);

/* The directory that has to be made for the program to start in; NULL: it will
 * be there, bound or private. */
const char *noe_sandbox_start_dir(const struct noe_sandbox *sandbox);

struct noe_place {
    const struct noe_bind *bind;
    bool writable;
};

/* All binds in the order in which they are to be mounted: parents before what
 * is below them; of two with one target the read-only one last, so that it
 * wins. To be freed by the caller; NULL if there is no memory. */
struct noe_place *noe_sandbox_places(const struct noe_sandbox *sandbox,
                                     size_t *count);

/* The command in front of the program: `bwrap`, its options and "--". */
char **noe_sandbox_wrapper(const struct noe_sandbox *sandbox,
                           const struct noe_limits *limits,
                           struct noe_error *err);

/* Whether some of its hosts are such as the caller is asked about. */
bool noe_sandbox_asks(const struct noe_sandbox *sandbox);

/* What this backend enforces on this host, as enum noe_enforced. */
uint32_t noe_sandbox_enforced(const struct noe_sandbox *sandbox,
                              const struct noe_limits *limits);

#endif
