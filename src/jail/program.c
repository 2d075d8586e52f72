/* SPDX-License-Identifier: MIT */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

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
static int64_t cpu_backstop_secs(int64_t cpu_us)
{
    return cpu_us == NOE_JAIL_NO_LIMIT ? cpu_us : cpu_us / 1000000 + 2;
}

/* Likewise: far enough above the limit that the verdict is not a failed malloc,
 * which every language reports in its own way. */
static int64_t memory_backstop(int64_t bytes)
{
    enum { SPARE = 512 * 1024 * 1024 };
    return bytes == NOE_JAIL_NO_LIMIT ? bytes : bytes + bytes / 2 + SPARE;
}

/* The number of processes is counted by user and user namespace: without one of
 * its own the program would share the count with all that the user runs. */
static const char *set_limits(const struct noe_jail_limits *limits,
                              bool own_users)
{
    if (own_users && limit(RLIMIT_NPROC, limits->processes) != 0)
        return "limit processes";
    if (limit(RLIMIT_DATA, memory_backstop(limits->memory_bytes)) != 0)
        return "limit memory";
    if (limit(RLIMIT_CPU, cpu_backstop_secs(limits->cpu_us)) != 0)
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

/* In this order: the rules are files to open, the filter is the last of all. */
static const char *confine_and_exec(const struct program *program)
{
    bool without_walls = program->in->start.walls == NOE_JAIL_LANDLOCK;

    failure.fault = NOE_JAIL_FAULT_SANDBOX;
    failure.path = NULL;
    if (without_walls && confine_privileges() != 0)
        return "drop capabilities";
    const char *step = confine_files(program->in);
    if (step == NULL)
        step = confine_calls(program->in, program->report);
    if (step != NULL)
        return step;
    failure.fault = NOE_JAIL_FAULT_SPAWN;
    failure.path = program->argv[0];
    confine_exec(program->in, program->argv, program->envp);
    return "execve";
}

static bool has_walls(const struct jail *jail)
{
    return jail != NULL && jail->start.walls != NOE_JAIL_LANDLOCK;
}

/* From here to exec we are the child, in the parent's memory: only system
 * calls, and failures are left where the parent finds them. */
static const char *become(const struct program *program)
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
    failure.path = program->argv[0];
    if (program->limits != NULL) {
        const char *step = set_limits(program->limits, has_walls(program->in));
        if (step != NULL)
            return step;
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (program->in != NULL)
        return confine_and_exec(program);
    execve(program->argv[0], program->argv, program->envp);
    return "execve";
}

pid_t program_start(const struct program *program, struct noe_jail_event *event)
{
    failure.step = NULL;
    failure.fault = NOE_JAIL_FAULT_SPAWN;
    failure.path = NULL;
    pid_t pid = vfork();
    if (pid == 0) {
        const char *step = become(program);
        failure.code = errno;
        failure.step = step;
        _exit(1);
    }
    if (pid < 0) {
        failure.code = errno;
        failure.step = "vfork";
    }
    if (failure.step == NULL)
        return pid;
    errno = failure.code;
    jail_failure(event, failure.fault, failure.step, failure.path);
    return -1; /* the supervisor reaps what the failed child left */
}
