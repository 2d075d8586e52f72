/* SPDX-License-Identifier: MIT */
/*
 * What the supervisor and the core read in /proc: a stage chooses the names of
 * its processes and the shape of its tree, and a container the mounts. The
 * sources are included, so that the input stands where the files do.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input;
static size_t input_size;
static size_t input_at;

static int fake_open(const char *path, int flags, ...)
{
    (void)path;
    (void)flags;
    input_at = 0;
    return 1000;
}

static ssize_t fake_read(int fd, void *data, size_t room)
{
    size_t len = input_size - input_at;

    (void)fd;
    if (len > room)
        len = room;
    memcpy(data, input + input_at, len);
    input_at += len;
    return (ssize_t)len;
}

static int fake_close(int fd)
{
    return fd - fd;
}

static FILE *fake_fopen(const char *path, const char *mode)
{
    (void)path;
    (void)mode;
    return input_size > 0 ? fmemopen((void *)(uintptr_t)input, input_size, "r")
                          : NULL;
}

#define open fake_open
#define read fake_read
#define close fake_close
#include "jail/proc.c"
#include "jail/usage.c"
#undef open
#undef read
#undef close

int64_t noe_jail_clock_us(void)
{
    return 0;
}

#define fopen fake_fopen
#include "core/cgroup.c"
#undef fopen

static void require(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct noe_cgroups cgroups = {0};
    struct seen seen;

    input = data;
    input_size = size;
    tree.count = 0;
    tree.whole = true;
    add_children(1, "1", &tree);
    require(tree.count <= NOE_TREE_MAX);
    tree.count = 0;
    (void)look_at(1, &seen);
    (void)resident(1);
    (void)proportional(1);
    noe_cgroups_find(&cgroups);
    noe_cgroups_free(&cgroups);
    return 0;
}
