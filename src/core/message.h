/* SPDX-License-Identifier: MIT */
#ifndef NOE_MESSAGE_H
#define NOE_MESSAGE_H

#include <sys/types.h>

#include "launch.h"
#include "noether.h"

/* What the jail is told before it starts. */
struct noe_message {
    const struct noe_options *options;
    pid_t host;
    int64_t deadline_us; /* INT64_MAX: none */
};

/* Writes it into the socket, where the jail finds it. The launcher keeps the
 * seccomp filters. 0, or -1 with `err`. */
int noe_message_send(const struct noe_message *message,
                     struct noe_launcher *launcher, int socket,
                     struct noe_error *err);

#endif
