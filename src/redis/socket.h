/* SPDX-License-Identifier: MIT */
/* A connection to a server, which never waits: what cannot go yet is kept, and
 * an epoll descriptor of its own, the same for every connection after another,
 * becomes readable when there is something to do. */
#ifndef REDIS_SOCKET_H
#define REDIS_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "reply.h"
#include "tls.h"

struct redis_socket {
    int poller;
    int fd; /* -1: there is no connection */
    bool connected;
    bool waits_for_room;
    struct redis_tls *tls; /* NULL: plain */
    struct redis_inbox *inbox;
    char *out; /* what is to be sent, and how much of it has gone */
    size_t len;
    size_t sent;
    size_t room;
    unsigned long long moved; /* bytes, in either direction */
    int code;                 /* errno of what failed, or 0 */
    const char *why;
};

/* Makes the poller. 0, or -1 with errno. */
int redis_socket_init(struct redis_socket *socket);

/* Begins to connect, by a name of a Unix socket, or a numeric address and port.
 * With `tls`, which is taken over, a handshake follows. 0, or -1. */
int redis_socket_open(struct redis_socket *socket, const char *address,
                      const char *port, struct redis_tls *tls,
                      struct redis_bounds bounds);

/* Ends the connection, if there is one; what was to be sent is forgotten. */
void redis_socket_shut(struct redis_socket *socket);

/* All of it. */
void redis_socket_end(struct redis_socket *socket);

/* Appends a command to what is to be sent. 0, or -1. */
int redis_socket_add(struct redis_socket *socket, int count, const char **words,
                     const size_t *lens);

/* Goes on as far as it can: connects, shakes hands, sends, receives. 0, or -1
 * where the connection is no more. */
int redis_socket_step(struct redis_socket *socket);

/* Sends what it can, and receives nothing. As above. */
int redis_socket_flush(struct redis_socket *socket);

/* How many bytes are still to be sent. */
size_t redis_socket_unsent(const struct redis_socket *socket);

#endif
