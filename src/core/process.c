/* SPDX-License-Identifier: MIT */
/*
 * One run: a child, its input and output, its end.
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
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../jail/protocol.h"
#include "argv.h"
#include "clock.h"
#include "error.h"
#include "fd.h"
#include "inlet.h"
#include "launch.h"
#include "message.h"
#include "outlet.h"
#include "sandbox.h"

enum {
    READ_PER_STEP = 4 * 1024 * 1024,
    READ_AT_THE_END = 64 * 1024 * 1024,
    JAIL_GRACE_US = 1000 * 1000,   /* to see the deadline by itself */
    JAIL_END_US = 10 * 1000 * 1000 /* to end the tree when told to */
};

enum phase { RUNNING, DRAINING, DONE, NOTHING_RAN };

enum { STDIN, STDOUT, STDERR };

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
    struct noe_inlet input;
    struct noe_outlet output;
    struct noe_outlet errors;
    int64_t started_us;
    int64_t deadline_us; /* INT64_MAX: none */
    int64_t patience_us; /* when to kill a jail that does not obey; as above */
    uint32_t would_enforce;
    enum noe_reason cause; /* ours: the first one stands */
    int status;            /* the child's, when it has ended */
    uint64_t output_stop;  /* what a stranger adds after the end is not read */
    uint64_t errors_stop;
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

static int check_stream(const struct noe_stream *stream, int which,
                        struct noe_error *err)
{
    bool shared = stream->kind == NOE_STREAM_SHARED;

    if (stream->kind == NOE_STREAM_PATH && stream->path == NULL)
        return misuse(err, "a stream has no path");
    if (stream->kind == NOE_STREAM_PIECES && which != STDIN)
        return misuse(err, "only input comes in pieces");
    if (stream->tapped && (shared || which == STDIN))
        return misuse(err, "only an output that is not shared can be tapped");
    return 0;
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
    for (int i = STDIN; i <= STDERR; i++)
        if (check_stream(&options->streams[i], i, err) != 0)
            return -1;
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

/* Neither reads nor writes, but leads to all that is below it, from behind any
 * wall. */
static int refuse_directory(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &st) != 0)
        return -1;
    if (!S_ISDIR(st.st_mode) && (flags & O_PATH) == 0)
        return 0;
    errno = S_ISDIR(st.st_mode) ? EISDIR : EBADF;
    return -1;
}

/* The number may be anything: it is the caller's. */
static int share(int *theirs, int fd, const char *name, struct noe_error *err)
{
    *theirs = refuse_directory(fd) == 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (*theirs >= 0)
        return 0;
    return noe_error_set(err, NOE_FAULT_SPAWN, errno, name, "descriptor %d",
                         fd);
}

static int open_output(struct noe_outlet *outlet, int *theirs,
                       const struct noe_stream *stream, const char *name,
                       int poller, struct noe_error *err)
{
    int fds[2];

    if (stream->kind == NOE_STREAM_SHARED)
        return share(theirs, stream->fd, name, err);
    if (noe_fd_pipe(fds) != 0)
        return pipe_failed(err);
    outlet->pipe.fd = fds[0];
    *theirs = fds[1];
    if (noe_fd_set_nonblocking(fds[0]) != 0)
        return pipe_failed(err);
    return noe_outlet_open(outlet, stream, poller, name, err);
}

/* A forked copy of the host must leave the child alone. */
static bool is_ours(const struct noe_process *p)
{
    return p->owner == getpid();
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
}

/* What is to be written is tried before there is a child: mostly that is all,
 * and the pipe needs not be kept. */
static int open_input(struct noe_process *p, const struct noe_stream *stream,
                      struct child_ends *ends, struct noe_error *err)
{
    struct noe_inlet *input = &p->input;
    int fds[2];

    if (stream->kind == NOE_STREAM_SHARED)
        return share(&ends->stdio[0], stream->fd, "stdin", err);
    if (noe_inlet_open(input, stream, p->poller, err) != 0)
        return -1;
    if (!noe_inlet_has_input(input) && noe_launcher_null(p->launcher) >= 0)
        return 0; /* launch_program gives that */
    if (noe_fd_pipe(fds) != 0)
        return pipe_failed(err);
    ends->stdio[0] = fds[0];
    input->pipe.fd = fds[1];
    if (noe_fd_set_nonblocking(fds[1]) != 0)
        return pipe_failed(err);
    noe_inlet_feed(input, p->poller);
    if (input->failure != 0)
        return noe_error_set(err, NOE_FAULT_SPAWN, input->failure, "stdin",
                             "%s", "");
    if (input->pipe.fd < 0)
        return 0;
    input->reader = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    return input->reader >= 0 ? 0 : pipe_failed(err);
}

static int open_streams(struct noe_process *p,
                        const struct noe_options *options,
                        struct child_ends *ends, struct noe_error *err)
{
    const struct noe_stream *streams = options->streams;

    if (open_output(&p->output, &ends->stdio[1], &streams[STDOUT], "stdout",
                    p->poller, err) != 0)
        return -1;
    if (open_output(&p->errors, &ends->stdio[2], &streams[STDERR], "stderr",
                    p->poller, err) != 0)
        return -1;
    return open_input(p, &streams[STDIN], ends, err);
}

static int open_all(struct noe_process *p, const struct noe_options *options,
                    struct child_ends *ends, struct noe_error *err)
{
    int pair[2];

    if (p->owns_poller) {
        p->poller = epoll_create1(EPOLL_CLOEXEC);
        if (p->poller < 0)
            return noe_error_set(err, NOE_FAULT_SPAWN, errno, "epoll_create1",
                                 "%s", "");
    }
    if (open_streams(p, options, ends, err) != 0)
        return -1;
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

/* The input says by itself what it waits for. */
static int poll_all(struct noe_process *p, struct noe_error *err)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data = {.fd = p->child.pidfd}};

    if (noe_watch(p->poller, &p->output.pipe, EPOLLIN) == 0 &&
        noe_watch(p->poller, &p->errors.pipe, EPOLLIN) == 0 &&
        epoll_ctl(p->poller, EPOLL_CTL_ADD, p->child.pidfd, &event) == 0)
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
    p->child.pidfd = p->control = -1;
    noe_inlet_init(&p->input);
    p->input.data = options->input;
    p->input.left = options->input_len;
    noe_outlet_init(&p->output, false, options->max_output_bytes);
    noe_outlet_init(&p->errors, true, options->max_stderr_bytes);
    p->result.failed_stream = -1;
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

/* 0, or -1 with errno: ESRCH if nobody is there to hear it. */
static int command_jail(const struct noe_process *p, uint32_t type, int sig)
{
    struct noe_jail_command command = {type, sig};

    if (send(p->control, &command, sizeof(command),
             MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return 0;
    if (errno == EPIPE || errno == ECONNRESET)
        errno = ESRCH;
    return -1;
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

/* The end of all commands is one, too, and takes no memory to send. */
static void end_by_jail(struct noe_process *p)
{
    if (command_jail(p, NOE_JAIL_CANCEL, 0) != 0)
        shutdown(p->control, SHUT_WR);
    wake_jail(p);
    p->patience_us = noe_clock_us() + JAIL_END_US;
}

static void end_for(struct noe_process *p, enum noe_reason cause)
{
    if (p->cause != NOE_REASON_NONE)
        return;
    p->cause = cause;
    if (p->phase != RUNNING)
        return;
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
    stream_failed(p, STDIN, p->input.failure);
}

static void read_output(struct noe_process *p, uint64_t stop)
{
    noe_outlet_read(&p->output, p->poller, stop);
    if (p->output.over)
        end_for(p, NOE_REASON_OUTPUT_LIMIT);
    stream_failed(p, STDOUT, p->output.failure);
}

static void read_errors(struct noe_process *p, uint64_t stop)
{
    noe_outlet_read(&p->errors, p->poller, stop);
    stream_failed(p, STDERR, p->errors.failure);
}

static void flush(struct noe_process *p, struct noe_outlet *outlet, int stream)
{
    noe_outlet_flush(outlet, p->poller);
    stream_failed(p, stream, outlet->failure);
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
    default: /* cancelled, and not by us: it could not go on */
        return NOE_REASON_STATUS_LOST;
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
    if (result->reason == NOE_REASON_SIGNAL)
        result->signal = WTERMSIG(status);
    if (noe_ends_join(&p->errors.ends) != 0)
        p->errors.cut = true;
    result->output = p->output.kept.data;
    result->output_len = p->output.kept.len;
    result->output_bytes = p->output.total;
    result->output_truncated = p->output.cut;
    result->errors = p->errors.ends.head.data;
    result->errors_len = p->errors.ends.head.len;
    result->errors_bytes = p->errors.total;
    result->errors_truncated =
        p->errors.cut || p->errors.total > p->errors.limit;
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
    const struct noe_buffer *said = &p->errors.ends.head;
    int len = (int)(said->len < 400 ? said->len : 400);
    while (len > 0 && said->data[len - 1] == '\n')
        len--;
    if (p->wrapped && p->cause == NOE_REASON_NONE)
        noe_error_set(&p->failure, NOE_FAULT_SANDBOX, 0, "bwrap", "%.*s", len,
                      len > 0 ? said->data : "");
    else
        noe_error_set(&p->failure, NOE_FAULT_SPAWN, 0, "spawn",
                      "ended before the program could start");
}

static void close_streams(struct noe_process *p)
{
    int set = set_to_tell(p);

    noe_inlet_close(&p->input, set);
    noe_outlet_close(&p->output, set);
    noe_outlet_close(&p->errors, set);
    if (p->child.pidfd >= 0 && set >= 0)
        stop_polling_child(p);
    noe_fd_close(&p->child.pidfd);
    noe_fd_close(&p->control);
}

/* A program may kill the jail before that has said that it started it. */
static bool may_have_run(const struct noe_process *p, int jail_status)
{
    if (p->ended)
        return p->end.may_have_run;
    return jail_status < 0 || WIFSIGNALED(jail_status);
}

/* By us or by the jail. */
static bool was_ended(const struct noe_process *p)
{
    return p->cause != NOE_REASON_NONE ||
           (p->ended && p->end.cause != NOE_JAIL_CAUSE_NONE);
}

static bool nothing_ran(const struct noe_process *p)
{
    if (!p->supervised)
        return false;
    return p->failure.fault != NOE_FAULT_NONE ||
           (!p->started && !was_ended(p) && !may_have_run(p, p->status));
}

/* When the host must act, if nothing happens before; INT64_MAX: never. */
static int64_t next_deadline_us(const struct noe_process *p)
{
    if (p->phase == DRAINING)
        return was_ended(p) ? 0 : p->deadline_us;
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
    fill_result(p, has_status, status);
    p->phase = DONE;
}

/* Far ends that do not take what is theirs have had their time. */
static void give_up_flushing(struct noe_process *p)
{
    const bool late[] = {p->output.queue_len > 0, p->errors.queue_len > 0};

    noe_outlet_give_up(&p->output, p->poller);
    noe_outlet_give_up(&p->errors, p->poller);
    if ((late[0] || late[1]) && !was_ended(p))
        stream_failed(p, late[0] ? STDOUT : STDERR, ETIMEDOUT);
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

/* The child has ended, with `status` as from wait, or -1 if nobody knows. */
static void finish(struct noe_process *p, int status)
{
    p->status = status;
    if (p->supervised)
        hear_jail(p);
    p->phase = DRAINING;
    p->output_stop = p->output.total + READ_AT_THE_END;
    p->errors_stop = p->errors.total + READ_AT_THE_END;
    stop_polling_child(p);
    noe_fd_close(&p->child.pidfd);
    if (!nothing_ran(p)) {
        drain(p);
        return;
    }
    read_errors(p, p->errors_stop);
    close_streams(p);
    explain_silence(p);
    p->phase = NOTHING_RAN;
}

static void check_clock(struct noe_process *p)
{
    if (p->phase != RUNNING || noe_clock_us() < next_deadline_us(p))
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
    if (fd == p->output.pipe.fd)
        read_output(p, p->output.total + READ_PER_STEP);
    else if (fd == p->errors.pipe.fd)
        read_errors(p, p->errors.total + READ_PER_STEP);
    else if (fd == p->input.pipe.fd || fd == p->input.from.end.fd)
        feed(p);
    else if (fd == p->output.to.end.fd)
        flush(p, &p->output, STDOUT);
    else if (fd == p->errors.to.end.fd)
        flush(p, &p->errors, STDERR);
    else if (fd == p->child.pidfd)
        check_child(p);
}

static bool is_over(const struct noe_process *p)
{
    return p->phase == DONE || p->phase == NOTHING_RAN;
}

static int report(const struct noe_process *p, struct noe_error *err)
{
    if (p->phase == NOTHING_RAN && err != NULL)
        *err = p->failure;
    return p->phase == NOTHING_RAN ? -1 : p->phase == DONE;
}

/* Until a wrapper has said that the program runs, what comes may be its own. */
static bool may_show(struct noe_process *p)
{
    if (p->phase == RUNNING && p->wrapped && !p->started)
        hear_jail(p);
    return p->phase != NOTHING_RAN &&
           (p->phase != RUNNING || !p->wrapped || p->started);
}

/* Whether the caller has something to do before the next step. */
static bool has_news(struct noe_process *p)
{
    bool shows = p->output.tap.len > 0 || p->errors.tap.len > 0;

    return (shows && may_show(p)) || noe_process_hungry(p);
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
    if (p->phase == DRAINING)
        drain(p);
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

    if (is_over(process) || (process->phase == DRAINING && !flushes))
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
        errno = 0;
        step(process, sooner(left, noe_process_timeout_ms(process)));
        if (left == 0 || errno == EINTR || has_news(process))
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
        while (process->phase == RUNNING)
            (void)noe_process_wait(process, -1, NULL);
    if (process->phase == NOTHING_RAN)
        return report(process, err);
    return process->started || process->phase != RUNNING;
}

size_t noe_process_take(struct noe_process *process, int stream,
                        const char **data)
{
    struct noe_outlet *outlet =
        stream == STDOUT ? &process->output : &process->errors;
    size_t len = outlet->tap.len;

    if (len == 0 || !may_show(process))
        return 0;
    *data = outlet->tap.data;
    outlet->tap.len = 0;
    return len;
}

bool noe_process_hungry(const struct noe_process *process)
{
    return process->input.hungry && process->phase == RUNNING;
}

void noe_process_feed(struct noe_process *process, const void *data, size_t len)
{
    if (!noe_process_hungry(process) || !is_ours(process))
        return;
    noe_inlet_give(&process->input, data, len, process->poller);
    stream_failed(process, STDIN, process->input.failure);
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
    return command_jail(process, NOE_JAIL_SIGNAL, signal);
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
        wake_jail(p);
    } else {
        kill_bare(p);
    }
    stop_polling_child(p);
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
    noe_outlet_free(&p->output);
    noe_outlet_free(&p->errors);
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
        [NOE_REASON_STATUS_LOST] = "status_lost",
        [NOE_REASON_STREAM_FAILED] = "stream_failed"};

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
