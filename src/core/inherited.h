/* SPDX-License-Identifier: MIT */
#ifndef NOE_INHERITED_H
#define NOE_INHERITED_H

#include <stddef.h>
#include <sys/types.h>

#include "kept.h"

enum { NOE_INHERITED_BYTES = 12 * 1024 };

/*
 * What a child of this thread begins with, as bytes to be compared: ids,
 * groups, capabilities, securebits, label, filters, umask, root, namespaces,
 * control groups, limits, priorities, processors, and what the kernel thinks of
 * its memory. (Not its working directory.)
 */
struct noe_inherited {
    size_t len;
    char data[NOE_INHERITED_BYTES];
};

/* The thread's directory in /proc, open from one look to the next. */
struct noe_inherited_source {
    int dir;
    struct noe_kept id;
    pid_t thread;
    bool no_label; /* this kernel has none */
};

void noe_inherited_init(struct noe_inherited_source *source);
void noe_inherited_close(struct noe_inherited_source *source);

/* 0; or -1 if some of it cannot be known, or does not fit. */
int noe_inherited_read(struct noe_inherited_source *source,
                       struct noe_inherited *inherited);

#endif
