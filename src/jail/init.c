/* SPDX-License-Identifier: MIT */
/*
 * The jail inside a sandbox, its own or one that another program made: starts
 * the program, so that limits, walls and a failed exec are ours to see; reaps
 * what is orphaned; answers for the seccomp filter; and reports the exact
 * status, which bwrap would turn into an exit code.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct init {
    pid_t program;
    int children; /* signalfd for SIGCHLD */
    int listener; /* seccomp: what the filter asks before it refuses, or -1 */
    bool ended;
    struct noe_jail_event last; /* the STATUS to come */
};

/* The host marks every variable with one byte, so that nothing meant for the
 * program (LD_PRELOAD) works on the wrapping one outside the sandbox. What the
 * wrapper itself added has no mark and is left out. */
static void unmark_environment(char **envp)
{
    char **kept = envp;

    for (; *envp != NULL; envp++)
        if ((*envp)[0] == NOE_JAIL_ENV_MARK)
            *kept++ = *envp + 1;
    *kept = NULL;
}

static int watch_children(void)
{
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

static pid_t start(struct init *self, const struct jail *jail,
                   struct noe_jail_event *event)
{
    struct program program = {.argv = jail->argv,
                              .envp = jail->envp,
                              .cwd = jail->cwd,
                              .limits = &jail->start.limits,
                              .control = -1,
                              .report = -1,
                              .in = jail};

    return program_start_reporting(&program, &self->listener, event);
}

/* The end of file means that the supervisor is gone: then so are we, and with
 * PID 1 everything inside. */
static void hear_supervisor(struct init *self)
{
    struct noe_jail_command command;
    ssize_t len =
        recv(NOE_JAIL_CONTROL_FD, &command, sizeof(command), MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len != sizeof(command))
        _exit(1);
    if (command.type == NOE_JAIL_SIGNAL)
        kill(self->program, command.signal);
}

static void hear_children(struct init *self)
{
    char drain[1024];
    int status;
    pid_t pid;

    (void)!read(self->children, drain, sizeof(drain));
    do {
        pid = waitpid(-1, &status, WNOHANG);
        if (pid > 0 && pid == self->program) {
            self->ended = true;
            self->last.status = status;
        }
    } while (pid > 0 || (pid < 0 && errno == EINTR));
    if (pid < 0 && errno == ECHILD)
        self->ended = true;
}

static void watch(struct init *self)
{
    struct pollfd fds[] = {{self->children, POLLIN, 0},
                           {NOE_JAIL_CONTROL_FD, POLLIN, 0},
                           {self->listener, POLLIN, 0}};

    /* poll fails if the program has lowered our limit of open files. Nothing
     * can be watched then, so everything ends. */
    if (poll(fds, 3, -1) < 0 && errno != EINTR)
        _exit(1);
    if (fds[2].revents != 0)
        self->last.denied_process += listener_answer(&self->listener);
    if (fds[0].revents != 0)
        hear_children(self);
    if (fds[1].revents != 0)
        hear_supervisor(self);
}

int init(struct jail *jail)
{
    struct init self = {.program = -1,
                        .children = watch_children(),
                        .listener = -1,
                        .last = {.type = NOE_JAIL_STATUS}};
    struct noe_jail_event event = {.type = NOE_JAIL_STARTED,
                                   .stub_proc = jail->stub_proc};
    struct rusage usage;

    if (fcntl(NOE_JAIL_CONTROL_FD, F_SETFD, FD_CLOEXEC) != 0)
        return 1; /* the program would hold it */
    if (jail->start.walls == NOE_JAIL_WRAPPED) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        unmark_environment(jail->envp);
        jail_send(NOE_JAIL_CONTROL_FD,
                  &(struct noe_jail_event){.type = NOE_JAIL_STARTING});
    }
    if (self.children >= 0)
        self.program = start(&self, jail, &event);
    else
        jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, "signalfd", NULL);
    jail_step_done(jail, NOE_JAIL_STEP_COUNT - 1);
    memcpy(event.step_us, jail->step_us, sizeof(event.step_us));
    event.landlock = (uint32_t)landlock_version(jail);
    jail_send(NOE_JAIL_CONTROL_FD, &event);
    if (self.program < 0)
        return 1;
    while (!self.ended)
        watch(&self);
    getrusage(RUSAGE_CHILDREN, &usage);
    self.last.max_rss_bytes = (int64_t)usage.ru_maxrss * 1024;
    jail_send(NOE_JAIL_CONTROL_FD, &self.last);
    return 0;
}
