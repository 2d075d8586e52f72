/* SPDX-License-Identifier: MIT */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proc.h"

/* Written by the child in memory that it shares until exec. */
static struct {
    enum noe_jail_fault fault;
    const char *step;
    const char *path;
    int code;
} failure;

static int limit(int resource, int64_t value)
{
    if (value == NOE_JAIL_NO_LIMIT)
        return 0;
    struct rlimit wanted = {(rlim_t)value, (rlim_t)value};
    struct rlimit host;
    bool set = prlimit(0, resource, &wanted, &host) == 0;

    if (!set && getrlimit(resource, &host) != 0)
        return -1;
    if (set && host.rlim_max >= wanted.rlim_max)
        return 0;
    /* A limit above the host's own hard limit is already kept. */
    if (host.rlim_max < wanted.rlim_max)
        wanted.rlim_cur = wanted.rlim_max = host.rlim_max;
    return setrlimit(resource, &wanted);
}

/* Rounded up, with a second to spare: the supervisor's own count decides, and
 * this one holds if the supervisor is held up. */
static int64_t cpu_backstop_secs(int64_t cpu_us, bool ahead)
{
    int64_t spare = ahead ? NOE_JAIL_AHEAD_CPU_SECS + 2 : 2;

    return cpu_us == NOE_JAIL_NO_LIMIT ? cpu_us : cpu_us / 1000000 + spare;
}

/* Whose own users are counted for themselves has init among them. */
static int64_t with_init(int64_t processes)
{
    return processes == NOE_JAIL_NO_LIMIT ? processes : processes + 1;
}

/* The fourth field of /proc/loadavg: all threads there are, after a '/'. */
static int64_t threads_of_machine(void)
{
    char text[128];
    ssize_t len = noe_proc_read("/proc/loadavg", text, sizeof(text));
    const char *slash = len > 0 ? strchr(text, '/') : NULL;

    return slash != NULL ? noe_proc_field(slash + 1, 0) : -1;
}

/* The number of processes is counted by user and user namespace: without one of
 * its own the program shares the count with all that the user runs, who may run
 * more meanwhile. What is far above both is no limit to count on; but a bomb
 * ends there, and can be outrun. */
static int64_t processes_of_user(int64_t of_program)
{
    enum { SPARE = 512 };

    if (of_program == NOE_JAIL_NO_LIMIT)
        return NOE_JAIL_NO_LIMIT;
    int64_t threads = threads_of_machine();
    return threads < 0 ? NOE_JAIL_NO_LIMIT : threads + of_program + SPARE;
}

static const char *set_limits(const struct noe_jail_limits *limits,
                              bool own_users, bool ahead)
{
    int64_t processes = own_users ? with_init(limits->processes)
                                  : processes_of_user(limits->processes);

    if (limit(RLIMIT_NPROC, processes) != 0)
        return "limit processes";
    if (limit(RLIMIT_DATA, limits->data_bytes) != 0)
        return "limit memory";
    if (limit(RLIMIT_CPU, cpu_backstop_secs(limits->cpu_us, ahead)) != 0)
        return "limit cpu";
    if (limit(RLIMIT_FSIZE, limits->file_bytes) != 0)
        return "limit file size";
    if (limit(RLIMIT_NOFILE, limits->open_files) != 0)
        return "limit open files";
    return NULL;
}

static int take_control(int control)
{
    if (control == NOE_JAIL_CONTROL_FD)
        return fcntl(control, F_SETFD, 0);
    return dup2(control, NOE_JAIL_CONTROL_FD) < 0 ? -1 : 0;
}

/* Of the filter; in a table of descriptors that the child shares, until its
 * exec leaves it. To send it would not do: descriptors under way are counted
 * for the user, and one run could keep all others from starting. */
static int own_listener;

/* What the kernel counts for the user, all runs together. Of it a run gets
 * little, but what programs were given by old kernels: 1,024 queued signals and
 * timers, one queue of messages, 64 KiB of locked memory. */
static const char *set_shares(void)
{
    static const struct {
        int resource;
        int64_t value;
    } shares[] = {{RLIMIT_SIGPENDING, 1024},
                  {RLIMIT_MSGQUEUE, 96 * 1024},
                  {RLIMIT_MEMLOCK, 64 * 1024}};

    for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++)
        if (limit(shares[i].resource, shares[i].value) != 0)
            return "limit shares of the user";
    return NULL;
}

/* Behind walls of our own init has given them up for all of us; a copy comes in
 * with those over what it came into. */
static bool has_privileges(const struct noe_jail *jail)
{
    return jail->start.walls == NOE_JAIL_LANDLOCK ||
           jail->start.walls == NOE_JAIL_FORKED;
}

/* In this order: the rules are files to open, the filter is the last of all. */
static const char *confine(const struct noe_program *program)
{
    failure.fault = NOE_JAIL_FAULT_SANDBOX;
    failure.path = NULL;
    const char *step = set_shares();
    if (step != NULL)
        return step;
    if (has_privileges(program->in) && noe_confine_privileges() != 0)
        return "drop capabilities";
    if (program->in->start.serves && noe_confine_to_entering() != 0)
        return "keep a capability";
    step = noe_confine_files(program->in);
    if (step == NULL)
        step = noe_confine_calls(program->in, &own_listener);
    return step;
}

static const char *confine_and_exec(const struct noe_program *program)
{
    const char *step = confine(program);

    if (step != NULL)
        return step;
    failure.fault = NOE_JAIL_FAULT_SPAWN;
    failure.path = program->argv[0];
    noe_confine_exec(program->in, program->argv, program->envp);
    return "execve";
}

static bool has_walls(const struct noe_jail *jail)
{
    return jail != NULL && jail->start.walls != NOE_JAIL_LANDLOCK;
}

/* What there is to be done without a sandbox, too. */
static const char *settle(const struct noe_program *program)
{
    sigset_t none;

    if (setsid() < 0)
        return "setsid";
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return "set the parent-death signal";
    /* One byte, not none: with none the kernel still feeds a core_pattern that
     * is a program, on the host (core(5)); with one it does not. */
    limit(RLIMIT_CORE, 1);
    if (program->control >= 0 && take_control(program->control) != 0)
        return "pass the control socket";
    failure.path = program->cwd;
    if (program->cwd != NULL && chdir(program->cwd) != 0)
        return "chdir";
    failure.path = program->argv != NULL ? program->argv[0] : NULL;
    if (program->limits != NULL) {
        const char *step =
            set_limits(program->limits, has_walls(program->in), program->ahead);
        if (step != NULL)
            return step;
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return NULL;
}

/* From here to exec we are the child, in the parent's memory: only system
 * calls, and failures are left where the parent finds them. */
static const char *become(const struct noe_program *program)
{
    const char *step = settle(program);

    if (step != NULL)
        return step;
    if (program->in != NULL)
        return confine_and_exec(program);
    execve(program->argv[0], program->argv, program->envp);
    return "execve";
}

static int child_main(void *argument)
{
    const char *step = become(argument);

    failure.code = errno;
    failure.step = step;
    _exit(1);
}

/* As vfork does, on a stack of its own; with our own descriptors if what it
 * opens is to be ours, too. */
static pid_t clone_child(const struct noe_program *program, bool shares)
{
    static char stack[64 * 1024] __attribute__((aligned(16)));
    int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;

    return clone(child_main, stack + sizeof(stack),
                 shares ? flags | CLONE_FILES : flags, (void *)program);
}

static pid_t start(const struct noe_program *program, bool shares,
                   struct noe_jail_event *event)
{
    failure.step = NULL;
    failure.fault = NOE_JAIL_FAULT_SPAWN;
    failure.path = NULL;
    own_listener = -1;
    pid_t pid = clone_child(program, shares);
    if (pid < 0) {
        failure.code = errno;
        failure.step = "clone";
    }
    if (failure.step == NULL)
        return pid;
    if (shares && own_listener >= 0)
        close(own_listener);
    errno = failure.code;
    noe_jail_failure(event, failure.fault, failure.step, failure.path);
    return -1; /* the supervisor reaps what the failed child left */
}

pid_t noe_program_start(const struct noe_program *program,
                        struct noe_jail_event *event)
{
    return start(program, false, event);
}

pid_t noe_program_start_reporting(const struct noe_program *program,
                                  int *listener, struct noe_jail_event *event)
{
    pid_t pid = start(program, true, event);

    *listener = pid >= 0 ? own_listener : -1;
    return pid;
}

int noe_program_confine(const struct noe_program *program, int *listener,
                        struct noe_jail_event *event)
{
    failure.fault = NOE_JAIL_FAULT_SPAWN;
    own_listener = -1;
    const char *step = settle(program);
    if (step == NULL)
        step = confine(program);
    *listener = own_listener;
    if (step == NULL)
        return 0;
    noe_jail_failure(event, failure.fault, step, failure.path);
    return -1;
}

void noe_program_keep_channel(const struct noe_jail *jail)
{
    if (jail->start.has_channel)
        close(NOE_JAIL_CHANNEL_FD);
}
