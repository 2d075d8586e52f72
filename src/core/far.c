/* SPDX-License-Identifier: MIT */
#include "far.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "base/fd.h"

enum { COMMON_FLAGS = O_CLOEXEC | O_NOCTTY | O_NONBLOCK };

/* Appending lets two streams go to one file. */
static int open_path(const char *path, bool writes)
{
    struct stat st;
    int fd =
        writes
            ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | COMMON_FLAGS,
                   0600)
            : open(path, O_RDONLY | COMMON_FLAGS);

    if (fd < 0 || writes || fstat(fd, &st) != 0)
        return fd;
    /* A FIFO without a writer looks like one at its end. */
    if (!S_ISDIR(st.st_mode) && !S_ISFIFO(st.st_mode))
        return fd;
    noe_fd_close(&fd);
    errno = S_ISDIR(st.st_mode) ? EISDIR : ESPIPE;
    return -1;
}

static bool allows(int fd, bool writes)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return false;
    int mode = flags & O_ACCMODE;
    if (mode == O_RDWR || mode == (writes ? O_WRONLY : O_RDONLY))
        return true;
    errno = EBADF;
    return false;
}

/* Whether a descriptor waits is a flag of its description, which others have
 * too: a pipe or a terminal is opened anew, a socket takes the flag with each
 * call. A regular file keeps its description, for the position's sake. */
static int open_fd(struct noe_far *far, int fd, bool writes)
{
    char path[32];
    struct stat st;

    if (!allows(fd, writes) || fstat(fd, &st) != 0)
        return -1;
    far->is_socket = S_ISSOCK(st.st_mode);
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return fcntl(fd, F_DUPFD_CLOEXEC, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, (writes ? O_WRONLY : O_RDONLY) | COMMON_FLAGS);
}

static bool can_be_polled(struct noe_watched *end, int poller)
{
    if (noe_watch(poller, end, EPOLLPRI) != 0)
        return false;
    (void)noe_watch(poller, end, 0);
    return true;
}

int noe_far_open(struct noe_far *far, const struct noe_stream *stream,
                 bool writes, int poller, const char *name,
                 struct noe_error *err)
{
    bool by_path = stream->kind == NOE_STREAM_PATH;

    far->end.fd = by_path ? open_path(stream->path, writes)
                          : open_fd(far, stream->fd, writes);
    if (far->end.fd < 0 && by_path)
        return noe_error_set(err, NOE_FAULT_SPAWN, errno, name, "%.300s",
                             stream->path);
    if (far->end.fd < 0)
        return noe_error_set(err, NOE_FAULT_SPAWN, errno, name, "descriptor %d",
                             stream->fd);
    far->pollable = can_be_polled(&far->end, poller);
    if (far->pollable || errno == EPERM)
        return 0;
    return noe_error_set(err, NOE_FAULT_SPAWN, errno, "epoll_ctl", "%s", "");
}

ssize_t noe_far_read(const struct noe_far *far, void *data, size_t len)
{
    if (far->is_socket)
        return recv(far->end.fd, data, len, MSG_DONTWAIT);
    return read(far->end.fd, data, len);
}

/* What write sends to this thread on a failure is taken back: it is not the
 * host's mistake, and the host may not have asked to ignore it. */
static void take_back(int sig)
{
    const struct timespec now = {0, 0};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, sig);
    while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
        continue;
}

static ssize_t write_quietly(int fd, const void *data, size_t len)
{
    sigset_t ours;
    sigset_t before;
    sigset_t pending;

    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    sigaddset(&ours, SIGXFSZ);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    ssize_t wrote = write(fd, data, len);
    int code = errno;
    int sig = code == EPIPE ? SIGPIPE : SIGXFSZ;
    if (wrote < 0 && (code == EPIPE || code == EFBIG) &&
        sigismember(&pending, sig) != 1)
        take_back(sig);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return wrote;
}

ssize_t noe_far_write(const struct noe_far *far, const void *data, size_t len)
{
    if (far->is_socket)
        return send(far->end.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return write_quietly(far->end.fd, data, len);
}
