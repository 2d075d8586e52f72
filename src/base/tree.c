/* SPDX-License-Identifier: MIT */
/*
 * Removing a directory tree that somebody else filled, perhaps to spite us.
 *
 * A directory below the top is never entered where it lies: it is first moved
 * into the top under a name of ours. So whatever the depth, there is no
 * recursion, two descriptors are enough, and no path grows too long. Moving it
 * is also the guard against leaving the tree: a mount point cannot be moved
 * (EBUSY), and a link is not a directory.
 */
#include "base/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"

struct tree {
    int top;
    unsigned long moved;   /* directories renamed so far: names the next */
    unsigned long removed; /* entries that are gone: progress */
    int code;              /* errno of the first that would not go */
};

static bool is_dots(const char *name)
{
    return name[0] == '.' &&
           (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Opens a directory with the permissions that emptying it takes. Its owner may
 * have given it none, and chmod by name would follow a link: so it is done to
 * an O_PATH descriptor, by way of /proc. */
static int open_directory(int dir, const char *name)
{
    const int flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct stat st;
    char path[64];
    int handle = openat(dir, name, O_PATH | flags);

    if (handle < 0)
        return -1;
    if (fstat(handle, &st) == 0 && (st.st_mode & 0700) != 0700) {
        noe_text_number(noe_text_add(path, "/proc/self/fd/"), (unsigned)handle);
        chmod(path, 0700); /* if not, what follows says why */
    }
    int fd = openat(handle, ".", O_RDONLY | flags);
    noe_fd_close(&handle);
    return fd;
}

/* A directory of ours whose own permissions forbid to move it (its "..", that
 * is) is given them. */
static int move_to_top(struct tree *tree, int dir, const char *name,
                       char moved[32])
{
    bool opened = false;

    for (;;) {
        noe_text_number(noe_text_add(moved, ".noe-"), tree->moved++);
        if (renameat(dir, name, tree->top, moved) == 0)
            return 0;
        if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)
            continue; /* that name is taken: try the next */
        if (errno != EACCES || opened)
            return -1;
        int fd = open_directory(dir, name);
        if (fd < 0)
            return -1;
        noe_fd_close(&fd);
        opened = true;
    }
}

/* What unlink says of a directory: EISDIR by Linux, EPERM by POSIX. */
static int remove_entry(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    int code = errno;
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
        return 0;
    if (errno == ENOTDIR)
        errno = code; /* a file that may not be removed */
    return -1;
}

/* An entry that vanished by itself is no failure, and no progress either: a
 * file system may list what it cannot find. */
static void note(struct tree *tree, int failed)
{
    if (failed == 0)
        tree->removed++;
    else if (errno != ENOENT && tree->code == 0)
        tree->code = errno;
}

/* The entries of a directory, in a stream of its own; NULL with errno. */
static DIR *open_stream(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;

    if (stream == NULL)
        noe_fd_close(&copy);
    return stream;
}

/* Takes everything out of `dir`, moving full directories to the top. */
static void strip(struct tree *tree, int dir)
{
    char moved[32];
    struct dirent *entry;
    DIR *stream = open_stream(dir);

    if (stream == NULL) {
        note(tree, -1);
        return;
    }
    while ((entry = readdir(stream)) != NULL) {
        if (is_dots(entry->d_name))
            continue;
        int failed = remove_entry(dir, entry->d_name);
        if (failed != 0 && (errno == ENOTEMPTY || errno == EEXIST))
            failed = move_to_top(tree, dir, entry->d_name, moved);
        note(tree, failed);
    }
    closedir(stream);
}

/* Empties and removes a directory that lies in the top. */
static int remove_directory(struct tree *tree, const char *name)
{
    char moved[32];

    if (move_to_top(tree, tree->top, name, moved) != 0)
        return -1;
    int dir = open_directory(tree->top, moved);
    if (dir < 0)
        return -1;
    strip(tree, dir);
    noe_fd_close(&dir);
    return unlinkat(tree->top, moved, AT_REMOVEDIR);
}

/* One look at every entry of the top. */
static void sweep(struct tree *tree, DIR *stream)
{
    struct dirent *entry;

    rewinddir(stream);
    while ((entry = readdir(stream)) != NULL) {
        if (is_dots(entry->d_name))
            continue;
        int failed = remove_entry(tree->top, entry->d_name);
        if (failed != 0 && (errno == ENOTEMPTY || errno == EEXIST))
            failed = remove_directory(tree, entry->d_name);
        note(tree, failed);
    }
}

/* Sweeps until nothing more goes: each sweep may have brought up directories
 * from below. 0, or an errno. */
static int empty_top(int top)
{
    struct tree tree = {.top = top};
    DIR *stream = open_stream(top);
    unsigned long before;

    if (stream == NULL)
        return errno;
    do {
        before = tree.removed;
        tree.code = 0;
        sweep(&tree, stream);
    } while (tree.removed > before);
    closedir(stream);
    return tree.code;
}

int noe_tree_remove_at(int parent, const char *base)
{
    if (remove_entry(parent, base) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -1;
    int top = open_directory(parent, base);
    if (top < 0)
        return -1;
    int code = empty_top(top);
    noe_fd_close(&top);
    if (unlinkat(parent, base, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (code != 0)
        errno = code;
    return -1;
}
