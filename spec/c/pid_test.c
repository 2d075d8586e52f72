/* SPDX-License-Identifier: MIT */
/* Whose process this is, in copies of it that were made in all ways. */
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/pid.h"
#include "tap.h"

static bool is_right(void)
{
    return noe_pid_own() == getpid() && noe_pid_own() == getpid();
}

static pid_t by_fork(void)
{
    return fork();
}

/* As who passes by the C library's handlers. */
static pid_t by_clone(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int status_of(pid_t pid)
{
    int status = -1;

    waitpid(pid, &status, 0);
    return status;
}

/* In a copy, in a copy of that, and in the first one again. */
static bool is_right_below(pid_t (*copy)(void))
{
    pid_t child = copy();

    if (child != 0)
        return status_of(child) == 0 && is_right();
    if (!is_right())
        _exit(1);
    pid_t grandchild = copy();
    if (grandchild == 0)
        _exit(is_right() ? 0 : 1);
    _exit(status_of(grandchild) == 0 && is_right() ? 0 : 1);
}

int main(void)
{
    ok(is_right_below(by_fork), "is right in copies made before it was asked");
    ok(is_right(), "is right in the process itself");
    ok(is_right_below(by_fork), "is right in forked copies");
    ok(is_right_below(by_clone), "is right in copies that clone made");
    return plan_done();
}
