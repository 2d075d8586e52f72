/* SPDX-License-Identifier: MIT */
/*
 * Structs of callers whose header may be older or newer than the library. Each
 * begins with a size_t that says how large it is there. What both know is
 * copied; what the caller does not know keeps its default.
 */
#ifndef NOE_SIZED_H
#define NOE_SIZED_H

#include "noether.h"

/*
 * `ours`, of `size` bytes, holds the defaults, and takes what the caller has.
 * 0, or -1 with `err`: the caller's size is no size, or it uses something that
 * this library is too old for (what it does not know must be zero, or a limit
 * could be silently none). `what` names the struct.
 */
int noe_sized_read(void *ours, size_t size, const void *theirs,
                   const char *what, struct noe_error *err);

/* Fills the caller's struct of `their_size` bytes from `ours`, and what is
 * beyond with zeros. A size that is none writes nothing. */
void noe_sized_write(void *theirs, size_t their_size, const void *ours,
                     size_t size);

#endif
