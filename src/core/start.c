/* SPDX-License-Identifier: MIT */
/* From the caller's options to a child that runs: what is asked is checked, the
 * ends of everything are opened, the jail is told and started. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "argv.h"
#include "base/fd.h"
#include "base/inside.h"
#include "clock.h"
#include "error.h"
#include "message.h"
#include "pid.h"
#include "process.h"
#include "request.h"
#include "sandbox.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

/* The child's ends of everything. */
struct child_ends {
    int stdio[3];
    int control;
    int channel;
};

static void close_ends(struct child_ends *ends)
{
    for (int i = 0; i < 3; i++)
        noe_fd_close(&ends->stdio[i]);
    noe_fd_close(&ends->control);
    noe_fd_close(&ends->channel);
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
    if (p->waits && input->reader >= 0) {
        noe_inlet_rest(input, p->poller);
        p->unread = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    }
    return input->reader >= 0 ? 0 : pipe_failed(err);
}

static int open_streams(struct noe_process *p,
                        const struct noe_options *options,
                        struct child_ends *ends, struct noe_error *err)
{
    const struct noe_stream *const *streams = options->streams;

    if (open_output(&p->output, &ends->stdio[1], streams[NOE_STDOUT], "stdout",
                    p->poller, err) != 0)
        return -1;
    if (open_output(&p->errors, &ends->stdio[2], streams[NOE_STDERR], "stderr",
                    p->poller, err) != 0)
        return -1;
    return open_input(p, streams[NOE_STDIN], ends, err);
}

/* A pipe can be opened anew by its name (/dev/stdout, /dev/fd/1) by its owner
 * only; of a run that root starts natively this is the run's own user. To whom
 * it cannot be given has it open all the same. */
static void give_pipes(const struct noe_options *options,
                       const struct child_ends *ends)
{
    for (int i = NOE_STDIN; i <= NOE_STDERR; i++)
        if (ends->stdio[i] >= 0 &&
            options->streams[i]->kind != NOE_STREAM_SHARED)
            (void)!fchown(ends->stdio[i], NOE_INSIDE_ID, NOE_INSIDE_ID);
}

static int open_channel(struct noe_process *p,
                        const struct noe_channel *channel,
                        struct child_ends *ends, struct noe_error *err)
{
    int pair[2];

    if (channel == NULL)
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return noe_error_set(err, NOE_FAULT_SPAWN, errno, "socketpair", "%s",
                             "");
    /* It carries bytes, and no descriptors: not each kernel can say so. */
    (void)setsockopt(pair[0], SOL_SOCKET, SO_PASSRIGHTS, &(int){0},
                     sizeof(int));
    p->has_channel = true;
    p->channel.end.fd = pair[0];
    p->channel.max_frame = channel->max_frame_bytes;
    ends->channel = pair[1];
    if (p->waits && p->unread < 0)
        p->unread = fcntl(pair[1], F_DUPFD_CLOEXEC, 0);
    return 0;
}

static int open_service(struct noe_process *p,
                        const struct noe_options *options,
                        struct child_ends *ends, struct noe_error *err)
{
    if (options->fork == NULL || options->fork->server != NULL)
        return 0;
    if (noe_forks_open(&p->forks, options->fork->ahead, &ends->channel) == 0)
        return 0;
    return noe_error_set(err, NOE_FAULT_SPAWN, errno, "serve", "%s", "");
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
    if (open_streams(p, options, ends, err) != 0 ||
        open_channel(p, options->channel, ends, err) != 0 ||
        open_service(p, options, ends, err) != 0)
        return -1;
    if (p->native && geteuid() == 0)
        give_pipes(options, ends);
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

/* A wrapper takes the jail's image, and as root what is not to be undone. */
static bool hand_to_standby(struct noe_process *p,
                            const struct noe_options *options,
                            const struct noe_launch *launch)
{
    bool inherits_cwd = !noe_request_has_sandbox(options);

    if (!options->launcher || p->wrapped || launch->stdio[0] < 0 ||
        noe_standby_start(p->launcher, launch, inherits_cwd, &p->standby) != 0)
        return false;
    p->child = p->standby.child;
    p->by_launcher = true;
    return true;
}

/* Where a control group holds the memory of other runs, one holds that of a
 * copy, or there is no copy. */
static int make_group(struct noe_process *p, const struct noe_options *options,
                      struct noe_error *err)
{
    const struct noe_cgroups *cgroups = noe_launcher_cgroups(p->launcher);
    const struct noe_process *server = options->fork->server;

    if (options->limits == NULL ||
        options->limits->memory_bytes == NOE_UNLIMITED ||
        cgroups->version == 0 || cgroups->memory == NULL)
        return 0;
    if (noe_group_make(&p->group, cgroups, server->child.pid,
                       server->forks->number++,
                       options->limits->memory_bytes) == 0)
        return 0;
    return noe_error_set(err, NOE_FAULT_SPAWN, errno, "fork",
                         "a control group for its memory");
}

/* Its copy is nobody's child of ours. */
static int fork_program(struct noe_process *p,
                        const struct noe_options *options,
                        struct noe_launch *launch, struct noe_error *err)
{
    struct noe_process *server = options->fork->server;

    if (make_group(p, options, err) != 0)
        return -1;
    launch->group = p->group.path != NULL ? p->group.fds : NULL;
    if (noe_forks_start(server->forks, launch, &p->standby, err) != 0)
        return -1;
    p->child = p->standby.child;
    p->by_launcher = p->by_fork = true;
    return 0;
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
        .channel = ends->channel,
        .pass_image = p->wrapped,
        .argv = options->argv,
        .envp = envp,
        .cwd = options->cwd};

    if (!p->supervised)
        return noe_launch(p->launcher, &launch, &p->child, err);
    if (options->fork != NULL && options->fork->server != NULL)
        return fork_program(p, options, &launch, err);
    if (hand_to_standby(p, options, &launch))
        return 0;
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

/* Who stands by does not end with the run: it closes the control socket. That
 * there is something to read in it is no news, but where something is held. */
static int poll_control(struct noe_process *p)
{
    uint32_t news = p->listens ? EPOLLIN : 0;
    struct epoll_event event = {.events = EPOLLRDHUP | news,
                                .data = {.fd = p->control}};

    if (!p->by_launcher && !p->listens)
        return 0;
    return epoll_ctl(p->poller, EPOLL_CTL_ADD, p->control, &event);
}

/* The input says by itself what it waits for. */
static int poll_all(struct noe_process *p, struct noe_error *err)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data = {.fd = p->child.pidfd}};

    noe_channel_watch(&p->channel, p->poller);
    if (noe_watch(p->poller, &p->output.pipe, EPOLLIN) == 0 &&
        noe_watch(p->poller, &p->errors.pipe, EPOLLIN) == 0 &&
        epoll_ctl(p->poller, EPOLL_CTL_ADD, p->child.pidfd, &event) == 0 &&
        poll_control(p) == 0)
        return 0;
    return noe_error_set(err, NOE_FAULT_SPAWN, errno, "epoll_ctl", "%s", "");
}

static bool has_list(const struct noe_options *options)
{
    return noe_request_has_sandbox(options) &&
           options->sandbox->network == NOE_NETWORK_LIST;
}

static struct noe_process *new_process(struct noe_launcher *launcher,
                                       const struct noe_options *options)
{
    struct noe_process *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    if (has_list(options)) {
        p->report = malloc(NOE_JAIL_MAX_REPORTS * NOE_JAIL_MAX_REPORT);
        if (p->report == NULL) {
            free(p);
            return NULL;
        }
    }
    p->launcher = launcher;
    p->owner = noe_pid_own();
    p->supervised = options->supervise;
    p->walled = noe_request_has_sandbox(options) &&
                !noe_sandbox_is_in_place(options->sandbox);
    p->wrapped = noe_request_has_sandbox(options) &&
                 options->sandbox->backend == NOE_BACKEND_BWRAP;
    p->native = p->walled && !p->wrapped;
    p->owns_poller = options->poller < 0;
    p->poller = options->poller;
    p->child.pidfd = p->control = p->work_dir = p->unread = -1;
    p->standby.seat = p->standby.file = -1;
    p->holds = options->hold_ms != 0;
    p->listens =
        p->holds || (has_list(options) && noe_sandbox_asks(options->sandbox));
    p->failure.size = sizeof(p->failure);
    noe_group_init(&p->group);
    noe_inlet_init(&p->input);
    p->input.data = options->input;
    p->input.left = options->input_len;
    noe_outlet_init(&p->output, false, options->max_output_bytes);
    noe_outlet_init(&p->errors, true, options->max_stderr_bytes);
    noe_channel_init(&p->channel, 0);
    p->result.failed_stream = -1;
    p->would_enforce = noe_sandbox_enforced(options->sandbox, options->limits);
    p->started_us = noe_clock_us();
    p->deadline_us = p->patience_us = INT64_MAX;
    p->waits = options->wait_ms > 0;
    p->begun = true;
    int64_t ms = p->waits ? options->wait_ms : options->timeout_ms;
    if (ms >= 0 && ms < INT64_MAX / 2000)
        p->deadline_us = p->started_us + ms * 1000;
    return p;
}

static int start(struct noe_process **process, struct noe_launcher *launcher,
                 const struct noe_options *options, struct noe_error *err)
{
    struct child_ends ends = {{-1, -1, -1}, -1, -1};
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

int noe_process_start(struct noe_process **process,
                      struct noe_launcher *launcher,
                      const struct noe_options *options, struct noe_error *err)
{
    struct noe_request request;
    struct noe_error failure = NOE_ERROR_INIT;

    if (noe_request_read(&request, options, err) != 0)
        return -1;
    noe_launcher_reap(launcher);
    int status = start(process, launcher, &request.options, &failure);
    /* A descriptor that is wanted for a run is worth more than one for the
     * next. */
    if (status != 0 && failure.code == EMFILE &&
        noe_standbys_rest(noe_launcher_standbys(launcher)))
        status = start(process, launcher, &request.options, &failure);
    if (status != 0)
        noe_error_copy(err, &failure);
    return status;
}
