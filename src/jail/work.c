/* SPDX-License-Identifier: MIT */
/*
 * The directory in which a program starts, and what it leaves there. The host
 * reads there by a descriptor that was opened before any code of the program's
 * ran: behind walls of their own files have no name on the host, and elsewhere
 * a name may have come to mean something else.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int noe_work_open(const struct noe_jail *jail, int *dir,
                  struct noe_jail_event *event)
{
    const char *path = jail->cwd != NULL ? jail->cwd : ".";

    if (jail->start.hold_ms == 0)
        return 0;
    *dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*dir >= 0)
        return 0;
    noe_jail_failure(event, NOE_JAIL_FAULT_SPAWN, "open the work directory",
                     path);
    return -1;
}

/* Where too much is under way for the user there is no run: it would be one
 * whose files are lost. */
int noe_work_hand_over(const struct noe_jail *jail,
                       struct noe_jail_event *event)
{
    struct noe_jail_given given = {.event = {.type = NOE_JAIL_WORK_DIR},
                                   .fds = {-1}};

    if (noe_work_open(jail, given.fds, event) != 0)
        return -1;
    if (given.fds[0] < 0)
        return 0;
    given.count = 1;
    if (noe_jail_pass_given(NOE_JAIL_CONTROL_FD, &given) == 0)
        return 0;
    noe_jail_failure(event, NOE_JAIL_FAULT_SPAWN, "pass the work directory",
                     jail->cwd);
    return -1;
}

static int make_link(const struct noe_jail_link *link, int dir, size_t above)
{
    const char *path = link->path + above;

    if (noe_make_parents(dir, path, 0700) != 0)
        return -1;
    return symlinkat(link->text, dir, path);
}

int noe_work_make_links(const struct noe_jail *jail, const char **path)
{
    size_t above = strlen(jail->own);
    int dir = open(jail->own, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int status = dir < 0 ? -1 : 0;

    for (uint32_t i = 0; i < jail->start.link_count && status == 0; i++) {
        const struct noe_jail_link *link = &jail->links[i];
        if (strncmp(link->path, jail->own, above) != 0 ||
            link->path[above] != '/')
            continue;
        *path = link->path;
        status = make_link(link, dir, above + 1);
    }
    int code = errno;
    if (dir >= 0)
        close(dir);
    errno = code;
    return status;
}

static int64_t end_of_hold_us(const struct noe_jail_start *start)
{
    int64_t until = noe_jail_clock_us() + start->hold_ms * 1000;

    if (start->deadline_us != NOE_JAIL_NO_LIMIT && start->deadline_us < until)
        return start->deadline_us;
    return until;
}

/* A signal for a program that is gone says nothing of what it left. */
static bool is_released(void)
{
    struct noe_jail_command command;
    ssize_t len =
        recv(NOE_JAIL_CONTROL_FD, &command, sizeof(command), MSG_DONTWAIT);

    if (len < 0)
        return errno != EAGAIN && errno != EINTR;
    return len != sizeof(command) || command.type != NOE_JAIL_SIGNAL;
}

void noe_work_hold(const struct noe_jail *jail, int dir, int host)
{
    enum { A_WHILE_US = 60 * 1000 * 1000 };
    int64_t until = end_of_hold_us(&jail->start);
    int64_t left = until - noe_jail_clock_us();
    struct noe_jail_given given = {
        .event = {.type = NOE_JAIL_HOLDING, .until_us = until},
        .count = 1,
        .fds = {dir}};

    if (noe_jail_pass_given(NOE_JAIL_CONTROL_FD, &given) != 0)
        return;
    while (left > 0) {
        struct pollfd fds[] = {{NOE_JAIL_CONTROL_FD, POLLIN, 0},
                               {host, POLLIN, 0}};
        int64_t us = left < A_WHILE_US ? left : A_WHILE_US;
        int ready = poll(fds, 2, (int)((us + 999) / 1000));
        if ((ready < 0 && errno != EINTR) || fds[1].revents != 0)
            return;
        if (ready > 0 && is_released())
            return;
        left = until - noe_jail_clock_us();
    }
}
