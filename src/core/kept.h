/* SPDX-License-Identifier: MIT */
#ifndef NOE_KEPT_H
#define NOE_KEPT_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * What a descriptor leads to, and for what it was opened, for those that we
 * keep from one run to the next: daemons close all descriptors that they do not
 * know, and what has the number of one of ours then is the host's, not to be
 * read, not to be closed. (Other flags may be changed by a program that was
 * given it.)
 */
struct noe_kept {
    dev_t dev;
    ino_t ino;
    int access;
};

/* 0, or -1 with errno. */
int noe_kept_look(int fd, struct noe_kept *kept);

/* Whether it is still what it was; *fd becomes -1 if not. Where that cannot be
 * told, it is. Keeps errno. */
bool noe_kept_check(int *fd, const struct noe_kept *kept);

/* Closes it, if it is still ours. */
void noe_kept_close(int *fd, const struct noe_kept *kept);

#endif
