/* SPDX-License-Identifier: MIT */
/*
 * One run: a child, its input and output, its end.
 *
 * Which processes: the host's only child is the jail, which supervises the
 * program (src/jail/main.c); or, bare, the program itself.
 *
 * Which descriptors the host keeps while it runs: the reading ends of stdout
 * and stderr, the control socket to the jail, a pidfd, and one epoll descriptor
 * that knows the others and is what event loops see. Input that does not fit
 * into the pipe at once adds both its ends: the writing one to feed, and the
 * reading one so that a program that closes its input cannot send the host a
 * SIGPIPE.
 *
 * Who may block: nobody but noe_process_wait and noe_process_wait_started.
 *
 * When it is over: when the child has ended, not when the pipes have. The jail
 * ends last, after the whole tree, so that all there will ever be to read is in
 * the pipes by then; and a stranger that holds a pipe open delays nobody. The
 * jail keeps its copies of the program's streams, hence a run that prints
 * nothing wakes the host once. Its last words wait in the control socket.
 *
 * Who closes what: `finish` everything but the epoll descriptor, which must
 * stay the same until noe_process_close.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../jail/protocol.h"
#include "argv.h"
#include "buffer.h"
#include "clock.h"
#include "error.h"
#include "fd.h"
#include "launch.h"
#include "message.h"
#include "sandbox.h"

enum {
    KEPT_OF_TOO_MUCH = 64 * 1024, /* of an output over its limit */
    READ_PER_STEP = 4 * 1024 * 1024,
    STREAM_CHUNK = 64 * 1024,
    JAIL_GRACE_US = 1000 * 1000,   /* to see the deadline by itself */
    JAIL_END_US = 10 * 1000 * 1000 /* to end the tree when told to */
};

enum phase { RUNNING, DONE, NOTHING_RAN };

struct noe_process {
    struct noe_launcher *launcher;
    struct noe_child child;
    pid_t owner;
    enum phase phase;
    bool supervised;
    bool walled;
    bool wrapped; /* by another program than the jail */
    bool native;
    bool started;
    bool ended; /* the jail has said so, in `end` */
    bool owns_poller;
    int poller;
    int control;
    int output_fd;
    int errors_fd;
    int input_fd;
    int input_reader;
    const char *input;
    size_t input_left;
    size_t max_output;
    int64_t started_us;
    int64_t deadline_us; /* INT64_MAX: none */
    int64_t patience_us; /* when to kill a jail that does not obey; as above */
    uint32_t would_enforce;
    enum noe_reason cause; /* ours: the first one stands */
    struct noe_buffer output;
    struct noe_ends errors;
    uint64_t output_total;
    uint32_t step_us[NOE_JAIL_STEP_COUNT];
    struct noe_jail_event end;
    struct noe_error failure;
    struct noe_result result;
};

void noe_options_init(struct noe_options *options)
{
    *options = (struct noe_options){.size = sizeof(*options),
                                    .timeout_ms = -1,
                                    .max_output_bytes = 10 * 1024 * 1024,
                                    .max_stderr_bytes = 64 * 1024,
                                    .supervise = true,
                                    .poller = -1};
}

void noe_limits_init(struct noe_limits *limits)
{
    *limits = (struct noe_limits){.size = sizeof(*limits),
                                  .memory_bytes = NOE_UNLIMITED,
                                  .cpu_ms = NOE_UNLIMITED,
                                  .processes = NOE_UNLIMITED,
                                  .open_files = NOE_UNLIMITED,
                                  .file_bytes = NOE_UNLIMITED,
                                  .private_bytes = NOE_UNLIMITED,
                                  .private_files = NOE_UNLIMITED};
}

static bool has_sandbox(const struct noe_options *options)
{
    return options->sandbox != NULL &&
           options->sandbox->backend != NOE_BACKEND_NONE;
}

static int misuse(struct noe_error *err, const char *sentence)
{
    return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "spawn", "%s", sentence);
}

static int check_options(const struct noe_options *options,
                         struct noe_error *err)
{
    if (options->size != sizeof(*options))
        return misuse(err, "the options were not initialised");
    if (options->argv == NULL || options->argv[0] == NULL)
        return misuse(err, "argv is empty");
    if (options->argv[0][0] != '/')
        return misuse(err, "argv[0] must be an absolute path");
    if (!has_sandbox(options))
        return 0;
    if (!options->supervise)
        return misuse(err, "a sandbox needs the supervisor");
    return noe_sandbox_check(options->sandbox, err);
}

/* The child's ends of everything. */
struct child_ends {
    int stdio[3];
    int control;
};

static void close_ends(struct child_ends *ends)
{
    for (int i = 0; i < 3; i++)
        noe_fd_close(&ends->stdio[i]);
    noe_fd_close(&ends->control);
}

static int pipe_failed(struct noe_error *err)
{
    return noe_error_set(err, NOE_FAULT_SPAWN, errno, "pipe", "%s", "");
}

static int open_output(int *ours, int *theirs, struct noe_error *err)
{
    int fds[2];

    if (noe_fd_pipe(fds) != 0)
        return pipe_failed(err);
    *ours = fds[0];
    *theirs = fds[1];
    return noe_fd_set_nonblocking(*ours) == 0 ? 0 : pipe_failed(err);
}

/* A forked copy of the host must leave the child alone. */
static bool is_ours(const struct noe_process *p)
{
    return p->owner == getpid();
}

/* Taken out before it is closed: where a forked copy of the host still holds
 * the descriptor, closing alone would leave it in the epoll set for ever. */
static void stop_polling(const struct noe_process *p, int *fd)
{
    if (*fd >= 0)
        (void)epoll_ctl(p->poller, EPOLL_CTL_DEL, *fd, NULL);
    noe_fd_close(fd);
}

/* Writes what the pipe takes now. Both ends are ours here, so there is no
 * SIGPIPE to fear. */
static void feed(struct noe_process *p)
{
    while (p->input_left > 0) {
        ssize_t wrote = write(p->input_fd, p->input, p->input_left);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN)
            return;
        if (wrote < 0)
            break;
        p->input += wrote;
        p->input_left -= (size_t)wrote;
    }
    stop_polling(p, &p->input_fd);
    noe_fd_close(&p->input_reader);
}

static int open_input(struct noe_process *p, struct child_ends *ends,
                      struct noe_error *err)
{
    int fds[2];

    if (p->input_left == 0 && noe_launcher_null(p->launcher) >= 0)
        return 0; /* launch_program gives that */
    if (noe_fd_pipe(fds) != 0)
        return pipe_failed(err);
    ends->stdio[0] = fds[0];
    p->input_fd = fds[1];
    if (noe_fd_set_nonblocking(p->input_fd) != 0)
        return pipe_failed(err);
    feed(p);
    if (p->input_fd < 0)
        return 0;
    p->input_reader = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    return p->input_reader >= 0 ? 0 : pipe_failed(err);
}

static int open_all(struct noe_process *p, const struct noe_options *options,
                    struct child_ends *ends, struct noe_error *err)
{
    int pair[2];

    if (open_output(&p->output_fd, &ends->stdio[1], err) != 0 ||
        open_output(&p->errors_fd, &ends->stdio[2], err) != 0 ||
        open_input(p, ends, err) != 0)
        return -1;
    if (p->owns_poller) {
        p->poller = epoll_create1(EPOLL_CLOEXEC);
        if (p->poller < 0)
            return noe_error_set(err, NOE_FAULT_SPAWN, errno, "epoll_create1",
                                 "%s", "");
    }
    if (!p->supervised)
        return 0;
    if (noe_fd_socketpair(pair) != 0)
        return noe_error_set(err, NOE_FAULT_SPAWN, errno, "socketpair", "%s",
                             "");
    p->control = pair[0];
    ends->control = pair[1];
    struct noe_message message = {options, p->owner, p->deadline_us};
    return noe_message_send(&message, p->launcher, p->control, err);
}

/* argv of the jail: its own name, then the program's. In front of a wrapper the
 * variables are marked (src/jail/init.c says why). */
static char **jail_argv(const char *const *argv)
{
    struct noe_argv list = {.count = 0};

    noe_argv_add(&list, "noether-jail");
    for (; *argv != NULL; argv++)
        noe_argv_add(&list, *argv);
    return noe_argv_finish(&list);
}

static char **marked(const char *const *envp)
{
    static const char mark[] = {NOE_JAIL_ENV_MARK, '\0'};
    struct noe_argv list = {.count = 0};

    for (; *envp != NULL; envp++)
        noe_argv_add_joined(&list, mark, *envp);
    return noe_argv_finish(&list);
}

static int launch_program(struct noe_process *p,
                          const struct noe_options *options,
                          const struct child_ends *ends, struct noe_error *err)
{
    static const char *const empty[] = {NULL};
    const char *const *envp = options->envp != NULL ? options->envp : empty;
    int input = ends->stdio[0];
    if (input < 0)
        input = noe_launcher_null(p->launcher);
    struct noe_launch launch = {
        .stdio = {input, ends->stdio[1], ends->stdio[2]},
        .control = ends->control,
        .pass_image = p->wrapped,
        .argv = options->argv,
        .envp = envp,
        .cwd = options->cwd};

    if (!p->supervised)
        return noe_launch(p->launcher, &launch, &p->child, err);
    char **argv = jail_argv(options->argv);
    char **marks = p->wrapped ? marked(envp) : NULL;
    int status = -1;
    if (argv == NULL || (p->wrapped && marks == NULL)) {
        noe_error_set(err, NOE_FAULT_SPAWN, ENOMEM, "spawn", "%s", "");
    } else {
        launch.argv = (const char *const *)argv;
        if (marks != NULL)
            launch.envp = (const char *const *)marks;
        status = noe_launch(p->launcher, &launch, &p->child, err);
    }
    free(argv);
    free(marks);
    return status;
}

static int poll_for(const struct noe_process *p, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.fd = fd}};

    return fd < 0 ? 0 : epoll_ctl(p->poller, EPOLL_CTL_ADD, fd, &event);
}

static int poll_all(const struct noe_process *p, struct noe_error *err)
{
    if (poll_for(p, p->output_fd, EPOLLIN) == 0 &&
        poll_for(p, p->errors_fd, EPOLLIN) == 0 &&
        poll_for(p, p->input_fd, EPOLLOUT) == 0 &&
        poll_for(p, p->child.pidfd, EPOLLIN) == 0)
        return 0;
    return noe_error_set(err, NOE_FAULT_SPAWN, errno, "epoll_ctl", "%s", "");
}

static struct noe_process *new_process(struct noe_launcher *launcher,
                                       const struct noe_options *options)
{
    struct noe_process *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->launcher = launcher;
    p->owner = getpid();
    p->supervised = options->supervise;
    p->walled = has_sandbox(options) &&
                options->sandbox->backend != NOE_BACKEND_LANDLOCK;
    p->wrapped =
        has_sandbox(options) && options->sandbox->backend == NOE_BACKEND_BWRAP;
    p->native = p->walled && !p->wrapped;
    p->owns_poller = options->poller < 0;
    p->poller = options->poller;
    p->child.pidfd = p->control = p->output_fd = p->errors_fd = -1;
    p->input_fd = p->input_reader = -1;
    p->input = options->input;
    p->input_left = options->input_len;
    p->max_output = options->max_output_bytes;
    p->errors.limit = options->max_stderr_bytes;
    p->would_enforce = noe_sandbox_enforced(options->sandbox, options->limits);
    p->started_us = noe_clock_us();
    p->deadline_us = p->patience_us = INT64_MAX;
    if (options->timeout_ms >= 0 && options->timeout_ms < INT64_MAX / 2000)
        p->deadline_us = p->started_us + options->timeout_ms * 1000;
    return p;
}

int noe_process_start(struct noe_process **process,
                      struct noe_launcher *launcher,
                      const struct noe_options *options, struct noe_error *err)
{
    struct child_ends ends = {{-1, -1, -1}, -1};

    if (check_options(options, err) != 0)
        return -1;
    noe_launcher_reap(launcher);
    struct noe_process *p = new_process(launcher, options);
    if (p == NULL)
        return noe_error_set(err, NOE_FAULT_SPAWN, ENOMEM, "spawn", "%s", "");
    int status = open_all(p, options, &ends, err);
    if (status == 0)
        status = launch_program(p, options, &ends, err);
    close_ends(&ends);
    if (status == 0)
        status = poll_all(p, err);
    if (status != 0) {
        noe_process_close(p);
        return -1;
    }
    *process = p;
    return 0;
}

static void command_jail(const struct noe_process *p, uint32_t type, int sig)
{
    struct noe_jail_command command = {type, sig};

    (void)send(p->control, &command, sizeof(command),
               MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Kills a bare program and its session's first group. Only before it is reaped
 * is the number surely its own. */
static void kill_bare(const struct noe_process *p)
{
    kill(-p->child.pid, SIGKILL);
    (void)syscall(SYS_pidfd_send_signal, p->child.pidfd, SIGKILL, NULL, 0);
}

/* A program without a sandbox may have stopped the jail. Killing that would
 * leave the rest of the tree behind: it is to do its work. */
static void wake_jail(const struct noe_process *p)
{
    (void)syscall(SYS_pidfd_send_signal, p->child.pidfd, SIGCONT, NULL, 0);
}

static void end_by_jail(struct noe_process *p)
{
    command_jail(p, NOE_JAIL_CANCEL, 0);
    wake_jail(p);
    p->patience_us = noe_clock_us() + JAIL_END_US;
}

static void end_for(struct noe_process *p, enum noe_reason cause)
{
    if (p->cause != NOE_REASON_NONE)
        return;
    p->cause = cause;
    if (p->supervised)
        end_by_jail(p);
    else
        kill_bare(p);
}

static void note_failure(struct noe_process *p, struct noe_jail_event *event)
{
    enum noe_fault fault = event->fault == NOE_JAIL_FAULT_SANDBOX
                               ? NOE_FAULT_SANDBOX
                               : NOE_FAULT_SPAWN;

    event->step[sizeof(event->step) - 1] = '\0';
    event->path[sizeof(event->path) - 1] = '\0';
    noe_error_set(&p->failure, fault, event->code, event->step, "%s",
                  event->path);
}

static void note_event(struct noe_process *p, struct noe_jail_event *event)
{
    if (event->type == NOE_JAIL_STARTED) {
        p->started = true;
        memcpy(p->step_us, event->step_us, sizeof(p->step_us));
        if (event->watches_host)
            p->would_enforce |= NOE_ENFORCED_HOST_DEATH;
        if (p->walled && !event->stub_proc)
            p->would_enforce |= NOE_ENFORCED_FRESH_PROC;
        if (event->landlock > 0)
            p->would_enforce |= NOE_ENFORCED_LANDLOCK;
    } else if (event->type == NOE_JAIL_ENDED) {
        p->ended = true;
        p->end = *event;
    } else if (event->type == NOE_JAIL_FAILED && !p->started) {
        note_failure(p, event);
    }
}

/* A command that the jail did not read before it ended comes back as one
 * ECONNRESET, in front of its last words. */
static void hear_jail(struct noe_process *p)
{
    struct noe_jail_event event;
    ssize_t len;

    do {
        len = recv(p->control, &event, sizeof(event), MSG_DONTWAIT);
        if (len == (ssize_t)sizeof(event))
            note_event(p, &event);
    } while (!p->ended &&
             (len > 0 || (len < 0 && (errno == ECONNRESET || errno == EINTR))));
}

static void too_much_output(struct noe_process *p)
{
    stop_polling(p, &p->output_fd);
    noe_buffer_truncate(&p->output, KEPT_OF_TOO_MUCH);
    p->result.output_truncated = true;
    end_for(p, NOE_REASON_OUTPUT_LIMIT);
}

/* 1: there may be more at once; 0: not now, or never again. */
static int read_some_output(struct noe_process *p)
{
    char *space;
    char over;
    size_t room = noe_buffer_space(&p->output, p->max_output, &space);
    bool full = room == 0;
    ssize_t got = read(p->output_fd, full ? &over : space, full ? 1 : room);

    if (got < 0)
        return errno == EINTR;
    if (got == 0) {
        stop_polling(p, &p->output_fd);
        return 0;
    }
    p->output_total += (uint64_t)got;
    if (full) {
        too_much_output(p);
        return 0;
    }
    p->output.len += (size_t)got;
    return (size_t)got == room;
}

/* The last pieces may be many, so the step has a bound, but the end has not. */
static void read_output(struct noe_process *p, uint64_t bound)
{
    uint64_t stop = p->output_total + bound;

    while (p->output_fd >= 0 && p->output_total < stop && read_some_output(p))
        continue;
}

static int read_some_errors(struct noe_process *p)
{
    char chunk[STREAM_CHUNK];
    ssize_t got = read(p->errors_fd, chunk, sizeof(chunk));

    if (got < 0)
        return errno == EINTR;
    if (got == 0) {
        stop_polling(p, &p->errors_fd);
        return 0;
    }
    if (noe_ends_add(&p->errors, chunk, (size_t)got) != 0)
        p->result.errors_truncated = true;
    return (size_t)got == sizeof(chunk);
}

static void read_errors(struct noe_process *p, uint64_t bound)
{
    uint64_t stop = p->errors.total + bound;

    while (p->errors_fd >= 0 && p->errors.total < stop && read_some_errors(p))
        continue;
}

static uint32_t enforced(const struct noe_process *p)
{
    uint32_t bits = p->would_enforce;

    if (p->supervised && p->ended && p->end.survivors == 0)
        bits |= NOE_ENFORCED_TREE_KILL;
    if (p->ended && p->end.memory_cgroup)
        bits |= NOE_ENFORCED_MEMORY_CGROUP;
    if (p->ended && p->end.pids_cgroup)
        bits |= NOE_ENFORCED_PIDS_CGROUP;
    if (p->ended && p->end.cpu_sampled)
        bits |= NOE_ENFORCED_CPU_SAMPLED;
    if (p->ended && p->end.memory_sampled)
        bits |= NOE_ENFORCED_MEMORY_SAMPLED;
    return bits;
}

static enum noe_reason jail_reason(uint32_t cause)
{
    switch (cause) {
    case NOE_JAIL_CAUSE_TIMEOUT:
        return NOE_REASON_TIMEOUT;
    case NOE_JAIL_CAUSE_MEMORY:
        return NOE_REASON_MEMORY_LIMIT;
    case NOE_JAIL_CAUSE_CPU:
        return NOE_REASON_CPU_LIMIT;
    case NOE_JAIL_CAUSE_CANCELLED: /* not by us: it could not go on */
        return NOE_REASON_STATUS_LOST;
    default:
        return NOE_REASON_NONE;
    }
}

/* A program that had ended by the time it was cancelled ended by itself; one
 * that had written too much by then did not succeed all the same. */
static enum noe_reason reason_of(const struct noe_process *p, bool has_status,
                                 int status)
{
    bool too_late =
        p->cause == NOE_REASON_CANCELLED && has_status && p->supervised;

    if (p->cause != NOE_REASON_NONE && !too_late)
        return p->cause;
    if (p->ended && p->end.cause != NOE_JAIL_CAUSE_NONE &&
        !(too_late && p->end.cause == NOE_JAIL_CAUSE_CANCELLED))
        return jail_reason(p->end.cause);
    if (!has_status)
        return NOE_REASON_STATUS_LOST;
    return WIFSIGNALED(status) ? NOE_REASON_SIGNAL : NOE_REASON_EXIT;
}

static void fill_result(struct noe_process *p, bool has_status, int status)
{
    struct noe_result *result = &p->result;

    result->size = sizeof(*result);
    result->reason = reason_of(p, has_status, status);
    result->exit_code = -1;
    if (result->reason == NOE_REASON_EXIT)
        result->exit_code = WEXITSTATUS(status);
    if (has_status && WIFSIGNALED(status))
        result->signal = WTERMSIG(status);
    if (noe_ends_join(&p->errors) != 0)
        result->errors_truncated = true;
    result->output = p->output.data;
    result->output_len = p->output.len;
    result->output_bytes = p->output_total;
    result->errors = p->errors.head.data;
    result->errors_len = p->errors.head.len;
    result->errors_bytes = p->errors.total;
    if (p->errors.total > p->errors.limit)
        result->errors_truncated = true;
    result->duration_us = noe_clock_us() - p->started_us;
    result->cpu_user_us = p->ended ? p->end.cpu_user_us : -1;
    result->cpu_system_us = p->ended ? p->end.cpu_system_us : -1;
    result->max_rss_bytes = p->ended ? p->end.max_rss_bytes : -1;
    result->enforced = enforced(p);
    result->denied_processes = p->ended ? p->end.denied_process : 0;
}

/* Where the program never ran, all that came on stderr is the wrapper's. */
static void explain_silence(struct noe_process *p)
{
    if (p->failure.fault != NOE_FAULT_NONE)
        return;
    int len = (int)(p->errors.head.len < 400 ? p->errors.head.len : 400);
    while (len > 0 && p->errors.head.data[len - 1] == '\n')
        len--;
    if (p->wrapped && p->cause == NOE_REASON_NONE)
        noe_error_set(&p->failure, NOE_FAULT_SANDBOX, 0, "bwrap", "%.*s", len,
                      len > 0 ? p->errors.head.data : "");
    else
        noe_error_set(&p->failure, NOE_FAULT_SPAWN, 0, "spawn",
                      "ended before the program could start");
}

static void close_streams(struct noe_process *p)
{
    /* Of a set that nobody will ask any more, and in a fork it is not ours. */
    bool polled = !p->owns_poller && is_ours(p);
    int *const fds[] = {&p->output_fd, &p->errors_fd, &p->input_fd,
                        &p->child.pidfd};

    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
        if (polled)
            stop_polling(p, fds[i]);
        else
            noe_fd_close(fds[i]);
    noe_fd_close(&p->input_reader);
    noe_fd_close(&p->control);
}

/* A program may kill the jail before that has said that it started it. */
static bool may_have_run(const struct noe_process *p, int jail_status)
{
    if (p->ended)
        return p->end.may_have_run;
    return jail_status < 0 || WIFSIGNALED(jail_status);
}

/* The child has ended, with `status` as from wait, or -1 if nobody knows. */
static void finish(struct noe_process *p, int status)
{
    const uint64_t whatever_is_left = 64 * 1024 * 1024;
    const int child_status = status;
    bool has_status = status >= 0;

    read_output(p, whatever_is_left);
    read_errors(p, whatever_is_left);
    if (p->supervised) {
        hear_jail(p);
        has_status = p->ended && p->end.has_status;
        status = p->end.status;
    }
    close_streams(p);
    bool told = p->cause != NOE_REASON_NONE ||
                (p->ended && p->end.cause != NOE_JAIL_CAUSE_NONE);
    if (p->supervised &&
        (p->failure.fault != NOE_FAULT_NONE ||
         (!p->started && !told && !may_have_run(p, child_status)))) {
        explain_silence(p);
        p->phase = NOTHING_RAN;
        return;
    }
    fill_result(p, has_status, status);
    p->phase = DONE;
}

/* When the host must act, if nothing happens before; INT64_MAX: never. */
static int64_t next_deadline_us(const struct noe_process *p)
{
    if (p->cause != NOE_REASON_NONE)
        return p->patience_us;
    if (p->deadline_us == INT64_MAX || !p->supervised)
        return p->deadline_us;
    return p->deadline_us + JAIL_GRACE_US;
}

static void check_clock(struct noe_process *p)
{
    if (noe_clock_us() < next_deadline_us(p))
        return;
    if (p->cause == NOE_REASON_NONE)
        end_for(p, NOE_REASON_TIMEOUT);
    else
        (void)syscall(SYS_pidfd_send_signal, p->child.pidfd, SIGKILL, NULL, 0);
}

static void check_child(struct noe_process *p)
{
    int status;

    if (noe_child_reap(&p->child, &status))
        finish(p, status);
}

static void handle(struct noe_process *p, int fd)
{
    if (fd == p->output_fd)
        read_output(p, READ_PER_STEP);
    else if (fd == p->errors_fd)
        read_errors(p, READ_PER_STEP);
    else if (fd == p->input_fd)
        feed(p);
    else if (fd == p->child.pidfd)
        check_child(p);
}

static int report(const struct noe_process *p, struct noe_error *err)
{
    if (p->phase == NOTHING_RAN && err != NULL)
        *err = p->failure;
    return p->phase == NOTHING_RAN ? -1 : p->phase == DONE;
}

/* Waits for at most `timeout_ms` for something to do, and does it. */
static void step(struct noe_process *p, int timeout_ms)
{
    enum { MAX_EVENTS = 4 };
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(p->poller, events, MAX_EVENTS, timeout_ms);

    for (int i = 0; i < count && p->phase == RUNNING; i++)
        handle(p, events[i].data.fd);
    if (p->phase == RUNNING)
        check_clock(p);
}

int noe_process_step(struct noe_process *process, struct noe_error *err)
{
    if (process->phase == RUNNING)
        step(process, 0);
    return report(process, err);
}

int noe_process_timeout_ms(const struct noe_process *process)
{
    if (process->phase != RUNNING)
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

    while (process->phase == RUNNING) {
        int left = -1;
        if (timeout_ms >= 0) {
            int64_t left_us = until - noe_clock_us();
            left = left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
        }
        errno = 0;
        step(process, sooner(left, noe_process_timeout_ms(process)));
        if (left == 0 || errno == EINTR)
            break;
    }
    return report(process, err);
}

int noe_process_wait_started(struct noe_process *process, int timeout_ms,
                             struct noe_error *err)
{
    if (process->phase != RUNNING || !process->supervised)
        return process->phase == NOTHING_RAN ? report(process, err) : 1;
    struct pollfd fds[] = {{process->control, POLLIN, 0},
                           {process->child.pidfd, POLLIN, 0}};
    if (!process->started && poll(fds, 2, timeout_ms) > 0)
        hear_jail(process);
    if (process->failure.fault != NOE_FAULT_NONE || fds[1].revents != 0)
        (void)noe_process_wait(process, -1, NULL);
    if (process->phase == NOTHING_RAN)
        return report(process, err);
    return process->started || process->phase == DONE;
}

const struct noe_result *noe_process_result(const struct noe_process *process)
{
    return process->phase == DONE ? &process->result : NULL;
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

int noe_process_kill(struct noe_process *process, int signal)
{
    if (process->phase != RUNNING || !is_ours(process)) {
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
    command_jail(process, NOE_JAIL_SIGNAL, signal);
    return 0;
}

void noe_process_cancel(struct noe_process *process)
{
    if (process->phase == RUNNING && is_ours(process))
        end_for(process, NOE_REASON_CANCELLED);
}

/* The child will end at once, and be reaped later. */
static void abandon(struct noe_process *p)
{
    if (p->supervised) {
        shutdown(p->control, SHUT_RDWR); /* whoever else holds a copy of it */
        wake_jail(p);
    } else {
        kill_bare(p);
    }
    (void)epoll_ctl(p->poller, EPOLL_CTL_DEL, p->child.pidfd, NULL);
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
    close_streams(p);
    if (p->owns_poller)
        noe_fd_close(&p->poller);
    noe_buffer_free(&p->output);
    noe_ends_free(&p->errors);
    free(p);
}

const char *noe_reason_name(enum noe_reason reason)
{
    static const char *const names[] = {
        [NOE_REASON_NONE] = "none",
        [NOE_REASON_EXIT] = "exit",
        [NOE_REASON_SIGNAL] = "signal",
        [NOE_REASON_TIMEOUT] = "timeout",
        [NOE_REASON_OUTPUT_LIMIT] = "output_limit",
        [NOE_REASON_MEMORY_LIMIT] = "memory_limit",
        [NOE_REASON_CPU_LIMIT] = "cpu_limit",
        [NOE_REASON_CANCELLED] = "cancelled",
        [NOE_REASON_STATUS_LOST] = "status_lost"};

    return names[reason];
}

const char *noe_enforced_name(uint32_t bit)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{NOE_ENFORCED_USER_NS, "user_ns"},
                 {NOE_ENFORCED_MOUNT_NS, "mount_ns"},
                 {NOE_ENFORCED_PID_NS, "pid_ns"},
                 {NOE_ENFORCED_NET_NS, "net_ns"},
                 {NOE_ENFORCED_IPC_NS, "ipc_ns"},
                 {NOE_ENFORCED_UTS_NS, "uts_ns"},
                 {NOE_ENFORCED_CGROUP_NS, "cgroup_ns"},
                 {NOE_ENFORCED_HOST_UID, "host_uid"},
                 {NOE_ENFORCED_LANDLOCK, "landlock"},
                 {NOE_ENFORCED_SECCOMP, "seccomp"},
                 {NOE_ENFORCED_NO_NEW_PRIVS, "no_new_privs"},
                 {NOE_ENFORCED_CAPS, "caps"},
                 {NOE_ENFORCED_NO_PROCESS, "no_process"},
                 {NOE_ENFORCED_TREE_KILL, "tree_kill"},
                 {NOE_ENFORCED_HOST_DEATH, "host_death"},
                 {NOE_ENFORCED_MEMORY_CGROUP, "memory_cgroup"},
                 {NOE_ENFORCED_MEMORY_SAMPLED, "memory_sampled"},
                 {NOE_ENFORCED_CPU_SAMPLED, "cpu_sampled"},
                 {NOE_ENFORCED_PIDS_CGROUP, "pids_cgroup"},
                 {NOE_ENFORCED_PIDS_RLIMIT, "pids_rlimit"},
                 {NOE_ENFORCED_TMPFS_LIMITS, "tmpfs_limits"},
                 {NOE_ENFORCED_FRESH_PROC, "fresh_proc"}};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (names[i].bit == bit)
            return names[i].name;
    return NULL;
}
