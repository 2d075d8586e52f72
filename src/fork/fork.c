/* SPDX-License-Identifier: MIT */
/*
 * The helper of a fork server: a shared object that an interpreter loads, which
 * runs behind the walls of a run of its own. It has no library of its own; what
 * it calls is the interpreter's C library's, whichever that is.
 *
 *   server --- vfork: enters the cradle's namespaces
 *                \--- vfork: number 2 in there
 *                       \--- fork: the child, number 3, as a program that is
 *                            started in a new sandbox
 *
 * The first two share the server's memory and end at once. The child, whose
 * parent then is the cradle, gives up the rights that it entered with, puts on
 * limits, rules and filter, says so, and is given what the run is about. It
 * goes on where the interpreter called the helper. Only system calls are made
 * before it is a process of its own.
 *
 * The server is told to serve when it has one thread and nothing open but its
 * streams and the orders; who calls has to see to that.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/uapi.h"
#include "jail/jail.h"

#define EXPORT __attribute__((visibility("default")))

/* A frame of its own, below that of the caller, who stays. */
#define APART __attribute__((noinline, noclone))

enum { SERVED = 0, OVER = 1 };

enum { SECOND = 2 }; /* the number of who forks the child, which has the next */

enum { LINK_FD = NOE_JAIL_FIRST_FREE_FD };

struct order {
    int given[NOE_FORK_ORDERED]; /* the link, then the namespaces */
};

/* A descriptor of a library's own, which that goes on using; or -1. */
static int kept = -1;

static struct {
    struct noe_jail_start start;
    char rest[NOE_JAIL_MAX_MESSAGE];
} instructions;

static struct {
    struct noe_fork_request head;
    char strings[NOE_JAIL_MAX_REQUEST];
} request;

/* One message with exactly so many descriptors. 0, or -1. */
static int hear(int socket, void *data, size_t size, size_t *len, int *given,
                size_t most, size_t *count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 16)];
        struct cmsghdr header;
    } room;
    struct iovec part = {data, size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen =
                                 (socklen_t)CMSG_SPACE(sizeof(int) * most)};
    ssize_t got;

    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    *count = 0;
    if (got <= 0)
        return -1;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        *count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(given, CMSG_DATA(header), *count * sizeof(int));
    }
    *len = (size_t)got;
    return (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ? -1 : 0;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* The child alone comes back from here: 0. Who enters has the server's memory,
 * and waits for its own child; both end. */
APART static int enter_and_fork(const struct order *order)
{
    for (size_t i = 1; i < NOE_FORK_ORDERED; i++)
        if (setns(order->given[i], 0) != 0)
            _exit(1);
    pid_t second = vfork();
    if (second == 0) {
        pid_t child = fork();
        if (child == 0)
            return 0;
        _exit(child < 0);
    }
    if (second > 0)
        waitpid(second, NULL, 0);
    _exit(second < 0);
}

/* 0 in the child; the number of who enters in the server, or -1. */
APART static pid_t copy(const struct order *order)
{
    pid_t pid = vfork();

    if (pid == 0)
        pid = enter_and_fork(order);
    return pid;
}

/* Nothing of the server's stays open but what is kept, and the link has its
 * number; below it are the numbers that the run gets, which nothing else may
 * take until then. */
static int leave_server(int link)
{
    if (link != LINK_FD && dup3(link, LINK_FD, O_CLOEXEC) < 0)
        return -1;
    for (int fd = 0; fd < LINK_FD; fd++)
        if (fd != kept && dup2(LINK_FD, fd) < 0)
            return -1;
    return (int)syscall(SYS_close_range, LINK_FD + 1, ~0U, 0);
}

/* Those that were between us and the cradle count as processes of the run, and
 * are seen by it, until they have ended and whoever entered has reaped them. */
static int come_to_cradle(void)
{
    while (getppid() != 1 || kill(SECOND, 0) == 0)
        if (sched_yield() != 0)
            return -1;
    return 0;
}

/* The list of the control group that is to be ours: "0" is whoever writes it.
 * Whether it was done is looked at from outside, as all else. */
static int enter_group(int list)
{
    ssize_t wrote = write(list, "0", 1);

    close(list);
    return wrote == 1 ? 0 : -1;
}

/* The strings after the filter. */
static int read_instructions(struct noe_jail *jail)
{
    size_t len;
    size_t count;
    int group;
    const struct noe_jail_start *start = &instructions.start;

    if (hear(LINK_FD, &instructions, sizeof(instructions), &len, &group, 1,
             &count) != 0 ||
        (count > 0 && enter_group(group) != 0) || len < sizeof(*start) ||
        start->version != NOE_JAIL_VERSION ||
        len != sizeof(*start) + start->filter_len + start->strings_len ||
        start->strings_len < 2 || instructions.rest[len - sizeof(*start) - 1])
        return -1;
    jail->start = *start;
    jail->filter = instructions.rest;
    jail->cwd = instructions.rest + start->filter_len;
    jail->start_dir = jail->cwd + strlen(jail->cwd) + 1;
    if (jail->start_dir >= instructions.rest + len - sizeof(*start))
        return -1;
    if (*jail->start_dir == '\0')
        jail->start_dir = NULL;
    return 0;
}

/* What has to be proven is looked at from outside: none of it is taken on
 * trust from a process that was a copy a moment ago. */
static int confine(void)
{
    struct noe_fork_ready ready = {.version = NOE_JAIL_VERSION, .listener = -1};
    struct noe_jail jail = {.host = -1, .seat = -1};
    struct noe_jail_event event = {.fault = NOE_JAIL_FAULT_SANDBOX};

    if (come_to_cradle() != 0 || read_instructions(&jail) != 0)
        return -1;
    struct noe_program program = {.cwd = jail.cwd,
                                  .limits = &jail.start.limits,
                                  .control = -1,
                                  .in = &jail};
    int status = noe_program_confine(&program, &ready.listener, &event);
    if (status != 0) {
        ready.code = event.code;
        ready.fault = event.fault;
        memcpy(ready.step, event.step, sizeof(ready.step));
    }
    ssize_t sent = send(LINK_FD, &ready, sizeof(ready), MSG_NOSIGNAL);
    return sent == (ssize_t)sizeof(ready) ? status : -1;
}

static int take_request(void)
{
    int given[NOE_FORK_MAX_GIVEN];
    const struct noe_fork_request *head = &request.head;
    size_t len;
    size_t count;

    if (hear(LINK_FD, &request, sizeof(request), &len, given,
             NOE_FORK_MAX_GIVEN, &count) != 0 ||
        len < sizeof(*head) || head->version != NOE_JAIL_VERSION ||
        len != sizeof(*head) + head->strings_len ||
        count != NOE_FORK_MIN_GIVEN + (head->has_channel != 0))
        return -1;
    for (int fd = 0; fd < NOE_FORK_MIN_GIVEN; fd++)
        if (dup2(given[fd], fd) < 0)
            return -1;
    if (head->has_channel &&
        dup2(given[NOE_FORK_MIN_GIVEN], NOE_JAIL_CHANNEL_FD) < 0)
        return -1;
    for (int fd = NOE_FORK_MIN_GIVEN; fd < NOE_JAIL_CHANNEL_FD; fd++)
        if (fd != kept)
            close(fd);
    if (!head->has_channel)
        close(NOE_JAIL_CHANNEL_FD);
    return (int)syscall(SYS_close_range, LINK_FD, ~0U, 0);
}

static void become_child(int link)
{
    if (leave_server(link) != 0 || confine() != 0 || take_request() != 0)
        _exit(1);
}

/* One of those between a run's streams and its channel. */
EXPORT void noe_fork_keep(int fd);

void noe_fork_keep(int fd)
{
    if (fd >= NOE_FORK_MIN_GIVEN && fd < NOE_JAIL_CHANNEL_FD)
        kept = fd;
}

/*
 * Serves orders. SERVED in each child, which is then as a program that has just
 * been started; OVER in the server when there are no more.
 */
EXPORT int noe_fork_serve(void);

int noe_fork_serve(void)
{
    struct noe_fork_order said = {.version = 0};
    struct order order;
    size_t len;
    size_t count;

    while (hear(NOE_FORK_ORDER_FD, &said, sizeof(said), &len, order.given,
                NOE_FORK_ORDERED, &count) == 0) {
        if (len != sizeof(said) || said.version != NOE_JAIL_VERSION ||
            count != NOE_FORK_ORDERED) {
            close_all(order.given, count);
            continue;
        }
        pid_t pid = copy(&order);
        if (pid == 0) {
            become_child(order.given[0]);
            return SERVED;
        }
        close_all(order.given, count);
        if (pid > 0)
            waitpid(pid, NULL, 0);
    }
    return OVER;
}

/* The child's variables: strings one after the other, and their length. */
EXPORT const char *noe_fork_variables(void);
EXPORT unsigned noe_fork_variables_len(void);

const char *noe_fork_variables(void)
{
    return request.strings;
}

unsigned noe_fork_variables_len(void)
{
    return request.head.strings_len;
}
