/* SPDX-License-Identifier: MIT */
#include "keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "doors.h"
#include "proc.h"

static int doors[NOE_DOOR_FIRST + NOE_DOORS_MAX];

void noe_keeper_begin(struct noe_keeper *keeper, const struct noe_jail *jail)
{
    *keeper = (struct noe_keeper){
        .jail = jail, .visitors = -1, .relay = -1, .pid = -1};
}

static void close_doors(struct noe_keeper *k)
{
    for (unsigned i = 0; i < k->door_count; i++)
        close(doors[i]);
    k->door_count = 0;
    if (k->visitors >= 0)
        close(k->visitors);
    k->visitors = -1;
}

static int watch_door(const struct noe_keeper *k, unsigned index)
{
    struct epoll_event event = {.events = EPOLLIN};

    return epoll_ctl(k->visitors, EPOLL_CTL_ADD, doors[index], &event);
}

/* A name is asked for before anybody can be at its door; an address of the list
 * is not. */
static int watch_doors(struct noe_keeper *k, const struct noe_jail_event *last)
{
    k->visitors = epoll_create1(EPOLL_CLOEXEC);
    if (k->visitors < 0 || watch_door(k, NOE_DOOR_UDP) != 0 ||
        watch_door(k, NOE_DOOR_TCP) != 0)
        return -1;
    for (uint32_t i = 0; i < last->open_count; i++)
        if (last->first_open + i >= k->door_count ||
            watch_door(k, last->first_open + i) != 0)
            return -1;
    return 0;
}

int noe_keeper_take(struct noe_keeper *k, const struct noe_jail_given *given)
{
    enum { MOST = sizeof(doors) / sizeof(*doors) };
    bool fit = given->count <= MOST - k->door_count;

    for (unsigned i = 0; i < given->count; i++)
        if (fit)
            doors[k->door_count++] = given->fds[i];
        else
            close(given->fds[i]);
    if (!fit || (given->event.code && k->door_count < NOE_DOOR_FIRST)) {
        errno = EINVAL;
        return -1;
    }
    return given->event.code ? watch_doors(k, &given->event) : 0;
}

static int hand_over(struct noe_keeper *k)
{
    unsigned count = k->door_count;
    int status = 0;

    for (unsigned at = 0; at < count && status == 0;) {
        struct noe_jail_given given = {.event = {.type = NOE_JAIL_DOORS},
                                       .count = count - at};
        if (given.count > NOE_JAIL_MAX_DOORS)
            given.count = NOE_JAIL_MAX_DOORS;
        for (unsigned i = 0; i < given.count; i++)
            given.fds[i] = doors[at + i];
        at += given.count;
        given.event.code = at == count;
        status = noe_jail_send_given(k->relay, &given);
    }
    return status;
}

/* There is somebody at a door, or will be. What uses up memory or processes may
 * keep us from it: then the doors are shut. What the relay uses is none of the
 * program's. */
static void open_relay(struct noe_keeper *k)
{
    if (k->visitors < 0)
        return;
    k->pid = noe_relay_start(k->jail, &k->relay);
    if (k->pid > 0)
        noe_tree_leave_out(k->pid);
    if (k->pid > 0 && hand_over(k) != 0)
        kill(k->pid, SIGKILL); /* and is lost as soon as that is heard */
    close_doors(k);
}

/* A question for leave goes on to the host, if that takes it now: no answer is
 * no. */
static void hear_relay(struct noe_keeper *k)
{
    struct noe_jail_event event = {.type = NOE_JAIL_ASK};
    struct noe_jail_question question;
    struct iovec parts[] = {{&event, sizeof(event)},
                            {&question, sizeof(question)}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t len = recvmsg(k->relay, &message, MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    k->asked = len > 0 ? k->asked + 1 : NOE_JAIL_MAX_QUESTIONS;
    if (len == (ssize_t)(sizeof(event) + sizeof(question)) &&
        event.type == NOE_JAIL_ASK)
        (void)sendmsg(NOE_JAIL_CONTROL_FD, &message,
                      MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The relay asks once about each of its doors. */
int noe_keeper_pollfd(const struct noe_keeper *k)
{
    bool asks = k->relay >= 0 && k->jail->start.asks != 0 &&
                k->asked < NOE_JAIL_MAX_QUESTIONS;

    return asks ? k->relay : k->visitors;
}

void noe_keeper_hear(struct noe_keeper *k)
{
    if (k->relay >= 0)
        hear_relay(k);
    else
        open_relay(k);
}

void noe_keeper_tell(struct noe_keeper *k, const struct noe_jail_event *event)
{
    open_relay(k);
    if (k->relay >= 0)
        noe_jail_send(k->relay, event);
}

/* The relay takes an answer to what it has not asked for none. */
void noe_keeper_answer(struct noe_keeper *k,
                       const struct noe_jail_answer *answer)
{
    const struct noe_jail_event event = {.type = NOE_JAIL_ANSWER,
                                         .answer = *answer};

    if (k->relay >= 0)
        noe_jail_send(k->relay, &event);
}

/* Its number is nobody's any more. */
void noe_keeper_lose(struct noe_keeper *k)
{
    while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    close(k->relay);
    noe_tree_leave_out(-1);
    k->pid = k->relay = -1;
}

/* Its last words, behind questions that nobody has read. */
static void pass_report(const struct noe_keeper *k)
{
    enum { PATIENCE_MS = 5000 };
    static struct {
        struct noe_jail_event event;
        char text[NOE_JAIL_MAX_REPORT];
    } report;
    struct pollfd told = {k->relay, POLLIN, 0};
    ssize_t len = 1;

    for (int i = 0; i < NOE_JAIL_MAX_QUESTIONS && len > 0; i++) {
        if (poll(&told, 1, PATIENCE_MS) <= 0)
            return;
        len = recv(k->relay, &report, sizeof(report), MSG_DONTWAIT);
        if (len < (ssize_t)sizeof(report.event) ||
            report.event.type != NOE_JAIL_REPORT)
            continue;
        (void)send(NOE_JAIL_CONTROL_FD, &report, (size_t)len,
                   MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
    }
}

void noe_keeper_end(struct noe_keeper *k)
{
    close_doors(k);
    if (k->pid < 0)
        return;
    shutdown(k->relay, SHUT_WR);
    pass_report(k);
    kill(k->pid, SIGKILL);
    noe_keeper_lose(k);
}
