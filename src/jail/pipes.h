/* SPDX-License-Identifier: MIT */
/*
 * Pipes through which bytes go from one socket to another within the kernel.
 * They are few, for there is one only while it has something in it.
 */
#ifndef NOE_JAIL_PIPES_H
#define NOE_JAIL_PIPES_H

#include <stdbool.h>
#include <stddef.h>

enum { NOE_PIPE_BYTES = 512 * 1024 };

struct noe_pipe {
    int in; /* to write to */
    int out;
    size_t left; /* bytes in it */
    struct noe_pipe *next;
};

/* An empty one; NULL: all are in use, or there can be none. */
struct noe_pipe *noe_pipe_take(void);

/* Gives one back: that is empty; with whatever is in it. */
void noe_pipe_give(struct noe_pipe *pipe);
void noe_pipe_drop(struct noe_pipe *pipe);

/* From now on there is none. */
void noe_pipes_do_without(void);

#endif
