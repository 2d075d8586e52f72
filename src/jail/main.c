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
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../core/uapi.h"

enum { EXIT_PROTOCOL = 97 }; /* the host never sent a usable start */

static struct {
    struct noe_jail_start start;
    char rest[NOE_JAIL_MAX_MESSAGE];
} message;

/* As many as fit into a message: each string is a byte and its NUL at least. */
enum { MAX_STRINGS = NOE_JAIL_MAX_MESSAGE / 2 };
static char *wrapper[MAX_STRINGS + 1];
static struct jail_bind binds[MAX_STRINGS / 2];
static struct jail_link links[MAX_STRINGS / 2];

void jail_send(int fd, const struct noe_jail_event *event)
{
    (void)send(fd, event, sizeof(*event), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void jail_failure(struct noe_jail_event *event, enum noe_jail_fault fault,
                  const char *step, const char *path)
{
    *event = (struct noe_jail_event){
        .type = NOE_JAIL_FAILED, .fault = fault, .code = errno};
    strncpy(event->step, step, sizeof(event->step) - 1);
    if (path != NULL)
        strncpy(event->path, path, sizeof(event->path) - 1);
}

int64_t jail_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void jail_step_done(struct jail *jail, int step)
{
    int64_t now = jail_clock_us();

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

static const char *take_cgroups(struct jail *jail, char **at, const char *end)
{
    jail->memory_parent = unless_empty(next_string(at, end));
    jail->pids_parent = unless_empty(next_string(at, end));
    const char *home = next_string(at, end);
    jail->cgroup_home = unless_empty(home);
    return home;
}

/* The strings in the order of protocol.h. -1 if there are too few. */
static int take_strings(struct jail *jail, char *at, const char *end)
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
    for (uint32_t i = 0; i < start->bind_count && last != NULL; i++) {
        const char *source = next_string(&at, end);
        last = next_string(&at, end);
        if (last != NULL)
            binds[i] =
                (struct jail_bind){source[0] == 'w', source + 1, last, -1};
    }
    for (uint32_t i = 0; i < start->link_count && last != NULL; i++) {
        const char *text = next_string(&at, end);
        last = next_string(&at, end);
        links[i] = (struct jail_link){text, last};
    }
    return last != NULL ? 0 : -1;
}

static int receive_start(struct jail *jail)
{
    ssize_t len = recv(NOE_JAIL_CONTROL_FD, &message, sizeof(message), 0);
    const struct noe_jail_start *start = &message.start;

    if (len < (ssize_t)sizeof(*start) || start->version != NOE_JAIL_VERSION ||
        (size_t)len != sizeof(*start) + start->filter_len + start->strings_len)
        return -1;
    jail->start = *start;
    jail->filter = message.rest;
    jail->wrapper = wrapper;
    jail->binds = binds;
    jail->links = links;
    char *strings = message.rest + start->filter_len;
    return take_strings(jail, strings, strings + start->strings_len);
}

/* What a process keeps over exec and must not: ignored signals (an ignored
 * SIGCHLD would reap for us) and descriptors that the host left open. Signals
 * stay blocked; they are read from a descriptor. */
static void leave_the_host(const struct noe_jail_start *start)
{
    static const unsigned long
        by_default[8]; /* the kernel's struct sigaction */
    sigset_t all;
    /* Without a wrapper there is no image, and its number is any descriptor of
     * the host's. */
    unsigned first =
        start->wrapper_count > 0 ? NOE_JAIL_FIRST_FREE_FD : NOE_JAIL_IMAGE_FD;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    /* By the system call: C libraries keep some numbers for themselves. */
    for (int sig = 1; sig < NSIG; sig++)
        syscall(SYS_rt_sigaction, sig, by_default, NULL, (size_t)(NSIG / 8));
    if (syscall(SYS_close_range, first, ~0U, 0) == 0)
        return;
    long end = sysconf(_SC_OPEN_MAX);
    for (int fd = (int)first; fd < end; fd++)
        close(fd);
}

int main(int argc, char **argv, char **envp)
{
    struct jail jail = {.argv = argv + 1, .envp = envp};

    if (argc < 2 || receive_start(&jail) != 0)
        return EXIT_PROTOCOL;
    leave_the_host(&jail.start);
    prctl(PR_SET_NAME, "noether-jail");
    prctl(PR_SET_DUMPABLE, 0); /* no ptrace, no /proc/PID/mem for the stage */
    return jail.start.role == NOE_JAIL_INIT ? init(&jail) : supervise(&jail);
}
