/* SPDX-License-Identifier: MIT */
#ifndef NOE_FD_H
#define NOE_FD_H

#include <stdbool.h>

/* An fd is -1 or owned. Closes *fd, if it is open, and sets it to -1; keeps
 * errno. */
void noe_fd_close(int *fd);

/* pipe2 with close-on-exec: [0] to read, [1] to write. 0, or -1 with errno. */
int noe_fd_pipe(int fds[2]);

/* A connected pair of SOCK_SEQPACKET sockets, close-on-exec. As above. */
int noe_fd_socketpair(int fds[2]);

/* O_NONBLOCK on, for a fresh pipe, which has no other flags. 0, or -1 with
 * errno. */
int noe_fd_set_nonblocking(int fd);

#endif
