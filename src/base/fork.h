/* SPDX-License-Identifier: MIT */
/*
 * What is said on the way to a run that is a copy of a process which runs
 * already (a fork server, src/jail/cradle.c):
 *
 * cradle -> server, by the server's NOE_FORK_ORDER_FD: one noe_fork_order, and
 *     descriptors: the child's end of a link to the cradle, and the cradle's
 *     namespaces, in the order of enum noe_fork_namespace.
 * cradle -> child, by the link: one noe_jail_start, the filter, and two
 * strings: where to start, and a private directory of the run's own, or empty;
 * and, where there is a control group for it, the list of who is in that.
 * child -> cradle: one noe_fork_ready, when it is behind all walls.
 * cradle -> child: one noe_fork_request with the variables, and descriptors:
 * the streams, and the channel as it says.
 *
 * What the run is about comes to the child only in the last message, and by the
 * channel: the server sees none of it.
 */
#ifndef NOE_FORK_H
#define NOE_FORK_H

#include <stdint.h>

#include "base/protocol.h"

/* In the server: the orders. In the child this number is its channel's. */
enum { NOE_FORK_ORDER_FD = NOE_JAIL_CHANNEL_FD };

/* In the order in which they are entered. The network is not the user
 * namespace's, which has rights over all the others, but of the one around it:
 * nobody who comes in by these has any rights over it. */
enum noe_fork_namespace {
    NOE_FORK_NETWORK,
    NOE_FORK_USER, /* in it there are the rights for those that follow */
    NOE_FORK_MOUNT,
    NOE_FORK_PID,
    NOE_FORK_IPC,
    NOE_FORK_UTS,
    NOE_FORK_CGROUP,
    NOE_FORK_NAMESPACES
};

struct noe_fork_order {
    uint32_t version;
};

enum { NOE_FORK_ORDERED = 1 + NOE_FORK_NAMESPACES }; /* descriptors with it */

struct noe_fork_ready {
    uint32_t version;
    int32_t listener; /* its number in the child, or -1 */
    int32_t code;     /* an errno, if it failed: */
    uint32_t fault;
    char step[28];
};

struct noe_fork_request {
    uint32_t version;
    uint32_t has_channel;
    uint32_t strings_len; /* "NAME=value", each ended by NUL, follow */
};

enum { NOE_FORK_MIN_GIVEN = 3, NOE_FORK_MAX_GIVEN = 4 };

#endif
