/* SPDX-License-Identifier: MIT */
/*
 * The jail: the small static program between the host and what the host runs.
 *
 *   host --- control socket --- jail (supervisor) --- the program, its tree
 *
 * or, inside a sandbox that the jail, or another program, makes:
 *
 *   host --- jail (supervisor) --- jail (init, PID 1 of its namespaces) ---
 *       the program
 *   host --- jail (supervisor) --- bwrap --- jail (init) --- the program
 *
 * The supervisor is the host's child; or, from the second run on, that of a
 * launcher (launcher.c), and was there before the run.
 *
 * It is a program of its own, and not a forked copy of the host, because then
 * it shares no memory, environment or descriptor with the host, costs the same
 * whatever the host's size, is single-threaded (a parent-death signal is sent
 * when the parent *thread* ends) and is nobody's to wait for but the host's.
 *
 * The supervisor starts the program, is the subreaper of all that descends from
 * it, watches the deadline, the limits and the host, ends the tree, reaps it
 * and says how it went. It never waits for the host: every send may fail.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/uapi.h"

enum { EXIT_PROTOCOL = 97 }; /* the host never sent a usable start */

static struct {
    struct noe_jail_start start;
    char rest[NOE_JAIL_MAX_MESSAGE];
} message;

/* As many as fit into a message: each string is a byte and its NUL at least. */
enum { MAX_STRINGS = NOE_JAIL_MAX_MESSAGE / 2 };
static char *wrapper[MAX_STRINGS + 1];
static struct noe_jail_bind binds[MAX_STRINGS / 2];
static struct noe_jail_link links[MAX_STRINGS / 2];
static const char *hosts[MAX_STRINGS];

int64_t noe_jail_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void noe_jail_step_done(struct noe_jail *jail, int step)
{
    int64_t now = noe_jail_clock_us();

    jail->step_us[step] = (uint32_t)(now - jail->step_began_us);
    jail->step_began_us = now;
}

/* Takes the string at *at, or NULL if none is left. */
static char *next_string(char **at, const char *end)
{
    char *text = *at;
    char *stop = text < end ? memchr(text, 0, (size_t)(end - text)) : NULL;

    if (stop == NULL)
        return NULL;
    *at = stop + 1;
    return text;
}

static const char *unless_empty(const char *text)
{
    return text != NULL && *text != '\0' ? text : NULL;
}

static const char *take_cgroups(struct noe_jail *jail, char **at,
                                const char *end)
{
    jail->memory_parent = unless_empty(next_string(at, end));
    jail->pids_parent = unless_empty(next_string(at, end));
    jail->cpu_parent = unless_empty(next_string(at, end));
    const char *home = next_string(at, end);
    jail->cgroup_home = unless_empty(home);
    return home;
}

/* The strings in the order of protocol.h. -1 if there are too few. */
static int take_strings(struct noe_jail *jail, char *at, const char *end)
{
    const struct noe_jail_start *start = &jail->start;
    const char *last = "";

    if (start->has_cwd)
        last = jail->cwd = next_string(&at, end);
    if (start->has_private && last != NULL)
        last = jail->own = next_string(&at, end);
    if (start->cgroup_version != 0 && last != NULL)
        last = take_cgroups(jail, &at, end);
    for (uint32_t i = 0; i < start->wrapper_count && last != NULL; i++)
        last = wrapper[i] = next_string(&at, end);
    jail->places = at;
    jail->places_len = (size_t)(end - at);
    if (start->has_start_dir && last != NULL)
        last = jail->start_dir = next_string(&at, end);
    if (start->has_place && last != NULL)
        last = jail->place = next_string(&at, end);
    for (uint32_t i = 0; i < start->bind_count && last != NULL; i++) {
        const char *source = next_string(&at, end);
        last = next_string(&at, end);
        if (last != NULL)
            binds[i] = (struct noe_jail_bind){
                source[0] == 'w', source + 1, last, -1, {0, 0}};
    }
    for (uint32_t i = 0; i < start->link_count && last != NULL; i++) {
        const char *text = next_string(&at, end);
        last = next_string(&at, end);
        links[i] = (struct noe_jail_link){text, last};
    }
    for (uint32_t i = 0; i < start->host_count && last != NULL; i++)
        last = hosts[i] = next_string(&at, end);
    return last != NULL ? 0 : -1;
}

/* A number that may be ours is none for what came along. */
static void keep_above(int *fd)
{
    int low = *fd;

    if (low < 0 || low >= NOE_JAIL_FIRST_FREE_FD)
        return;
    *fd = fcntl(low, F_DUPFD_CLOEXEC, NOE_JAIL_FIRST_FREE_FD);
    close(low);
}

/* The start, and the descriptors of a network namespace, if these come along.
 */
static ssize_t hear_start(struct noe_jail *jail)
{
    union {
        char bytes[CMSG_SPACE(sizeof(jail->shared))];
        struct cmsghdr header;
    } room;
    struct iovec part = {&message, sizeof(message)};
    struct msghdr start = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &room,
                           .msg_controllen = sizeof(room)};
    ssize_t len = recvmsg(NOE_JAIL_CONTROL_FD, &start, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = len > 0 ? CMSG_FIRSTHDR(&start) : NULL;

    jail->shared[0] = jail->shared[1] = -1;
    if (header != NULL && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(jail->shared)))
        memcpy(jail->shared, CMSG_DATA(header), sizeof(jail->shared));
    for (int i = 0; i < 2; i++)
        keep_above(&jail->shared[i]);
    return len;
}

int noe_jail_receive(struct noe_jail *jail)
{
    ssize_t len = hear_start(jail);
    const struct noe_jail_start *start = &message.start;

    if (len < (ssize_t)sizeof(*start) || start->version != NOE_JAIL_VERSION)
        return -1;
    size_t identified = start->role == NOE_JAIL_INIT ? start->bind_count : 0;
    if ((size_t)len != sizeof(*start) + start->filter_len + start->strings_len +
                           identified * sizeof(struct noe_jail_identity))
        return -1;
    jail->start = *start;
    jail->filter = message.rest;
    jail->wrapper = wrapper;
    jail->binds = binds;
    jail->links = links;
    jail->hosts = hosts;
    char *strings = message.rest + start->filter_len;
    const char *end = strings + start->strings_len;
    if (take_strings(jail, strings, end) != 0)
        return -1;
    for (size_t i = 0; i < identified; i++)
        memcpy(&binds[i].identity, end + i * sizeof(binds[i].identity),
               sizeof(binds[i].identity));
    return 0;
}

/* What a process keeps over exec and must not: descriptors that the host left
 * open, below which ours are, */
static void close_what_was_left(void)
{
    if (syscall(SYS_close_range, NOE_JAIL_FIRST_FREE_FD, ~0U, 0) == 0)
        return;
    long end = sysconf(_SC_OPEN_MAX);
    for (int fd = NOE_JAIL_FIRST_FREE_FD; fd < end; fd++)
        close(fd);
}

/* and ignored signals (an ignored SIGCHLD would reap for us). They stay
 * blocked, and are read from a descriptor. */
static void leave_the_host(const struct noe_jail_start *start)
{
    static const unsigned long
        by_default[8]; /* the kernel's struct sigaction */
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    /* By the system call: C libraries keep some numbers for themselves. */
    for (int sig = 1; sig < NSIG; sig++)
        syscall(SYS_rt_sigaction, sig, by_default, NULL, (size_t)(NSIG / 8));
    /* What is not ours has a number that is any descriptor of the host's. */
    if (start->wrapper_count == 0)
        close(NOE_JAIL_IMAGE_FD);
    if (!start->has_channel)
        close(NOE_JAIL_CHANNEL_FD);
}

int main(int argc, char **argv, char **envp)
{
    struct noe_jail jail = {.argv = argv + 1,
                            .envp = envp,
                            .host = -1,
                            .seat = -1,
                            .host_inside = -1,
                            .proc = -1};

    close_what_was_left();
    if (argc < 2 || noe_jail_receive(&jail) != 0)
        return EXIT_PROTOCOL;
    leave_the_host(&jail.start);
    prctl(PR_SET_NAME, "noether-jail");
    prctl(PR_SET_DUMPABLE, 0); /* no ptrace, no /proc/PID/mem for the stage */
    switch (jail.start.role) {
    case NOE_JAIL_INIT:
        return noe_init(&jail);
    case NOE_JAIL_LAUNCHER:
        return noe_launch_on_request(&jail);
    default:
        return noe_supervise(&jail);
    }
}
