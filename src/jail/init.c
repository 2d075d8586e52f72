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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GOING_MS = 2000 }; /* of a server that gets no more orders */

struct init {
    pid_t program;
    int children; /* signalfd for SIGCHLD */
    int listener; /* seccomp: what the filter asks before it refuses, or -1 */
    int service;  /* of a fork server: who wants a cradle; or -1 */
    int orders;   /* to it, or -1 */
    int64_t until_us; /* so long it serves unasked, then may go; or no limit */
    struct noe_jail *jail;
    bool ended;
    bool program_ended;         /* of a fork server */
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

static pid_t start(struct init *self, const struct noe_jail *jail,
                   struct noe_jail_event *event)
{
    const char *path = NULL;

    if (self->children < 0) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "signalfd", NULL);
        return -1;
    }
    if (jail->start.walls == NOE_JAIL_WRAPPED &&
        noe_identity_check(jail, &path) != 0) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "bind", path);
        return -1;
    }
    if (noe_work_hand_over(jail, event) != 0)
        return -1;
    struct noe_jail_limits limits = jail->start.limits;
    if (jail->start.serves) /* it is the supervisor who counts */
        limits.processes = NOE_JAIL_NO_LIMIT;
    struct noe_program program = {.argv = jail->argv,
                                  .envp = jail->envp,
                                  .cwd = jail->cwd,
                                  .limits = &limits,
                                  .control = -1,
                                  .ahead = jail->start.ahead != 0,
                                  .in = jail};

    return noe_program_start_reporting(&program, &self->listener, event);
}

/* bubblewrap has let init have what it needs for the network inside, and that
 * is given up here. */
static int furnish_network(const struct noe_jail *jail)
{
    if (jail->start.walls != NOE_JAIL_WRAPPED || jail->start.host_network)
        return 0;
    int status = noe_loopback_furnish(jail);
    if (status == 0 && jail->start.has_doors)
        status = noe_doors_hand_over(NOE_JAIL_CONTROL_FD);
    int code = errno;
    if (noe_confine_privileges() != 0)
        return -1;
    errno = code;
    return status;
}

/* Nothing of the program's runs before there is a relay behind the doors. */
static void wait_for_relay(const struct noe_jail *jail)
{
    struct noe_jail_command command = {.type = 0};

    while (jail->start.has_doors && command.type != NOE_JAIL_GO)
        if (recv(NOE_JAIL_CONTROL_FD, &command, sizeof(command), 0) !=
                sizeof(command) &&
            errno != EINTR)
            _exit(1);
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
    else if (command.type == NOE_JAIL_SIGNAL_GROUP)
        noe_jail_signal_group(self->program, command.signal);
}

/* All that will be below us, copies too, whatever an import does to limits of
 * its own: a namespace holds what runs in it to what its maker was held to. */
static int limit_processes(const struct noe_jail *jail)
{
    enum { COPIES = 32 };
    int64_t each = jail->start.limits.processes + 3; /* with what is ours */
    rlim_t most = (rlim_t)(each * COPIES);
    struct rlimit now;

    if (jail->start.limits.processes == NOE_JAIL_NO_LIMIT)
        return 0;
    if (getrlimit(RLIMIT_NPROC, &now) != 0)
        return -1;
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max <= most)
        return 0;
    now.rlim_cur = now.rlim_max = most;
    return setrlimit(RLIMIT_NPROC, &now);
}

/* Of two that are in its place the program gets one: the orders of a fork
 * server. It must not have the number that each of its copies will have (3): by
 * a change of that libraries know that they are a copy, and draw new random
 * numbers. */
static int prepare_service(struct init *self)
{
    int pair[2];
    int status;

    if (limit_processes(self->jail) != 0)
        return -1;
    self->service = fcntl(NOE_JAIL_CHANNEL_FD, F_DUPFD_CLOEXEC, 0);
    if (self->service < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    self->orders = pair[0];
    if (dup2(pair[1], NOE_JAIL_CHANNEL_FD) < 0)
        return -1;
    close(pair[1]);
    for (int i = 0; i < 2; i++) {
        pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            _exit(0);
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            return -1;
    }
    return 0;
}

static void serve_until(struct init *self, int64_t ms)
{
    self->until_us =
        ms > 0 ? noe_jail_clock_us() + ms * 1000 : NOE_JAIL_NO_LIMIT;
}

/* What runs goes on; no more begins. The server makes what was ordered, and is
 * then to end; where it does not, it is ended. */
static void end_service(struct init *self)
{
    if (self->service >= 0)
        serve_until(self, GOING_MS);
    if (self->service >= 0)
        close(self->service);
    if (self->orders >= 0)
        close(self->orders);
    self->service = self->orders = -1;
}

static void hear_service(struct init *self)
{
    int seat = -1;
    ssize_t len = noe_seat_hear(self->service, &seat);

    if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR))
        end_service(self);
    if (seat < 0)
        return;
    serve_until(self, self->jail->start.idle_ms);
    const struct noe_cradle cradle = {.seat = seat,
                                      .host = self->jail->host_inside,
                                      .proc = self->jail->proc,
                                      .orders = self->orders};
    noe_cradle_make(self->jail, &cradle);
    close(seat);
}

/* Cradles are the children in our own process group, which nothing comes into
 * that the server has started. That counts for nothing: it ends with us. */
static bool has_cradles(void)
{
    pid_t pid;

    do
        pid = waitpid(0, NULL, WNOHANG);
    while (pid > 0 || (pid < 0 && errno == EINTR));
    return pid == 0;
}

/* Only so many in a row: there are other things to hear. */
static void hear_children(struct init *self)
{
    char drain[1024];
    int reaped = 0;
    int status;
    pid_t pid;

    (void)!read(self->children, drain, sizeof(drain));
    do {
        pid = waitpid(-1, &status, WNOHANG);
        if (pid > 0 && pid == self->program) {
            self->ended = !self->jail->start.serves;
            self->last.status = status;
            end_service(self);
            self->program_ended = true;
        }
    } while ((pid > 0 && ++reaped < NOE_JAIL_REAPED_IN_A_ROW) ||
             (pid < 0 && errno == EINTR));
    if (pid > 0)
        raise(SIGCHLD); /* there may be more, whose signal was read */
    if ((pid < 0 && errno == ECHILD) || (self->program_ended && !has_cradles()))
        self->ended = true;
}

/* In milliseconds, for poll. */
static int time_left(const struct init *self)
{
    if (self->until_us == NOE_JAIL_NO_LIMIT)
        return -1;
    int64_t left = (self->until_us - noe_jail_clock_us() + 999) / 1000;
    if (left < 0)
        return 0;
    return left < INT32_MAX ? (int)left : INT32_MAX;
}

static void check_time(struct init *self)
{
    if (time_left(self) != 0)
        return;
    self->until_us = NOE_JAIL_NO_LIMIT;
    if (self->service >= 0)
        end_service(self);
    else if (!self->program_ended)
        kill(self->program, SIGKILL);
}

static void watch(struct init *self)
{
    struct pollfd fds[] = {{self->children, POLLIN, 0},
                           {NOE_JAIL_CONTROL_FD, POLLIN, 0},
                           {self->listener, POLLIN, 0},
                           {self->service, POLLIN, 0}};

    /* poll fails if the program has lowered our limit of open files. Nothing
     * can be watched then, so everything ends. */
    int ready = poll(fds, 4, time_left(self));
    if (ready < 0 && errno != EINTR)
        _exit(1);
    check_time(self);
    if (fds[2].revents != 0)
        self->last.denied_process +=
            noe_listener_answer(self->jail, &self->listener);
    if (fds[0].revents != 0)
        hear_children(self);
    if (fds[1].revents != 0)
        hear_supervisor(self);
    if (fds[3].revents != 0 && self->service >= 0)
        hear_service(self);
}

int noe_init(struct noe_jail *jail)
{
    struct init self = {
        .program = -1,
        .children = watch_children(),
        .listener = -1,
        .service = -1,
        .orders = -1,
        .until_us = NOE_JAIL_NO_LIMIT,
        .jail = jail,
        .last = {.type = NOE_JAIL_STATUS, .denied_network = -1}};
    struct noe_jail_event event = {.type = NOE_JAIL_STARTED,
                                   .stub_proc = jail->stub_proc,
                                   .host_name_seen = jail->host_name_seen};
    struct rusage usage;

    if (fcntl(NOE_JAIL_CONTROL_FD, F_SETFD, FD_CLOEXEC) != 0)
        return 1; /* the program would hold it */
    if (jail->start.walls == NOE_JAIL_WRAPPED) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        unmark_environment(jail->envp);
        noe_jail_send(NOE_JAIL_CONTROL_FD,
                      &(struct noe_jail_event){.type = NOE_JAIL_STARTING});
    }
    if (furnish_network(jail) != 0) {
        noe_jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, "enter network", NULL);
    } else if (jail->start.serves && prepare_service(&self) != 0) {
        noe_jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, "prepare to serve",
                         NULL);
    } else {
        wait_for_relay(jail);
        self.program = start(&self, jail, &event);
        noe_listener_begin(self.listener);
        if (jail->start.serves)
            serve_until(&self, jail->start.idle_ms);
    }
    noe_program_keep_channel(jail);
    noe_jail_step_done(jail, NOE_JAIL_STEP_COUNT - 1);
    memcpy(event.step_us, jail->step_us, sizeof(event.step_us));
    event.landlock = (uint32_t)noe_landlock_version(jail);
    noe_jail_send(NOE_JAIL_CONTROL_FD, &event);
    if (self.program < 0)
        return 1;
    while (!self.ended)
        watch(&self);
    getrusage(RUSAGE_CHILDREN, &usage);
    self.last.max_rss_bytes = (int64_t)usage.ru_maxrss * 1024;
    if (self.last.status != 0 && !jail->start.host_network &&
        !jail->start.no_ip)
        self.last.denied_network = noe_network_refusals();
    noe_jail_send(NOE_JAIL_CONTROL_FD, &self.last);
    return 0;
}
