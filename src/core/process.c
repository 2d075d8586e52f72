/* SPDX-License-Identifier: MIT */
/*
 * One run: a child, its input and output, its end. How it begins is start.c's;
 * what is said to the supervisor and heard of it, supervisor.c's; what came of
 * it, result.c's.
 *
 * Which processes: the host's only child is the jail, which supervises the
 * program (src/jail/main.c); or, bare, the program itself.
 *
 * Which descriptors the host keeps while it runs: the reading ends of stdout
 * and stderr (outlet.c), the control socket to the jail, a pidfd, and one epoll
 * descriptor that knows the others and is what event loops see. Input that does
 * not fit into the pipe at once adds both its ends (inlet.c), and each stream
 * that comes from or goes to a file or descriptor adds that (far.c).
 *
 * Who may block: nobody but noe_process_wait and noe_process_wait_started.
 *
 * When it is over: when the child has ended, not when the pipes have. The jail
 * ends last, after the whole tree, so that all there will ever be to read is in
 * the pipes by then; and a stranger that holds a pipe open delays nobody. The
 * jail keeps its copies of the program's streams, hence a run that prints
 * nothing wakes the host once. Its last words wait in the control socket. What
 * is in the pipes then must still be read, shown and passed on, which may take
 * until somebody reads at the far end: that is the phase DRAINING, and the
 * deadline ends it too.
 *
 * Who closes what: `settle` everything but the epoll descriptor, which must
 * stay the same until noe_process_close.
 */
#include "process.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "clock.h"
#include "error.h"
#include "pid.h"
#include "result.h"
#include "supervisor.h"

enum {
    READ_PER_STEP = 4 * 1024 * 1024,
    READ_AT_THE_END = 64 * 1024 * 1024,
    JAIL_GRACE_US = 1000 * 1000 /* to see the deadline by itself */
};

/* A forked copy of the host must leave the child alone. */
static bool is_ours(const struct noe_process *p)
{
    return p->owner == noe_pid_own();
}

/* The set, where it is to be told of what is closed: not of a set that nobody
 * will ask any more, and in a fork it is not ours. */
static int set_to_tell(const struct noe_process *p)
{
    return is_ours(p) && !p->owns_poller ? p->poller : -1;
}

static void stop_polling_child(const struct noe_process *p)
{
    (void)epoll_ctl(p->poller, EPOLL_CTL_DEL, p->child.pidfd, NULL);
    if (p->by_launcher || p->listens)
        (void)epoll_ctl(p->poller, EPOLL_CTL_DEL, p->control, NULL);
}

/* Kills a bare program and its session's first group. Only before it is reaped
 * is the number surely its own. */
static void kill_bare(const struct noe_process *p)
{
    kill(-p->child.pid, SIGKILL);
    (void)syscall(SYS_pidfd_send_signal, p->child.pidfd, SIGKILL, NULL, 0);
}

static void end_for(struct noe_process *p, enum noe_reason cause)
{
    if (p->cause != NOE_REASON_NONE)
        return;
    p->cause = cause;
    if (p->phase != NOE_PHASE_RUNNING)
        return;
    if (p->supervised)
        noe_supervisor_end(p);
    else
        kill_bare(p);
}

/* The first failure stands, as the first cause does. */
static void stream_failed(struct noe_process *p, int stream, int code)
{
    if (code == 0 || p->result.failed_stream >= 0)
        return;
    p->result.failed_stream = stream;
    p->result.stream_code = code;
    end_for(p, NOE_REASON_STREAM_FAILED);
}

static void feed(struct noe_process *p)
{
    noe_inlet_feed(&p->input, p->poller);
    stream_failed(p, NOE_STDIN, p->input.failure);
}

static void read_output(struct noe_process *p, uint64_t stop)
{
    noe_outlet_read(&p->output, p->poller, stop);
    if (p->output.over)
        end_for(p, NOE_REASON_OUTPUT_LIMIT);
    stream_failed(p, NOE_STDOUT, p->output.failure);
}

static void read_errors(struct noe_process *p, uint64_t stop)
{
    noe_outlet_read(&p->errors, p->poller, stop);
    stream_failed(p, NOE_STDERR, p->errors.failure);
}

static void flush(struct noe_process *p, struct noe_outlet *outlet, int stream)
{
    noe_outlet_flush(outlet, p->poller);
    stream_failed(p, stream, outlet->failure);
}

/* `fit`: it may stand by again, if it did. */
static void give_up_child(struct noe_process *p, bool fit)
{
    if (p->standby.seat < 0 || p->by_fork) {
        noe_fd_close(&p->child.pidfd);
        noe_fd_close(&p->standby.seat);
        noe_fd_close(&p->standby.file);
        noe_group_drop(&p->group);
        return;
    }
    noe_standby_return(p->launcher, &p->standby, fit);
    p->child.pidfd = -1;
}

static void close_streams(struct noe_process *p)
{
    int set = set_to_tell(p);

    noe_inlet_close(&p->input, set);
    noe_outlet_close(&p->output, set);
    noe_outlet_close(&p->errors, set);
    noe_channel_close(&p->channel, set);
    if (p->child.pidfd >= 0 && set >= 0)
        stop_polling_child(p);
    give_up_child(p, false);
    noe_fd_close(&p->control);
    noe_fd_close(&p->work_dir);
    noe_fd_close(&p->unread);
}

/* When the host must act, if nothing happens before; INT64_MAX: never. */
static int64_t next_deadline_us(const struct noe_process *p)
{
    if (p->phase == NOE_PHASE_DRAINING)
        return noe_result_was_ended(p) ? 0 : p->deadline_us;
    if (p->cause != NOE_REASON_NONE)
        return p->patience_us;
    if (p->deadline_us == INT64_MAX || !p->supervised)
        return p->deadline_us;
    return p->deadline_us + JAIL_GRACE_US;
}

static void settle(struct noe_process *p)
{
    bool has_status = p->status >= 0;
    int status = p->status;

    close_streams(p);
    if (p->supervised) {
        has_status = p->ended && p->end.has_status;
        status = p->end.status;
    }
    noe_result_fill(p, has_status, status);
    p->phase = NOE_PHASE_DONE;
}

/* Far ends that do not take what is theirs have had their time. */
static void give_up_flushing(struct noe_process *p)
{
    const bool late[] = {p->output.queue_len > 0, p->errors.queue_len > 0};

    noe_outlet_give_up(&p->output, p->poller);
    noe_outlet_give_up(&p->errors, p->poller);
    if ((late[0] || late[1]) && !noe_result_was_ended(p))
        stream_failed(p, late[0] ? NOE_STDOUT : NOE_STDERR, ETIMEDOUT);
}

/* Reads what is left of a run that is over, as far as it can be shown and
 * passed on now. */
static void drain(struct noe_process *p)
{
    read_output(p, p->output_stop);
    read_errors(p, p->errors_stop);
    if (noe_clock_us() >= next_deadline_us(p)) {
        give_up_flushing(p);
        read_output(p, p->output_stop);
        read_errors(p, p->errors_stop);
    }
    if (!noe_outlet_waits(&p->output) && !noe_outlet_waits(&p->errors))
        settle(p);
}

/* What it said last can still be taken; nothing can be said to it. */
static void hear_last_frames(struct noe_process *p)
{
    if (p->has_channel)
        noe_channel_move(&p->channel, p->poller);
}

/* The child has ended, with `status` as from wait, or -1 if nobody knows. */
static void finish(struct noe_process *p, int status)
{
    p->status = status;
    p->begun = noe_process_has_begun(p);
    if (p->supervised)
        noe_supervisor_hear(p);
    p->phase = NOE_PHASE_DRAINING;
    p->output_stop = p->output.total + READ_AT_THE_END;
    p->errors_stop = p->errors.total + READ_AT_THE_END;
    stop_polling_child(p);
    give_up_child(p, p->ended && !p->end.retires);
    hear_last_frames(p);
    if (!noe_result_nothing_ran(p)) {
        drain(p);
        return;
    }
    read_errors(p, p->errors_stop);
    close_streams(p);
    noe_result_explain(p);
    p->phase = NOE_PHASE_NOTHING_RAN;
}

static void check_clock(struct noe_process *p)
{
    if (p->phase != NOE_PHASE_RUNNING || noe_clock_us() < next_deadline_us(p))
        return;
    if (p->cause == NOE_REASON_NONE)
        end_for(p, NOE_REASON_TIMEOUT);
    else
        (void)syscall(SYS_pidfd_send_signal, p->child.pidfd, SIGKILL, NULL, 0);
}

/* Of a run by the launcher: the supervisor has closed the control socket, or is
 * itself no more. */
static bool is_over_far(const struct noe_process *p)
{
    struct pollfd fds[] = {{p->control, POLLRDHUP, 0},
                           {p->child.pidfd, POLLIN, 0}};

    return poll(fds, 2, 0) > 0;
}

static void check_child(struct noe_process *p)
{
    int status = -1;

    if (p->by_launcher ? is_over_far(p) : noe_child_reap(&p->child, &status))
        finish(p, status);
}

/* All that the program will ever have written is in the pipes: whether it was
 * too much is known before anything that it left is looked at. */
static void hear_control(struct noe_process *p)
{
    bool before = p->holding;

    noe_supervisor_hear(p);
    /* A supervisor that is our child closes it as it ends, and only its end is
     * news. */
    if (p->ended && !p->by_launcher)
        (void)epoll_ctl(p->poller, EPOLL_CTL_DEL, p->control, NULL);
    if (before || !p->holding)
        return;
    read_output(p, p->output.total + READ_AT_THE_END);
    read_errors(p, p->errors.total + READ_AT_THE_END);
    hear_last_frames(p);
}

static void handle(struct noe_process *p, int fd)
{
    if (fd == p->control && p->listens)
        hear_control(p);

    if (fd == p->output.pipe.fd)
        read_output(p, p->output.total + READ_PER_STEP);
    else if (fd == p->errors.pipe.fd)
        read_errors(p, p->errors.total + READ_PER_STEP);
    else if (fd == p->input.pipe.fd || fd == p->input.from.end.fd)
        feed(p);
    else if (fd == p->output.to.end.fd)
        flush(p, &p->output, NOE_STDOUT);
    else if (fd == p->errors.to.end.fd)
        flush(p, &p->errors, NOE_STDERR);
    else if (fd == p->channel.end.fd)
        noe_channel_move(&p->channel, p->poller);
    else if (fd == p->child.pidfd || fd == p->control)
        check_child(p);
}

static bool is_over(const struct noe_process *p)
{
    return p->phase == NOE_PHASE_DONE || p->phase == NOE_PHASE_NOTHING_RAN;
}

static int report(const struct noe_process *p, struct noe_error *err)
{
    if (p->phase == NOE_PHASE_NOTHING_RAN)
        noe_error_copy(err, &p->failure);
    return p->phase == NOE_PHASE_NOTHING_RAN ? -1 : p->phase == NOE_PHASE_DONE;
}

/* Until a wrapper has said that the program runs, what comes may be its own. */
static bool may_show(struct noe_process *p)
{
    if (p->phase == NOE_PHASE_RUNNING && p->wrapped && !p->started)
        noe_supervisor_hear(p);
    return p->phase != NOE_PHASE_NOTHING_RAN &&
           (p->phase != NOE_PHASE_RUNNING || !p->wrapped || p->started);
}

static bool wants_a_piece(const struct noe_process *p)
{
    return noe_process_hungry(p) && !p->input.resting;
}

static bool may_collect(const struct noe_process *p)
{
    return p->holding && !p->released && p->phase == NOE_PHASE_RUNNING &&
           p->cause == NOE_REASON_NONE;
}

static bool is_asked(const struct noe_process *p)
{
    return p->question_count > 0 && p->phase == NOE_PHASE_RUNNING;
}

/* Whether the caller has something to do before the next step. */
static bool has_news(struct noe_process *p)
{
    bool shows = p->output.tap.len > 0 || p->errors.tap.len > 0;

    return (shows && may_show(p)) || wants_a_piece(p) ||
           noe_channel_has_frame(&p->channel) || may_collect(p) || is_asked(p);
}

/* Waits for at most `timeout_ms` for something to do, and does it. */
static void step(struct noe_process *p, int timeout_ms)
{
    enum { MAX_EVENTS = 8 };
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(p->poller, events, MAX_EVENTS, timeout_ms);

    for (int i = 0; i < count && !is_over(p); i++)
        handle(p, events[i].data.fd);
    check_clock(p);
    if (p->phase == NOE_PHASE_DRAINING)
        drain(p);
    if (p->forks != NULL && !is_over(p))
        noe_forks_tend(p->forks, p->child.pid);
}

int noe_process_step(struct noe_process *process, struct noe_error *err)
{
    if (!is_over(process))
        step(process, 0);
    return report(process, err);
}

int noe_process_timeout_ms(const struct noe_process *process)
{
    /* What the caller has looked at since then wakes nobody. */
    bool flushes =
        process->output.queue_len > 0 || process->errors.queue_len > 0;

    if (is_over(process) || is_asked(process) ||
        (process->phase == NOE_PHASE_DRAINING && !flushes))
        return 0;
    int64_t deadline = next_deadline_us(process);
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - noe_clock_us();
    if (left <= 0)
        return 0;
    return left / 1000 >= INT_MAX ? INT_MAX : (int)(left / 1000) + 1;
}

/* The smaller of two timeouts, of which -1 is none. */
static int sooner(int a, int b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

int noe_process_wait(struct noe_process *process, int timeout_ms,
                     struct noe_error *err)
{
    int64_t until = noe_clock_us() + (int64_t)timeout_ms * 1000;

    while (!is_over(process)) {
        int left = -1;
        if (timeout_ms >= 0) {
            int64_t left_us = until - noe_clock_us();
            left = left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
        }
        bool was_broken = process->channel.broken;
        errno = 0;
        step(process, sooner(left, noe_process_timeout_ms(process)));
        if (left == 0 || errno == EINTR || has_news(process) ||
            process->channel.broken != was_broken)
            break;
    }
    return report(process, err);
}

int noe_process_wait_started(struct noe_process *process, int timeout_ms,
                             struct noe_error *err)
{
    if (process->phase != NOE_PHASE_RUNNING || !process->supervised)
        return process->phase == NOE_PHASE_NOTHING_RAN ? report(process, err)
                                                       : 1;
    struct pollfd fds[] = {{process->control, POLLIN | POLLRDHUP, 0},
                           {process->child.pidfd, POLLIN, 0}};
    if (!process->started && poll(fds, 2, timeout_ms) > 0)
        noe_supervisor_hear(process);
    bool closed =
        process->by_launcher && (fds[0].revents & (POLLRDHUP | POLLHUP)) != 0;
    if (process->failure.fault != NOE_FAULT_NONE || fds[1].revents != 0 ||
        closed)
        while (process->phase == NOE_PHASE_RUNNING)
            (void)noe_process_wait(process, -1, NULL);
    if (process->phase == NOE_PHASE_NOTHING_RAN)
        return report(process, err);
    return process->started || process->phase != NOE_PHASE_RUNNING;
}

size_t noe_process_take(struct noe_process *process, int stream,
                        const char **data)
{
    struct noe_outlet *outlet =
        stream == NOE_STDOUT ? &process->output : &process->errors;
    size_t len = outlet->tap.len;

    if (len == 0 || !may_show(process))
        return 0;
    *data = outlet->tap.data;
    outlet->tap.len = 0;
    return len;
}

bool noe_process_hungry(const struct noe_process *process)
{
    return process->input.hungry && process->phase == NOE_PHASE_RUNNING;
}

void noe_process_feed(struct noe_process *process, const void *data, size_t len)
{
    if (!noe_process_hungry(process) || !is_ours(process))
        return;
    noe_inlet_give(&process->input, data, len, process->poller);
    stream_failed(process, NOE_STDIN, process->input.failure);
}

void noe_process_rest(struct noe_process *process)
{
    if (!noe_process_hungry(process) || !is_ours(process))
        return;
    noe_inlet_rest(&process->input, process->poller);
    stream_failed(process, NOE_STDIN, process->input.failure);
}

enum noe_channel_state
noe_process_channel_state(const struct noe_process *process)
{
    if (!process->has_channel)
        return NOE_CHANNEL_NONE;
    if (process->channel.broken)
        return NOE_CHANNEL_BROKEN;
    return process->channel.closed ? NOE_CHANNEL_CLOSED : NOE_CHANNEL_OPEN;
}

const char *noe_process_channel_take(struct noe_process *process, size_t *len)
{
    const char *frame = noe_channel_take(&process->channel, len);

    if (frame != NULL && is_ours(process))
        noe_channel_watch(&process->channel, process->poller);
    return frame;
}

int noe_process_channel_put(struct noe_process *process, const void *data,
                            size_t len)
{
    if (is_ours(process) && process->phase == NOE_PHASE_RUNNING)
        return noe_channel_put(&process->channel, data, len, process->poller);
    errno = EPIPE;
    return -1;
}

const char *noe_process_question(struct noe_process *process, uint32_t *id,
                                 uint16_t *port)
{
    struct noe_process *p = process;

    if (p->question_count == 0)
        return NULL;
    p->question = p->questions[0];
    p->question_count--;
    memmove(p->questions, p->questions + 1,
            p->question_count * sizeof(*p->questions));
    *id = p->question.id;
    *port = (uint16_t)p->question.port;
    return p->question.host;
}

int noe_process_work_dir(struct noe_process *process, int64_t *until_us)
{
    bool runs = !process->holding && process->phase == NOE_PHASE_RUNNING;

    if (!may_collect(process) && !runs)
        return -1;
    *until_us = runs ? INT64_MAX : process->held_until_us;
    return process->work_dir;
}

void noe_process_release(struct noe_process *process)
{
    if (!process->holding || process->released || !is_ours(process))
        return;
    process->released = true;
    if (noe_supervisor_command(process, NOE_JAIL_RELEASE, 0) != 0)
        shutdown(process->control, SHUT_WR);
}

const struct noe_result *noe_process_result(const struct noe_process *process)
{
    return process->phase == NOE_PHASE_DONE ? &process->result : NULL;
}

int noe_process_pollfd(const struct noe_process *process)
{
    return process->poller;
}

int noe_process_setup_step(const struct noe_process *process, size_t index,
                           const char **name, uint32_t *us)
{
    static const char *const names[NOE_JAIL_STEP_COUNT] = NOE_JAIL_STEPS;

    if (!process->native || !process->started || index >= NOE_JAIL_STEP_COUNT)
        return -1;
    *name = names[index];
    *us = process->step_us[index];
    return 0;
}

int noe_process_pid(const struct noe_process *process)
{
    return process->child.pid;
}

bool noe_process_by_launcher(const struct noe_process *process)
{
    return process->by_launcher && !process->by_fork;
}

bool noe_process_serves(const struct noe_process *process)
{
    return process->forks != NULL && process->phase == NOE_PHASE_RUNNING;
}

size_t noe_process_places(const struct noe_process *process)
{
    return process->forks != NULL ? process->forks->idle_count : 0;
}

int noe_process_put_file(struct noe_process *process, const void *data,
                         size_t len)
{
    int *fd = &process->standby.file;
    size_t done = 0;

    errno = EBADF;
    while (*fd >= 0 && done < len) {
        ssize_t wrote = write(*fd, (const char *)data + done, len - done);
        if (wrote < 0 && errno != EINTR)
            break;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    bool whole = *fd >= 0 && done == len;
    noe_fd_close(fd);
    return whole ? 0 : -1;
}

void noe_process_retire(struct noe_process *process)
{
    if (is_ours(process))
        noe_forks_close(process->forks);
}

int noe_process_kill(struct noe_process *process, int signal)
{
    if (process->phase != NOE_PHASE_RUNNING || !is_ours(process)) {
        errno = ESRCH;
        return -1;
    }
    if (!process->supervised)
        return (int)syscall(SYS_pidfd_send_signal, process->child.pidfd, signal,
                            NULL, 0);
    if (signal <= 0 || signal >= NSIG) {
        errno = EINVAL;
        return -1;
    }
    return noe_supervisor_command(process, NOE_JAIL_SIGNAL, signal);
}

static bool can_be_told(const struct noe_process *p)
{
    return p->supervised && p->phase == NOE_PHASE_RUNNING && is_ours(p);
}

int noe_process_kill_group(struct noe_process *process, int signal)
{
    errno = signal <= 0 || signal >= NSIG ? EINVAL : ESRCH;
    if (errno == EINVAL || !can_be_told(process))
        return -1;
    return noe_supervisor_command(process, NOE_JAIL_SIGNAL_GROUP, signal);
}

uint64_t noe_process_signalled(const struct noe_process *process)
{
    return process->signalled;
}

int noe_process_set_terms(struct noe_process *process, int64_t timeout_ms,
                          uint64_t cpu_ms)
{
    errno = ESRCH;
    if (!can_be_told(process))
        return -1;
    process->deadline_us = INT64_MAX;
    if (timeout_ms >= 0 && timeout_ms < INT64_MAX / 2000)
        process->deadline_us = noe_clock_us() + timeout_ms * 1000;
    return noe_supervisor_terms(process, cpu_ms);
}

int noe_process_answer(struct noe_process *process, uint32_t id, bool yes)
{
    errno = ESRCH;
    return can_be_told(process) ? noe_supervisor_answer(process, id, yes) : -1;
}

void noe_process_cancel(struct noe_process *process)
{
    if (!is_over(process) && is_ours(process))
        end_for(process, NOE_REASON_CANCELLED);
}

/* The child will end at once, and be reaped later. */
static void abandon(struct noe_process *p)
{
    if (p->supervised) {
        shutdown(p->control, SHUT_RDWR); /* whoever else holds a copy of it */
        noe_supervisor_wake(p);
    } else {
        kill_bare(p);
    }
    stop_polling_child(p);
    if (p->by_launcher)
        return; /* it is the launcher's to reap */
    noe_launcher_adopt(p->launcher, &p->child);
    p->child.pidfd = -1;
}

void noe_process_close(struct noe_process *process)
{
    if (process == NULL)
        return;
    struct noe_process *p = process;
    if (p->child.pidfd >= 0 && is_ours(p))
        abandon(p);
    if (is_ours(p)) /* who made a launcher meanwhile is a child of ours, too */
        noe_launcher_reap(p->launcher);
    close_streams(p);
    if (p->owns_poller)
        noe_fd_close(&p->poller);
    noe_forks_free(p->forks);
    noe_outlet_free(&p->output);
    noe_outlet_free(&p->errors);
    noe_channel_free(&p->channel);
    free(p->report);
    free(p->questions);
    free(p);
}
