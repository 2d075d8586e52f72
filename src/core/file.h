/* SPDX-License-Identifier: MIT */
/*
 * Files and directories that others may be changing at the same time, and that
 * a crash or a full disk must not leave half-written. No function here follows
 * a symbolic link in the last component of a path it is given; who may change
 * the components before it is for the caller to know.
 */
#ifndef NOE_FILE_H
#define NOE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "noether.h"

/*
 * Opens the directory that holds `path`, close-on-exec, with `flags` (O_PATH or
 * O_RDONLY), and points *base at the last component within `path`. The fd, or
 * -1 with errno: EINVAL where the last component is empty, "." or "..".
 */
int noe_file_open_parent(const char *path, int flags, const char **base);

/* Sets `err` from errno, naming the operation and the path (its end, where it
 * is long). Returns -1. */
int noe_file_fail(struct noe_error *err, const char *operation,
                  const char *path);

/* Writes all of it, however many writes that takes. 0, or -1 with errno. */
int noe_file_write_all(int fd, const char *data, size_t len);

/*
 * Makes `path` a file with exactly these contents and this mode, whatever the
 * umask: either all of it, on disk and under its name, or the old state and no
 * temporary file. A link or file of that name is replaced, not written through;
 * what is neither (a device, a directory) stays, with EINVAL or EISDIR.
 */
int noe_file_write(const char *path, const void *data, size_t len, mode_t mode,
                   struct noe_error *err);

/* Makes a new file (EEXIST: there is something), which need not outlive this
 * machine: it is not synced, and nobody looks at it before this returns. */
int noe_file_make(const char *path, const void *data, size_t len, mode_t mode,
                  struct noe_error *err);

/*
 * Reads a regular file of at most `max_bytes` (EFBIG beyond) into one block for
 * free(), with a zero byte after it that *len does not count. Never waits for a
 * fifo or device of that name.
 */
int noe_file_read(const char *path, size_t max_bytes, char **data, size_t *len,
                  struct noe_error *err);

/* Whether `path` is a regular file that holds exactly these bytes: 1 or 0, or
 * -1 if it cannot be read. */
int noe_file_equals(const char *path, const void *data, size_t len,
                    struct noe_error *err);

/*
 * Makes `path` a directory that only we can enter: creates it and what is
 * missing above it with mode 0700. One that exists must be ours and closed to
 * others (EPERM); one that others may read and nobody has used yet, being
 * empty, is closed to them.
 */
int noe_file_make_private(const char *path, struct noe_error *err);

/* Renames, and waits until the new name is on disk. */
int noe_file_rename(const char *from, const char *to, struct noe_error *err);

/* Swaps two names: at no moment is either missing. Fails with EINVAL where the
 * file system cannot do that. */
int noe_file_exchange(const char *one, const char *other,
                      struct noe_error *err);

/*
 * Opens (and creates, with mode 0600) a lock file and takes its exclusive lock,
 * which ends when the fd and its copies are closed. With `wait` false a lock
 * that is held by another is EAGAIN. The file remains.
 */
int noe_file_lock(const char *path, bool wait, int *fd, struct noe_error *err);

enum { NOE_TEMP_NAME_SIZE = 32 };

/* A name that nobody else who writes now will take. */
void noe_file_temp_name(char name[NOE_TEMP_NAME_SIZE]);

/* Makes a file of such a name, mode 0600, to be written. The fd, or -1 with
 * errno. */
int noe_file_create_temp(int dir, char name[NOE_TEMP_NAME_SIZE]);

/* Whether a rename may put a file in the place of `base`. 0, or -1 with errno:
 * what is no file or link (a device, a directory) stays what it is. */
int noe_file_check_replaceable(int dir, const char *base);

/* Removes whatever is at `path`, with everything below it: noe_tree_remove_at
 * (tree.h) says how. 0, or -1 with `err`. */
int noe_file_remove_tree(const char *path, struct noe_error *err);

#endif
