/* SPDX-License-Identifier: MIT */
#include "jail.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

void noe_jail_send(int fd, const struct noe_jail_event *event)
{
    (void)send(fd, event, sizeof(*event), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void noe_jail_signal_group(pid_t leader, int signal)
{
    const struct noe_jail_event done = {.type = NOE_JAIL_SIGNALLED};

    kill(-leader, signal);
    noe_jail_send(NOE_JAIL_CONTROL_FD, &done);
}

void noe_jail_failure(struct noe_jail_event *event, enum noe_jail_fault fault,
                      const char *step, const char *path)
{
    *event = (struct noe_jail_event){
        .type = NOE_JAIL_FAILED, .fault = fault, .code = errno};
    strncpy(event->step, step, sizeof(event->step) - 1);
    if (path != NULL)
        strncpy(event->path, path, sizeof(event->path) - 1);
}
