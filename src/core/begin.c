/* SPDX-License-Identifier: MIT */
/* A process that was started ahead of its request, and gets it now. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "clock.h"
#include "error.h"
#include "process.h"
#include "sized.h"
#include "supervisor.h"

static int failed(struct noe_error *err, const char *sentence)
{
    return noe_error_set(err, NOE_FAULT_SPAWN, errno, "begin", "%s", sentence);
}

/* What is on its way now was said before anybody asked. An answer among it
 * would be nobody's. */
static int forget(struct noe_process *p, const struct noe_beginning *beginning)
{
    noe_outlet_read(&p->output, p->poller, 1);
    if (p->output.total > 0) {
        errno = EPROTO;
        return -1;
    }
    noe_outlet_restart(&p->errors, p->poller, beginning->max_stderr_bytes);
    p->errors.tapped = beginning->taps_stderr != 0;
    p->output.limit = beginning->max_output_bytes;
    return 0;
}

static int move_child(const struct noe_process *p, int poller)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data = {.fd = p->child.pidfd}};
    struct epoll_event end = {.events = EPOLLRDHUP, .data = {.fd = p->control}};

    (void)epoll_ctl(p->poller, EPOLL_CTL_DEL, p->child.pidfd, NULL);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, p->child.pidfd, &event) != 0)
        return -1;
    if (!p->by_launcher)
        return 0;
    (void)epoll_ctl(p->poller, EPOLL_CTL_DEL, p->control, NULL);
    return epoll_ctl(poller, EPOLL_CTL_ADD, p->control, &end);
}

/* From its own set of descriptors to another's. */
static int move(struct noe_process *p, int poller)
{
    struct noe_watched *const watched[] = {
        &p->input.pipe,  &p->input.from.end, &p->output.pipe, &p->output.to.end,
        &p->errors.pipe, &p->errors.to.end,  &p->channel.end};

    if (poller < 0 || !p->owns_poller)
        return 0;
    for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
        if (noe_watch_move(p->poller, poller, watched[i]) != 0)
            return -1;
    if (move_child(p, poller) != 0)
        return -1;
    noe_fd_close(&p->poller);
    p->poller = poller;
    p->owns_poller = false;
    return 0;
}

static int64_t after_ms(int64_t now_us, int64_t ms)
{
    return ms >= 0 && ms < INT64_MAX / 2000 ? now_us + ms * 1000 : INT64_MAX;
}

static int hand_over(struct noe_process *p,
                     const struct noe_beginning *beginning)
{
    p->by_frame = beginning->frame != NULL;
    if (p->by_frame) {
        p->request_len = beginning->frame_len;
        return noe_channel_put(&p->channel, beginning->frame,
                               beginning->frame_len, p->poller);
    }
    p->request_len = beginning->input_len;
    noe_inlet_finish(&p->input, beginning->input, beginning->input_len,
                     p->poller);
    errno = p->input.failure;
    return p->input.failure != 0 ? -1 : 0;
}

int noe_process_begin(struct noe_process *process,
                      const struct noe_beginning *beginning,
                      struct noe_error *err)
{
    struct noe_beginning ours = {
        .size = sizeof(ours), .timeout_ms = -1, .poller = -1};
    struct noe_process *p = process;

    if (noe_sized_read(&ours, sizeof(ours), beginning, "beginning", err) != 0)
        return -1;
    if (!p->waits || p->phase != NOE_PHASE_RUNNING || p->owner != getpid())
        return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "begin",
                             "it waits for no request");
    p->waits = false;
    if (forget(p, &ours) != 0)
        return failed(err, "it has printed something before");
    if (move(p, ours.poller) != 0)
        return failed(err, "");
    p->started_us = noe_clock_us();
    p->deadline_us = after_ms(p->started_us, ours.timeout_ms);
    if (noe_supervisor_tell_deadline(p, NOE_JAIL_BEGIN) != 0 ||
        hand_over(p, &ours) != 0)
        return failed(err, "");
    return 0;
}

int noe_process_wait_longer(struct noe_process *process, int64_t wait_ms)
{
    struct noe_process *p = process;

    errno = ESRCH;
    if (!p->waits || p->phase != NOE_PHASE_RUNNING || p->owner != getpid())
        return -1;
    p->deadline_us = after_ms(noe_clock_us(), wait_ms);
    return noe_supervisor_tell_deadline(p, NOE_JAIL_WAIT);
}

/* Of the request, what nobody has taken out of the pipe or the socket, whose
 * other end we hold for this. */
bool noe_process_has_begun(const struct noe_process *process)
{
    const struct noe_process *p = process;
    int waiting = 0;

    if (p->waits)
        return false;
    if (p->unread < 0 || ioctl(p->unread, FIONREAD, &waiting) != 0 ||
        waiting < 0)
        return p->begun;
    size_t sent_later =
        p->by_frame ? p->channel.out.len - p->channel.out_at : p->input.left;
    return (size_t)waiting + sent_later < p->request_len;
}
