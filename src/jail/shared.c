/* SPDX-License-Identifier: MIT */
/*
 * The network namespace of runs that may make no socket but connected pairs:
 * one for all runs of a host, for to make one, and to be rid of it, costs as
 * much as the rest of a run, behind a lock of the kernel's. Nothing is in it,
 * its loopback device is down, and no address can be had in it by a filter that
 * refuses what has one.
 *
 * It belongs to a user namespace of its own, in which no program runs: of a
 * run's own namespaces, which are below that one, none has a right over it. The
 * first run that finds none makes both, and the host keeps them for others by
 * two descriptors. Whatever fails here, a run that is not in it has one of its
 * own.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child: makes them, and sends them. */
static int make(int socket, uid_t uid, gid_t gid)
{
    const char *path;

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 ||
        noe_native_map(-1, uid, gid, &path) != 0)
        return 1;
    struct noe_jail_given given = {
        .event = {.type = NOE_JAIL_NETWORK},
        .count = 2,
        .fds = {open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC),
                open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)}};
    if (given.fds[0] < 0 || given.fds[1] < 0)
        return 1;
    return noe_jail_pass_given(socket, &given) == 0 ? 0 : 1;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* Makes the first, and gives the host what it keeps them by. */
static int need_namespaces(struct noe_jail *jail)
{
    struct noe_jail_given given = {.count = 0};
    int pair[2];

    if (jail->shared[0] >= 0)
        return 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(make(pair[1], geteuid(), getegid()));
    close(pair[1]);
    if (pid > 0)
        reap(pid);
    if (pid > 0 &&
        noe_jail_recv_given(pair[0], &given, MSG_DONTWAIT) ==
            sizeof(given.event) &&
        given.count == 2)
        memcpy(jail->shared, given.fds, sizeof(jail->shared));
    close(pair[0]);
    if (jail->shared[0] < 0)
        return -1;
    given.count = 2;
    for (int i = 0; i < 2; i++)
        given.fds[i] = fcntl(jail->shared[i], F_DUPFD_CLOEXEC, 0);
    (void)noe_jail_pass_given(NOE_JAIL_CONTROL_FD, &given);
    return 0;
}

struct entry {
    struct noe_jail *jail;
    const int *control;
    unsigned long flags;
    pid_t (*clone_init)(struct noe_jail *jail, const int control[2],
                        unsigned long flags);
    pid_t pid;
};

/* In a child that has our memory, and ends at once: for who has entered a user
 * namespace there is no way back. */
static int enter_and_clone(void *argument)
{
    struct entry *entry = argument;
    const struct noe_jail *jail = entry->jail;

    if (setns(jail->shared[0], CLONE_NEWUSER) == 0 &&
        setns(jail->shared[1], CLONE_NEWNET) == 0)
        entry->pid = entry->clone_init(entry->jail, entry->control,
                                       entry->flags | CLONE_PARENT);
    _exit(0);
}

pid_t noe_shared_clone(struct noe_jail *jail, const int control[2],
                       unsigned long flags,
                       pid_t (*clone_init)(struct noe_jail *jail,
                                           const int control[2],
                                           unsigned long flags))
{
    static char stack[64 * 1024] __attribute__((aligned(16)));
    struct entry entry = {.jail = jail,
                          .control = control,
                          .flags = flags,
                          .clone_init = clone_init,
                          .pid = -1};

    if (need_namespaces(jail) != 0)
        return -1;
    jail->in_shared = true;
    pid_t helper = clone(enter_and_clone, stack + sizeof(stack),
                         CLONE_VM | CLONE_VFORK | SIGCHLD, &entry);
    jail->in_shared = false;
    if (helper > 0)
        reap(helper);
    return entry.pid;
}

void noe_shared_leave(struct noe_jail *jail)
{
    for (int i = 0; i < 2; i++) {
        if (jail->shared[i] >= 0)
            close(jail->shared[i]);
        jail->shared[i] = -1;
    }
}
