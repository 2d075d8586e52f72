/* SPDX-License-Identifier: MIT */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

void noe_fd_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd); /* not retried: Linux frees the number even on EINTR */
    *fd = -1;
    errno = saved;
}

int noe_fd_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC);
}

int noe_fd_socketpair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}

int noe_fd_set_nonblocking(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK);
}
