/* SPDX-License-Identifier: MIT */
/*
 * A supervisor that stands by. Where it has ended one run it waits for another,
 * as long as it is what the launcher made: whatever a run leaves in it, or may
 * have changed of it, is the end of it. Nothing of a program is ever in its
 * memory, but the words with which the host had it started.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    struct noe_jail_request head;
    char strings[NOE_JAIL_MAX_REQUEST];
} request;

/* Each string has at least its NUL. */
static char *words[NOE_JAIL_MAX_REQUEST + 2];

/* What any process of our user may set from outside. */
struct condition {
    struct rlimit limits[RLIM_NLIMITS];
    struct sched_param priority;
    cpu_set_t processors;
    long io_priority;
    int policy;
    int nice;
    char oom[16];
    char cgroup[4096];
};

static struct condition at_birth;
static struct condition now;

static void look(struct condition *c)
{
    enum { OURSELVES = 1 }; /* IOPRIO_WHO_PROCESS */

    memset(c, 0, sizeof(*c));
    for (int i = 0; i < RLIM_NLIMITS; i++)
        (void)getrlimit(i, &c->limits[i]);
    c->policy = (int)syscall(SYS_sched_getscheduler, 0);
    (void)syscall(SYS_sched_getparam, 0, &c->priority);
    (void)syscall(SYS_sched_getaffinity, 0, sizeof(c->processors),
                  &c->processors);
    c->nice = getpriority(PRIO_PROCESS, 0);
    c->io_priority = syscall(SYS_ioprio_get, OURSELVES, 0);
    (void)!pread(NOE_OWN_OOM_FD, c->oom, sizeof(c->oom), 0);
    (void)!pread(NOE_OWN_CGROUP_FD, c->cgroup, sizeof(c->cgroup), 0);
}

bool noe_standby_is_clean(void)
{
    look(&now);
    return memcmp(&now, &at_birth, sizeof(now)) == 0;
}

int noe_keep_open(const char *path, int flags, int number)
{
    int fd = open(path, flags | O_CLOEXEC);

    if (fd < 0 || fd == number)
        return fd;
    int kept = dup3(fd, number, O_CLOEXEC);
    close(fd);
    return kept;
}

/* Says who we are, with a descriptor for us, and one more unless it is -1. */
static int take_seat(pid_t witness, int file)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr header;
    } room = {.bytes = {0}};
    struct noe_jail_standby self = {NOE_JAIL_VERSION, getpid(), getppid(),
                                    witness};
    const int given[] = {(int)syscall(SYS_pidfd_open, getpid(), 0), file};
    unsigned size = sizeof(int) * (file >= 0 ? 2 : 1);
    struct iovec part = {&self, sizeof(self)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen = (socklen_t)CMSG_SPACE(size)};

    if (given[0] < 0)
        return -1;
    room.header = (struct cmsghdr){.cmsg_len = (socklen_t)CMSG_LEN(size),
                                   .cmsg_level = SOL_SOCKET,
                                   .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&room.header), given, size);
    ssize_t sent = sendmsg(NOE_SEAT_FD, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(given[0]);
    return sent < 0 ? -1 : 0;
}

/* The numbers of a run lead to /dev/null again, the control socket last: with
 * it the host learns that the run is over, and what the program wrote to must
 * be closed by then. */
static int leave_run(void)
{
    for (int fd = 0; fd < NOE_SEAT_FD; fd++)
        if (fd != NOE_JAIL_CONTROL_FD && dup3(NOE_NULL_FD, fd, O_CLOEXEC) < 0)
            return -1;
    if (syscall(SYS_close_range, NOE_FIRST_OF_RUN_FD, ~0U, 0) != 0 ||
        chdir("/") != 0)
        return -1;
    /* Whoever else has a copy of it. */
    shutdown(NOE_JAIL_CONTROL_FD, SHUT_RDWR);
    return dup3(NOE_NULL_FD, NOE_JAIL_CONTROL_FD, O_CLOEXEC) < 0 ? -1 : 0;
}

/* The strings one after the other, as two vectors. */
static int unpack(struct noe_jail *jail)
{
    const struct noe_jail_request *head = &request.head;
    char *at = request.strings;
    const char *end = at + head->strings_len;
    uint32_t count = 0;

    jail->argv = words;
    for (uint32_t left = head->argument_count + head->variable_count; left > 0;
         left--) {
        char *stop = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
        if (stop == NULL)
            return -1;
        words[count++] = at;
        at = stop + 1;
        if (left == head->variable_count + 1)
            words[count++] = NULL;
    }
    words[count] = NULL;
    jail->envp = words + head->argument_count + 1;
    return head->argument_count > 0 ? 0 : -1;
}

/* What comes with a run is above what is ours. */
static unsigned first_of_run = NOE_FIRST_OF_RUN_FD;

/* In the order of protocol.h. */
static int place_given(const int *given, size_t count)
{
    const struct noe_jail_request *head = &request.head;
    size_t groups = head->has_group ? NOE_JAIL_GROUP_FDS : 0;
    size_t next = NOE_JAIL_MIN_GIVEN;

    if (dup3(given[0], NOE_JAIL_CONTROL_FD, O_CLOEXEC) < 0 ||
        count !=
            next + (head->has_channel != 0) + (head->has_cwd != 0) + groups)
        return -1;
    for (int fd = 0; fd < 3; fd++)
        if (dup2(given[fd + 1], fd) < 0)
            return -1;
    if (head->has_channel && dup2(given[next++], NOE_JAIL_CHANNEL_FD) < 0)
        return -1;
    if (head->has_cwd && fchdir(given[next++]) != 0)
        return -1;
    for (size_t i = 0; i < groups; i++)
        if (dup3(given[next++], NOE_GROUP_FD + (int)i, O_CLOEXEC) < 0)
            return -1;
    return (int)syscall(SYS_close_range, first_of_run, ~0U, 0);
}

enum heard { NOTHING, A_REQUEST, THE_END };

/* What came is in `request`, and its descriptors in `given`. */
static enum heard hear(int *given, size_t *count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * NOE_JAIL_MAX_GIVEN)];
        struct cmsghdr header;
    } room;
    struct iovec part = {&request, sizeof(request)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen = sizeof(room)};
    ssize_t len =
        recvmsg(NOE_SEAT_FD, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return NOTHING;
    if (len < (ssize_t)sizeof(request.head) ||
        request.head.version != NOE_JAIL_VERSION ||
        (size_t)len != sizeof(request.head) + request.head.strings_len)
        return THE_END;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *count = 0;
    if (header == NULL || header->cmsg_type != SCM_RIGHTS)
        return THE_END;
    *count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(given, CMSG_DATA(header), *count * sizeof(int));
    return A_REQUEST;
}

/* Descriptors beyond our limit are lost on the way; the control socket is the
 * first of them. */
static int serve(const int *given, size_t count)
{
    struct noe_jail jail = {.host = NOE_HOST_FD,
                            .seat = NOE_SEAT_FD,
                            .host_inside = -1,
                            .proc = -1,
                            .has_group = request.head.has_group != 0};
    struct noe_jail_event event;

    if (place_given(given, count) != 0 || unpack(&jail) != 0 ||
        noe_jail_receive(&jail) != 0) {
        noe_jail_failure(&event, NOE_JAIL_FAULT_SPAWN, "take over the run",
                         NULL);
        noe_jail_send(NOE_JAIL_CONTROL_FD, &event);
        return -1;
    }
    if (noe_supervise(&jail) != 0 || jail.spoilt)
        return -1;
    return leave_run();
}

/* As in launcher.c: what was asked before is done. */
static bool may_go(void)
{
    char byte;

    shutdown(NOE_SEAT_FD, SHUT_RD);
    return recv(NOE_SEAT_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

int noe_stand_by(int idle_ms, pid_t witness)
{
    struct pollfd fds[] = {{NOE_SEAT_FD, POLLIN, 0}, {NOE_HOST_FD, POLLIN, 0}};
    int given[NOE_JAIL_MAX_GIVEN];
    size_t count;

    if (syscall(SYS_close_range, NOE_NULL_FD + 1, ~0U, 0) != 0 ||
        noe_keep_open("/proc/self/cgroup", O_RDONLY, NOE_OWN_CGROUP_FD) < 0 ||
        noe_keep_open("/proc/self/oom_score_adj", O_RDONLY, NOE_OWN_OOM_FD) < 0)
        return 1;
    prctl(PR_SET_NAME, "noether-jail");
    look(&at_birth);
    if (take_seat(witness, -1) != 0)
        return 1;
    for (;;) {
        int ready = poll(fds, 2, idle_ms);
        if ((ready < 0 && errno != EINTR) || fds[1].revents != 0)
            return 0;
        if (ready == 0 && may_go())
            return 0;
        enum heard heard = hear(given, &count);
        if (heard == THE_END ||
            (heard == A_REQUEST && serve(given, count) != 0))
            return 0;
    }
}

/* The end of the orders is that of the server. */
int noe_stand_by_once(bool has_place)
{
    struct pollfd fds[] = {{NOE_SEAT_FD, POLLIN, 0},
                           {NOE_HOST_FD, POLLIN, 0},
                           {NOE_ORDERS_FD, 0, 0}};
    int given[NOE_JAIL_MAX_GIVEN];
    size_t count;

    prctl(PR_SET_NAME, "noether-jail");
    first_of_run = NOE_CRADLE_END_FD;
    if (take_seat(0, has_place ? NOE_PLACE_FD : -1) != 0 ||
        dup3(NOE_NULL_FD, NOE_PLACE_FD, O_CLOEXEC) < 0)
        return 1;
    for (;;) {
        int ready = poll(fds, 3, -1);
        if ((ready < 0 && errno != EINTR) || fds[1].revents != 0 ||
            fds[2].revents != 0)
            return 0;
        enum heard heard = hear(given, &count);
        if (heard == A_REQUEST) {
            (void)serve(given, count);
            /* The last word is said, and nobody is left in here: that our
             * namespaces end with us need not be waited for. */
            (void)leave_run();
        }
        if (heard != NOTHING)
            return 0;
    }
}
