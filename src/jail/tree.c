/* SPDX-License-Identifier: MIT */
/*
 * The tree below this process, seen through /proc. What a process leaves behind
 * when it ends becomes a child of this one, the subreaper, so that killing all
 * children again and again ends everything, however it detached itself.
 */
#include "jail.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"

enum {
    MAX_PID = 4194304, /* PID_MAX_LIMIT of a 64-bit kernel */
    RECHECK_MS = 5,    /* between two rounds of killing */
    PATIENCE_US = 30 * 1000,
    CROWD = 32
};

/* By the system call: musl refuses to make it. */
int noe_jail_schedule(pid_t pid, int policy, int priority)
{
    const int param = priority; /* the kernel's struct sched_param */

    return (int)syscall(SYS_sched_setscheduler, pid, policy, &param);
}

struct round {
    bool slow; /* the dying get no time to do it: they come first, if we may */
    unsigned killed;
    unsigned refused;
};

static void kill_one(pid_t pid, struct round *round)
{
    if (kill(pid, SIGKILL) == 0) {
        round->killed++;
        if (round->slow)
            (void)noe_jail_schedule(pid, SCHED_RR, 1);
    } else if (errno == EPERM)
        round->refused++;
}

/* Our children by /proc. False where it cannot tell. */
static bool kill_children_listed(struct round *round)
{
    static char text[64 * 1024];
    char path[64];

    noe_proc_own_children(path);
    if (noe_proc_read(path, text, sizeof(text)) < 0)
        return false;
    for (char *at = text; *at != '\0';) {
        pid_t pid = (pid_t)strtol(at, &at, 10);
        if (*at != ' ') /* cut off: a part of a number is a stranger's */
            break;
        kill_one(pid, round);
        while (*at == ' ')
            at++;
    }
    return true;
}

/* Our children without /proc: waitid knows which numbers are ours. Slow (some
 * tenths of a second), and only for a host that has no /proc at all. */
static void kill_children_probed(struct round *round)
{
    for (pid_t pid = 2; pid < MAX_PID; pid++) {
        siginfo_t info;
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
            kill_one(pid, round);
    }
}

/* 1 while there are children, 0 when there is none left. */
static int reap(int most)
{
    pid_t pid;

    do
        pid = noe_usage_reap(-1, NULL, WNOHANG);
    while (pid > 0 && --most > 0);
    return pid >= 0;
}

/* From now on what dies is reaped by the kernel, and goes without a word; and
 * we come first, if we may. */
static bool hurry(void)
{
    signal(SIGCHLD, SIG_IGN);
    (void)noe_jail_schedule(0, SCHED_RR, 1);
    return true;
}

static void calm_down(void)
{
    signal(SIGCHLD, SIG_DFL);
    (void)noe_jail_schedule(0, SCHED_OTHER, 0);
}

/* Before the next round. Who hurries leaves the dying no more time than they
 * need. */
static void pause_hunt(int children_fd, bool hurries)
{
    struct pollfd changed = {children_fd, POLLIN, 0};
    char drain[1024];

    if (poll(&changed, 1, hurries ? 1 : RECHECK_MS) > 0)
        (void)!read(children_fd, drain, sizeof(drain));
}

unsigned noe_tree_end(int children_fd)
{
    int64_t since_us = noe_jail_clock_us();
    bool hurries = false;
    unsigned left = 0;

    while (left == 0 && reap(hurries ? INT_MAX : NOE_JAIL_REAPED_IN_A_ROW)) {
        bool slow = noe_jail_clock_us() - since_us > PATIENCE_US;
        struct round round = {slow, 0, 0};
        if (!kill_children_listed(&round))
            kill_children_probed(&round);
        bool crowd = round.killed > CROWD;
        if (round.killed == 0 && round.refused > 0 && reap(1))
            left = round.refused; /* another user's: nothing more to be done */
        else if (crowd && slow && !hurries)
            hurries = hurry();
        else if (!crowd || !hurries)
            pause_hunt(children_fd, hurries);
    }
    if (hurries)
        calm_down();
    return left;
}
