/* SPDX-License-Identifier: MIT */
#include "watch.h"

#include <stddef.h>
#include <sys/epoll.h>

#include "base/fd.h"

int noe_watch(int poller, struct noe_watched *watched, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.fd = watched->fd}};
    int change = EPOLL_CTL_MOD;

    if (watched->fd < 0 || watched->events == events)
        return 0;
    if (watched->events == 0)
        change = EPOLL_CTL_ADD;
    else if (events == 0)
        change = EPOLL_CTL_DEL;
    if (epoll_ctl(poller, change, watched->fd, &event) != 0)
        return -1;
    watched->events = events;
    return 0;
}

int noe_watch_move(int from, int to, struct noe_watched *watched)
{
    uint32_t events = watched->events;

    if (watched->fd < 0 || events == 0)
        return 0;
    (void)epoll_ctl(from, EPOLL_CTL_DEL, watched->fd, NULL);
    watched->events = 0;
    return noe_watch(to, watched, events);
}

void noe_watch_end(int poller, struct noe_watched *watched)
{
    if (watched->fd >= 0 && poller >= 0 && watched->events != 0)
        (void)epoll_ctl(poller, EPOLL_CTL_DEL, watched->fd, NULL);
    noe_fd_close(&watched->fd);
    watched->events = 0;
}
