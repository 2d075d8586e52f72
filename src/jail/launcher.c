/* SPDX-License-Identifier: MIT */
/*
 * The launcher: makes supervisors ahead of need, so that a run costs no exec of
 * the jail.
 *
 *   host ..socket.. launcher (nobody's child, its own session)
 *     \...seat... supervisor (stands by) --- the program, its tree
 *
 * The host's own child only makes it, and ends: a host that waits for all its
 * children, or for any, must not meet one that stays. What it makes are its
 * children, so they are not the host's either.
 *
 * It hears nothing but the host, and what it hears is one byte and a socket; no
 * program ever runs in it, and of the host's descriptors it has the socket and
 * /dev/null. It ends with the host, which it knows by a pidfd as well as by its
 * socket (a forked copy of the host holds that too), and when nothing was asked
 * of it for a while. What it has made lives on without it.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"

enum { MANY = 128 }; /* zombies: more than wait for a moment to be reaped */

ssize_t noe_seat_hear(int socket, int *given)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } room;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen = sizeof(room)};
    ssize_t len = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = len > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    *given = -1;
    if (header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(given, CMSG_DATA(header), sizeof(*given));
    return len;
}

struct launcher {
    int children; /* signalfd for SIGCHLD */
    int idle_ms;
    pid_t witness;
};

/* In the child the seat takes the place of our own socket. */
static void make_supervisor(const struct launcher *l, int seat)
{
    if (fork() == 0) {
        if (dup3(seat, NOE_SEAT_FD, O_CLOEXEC) < 0)
            _exit(1);
        _exit(noe_stand_by(l->idle_ms, l->witness));
    }
    close(seat);
}

/* The witness is in a process group of its own, and stays. */
static bool has_children(const struct launcher *l)
{
    char drain[1024];
    pid_t pid;

    (void)!read(l->children, drain, sizeof(drain));
    do
        pid = waitpid(0, NULL, WNOHANG);
    while (pid > 0);
    return pid == 0;
}

/* What is asked from here on fails for the host; what was before is done. False
 * if there is such a thing. */
static bool may_go(void)
{
    char byte;

    shutdown(NOE_SEAT_FD, SHUT_RD);
    return recv(NOE_SEAT_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static void serve(const struct launcher *l)
{
    struct pollfd fds[] = {{NOE_SEAT_FD, POLLIN, 0},
                           {NOE_HOST_FD, POLLIN, 0},
                           {l->children, POLLIN, 0}};
    bool busy = false;

    for (;;) {
        int count = poll(fds, 3, busy ? -1 : l->idle_ms);
        if ((count < 0 && errno != EINTR) || fds[1].revents != 0)
            return;
        if (count == 0 && may_go())
            return;
        int seat = -1;
        ssize_t len = noe_seat_hear(NOE_SEAT_FD, &seat);
        if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (seat >= 0)
            make_supervisor(l, seat);
        busy = has_children(l);
    }
}

/*
 * A host may put itself under Landlock's rules when we are here already, and
 * what we made would not be under them. Nothing tells of a process whether it
 * is; but one under rules may not look into one that is not. So we leave one to
 * be looked into by the host: a zombie, of which there is nothing else to see.
 */
static pid_t leave_witness(void)
{
    pid_t pid = fork();
    siginfo_t info;

    if (pid < 0)
        return -1;
    if (pid > 0) /* before it has ended nobody may look into it */
        return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0 ? pid
                                                                       : -1;
    if (setpgid(0, 0) != 0 || syscall(SYS_close_range, 0, ~0U, 0) != 0)
        _exit(1);
    prctl(PR_SET_DUMPABLE, 1);
    _exit(0);
}

/* Whoever takes over orphans reaps one of us, not one for each run. */
static void take_leave(const struct launcher *l)
{
    struct pollfd ended = {l->children, POLLIN, 0};

    close(NOE_SEAT_FD);
    while (has_children(l))
        (void)poll(&ended, 1, -1);
    waitpid(l->witness, NULL, 0);
}

/* Descriptors as jail.h lists them; the numbers of a run lead to /dev/null. */
static int settle_descriptors(int host)
{
    if (dup3(NOE_JAIL_CONTROL_FD, NOE_SEAT_FD, O_CLOEXEC) < 0 ||
        dup3(host, NOE_HOST_FD, O_CLOEXEC) < 0 ||
        noe_keep_open("/dev/null", O_RDWR, NOE_NULL_FD) < 0)
        return -1;
    for (int fd = 0; fd < NOE_SEAT_FD; fd++)
        if (dup3(NOE_NULL_FD, fd, O_CLOEXEC) < 0)
            return -1;
    return (int)syscall(SYS_close_range, NOE_NULL_FD + 1, ~0U, 0);
}

/* From here on we are nobody's child. */
static int live(int idle_ms, int host)
{
    struct launcher l = {.idle_ms = idle_ms};
    sigset_t child;

    if (setsid() < 0 || chdir("/") != 0 || settle_descriptors(host) != 0)
        return 1;
    prctl(PR_SET_NAME, "noether-launch");
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    l.children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    l.witness = leave_witness();
    if (l.children < 0 || l.witness < 0)
        return 1;
    serve(&l);
    take_leave(&l);
    return 0;
}

int noe_launch_on_request(struct noe_jail *jail)
{
    pid_t host_pid = jail->start.host_pid;
    /* Above the numbers that are about to be given out. */
    int host = (int)syscall(SYS_pidfd_open, host_pid, 0);
    int high =
        host >= 0 ? fcntl(host, F_DUPFD_CLOEXEC, NOE_FIRST_OF_RUN_FD) : -1;

    /* Where nobody reaps orphans we would be one zombie more, for ever. */
    if (high < 0 || getppid() != host_pid || noe_tree_zombies_of(1) >= MANY)
        return 1;
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0;
    return live((int)jail->start.idle_ms, high);
}
