/* SPDX-License-Identifier: MIT */
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/tree.h"
#include "../core/uapi.h"

enum {
    SAMPLE_US = 50 * 1000, /* between two looks at the tree, at least */
    SELDOM_US = 400 * 1000,
    GROWTH_PER_US = 8 * 1024 /* bytes: faster than memory is handed out */
};

struct supervisor {
    struct jail *jail;
    int host;     /* pidfd of the host, or -1 where there are none */
    int children; /* signalfd for SIGCHLD */
    int init;     /* socket to the jail inside the walls, or -1 */
    int listener; /* without walls: the filter's questions, or -1 */
    pid_t program;
    bool told_start; /* init has nothing more to say before its end */
    bool over;
    bool made_own; /* the private directory */
    int64_t next_sample_us;
    int64_t tree_bytes; /* in the last one */
    int64_t peak_bytes;
    struct noe_jail_event end; /* the last message, filled as we go */
};

/* The first cause stands; later ones are symptoms. */
static void end_for(struct supervisor *s, enum noe_jail_cause cause)
{
    if (s->end.cause == NOE_JAIL_CAUSE_NONE)
        s->end.cause = cause;
    s->over = true;
}

static int watch_children(void)
{
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The descriptor is made before the parent is compared, so it cannot be that
 * of a stranger that got the number of a host that is gone. */
static void watch_host(struct supervisor *s)
{
    pid_t host = s->jail->start.host_pid;

    s->host = (int)syscall(SYS_pidfd_open, host, 0);
    if (getppid() != host)
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
}

/* What an init that is started anew needs to know waits in its socket before it
 * runs. The walls are the wrapper's work; its rules name what is in them. */
static int instruct_init(const struct jail *jail, int socket)
{
    struct noe_jail_start start = jail->start;
    struct iovec parts[] = {
        {&start, sizeof(start)},
        {(void *)(uintptr_t)jail->filter, jail->start.filter_len},
        {(void *)(uintptr_t)jail->places, jail->places_len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};

    start.role = NOE_JAIL_INIT;
    start.wrapper_count = start.has_cwd = start.has_private = 0;
    start.cgroup_version = 0; /* the supervisor has entered it */
    start.strings_len = (uint32_t)jail->places_len;
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* wrapper... IMAGE program... */
static pid_t start_wrapped(const struct jail *jail, int control,
                           struct noe_jail_event *event)
{
    static char image[] = "/proc/self/fd/4";
    const char *path = NULL;
    unsigned wrapped = jail->start.wrapper_count;
    unsigned own = 0;

    if (geteuid() == 0 && cover_devices(&path) != 0) {
        jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "cover devices", path);
        return -1;
    }
    while (jail->argv[own] != NULL)
        own++;
    char *argv[wrapped + own + 2];
    memcpy(argv, jail->wrapper, wrapped * sizeof(*argv));
    argv[wrapped] = image;
    memcpy(argv + wrapped + 1, jail->argv, (own + 1) * sizeof(*argv));

    struct program program = {
        .argv = argv, .envp = jail->envp, .control = control, .report = -1};
    pid_t pid = program_start(&program, event);
    event->fault = NOE_JAIL_FAULT_SANDBOX;
    return pid;
}

static pid_t start_here(struct supervisor *s, struct noe_jail_event *event)
{
    const struct jail *jail = s->jail;
    struct program program = {.argv = jail->argv,
                              .envp = jail->envp,
                              .cwd = jail->cwd,
                              .limits = &jail->start.limits,
                              .control = -1,
                              .report = -1};

    if (jail->start.walls != NOE_JAIL_LANDLOCK)
        return program_start(&program, event);
    /* Made by who removes it: a host can be killed at any moment. */
    if (jail->own != NULL && mkdir(jail->own, 0700) != 0) {
        jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "make private directory",
                     jail->own);
        return -1;
    }
    s->made_own = true;
    event->landlock = (uint32_t)landlock_version(jail);
    program.in = jail;
    return program_start_reporting(&program, &s->listener, event);
}

static bool has_walls(const struct jail *jail)
{
    return jail->start.walls == NOE_JAIL_WRAPPED ||
           jail->start.walls == NOE_JAIL_NATIVE;
}

/* Behind walls it is init that starts the program, and says so. */
static pid_t start_behind_walls(struct supervisor *s,
                                struct noe_jail_event *event)
{
    struct jail *jail = s->jail;
    bool wrapped = jail->start.walls == NOE_JAIL_WRAPPED;
    pid_t pid = -1;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        (wrapped && instruct_init(jail, pair[0]) != 0)) {
        jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "socketpair", NULL);
        return -1;
    }
    if (wrapped)
        pid = start_wrapped(jail, pair[1], event);
    else
        pid = native_start(jail, pair, event);
    /* A wrapper may end before there is an init; init itself is silent only
     * if it was killed, at any moment. */
    s->end.may_have_run = !wrapped && pid > 0;
    close(pair[1]);
    s->init = pair[0];
    return pid;
}

static void pass_signal(struct supervisor *s,
                        const struct noe_jail_command *command)
{
    if (s->init >= 0)
        (void)send(s->init, command, sizeof(*command),
                   MSG_NOSIGNAL | MSG_DONTWAIT);
    else
        kill(s->program, command->signal);
}

static void hear_host(struct supervisor *s)
{
    struct noe_jail_command command;
    ssize_t len =
        recv(NOE_JAIL_CONTROL_FD, &command, sizeof(command), MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len == sizeof(command) && command.type == NOE_JAIL_SIGNAL)
        pass_signal(s, &command);
    else
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
}

/* False when there is nothing more to hear. */
static bool hear_init(struct supervisor *s)
{
    struct noe_jail_event event;
    ssize_t len = recv(s->init, &event, sizeof(event), MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (len != sizeof(event)) {
        close(s->init);
        s->init = -1;
        return false;
    }
    event.watches_host = s->host >= 0;
    s->told_start = event.type != NOE_JAIL_STARTING;
    if (event.type == NOE_JAIL_STARTED || event.type == NOE_JAIL_FAILED)
        jail_send(NOE_JAIL_CONTROL_FD, &event);
    s->end.may_have_run = event.type != NOE_JAIL_FAILED;
    if (event.type != NOE_JAIL_STATUS)
        return true;
    s->end.has_status = 1;
    s->end.status = event.status;
    s->end.max_rss_bytes = event.max_rss_bytes;
    s->end.denied_process = event.denied_process;
    return true;
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
}

/* Reaps orphans at once. The program itself is left a zombie, so that its
 * number stays its process group's until that is killed. */
static void hear_children(struct supervisor *s)
{
    char drain[1024];
    siginfo_t info;

    s->over = s->over || has_ended(s->program);
    if (s->over)
        return;
    (void)!read(s->children, drain, sizeof(drain));
    for (;;) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
            info.si_pid == 0)
            return;
        if (info.si_pid == s->program) {
            s->over = true;
            return;
        }
        waitpid(info.si_pid, NULL, 0);
    }
}

static int64_t rusage_us(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

static int64_t reaped_cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_CHILDREN, &usage);
    return rusage_us(&usage.ru_utime) + rusage_us(&usage.ru_stime) -
           tree_lookers_cpu_us();
}

/* A control group counts by itself, and all that its processes made. */
static bool samples_memory(const struct supervisor *s)
{
    return s->jail->start.limits.memory_bytes != NOE_JAIL_NO_LIMIT &&
           !s->end.memory_cgroup;
}

static bool samples_cpu(const struct supervisor *s)
{
    return s->jail->start.limits.cpu_us != NOE_JAIL_NO_LIMIT;
}

static bool samples(const struct supervisor *s)
{
    return samples_memory(s) || samples_cpu(s) || s->end.memory_cgroup;
}

static void check_tree(struct supervisor *s)
{
    const struct noe_jail_limits *limits = &s->jail->start.limits;
    struct tree_usage usage;

    tree_sample(samples_memory(s) ? limits->memory_bytes : NOE_JAIL_NO_LIMIT,
                &usage);
    s->tree_bytes = usage.memory_bytes;
    if (usage.memory_bytes > s->peak_bytes)
        s->peak_bytes = usage.memory_bytes;
    if (samples_memory(s) && usage.memory_bytes > limits->memory_bytes)
        end_for(s, NOE_JAIL_CAUSE_MEMORY);
    if (samples_cpu(s) && usage.cpu_us + reaped_cpu_us() >= limits->cpu_us)
        end_for(s, NOE_JAIL_CAUSE_CPU);
}

/* A group that is out of memory loses one process; the limit is for the tree.
 */
static void check_limits(struct supervisor *s)
{
    if (cgroup_memory_was_short(s->jail))
        end_for(s, NOE_JAIL_CAUSE_MEMORY);
    if (samples_memory(s) || samples_cpu(s))
        check_tree(s);
}

/* A tree is looked at as seldom as it can be without a chance to use up its
 * memory, or its time, in between: a thousand that sleep must cost nothing. The
 * kernel holds a control group's limit by itself. */
static int64_t interval_us(const struct supervisor *s)
{
    int64_t us = SELDOM_US;
    int64_t room = s->jail->start.limits.memory_bytes - s->tree_bytes;

    if (samples_memory(s) && us > room / GROWTH_PER_US)
        us = room / GROWTH_PER_US;
    return us < SAMPLE_US || samples_cpu(s) ? SAMPLE_US : us;
}

static void start(struct supervisor *s)
{
    struct noe_jail_event event = {.type = NOE_JAIL_STARTED};
    bool walls = has_walls(s->jail);

    s->program = walls ? start_behind_walls(s, &event) : start_here(s, &event);
    s->over = s->program < 0;
    /* What can wait until the program runs is done beside it. */
    watch_host(s);
    s->children = watch_children();
    if (s->children < 0) /* its end would be seen by nobody */
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
    s->next_sample_us = jail_clock_us() + interval_us(s);
    cgroup_step_out(s->jail);
    event.watches_host = s->host >= 0;
    if (s->program < 0 || !walls)
        jail_send(NOE_JAIL_CONTROL_FD, &event);
}

static void check_clock(struct supervisor *s)
{
    int64_t now = jail_clock_us();
    int64_t deadline = s->jail->start.deadline_us;

    if (deadline != NOE_JAIL_NO_LIMIT && now >= deadline)
        end_for(s, NOE_JAIL_CAUSE_TIMEOUT);
    if (!s->over && samples(s) && now >= s->next_sample_us) {
        check_limits(s);
        s->next_sample_us = jail_clock_us() + interval_us(s);
    }
}

/* Milliseconds to the next thing to do, rounded up; -1: none. */
static int next_timeout_ms(const struct supervisor *s)
{
    int64_t next = s->jail->start.deadline_us;

    if (samples(s) && (next == NOE_JAIL_NO_LIMIT || s->next_sample_us < next))
        next = s->next_sample_us;
    if (next == NOE_JAIL_NO_LIMIT)
        return -1;
    int64_t left = next - jail_clock_us();
    if (left <= 0)
        return 0;
    int64_t ms = (left + 999) / 1000;
    return ms > 1000 * 1000 ? 1000 * 1000 : (int)ms;
}

static void watch(struct supervisor *s)
{
    struct pollfd fds[] = {{s->children, POLLIN, 0},
                           {NOE_JAIL_CONTROL_FD, POLLIN, 0},
                           {s->host, POLLIN, 0},
                           {s->told_start ? -1 : s->init, POLLIN, 0},
                           {s->listener, POLLIN, 0}};

    /* poll fails if the program has lowered our limit of open files: then
     * nothing can be watched any more, and the tree must end. */
    if (poll(fds, 5, next_timeout_ms(s)) < 0 && errno != EINTR)
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
    if (fds[4].revents != 0)
        s->end.denied_process += listener_answer(&s->listener);
    if (fds[3].revents != 0)
        hear_init(s);
    if (fds[0].revents != 0)
        hear_children(s);
    if (fds[2].revents != 0)
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
    if (fds[1].revents != 0)
        hear_host(s);
    if (!s->over)
        check_clock(s);
}

/* The whole group dies in one step, which a fork bomb cannot outrun; what has
 * left the group is hunted afterwards. */
static void end_tree(struct supervisor *s)
{
    bool walls = has_walls(s->jail);
    bool by_itself = s->end.cause == NOE_JAIL_CAUSE_NONE;

    if (s->program > 0) {
        kill(-s->program, SIGKILL);
        if (walls)
            kill(s->program, SIGKILL); /* init leads no group */
    }
    if (s->program > 0 && by_itself && !walls)
        s->end.has_status =
            waitpid(s->program, &s->end.status, 0) == s->program;
    s->end.survivors = tree_end(s->children);
    if (s->made_own && s->jail->own != NULL)
        (void)noe_tree_remove_at(AT_FDCWD, s->jail->own);
}

static void add_usage(struct supervisor *s)
{
    struct rusage usage;

    getrusage(RUSAGE_CHILDREN, &usage);
    s->end.cpu_user_us = rusage_us(&usage.ru_utime);
    s->end.cpu_system_us = rusage_us(&usage.ru_stime);
    if (s->end.max_rss_bytes == 0)
        s->end.max_rss_bytes = (int64_t)usage.ru_maxrss * 1024;
    int64_t peak = cgroup_memory_peak(s->jail);
    if (peak < s->peak_bytes)
        peak = s->peak_bytes;
    if (s->end.max_rss_bytes < peak)
        s->end.max_rss_bytes = peak;
    s->end.memory_sampled = samples_memory(s) && tree_can_be_seen();
    s->end.cpu_sampled = samples_cpu(s) && tree_can_be_seen();
}

static bool succeeded(const struct supervisor *s)
{
    return s->end.has_status && WIFEXITED(s->end.status) &&
           WEXITSTATUS(s->end.status) == 0;
}

/* What the kernel killed for want of memory may be a part of the tree that the
 * rest did without. */
static void judge_memory(struct supervisor *s)
{
    if (!succeeded(s) && cgroup_memory_was_short(s->jail))
        end_for(s, NOE_JAIL_CAUSE_MEMORY);
}

/* The kernel's own limit may strike before the next sample. */
static void judge_cpu(struct supervisor *s)
{
    int64_t limit = s->jail->start.limits.cpu_us;

    if (limit != NOE_JAIL_NO_LIMIT && s->end.has_status &&
        WIFSIGNALED(s->end.status) &&
        s->end.cpu_user_us + s->end.cpu_system_us >= limit)
        end_for(s, NOE_JAIL_CAUSE_CPU);
}

int supervise(struct jail *jail)
{
    struct supervisor s = {.jail = jail,
                           .init = -1,
                           .listener = -1,
                           .end = {.type = NOE_JAIL_ENDED}};

    if (fcntl(NOE_JAIL_CONTROL_FD, F_SETFD, FD_CLOEXEC) != 0)
        return 1; /* the program would hold it */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    cgroup_enter(jail, &s.end);
    start(&s);
    while (!s.over)
        watch(&s);
    while (s.init >= 0 && hear_init(&s))
        continue; /* its last words came before the wrapper's end */
    end_tree(&s);
    add_usage(&s);
    judge_memory(&s);
    judge_cpu(&s);
    cgroup_leave(jail);
    jail_send(NOE_JAIL_CONTROL_FD, &s.end);
    return 0;
}
