/* SPDX-License-Identifier: MIT */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tree.h"
#include "base/uapi.h"
#include "keeper.h"
#include "proc.h"

enum {
    SAMPLE_US = 50 * 1000, /* between two looks at the tree, at least */
    SELDOM_US = 400 * 1000,
    WAITING_US = 10 * 1000 * 1000, /* the same, while it waits */
    REST_US = 20 * 1000,           /* from reaping */
    CROWD_US = 20 * 1000,          /* in which no crowd comes to be */
    LATE_US = 5 * 1000 * 1000,     /* for a tree to end */
    GROWTH_PER_US = 8 * 1024       /* bytes: faster than memory is handed out */
};

struct supervisor {
    struct noe_jail *jail;
    int host;     /* pidfd of the host, or -1 where there are none */
    int children; /* signalfd for SIGCHLD */
    int init;     /* socket to the jail inside the walls, or -1 */
    int listener; /* without walls: the filter's questions, or -1 */
    int work;     /* where the program started, to be collected from; or -1 */
    struct noe_keeper keeper; /* of the doors of a list of hosts */
    pid_t program;
    bool told_start;  /* init has nothing more to say before its end, */
    unsigned signals; /* but that it has sent so many */
    bool over;
    bool made_own;         /* the private directory */
    int64_t crowd_us;      /* when there may be one; or 0 */
    int policy;            /* of scheduling, before this run; or -1 */
    int64_t rest_until_us; /* from reaping */
    int64_t next_sample_us;
    int64_t tree_bytes; /* in the last one */
    int64_t peak_bytes;
    bool waits;                /* for its request */
    int64_t waiting_us;        /* between two looks, meanwhile */
    struct noe_time before;    /* what it had used when it was looked at last */
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

    if (s->jail->host >= 0) { /* opened by the launcher, in the same way */
        s->host = s->jail->host;
        return;
    }
    s->host = (int)syscall(SYS_pidfd_open, host, 0);
    if (getppid() != host)
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
}

/* What an init that is started anew needs to know waits in its socket before it
 * runs. The walls are the wrapper's work; its rules name what is in them. */
static int instruct_init(const struct noe_jail *jail, int socket)
{
    struct noe_jail_start start = jail->start;
    struct noe_jail_identity identities[start.bind_count + 1];
    struct iovec parts[] = {
        {&start, sizeof(start)},
        {(void *)(uintptr_t)jail->filter, jail->start.filter_len},
        {(void *)(uintptr_t)jail->places, jail->places_len},
        {identities, start.bind_count * sizeof(*identities)}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 4};

    for (uint32_t i = 0; i < start.bind_count; i++)
        identities[i] = jail->binds[i].identity;

    start.role = NOE_JAIL_INIT;
    start.wrapper_count = start.has_cwd = start.has_private = 0;
    start.cgroup_version = 0; /* the supervisor has entered it */
    start.strings_len = (uint32_t)jail->places_len;
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* wrapper... IMAGE program... */
static pid_t start_wrapped(const struct noe_jail *jail, int control,
                           struct noe_jail_event *event)
{
    static char image[] = "/proc/self/fd/4";
    const char *path = NULL;
    unsigned wrapped = jail->start.wrapper_count;
    unsigned own = 0;

    if (geteuid() == 0 && noe_admin_become() < 0) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "become administrator",
                         NULL);
        return -1;
    }
    if (geteuid() == 0 && noe_mount_cover_devices(&path) != 0) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "cover devices", path);
        return -1;
    }
    while (jail->argv[own] != NULL)
        own++;
    char *argv[wrapped + own + 2];
    memcpy(argv, jail->wrapper, wrapped * sizeof(*argv));
    argv[wrapped] = image;
    memcpy(argv + wrapped + 1, jail->argv, (own + 1) * sizeof(*argv));

    struct noe_program program = {
        .argv = argv, .envp = jail->envp, .control = control};
    pid_t pid = noe_program_start(&program, event);
    event->fault = NOE_JAIL_FAULT_SANDBOX;
    return pid;
}

/* Made by who removes it: a host can be killed at any moment. */
static int make_own_directory(struct supervisor *s,
                              struct noe_jail_event *event)
{
    const char *path = s->jail->own;

    if (path == NULL)
        return 0;
    s->made_own = mkdir(path, 0700) == 0;
    if (s->made_own && noe_work_make_links(s->jail, &path) == 0)
        return 0;
    noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "make private directory",
                     path);
    return -1;
}

/* Of a program that goes on while it is collected from. */
static void hand_over_work(struct supervisor *s)
{
    struct noe_jail_given given = {
        .event = {.type = NOE_JAIL_WORK_DIR}, .count = 1, .fds = {s->work}};

    if (s->work < 0 || s->jail->start.hold_ms >= 0)
        return;
    (void)noe_jail_pass_given(NOE_JAIL_CONTROL_FD, &given);
    s->work = -1;
}

static pid_t start_here(struct supervisor *s, struct noe_jail_event *event)
{
    const struct noe_jail *jail = s->jail;
    struct noe_program program = {.argv = jail->argv,
                                  .envp = jail->envp,
                                  .cwd = jail->cwd,
                                  .limits = &jail->start.limits,
                                  .control = -1,
                                  .ahead = jail->start.ahead != 0};

    if (jail->start.walls == NOE_JAIL_FORKED)
        return noe_cradle_start(jail, &s->listener, event);
    if (make_own_directory(s, event) != 0 ||
        noe_work_open(jail, &s->work, event) != 0)
        return -1;
    hand_over_work(s);
    if (jail->start.walls != NOE_JAIL_LANDLOCK)
        return noe_program_start(&program, event);
    event->landlock = (uint32_t)noe_landlock_version(jail);
    program.in = jail;
    return noe_program_start_reporting(&program, &s->listener, event);
}

static bool has_walls(const struct noe_jail *jail)
{
    return jail->start.walls == NOE_JAIL_WRAPPED ||
           jail->start.walls == NOE_JAIL_NATIVE;
}

/* Behind walls it is init that starts the program, and says so. */
static pid_t start_behind_walls(struct supervisor *s,
                                struct noe_jail_event *event)
{
    struct noe_jail *jail = s->jail;
    bool wrapped = jail->start.walls == NOE_JAIL_WRAPPED;
    const char *path = NULL;
    pid_t pid = -1;
    int pair[2];

    if (wrapped && noe_identity_note(jail, &path) != 0) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "bind", path);
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        (wrapped && instruct_init(jail, pair[0]) != 0)) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "socketpair", NULL);
        return -1;
    }
    if (wrapped)
        pid = start_wrapped(jail, pair[1], event);
    else
        pid = noe_native_start(jail, pair, event);
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
    bool group = command->type == NOE_JAIL_SIGNAL_GROUP;

    if (s->init >= 0)
        s->signals += send(s->init, command, sizeof(*command),
                           MSG_NOSIGNAL | MSG_DONTWAIT) > 0 &&
                      group;
    else if (group)
        noe_jail_signal_group(s->program, command->signal);
    else
        kill(s->program, command->signal);
}

/* What ran before is nobody's guess any more. */
static int64_t cpu_used_us(const struct supervisor *s)
{
    struct noe_time time;

    if (!noe_cgroup_cpu(s->jail, &time.user_us, &time.system_us)) {
        noe_usage_look_afresh();
        (void)noe_usage_sample(NOE_JAIL_NO_LIMIT, true);
        time = noe_usage_time();
    }
    return time.user_us + time.system_us;
}

static void change_terms(struct supervisor *s,
                         const struct noe_jail_command *command)
{
    struct noe_jail_start *start = &s->jail->start;

    start->deadline_us = command->deadline_us;
    start->limits.cpu_us = command->cpu_us;
    if (command->cpu_us != NOE_JAIL_NO_LIMIT)
        start->limits.cpu_us += cpu_used_us(s);
    s->next_sample_us = noe_jail_clock_us() + SAMPLE_US;
}

/* Of a program that was started ahead. */
static void hear_of_request(struct supervisor *s,
                            const struct noe_jail_command *command)
{
    s->jail->start.deadline_us = command->deadline_us;
    if (command->type != NOE_JAIL_BEGIN)
        return;
    s->waits = false;
    noe_usage_look_afresh();
    s->next_sample_us = noe_jail_clock_us() + SAMPLE_US;
}

static void hear_host(struct supervisor *s)
{
    struct noe_jail_command command;
    ssize_t len =
        recv(NOE_JAIL_CONTROL_FD, &command, sizeof(command), MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    bool whole = len == sizeof(command);
    if (whole && command.type == NOE_JAIL_TERMS)
        change_terms(s, &command);
    else if (whole && (command.type == NOE_JAIL_SIGNAL ||
                       command.type == NOE_JAIL_SIGNAL_GROUP))
        pass_signal(s, &command);
    else if (whole &&
             (command.type == NOE_JAIL_WAIT || command.type == NOE_JAIL_BEGIN))
        hear_of_request(s, &command);
    else if (whole && command.type == NOE_JAIL_LEAVE)
        noe_keeper_answer(&s->keeper, &command.answer);
    else
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
}

/* The program does not run yet; and does not, where this fails. */
static void fail_to_keep(struct supervisor *s)
{
    struct noe_jail_event event;

    noe_jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, "keep the doors", NULL);
    noe_jail_send(NOE_JAIL_CONTROL_FD, &event);
    s->told_start = s->over = true;
    s->end.may_have_run = 0;
}

static void take_doors(struct supervisor *s, struct noe_jail_given *given)
{
    const struct noe_jail_command go = {.type = NOE_JAIL_GO};
    bool last = given->event.code != 0;

    if (noe_keeper_take(&s->keeper, given) != 0 ||
        (last &&
         send(s->init, &go, sizeof(go), MSG_NOSIGNAL | MSG_DONTWAIT) < 0))
        fail_to_keep(s);
}

/* What the program lacked, a line each, for the end. Who ends a run does not
 * ask init first. */
static struct {
    struct noe_jail_event event;
    char text[NOE_JAIL_MAX_REPORT];
} wants;
static size_t wants_len;

static void note_want(const struct noe_jail_given *given)
{
    if (given->text_len > sizeof(wants.text) - wants_len)
        return;
    memcpy(wants.text + wants_len, given->text, given->text_len);
    wants_len += given->text_len;
}

static void tell_wants(void)
{
    wants.event = (struct noe_jail_event){.type = NOE_JAIL_REPORT};
    if (wants_len > 0)
        (void)send(NOE_JAIL_CONTROL_FD, &wants, sizeof(wants.event) + wants_len,
                   MSG_NOSIGNAL | MSG_DONTWAIT);
    wants_len = 0;
}

/* False when there is nothing more to hear. */
static bool hear_init(struct supervisor *s)
{
    struct noe_jail_given given = {.count = 0};
    ssize_t len = noe_jail_recv_given(s->init, &given, MSG_DONTWAIT);
    struct noe_jail_event event = given.event;

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (len != sizeof(event)) {
        close(s->init);
        s->init = -1;
        return false;
    }
    if (event.type == NOE_JAIL_WORK_DIR) {
        s->work = given.count > 0 ? given.fds[0] : -1;
        hand_over_work(s);
        return true;
    }
    if (event.type == NOE_JAIL_DOORS) {
        take_doors(s, &given);
        return true;
    }
    if (event.type == NOE_JAIL_TRIED) {
        noe_keeper_tell(&s->keeper, &event);
        return true;
    }
    if (event.type == NOE_JAIL_WANTED) {
        note_want(&given);
        return true;
    }
    if (event.type == NOE_JAIL_SIGNALLED) {
        s->signals -= s->signals > 0;
        noe_jail_send(NOE_JAIL_CONTROL_FD, &event);
        return true;
    }
    event.watches_host = s->host >= 0;
    s->told_start = event.type != NOE_JAIL_STARTING;
    if (event.type == NOE_JAIL_STARTED || event.type == NOE_JAIL_FAILED)
        noe_jail_send(NOE_JAIL_CONTROL_FD, &event);
    s->end.may_have_run = event.type != NOE_JAIL_FAILED;
    if (event.type != NOE_JAIL_STATUS)
        return true;
    s->end.has_status = 1;
    s->end.status = event.status;
    s->end.max_rss_bytes = event.max_rss_bytes;
    s->end.denied_process = event.denied_process;
    s->end.denied_network = event.denied_network;
    return true;
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
}

/* Reaps orphans at once, but only so many in a row: they may come as fast as
 * they go, and the clock must be looked at. Then they wait, which holds up
 * whoever begins more, for they are counted until they are reaped. The program
 * itself is left a zombie, so that its number stays its process group's until
 * that is killed. */
static void hear_children(struct supervisor *s)
{
    char drain[1024];
    siginfo_t info;

    s->over = s->over || has_ended(s->program);
    if (s->over)
        return;
    (void)!read(s->children, drain, sizeof(drain));
    s->rest_until_us = 0;
    for (int i = 0; i < NOE_JAIL_REAPED_IN_A_ROW; i++) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
            info.si_pid == 0)
            return;
        if (info.si_pid == s->program) {
            s->over = true;
            return;
        }
        if (info.si_pid == s->keeper.pid)
            noe_keeper_lose(&s->keeper);
        else
            noe_usage_reap(info.si_pid, NULL, 0);
    }
    s->rest_until_us = noe_jail_clock_us() + REST_US;
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

/* Where the kernel's own count has others in it: those of a fork server have
 * its copies, and a copy is what the server's imports made of it. */
static bool counts_processes(const struct supervisor *s)
{
    const struct noe_jail_start *start = &s->jail->start;

    return start->limits.processes != NOE_JAIL_NO_LIMIT &&
           (start->serves || start->walls == NOE_JAIL_FORKED);
}

static bool samples(const struct supervisor *s)
{
    return samples_memory(s) || samples_cpu(s) || s->end.memory_cgroup ||
           counts_processes(s) || s->waits;
}

static void check_memory(struct supervisor *s, int64_t bytes)
{
    if (bytes != NOE_USAGE_UNBOUNDED)
        s->tree_bytes = bytes;
    if (s->tree_bytes > s->peak_bytes)
        s->peak_bytes = s->tree_bytes;
    if (samples_memory(s) && bytes > s->jail->start.limits.memory_bytes)
        end_for(s, NOE_JAIL_CAUSE_MEMORY);
}

static int64_t total(const struct noe_time *time)
{
    return time->user_us + time->system_us;
}

/* What was used while it waited is not its request's, but not without a limit
 * either. */
static void check_cpu(struct supervisor *s, const struct noe_time *time)
{
    int64_t limit = s->jail->start.limits.cpu_us;

    if (s->waits) {
        s->before = *time;
        limit = (int64_t)NOE_JAIL_AHEAD_CPU_SECS * 1000000;
    }
    if (total(time) - (s->waits ? 0 : total(&s->before)) >= limit)
        end_for(s, NOE_JAIL_CAUSE_CPU);
}

/* Time is counted by the group, or else by looking. */
static void check_tree(struct supervisor *s)
{
    const struct noe_jail_limits *limits = &s->jail->start.limits;
    bool looks = samples_memory(s);
    bool times = samples_cpu(s) || s->waits;
    struct noe_time time;
    int64_t bytes = 0;

    bool counted = noe_cgroup_cpu(s->jail, &time.user_us, &time.system_us);
    if (looks || !counted) {
        bytes =
            noe_usage_sample(looks ? limits->memory_bytes : NOE_JAIL_NO_LIMIT,
                             times && !counted);
        check_memory(s, bytes);
    }
    if (!times)
        return;
    if (!counted && bytes == NOE_USAGE_UNBOUNDED)
        end_for(s, NOE_JAIL_CAUSE_CPU);
    if (s->waits)
        noe_usage_guess_nothing();
    if (!counted)
        time = noe_usage_time();
    check_cpu(s, &time);
}

/* Those who make a copy come and go. */
static void check_processes(struct supervisor *s)
{
    enum { OURS = 8 };

    if (noe_tree_threads() <= s->jail->start.limits.processes + OURS)
        return;
    s->end.at_process_limit = 1;
    end_for(s, NOE_JAIL_CAUSE_CANCELLED);
}

/* A group that is out of memory loses one process; the limit is for the tree.
 */
static void check_limits(struct supervisor *s)
{
    if (counts_processes(s))
        check_processes(s);
    if (noe_cgroup_memory_was_short(s->jail))
        end_for(s, NOE_JAIL_CAUSE_MEMORY);
    if (samples_memory(s) || samples_cpu(s) || s->waits)
        check_tree(s);
}

/* So much on the average: a program that knew when it is looked at would be
 * asleep then. */
static int64_t uneven(int64_t us)
{
    uint16_t chance = UINT16_MAX / 2;

    (void)!getrandom(&chance, sizeof(chance), GRND_NONBLOCK);
    return us / 4 + us * 3 / 2 * chance / UINT16_MAX;
}

/* A tree is looked at as seldom as it can be without a chance to use up its
 * memory, or its time, in between: a thousand that sleep must cost nothing. The
 * kernel holds a control group's limit by itself. */
static int64_t interval_us(struct supervisor *s)
{
    int64_t us = SELDOM_US;
    int64_t room = s->jail->start.limits.memory_bytes - s->tree_bytes;

    if (s->waits) {
        us = s->waiting_us;
        if (us < WAITING_US)
            s->waiting_us = 2 * us;
        return us;
    }
    if (samples_memory(s) && us > room / GROWTH_PER_US)
        us = room / GROWTH_PER_US;
    if (samples_cpu(s))
        return uneven(SAMPLE_US);
    return us < SAMPLE_US ? SAMPLE_US : us;
}

static void start(struct supervisor *s)
{
    struct noe_jail_event event = {.type = NOE_JAIL_STARTED};
    bool walls = has_walls(s->jail);

    if (s->jail->start.serves) { /* its init hands this on */
        watch_host(s);
        s->jail->host_inside =
            fcntl(s->host, F_DUPFD_CLOEXEC, NOE_FIRST_OF_RUN_FD);
    }
    s->program = walls ? start_behind_walls(s, &event) : start_here(s, &event);
    noe_listener_begin(s->listener);
    if (s->jail->start.serves)
        noe_tree_leave_out_group_of(s->program);
    s->over = s->program < 0;
    noe_program_keep_channel(s->jail);
    /* What can wait until the program runs is done beside it. */
    if (!s->jail->start.serves)
        watch_host(s);
    s->children = watch_children();
    if (s->children < 0) /* its end would be seen by nobody */
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
    s->next_sample_us = noe_jail_clock_us() + interval_us(s);
    noe_cgroup_step_out(s->jail);
    event.watches_host = s->host >= 0;
    if (s->program < 0 || !walls)
        noe_jail_send(NOE_JAIL_CONTROL_FD, &event);
}

/* Of user 0 the kernel counts no processes: there may be a crowd of them. */
static bool can_be_crowded(const struct supervisor *s)
{
    bool own_users = s->jail->start.walls == NOE_JAIL_NATIVE;
    bool limited = s->jail->start.limits.processes != NOE_JAIL_NO_LIMIT;

    return geteuid() == 0 && !s->end.pids_cgroup && !(own_users && limited);
}

/* To be heard in a crowd: the kernel gives every session the same share of the
 * processor, and a bomb can be any number of them. A run that is over before it
 * could have made one does not pay for that. */
static void come_first(struct supervisor *s)
{
    s->crowd_us = 0;
    s->policy = (int)syscall(SYS_sched_getscheduler, 0);
    (void)noe_jail_schedule(0, SCHED_RR | SCHED_RESET_ON_FORK, 1);
}

/* Who stands by again is what it was. (A host that comes first itself has its
 * runs do so, with a priority that this loses: then it does not stand by.) */
static void come_as_before(const struct supervisor *s)
{
    if (s->policy >= 0)
        (void)noe_jail_schedule(0, s->policy, 0);
}

static void check_clock(struct supervisor *s)
{
    int64_t now = noe_jail_clock_us();
    int64_t deadline = s->jail->start.deadline_us;

    if (s->crowd_us > 0 && now >= s->crowd_us)
        come_first(s);
    if (deadline != NOE_JAIL_NO_LIMIT && now >= deadline)
        end_for(s, NOE_JAIL_CAUSE_TIMEOUT);
    if (!s->over && samples(s) && now >= s->next_sample_us) {
        check_limits(s);
        s->next_sample_us = noe_jail_clock_us() + interval_us(s);
    }
}

static int64_t sooner(int64_t deadline_us, int64_t us)
{
    return deadline_us == NOE_JAIL_NO_LIMIT || us < deadline_us ? us
                                                                : deadline_us;
}

/* Milliseconds to the next thing to do, rounded up; -1: none. */
static int next_timeout_ms(const struct supervisor *s)
{
    int64_t next = s->jail->start.deadline_us;

    if (s->rest_until_us > 0)
        next = sooner(next, s->rest_until_us);
    if (s->crowd_us > 0)
        next = sooner(next, s->crowd_us);
    if (samples(s))
        next = sooner(next, s->next_sample_us);
    if (next == NOE_JAIL_NO_LIMIT)
        return -1;
    int64_t left = next - noe_jail_clock_us();
    if (left <= 0)
        return 0;
    int64_t ms = (left + 999) / 1000;
    return ms > 1000 * 1000 ? 1000 * 1000 : (int)ms;
}

static void watch(struct supervisor *s)
{
    bool rests = s->rest_until_us > noe_jail_clock_us();
    bool hears = !s->told_start || s->signals > 0 || s->jail->start.learns;
    struct pollfd fds[] = {{rests ? -1 : s->children, POLLIN, 0},
                           {NOE_JAIL_CONTROL_FD, POLLIN, 0},
                           {s->host, POLLIN, 0},
                           {hears ? s->init : -1, POLLIN, 0},
                           {s->listener, POLLIN, 0},
                           {noe_keeper_pollfd(&s->keeper), POLLIN, 0}};

    /* poll fails if the program has lowered our limit of open files: then
     * nothing can be watched any more, and the tree must end. */
    if (poll(fds, 6, next_timeout_ms(s)) < 0 && errno != EINTR)
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
    if (fds[4].revents != 0)
        s->end.denied_process += noe_listener_answer(s->jail, &s->listener);
    if (fds[3].revents != 0)
        hear_init(s);
    if (fds[5].revents != 0)
        noe_keeper_hear(&s->keeper);
    if (fds[0].revents != 0 || (s->rest_until_us > 0 && !rests))
        hear_children(s);
    if (fds[2].revents != 0)
        end_for(s, NOE_JAIL_CAUSE_CANCELLED);
    if (fds[1].revents != 0)
        hear_host(s);
    if (!s->over)
        check_clock(s);
}

/* The whole group dies in one step, which a fork bomb cannot outrun; what has
 * left the group is hunted afterwards. Nothing more begins meanwhile, where a
 * control group can see to that. */
static void end_tree(struct supervisor *s)
{
    bool walls = has_walls(s->jail);
    bool by_itself = s->end.cause == NOE_JAIL_CAUSE_NONE;
    int64_t since_us = s->end.cause == NOE_JAIL_CAUSE_TIMEOUT
                           ? s->jail->start.deadline_us
                           : noe_jail_clock_us();

    if (s->crowd_us > 0 && !by_itself)
        come_first(s);
    if (s->program > 0) {
        kill(-s->program, SIGKILL);
        if (walls)
            kill(s->program, SIGKILL); /* init leads no group */
    }
    noe_keeper_end(&s->keeper);
    tell_wants();
    if (s->program > 0 && by_itself && !walls)
        s->end.has_status =
            noe_usage_reap(s->program, &s->end.status, 0) == s->program;
    if (!walls)
        noe_cgroup_stop(s->jail);
    s->end.survivors = noe_tree_end(s->children);
    s->end.late = noe_jail_clock_us() - since_us > LATE_US;
}

/* Of a program that ended by itself, and whose processes are all gone: who
 * could still change what is read would be the reader's master. */
static void let_collect(struct supervisor *s)
{
    if (s->work < 0)
        return;
    if (s->end.survivors == 0 && s->end.cause == NOE_JAIL_CAUSE_NONE &&
        s->end.has_status)
        noe_work_hold(s->jail, s->work, s->host);
    else
        close(s->work);
    s->work = -1;
}

static void remove_own_directory(const struct supervisor *s)
{
    if (s->made_own)
        (void)noe_tree_remove_at(AT_FDCWD, s->jail->own);
}

/* Since its request came. How a part divides, looking tells in ticks only. */
static struct noe_time since_before(const struct supervisor *s,
                                    const struct noe_time *time)
{
    int64_t all = total(time) - total(&s->before);
    int64_t user = time->user_us - s->before.user_us;

    if (all < 0)
        all = 0;
    if (user < 0)
        user = 0;
    if (user > all)
        user = all;
    return (struct noe_time){user, all - user};
}

static void add_usage(struct supervisor *s)
{
    struct noe_time time = noe_usage_time_at_end();
    struct noe_time counted;

    if (noe_cgroup_cpu(s->jail, &counted.user_us, &counted.system_us))
        time = counted;
    time = since_before(s, &time);
    s->end.cpu_user_us = time.user_us;
    s->end.cpu_system_us = time.system_us;
    if (s->end.max_rss_bytes == 0)
        s->end.max_rss_bytes = noe_usage_max_rss();
    int64_t peak = noe_cgroup_memory_peak(s->jail);
    if (peak < s->peak_bytes)
        peak = s->peak_bytes;
    if (s->end.max_rss_bytes < peak)
        s->end.max_rss_bytes = peak;
    s->end.memory_sampled = samples_memory(s) && noe_tree_can_be_seen();
    s->end.cpu_sampled = samples_cpu(s) && noe_tree_can_be_seen();
}

/* Where nobody but us looks at the memory, a backstop, in case that we are held
 * up: far enough above the limit that the verdict is not a failed malloc, which
 * every language reports in its own way. Beside a control group there is none.
 * It counts what is reserved and never used, and V8's place for code alone is
 * 512 MiB. */
static int64_t memory_backstop(const struct supervisor *s)
{
    enum { SPARE = 512 * 1024 * 1024 };
    int64_t bytes = s->jail->start.limits.memory_bytes;

    if (bytes == NOE_JAIL_NO_LIMIT || s->end.memory_cgroup)
        return NOE_JAIL_NO_LIMIT;
    return bytes + bytes / 2 + SPARE;
}

/* Whether the tree could start nothing more. Without a group the kernel does
 * not say so: what hung for it to the deadline is still there to be counted. */
static bool was_at_process_limit(const struct supervisor *s)
{
    int64_t limit = s->jail->start.limits.processes;

    if (limit == NOE_JAIL_NO_LIMIT)
        return false;
    if (s->end.pids_cgroup)
        return noe_cgroup_processes_were_short();
    bool own_users =
        has_walls(s->jail) || s->jail->start.walls == NOE_JAIL_FORKED;
    return s->end.cause == NOE_JAIL_CAUSE_TIMEOUT && own_users &&
           noe_tree_threads() >= limit + noe_cgroup_our_own(s->jail);
}

static bool succeeded(const struct supervisor *s)
{
    return s->end.has_status && WIFEXITED(s->end.status) &&
           WEXITSTATUS(s->end.status) == 0;
}

/* As init does where there is one. */
static void note_refusals(struct supervisor *s)
{
    if (s->jail->start.walls == NOE_JAIL_FORKED && !succeeded(s))
        s->end.denied_network = noe_network_refusals();
}

/* What the kernel killed for want of memory may be a part of the tree that the
 * rest did without. */
static void judge_memory(struct supervisor *s)
{
    if (!succeeded(s) && noe_cgroup_memory_was_short(s->jail))
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

/* Behind walls nothing of ours was in reach. */
static bool must_retire(const struct supervisor *s, bool left_groups)
{
    if (s->jail->seat < 0 || s->jail->start.walls == NOE_JAIL_FORKED)
        return true;
    return s->jail->spoilt || s->end.survivors > 0 || !left_groups ||
           (!has_walls(s->jail) && !noe_standby_is_clean());
}

int noe_supervise(struct noe_jail *jail)
{
    struct supervisor s = {
        .jail = jail,
        .init = -1,
        .listener = -1,
        .work = -1,
        .policy = -1,
        .waits = jail->start.ahead != 0,
        .waiting_us = SAMPLE_US,
        .end = {.type = NOE_JAIL_ENDED, .denied_network = -1}};

    if (fcntl(NOE_JAIL_CONTROL_FD, F_SETFD, FD_CLOEXEC) != 0)
        return 1; /* the program would hold it */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    noe_keeper_begin(&s.keeper, jail);
    noe_usage_begin();
    noe_cgroup_enter(jail, &s.end);
    jail->start.limits.data_bytes = memory_backstop(&s);
    start(&s);
    if (can_be_crowded(&s))
        s.crowd_us = noe_jail_clock_us() + CROWD_US;
    while (!s.over)
        watch(&s);
    while (s.init >= 0 && hear_init(&s))
        continue; /* its last words came before the wrapper's end */
    s.end.at_process_limit |= was_at_process_limit(&s);
    noe_tree_leave_out_group_of(-1);
    end_tree(&s);
    note_refusals(&s);
    add_usage(&s);
    judge_memory(&s);
    judge_cpu(&s);
    let_collect(&s);
    remove_own_directory(&s);
    bool left_groups = noe_cgroup_leave(jail);
    if (jail->start.serves)
        noe_cgroup_sweep(jail);
    come_as_before(&s);
    jail->spoilt = must_retire(&s, left_groups);
    s.end.retires = jail->spoilt;
    noe_jail_send(NOE_JAIL_CONTROL_FD, &s.end);
    return 0;
}
