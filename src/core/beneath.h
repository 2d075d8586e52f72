/* SPDX-License-Identifier: MIT */
/*
 * Files below an open directory that somebody else has filled, perhaps to spite
 * us, or may be changing now. Paths are relative. No link is followed, no other
 * mount entered, nothing above the directory reached, and nothing opened but
 * directories and regular files. Each returns -1 with errno where it fails.
 */
#ifndef NOE_BENEATH_H
#define NOE_BENEATH_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "file.h"

/* Opens a directory itself, in which files can be made. Nothing of its path may
 * be a link. */
int noe_beneath_top(const char *path);

/* Opens a directory to be listed; "." is the top. */
int noe_beneath_directory(int top, const char *path);

/* Opens a file to be read and says what it is. EINVAL: it is no regular file,
 * EMLINK: it has another name, too, by which it may be somebody else's. */
int noe_beneath_file(int top, const char *path, struct stat *st);

/* Makes the directories above the last component of `path`, with mode 0700, and
 * opens the lowest one; *base is that last component within `path`. */
int noe_beneath_parents(int top, const char *path, const char **base);

/* A file that is being written, and has no name to be found by yet. */
struct noe_draft {
    int dir; /* where it is to be */
    int fd;
    char temp[NOE_TEMP_NAME_SIZE]; /* "": it has no name at all */
};

/* Begins one, of mode 0600. */
int noe_draft_open(struct noe_draft *draft, int top, const char *path,
                   const char **base);

/* Copies up to `max` bytes on. How many; 0 at the end. */
ssize_t noe_draft_copy(struct noe_draft *draft, int from, size_t max);

/* Gives it its name. What has that name is EEXIST; or if it is a file or link,
 * and `replaces`, it is replaced. 0. */
int noe_draft_keep(struct noe_draft *draft, const char *base, bool replaces);

/* Ends it: what was not kept is gone. */
void noe_draft_close(struct noe_draft *draft);

#endif
