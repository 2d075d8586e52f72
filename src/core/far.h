/* SPDX-License-Identifier: MIT */
#ifndef NOE_FAR_H
#define NOE_FAR_H

#include <stdbool.h>
#include <sys/types.h>

#include "noether.h"
#include "watch.h"

/*
 * The far end of a program's stream: the file or descriptor that its input
 * comes from, or its output goes to, by way of the host. Nothing here waits but
 * for what is always ready, as regular files are; and no flag of a descriptor
 * that others share is changed.
 */
struct noe_far {
    struct noe_watched end;
    bool pollable;
    bool is_socket;
};

/* `poller` is asked what can be polled. 0, or -1 with `err`, which names the
 * stream by `name`. */
int noe_far_open(struct noe_far *far, const struct noe_stream *stream,
                 bool writes, int poller, const char *name,
                 struct noe_error *err);

/* As read and write: never more than -1 with EAGAIN where they would wait, and
 * -1 with EPIPE or EFBIG without the signal. */
ssize_t noe_far_read(const struct noe_far *far, void *data, size_t len);
ssize_t noe_far_write(const struct noe_far *far, const void *data, size_t len);

#endif
