/* SPDX-License-Identifier: MIT */
/*
 * Each attempt is made by a child of its own that has loaded the filter, and
 * twice: the second time the errnos of the filter are shifted by MARK, which
 * tells a refusal by the filter from one by the kernel.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "core/seccomp.h"
#include "tap.h"

enum { MARK = 1000, MAX_CODE = 512, MAX_CALLS = 256, LOST = -1 };

typedef struct noe_seccomp_policy policy;

static const policy STRICT = {.processes = false};
static const policy STRICT_NET = {.private_network = true};
static const policy HOST_NET = {.network = true};
static const policy OPEN = {
    .network = true, .private_network = true, .walls = true, .processes = true};

static const uint64_t PASSWORD[3] = {0x1234567890abcdef, 0xfedcba0987654321,
                                     0x5555aaaa3333cccc};

static struct noe_error err = NOE_ERROR_INIT;
static const char *self;

struct copy {
    struct sock_filter code[MAX_CODE];
    unsigned short count;
};

enum marking {
    PLAIN,
    MARK_ALL,
    MARK_BUT_ENOSYS /* with which a C library makes do */
};

static void mark(struct copy *copy, enum marking marking)
{
    for (struct sock_filter *at = copy->code; at < copy->code + copy->count;
         at++) {
        if (at->code != (BPF_RET | BPF_K) ||
            (at->k & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO)
            continue;
        if (marking == MARK_ALL || (at->k & SECCOMP_RET_DATA) != ENOSYS)
            at->k += MARK;
    }
}

/* A filter with the password set. */
static struct copy build(const policy *wanted, enum marking marking)
{
    struct copy copy = {.count = 0};
    struct noe_filter filter;

    if (noe_seccomp_build(wanted, &filter, &err) != 0 ||
        filter.count > MAX_CODE)
        return copy;
    copy.count = (unsigned short)filter.count;
    memcpy(copy.code, filter.code, filter.count * sizeof(*filter.code));
    noe_filter_free(&filter);
    noe_seccomp_set_password(copy.code, copy.count, PASSWORD);
    if (marking != PLAIN)
        mark(&copy, marking);
    return copy;
}

/* The descriptor of the listener, or 0; -1 with errno. */
static int load(struct copy *copy, unsigned flags)
{
    struct sock_fprog program = {copy->count, copy->code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

typedef int attempt(const void *argument);

/* What children leave to their parent: what an attempt returned, and before
 * that, if it was a series of calls, the errno of each. */
struct report {
    int calls[MAX_CALLS];
    int result;
};
static struct report *shared;

/* What the attempt returns when made under the filter; LOST if it never got
 * there. */
static int under(struct copy *copy, attempt *run, const void *argument)
{
    shared->result = LOST;
    pid_t pid = fork();
    if (pid == 0) {
        setsid(); /* no terminal that vhangup could hang up */
        if (load(copy, 0) == 0)
            shared->result = run(argument);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    return shared->result;
}

/* Whether a refusal with `error` was the filter's: so without marks, and so
 * with them. For error 0: whether the filter let it pass. */
static int is_answer(int error, int plain, int marked)
{
    int as_wanted = error == 0
                        ? plain != LOST && marked != LOST && marked < MARK
                        : plain == error && marked == error + MARK;

    if (!as_wanted)
        printf("# wanted %d, got %d and, marked, %d\n", error, plain, marked);
    return as_wanted;
}

struct call {
    const char *name;
    long number;
    int error; /* 0: let pass */
    unsigned long args[6];
};

struct series {
    const struct call *calls;
    size_t count;
};

static int make_calls(const void *argument)
{
    const struct series *series = argument;

    for (size_t i = 0; i < series->count; i++) {
        const struct call *call = &series->calls[i];
        const unsigned long *a = call->args;
        errno = 0;
        shared->calls[i] =
            syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]) == -1
                ? errno
                : 0;
    }
    return 0;
}

/* The errno of each call of the series. */
static void call_under(const policy *wanted, enum marking marking,
                       const struct series *series, int *results)
{
    struct copy copy = build(wanted, marking);

    for (size_t i = 0; i < series->count; i++)
        shared->calls[i] = LOST;
    under(&copy, make_calls, series);
    memcpy(results, shared->calls, series->count * sizeof(*results));
}

static void test_calls(const policy *wanted, const char *when,
                       const struct call *calls, size_t count)
{
    struct series series = {calls, count};
    int plain[MAX_CALLS];
    int marked[MAX_CALLS];
    char name[128];

    call_under(wanted, PLAIN, &series, plain);
    call_under(wanted, MARK_ALL, &series, marked);
    for (size_t i = 0; i < count; i++) {
        const char *answer =
            calls[i].error != 0 ? strerrorname_np(calls[i].error) : "passes";
        snprintf(name, sizeof(name), "%s, %s: %s", when, calls[i].name, answer);
        ok(is_answer(calls[i].error, plain[i], marked[i]), name);
    }
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK)
#define DIRTY (1UL << 32) /* what the kernel does not look at in an int */
/* Arguments that the kernel refuses, should the filter not. */
#define BAD_ARGS                           \
    {                                      \
        ~0UL, ~0UL, ~0UL, ~0UL, ~0UL, ~0UL \
    }
#define REFUSED(call, error)               \
    {                                      \
#call, SYS_##call, error, BAD_ARGS \
    }

static const struct call refused[] = {
    REFUSED(mount, EPERM),
    REFUSED(umount2, EPERM),
    REFUSED(pivot_root, EPERM),
    REFUSED(chroot, EPERM),
    REFUSED(open_tree, EPERM),
    REFUSED(move_mount, EPERM),
    REFUSED(mount_setattr, EPERM),
    REFUSED(fsopen, EPERM),
    REFUSED(fsconfig, EPERM),
    REFUSED(fsmount, EPERM),
    REFUSED(fspick, EPERM),
    REFUSED(name_to_handle_at, EPERM),
    REFUSED(open_by_handle_at, EPERM),
    REFUSED(unshare, EPERM),
    REFUSED(setns, EPERM),
    REFUSED(clone3, ENOSYS),
    REFUSED(io_uring_setup, ENOSYS),
    REFUSED(io_uring_enter, ENOSYS),
    REFUSED(io_uring_register, ENOSYS),
    REFUSED(userfaultfd, ENOSYS),
    REFUSED(memfd_secret, ENOSYS),
    REFUSED(bpf, EPERM),
    REFUSED(perf_event_open, EPERM),
    REFUSED(keyctl, EPERM),
    REFUSED(add_key, EPERM),
    REFUSED(request_key, EPERM),
    REFUSED(fanotify_init, EPERM),
    REFUSED(fanotify_mark, EPERM),
    REFUSED(init_module, EPERM),
    REFUSED(finit_module, EPERM),
    REFUSED(delete_module, EPERM),
    REFUSED(kexec_load, EPERM),
    REFUSED(kexec_file_load, EPERM),
    REFUSED(get_mempolicy, ENOSYS),
    REFUSED(set_mempolicy, ENOSYS),
    REFUSED(set_mempolicy_home_node, ENOSYS),
    REFUSED(mbind, ENOSYS),
    REFUSED(migrate_pages, ENOSYS),
    REFUSED(move_pages, ENOSYS),
    REFUSED(reboot, EPERM),
    REFUSED(swapon, EPERM),
    REFUSED(swapoff, EPERM),
    REFUSED(acct, EPERM),
    REFUSED(quotactl, EPERM),
    REFUSED(quotactl_fd, EPERM),
    REFUSED(syslog, EPERM),
    REFUSED(lookup_dcookie, EPERM),
    REFUSED(sethostname, EPERM),
    REFUSED(setdomainname, EPERM),
    REFUSED(settimeofday, EPERM),
    REFUSED(clock_settime, EPERM),
    REFUSED(clock_adjtime, EPERM),
    REFUSED(adjtimex, EPERM),
    REFUSED(vhangup, EPERM),
    REFUSED(ptrace, EPERM),
    REFUSED(process_vm_readv, EPERM),
    REFUSED(process_vm_writev, EPERM),
    REFUSED(pidfd_getfd, EPERM),
    REFUSED(kcmp, EPERM),
#ifdef __x86_64__
    REFUSED(modify_ldt, ENOSYS),
    REFUSED(uselib, ENOSYS),
    REFUSED(iopl, EPERM),
    REFUSED(ioperm, EPERM),
    {"the x32 getpid", 0x40000000 | SYS_getpid, ENOSYS, {0}},
    {"the x32 ptrace", 0x40000000 | 521, ENOSYS, {0}},
#endif
    {"the first call after the list", SYS_set_mempolicy_home_node + 1, ENOSYS,
     BAD_ARGS},
    {"a call of the far future", 5000, ENOSYS, BAD_ARGS},
    {"the last number", 0x7fffffff, ENOSYS, BAD_ARGS},
    REFUSED(io_setup, ENOSYS),
    REFUSED(io_submit, ENOSYS),
    REFUSED(io_getevents, ENOSYS),
    REFUSED(process_madvise, ENOSYS),
    REFUSED(process_mrelease, ENOSYS),
    {"ioprio_set of process 1", SYS_ioprio_set, EPERM, {1, 1, 0xffff}},
    {"ioprio_set of process 1, dirty",
     SYS_ioprio_set,
     EPERM,
     {1, DIRTY | 1, 0xffff}},
    {"ioprio_set of a user", SYS_ioprio_set, EPERM, {3, 0, 0xffff}},
    {"ioprio_set of a user, dirty",
     SYS_ioprio_set,
     EPERM,
     {DIRTY | 3, 0, 0xffff}},
    {"PR_SET_MEMORY_MERGE", SYS_prctl, EINVAL, {67, 1}},
    {"PR_SCHED_CORE", SYS_prctl, EINVAL, {62, 2, 1, 0, 0}},
    {"PR_SCHED_CORE, dirty", SYS_prctl, EINVAL, {DIRTY | 62, 2, 1, 0, 0}},
    {"a prctl of the future", SYS_prctl, EINVAL, {0x7fffffff}},
    {"FS_IOC_SETFLAGS", SYS_ioctl, ENOTTY, {0, FS_IOC_SETFLAGS, ~0UL}},
    {"FS_IOC_SETFLAGS, dirty",
     SYS_ioctl,
     ENOTTY,
     {0, DIRTY | FS_IOC_SETFLAGS, ~0UL}},
    {"FS_IOC_FSSETXATTR", SYS_ioctl, ENOTTY, {0, FS_IOC_FSSETXATTR, ~0UL}},
    {"FS_IOC_SETVERSION", SYS_ioctl, ENOTTY, {0, FS_IOC_SETVERSION, ~0UL}},
    {"FS_IOC_ENABLE_VERITY", SYS_ioctl, ENOTTY, {0, 0x40806685, ~0UL}},
    {"FS_IOC_SET_ENCRYPTION_POLICY", SYS_ioctl, ENOTTY, {0, 0x800c6613, ~0UL}},
    {"BTRFS_IOC_SUBVOL_SETFLAGS", SYS_ioctl, ENOTTY, {0, 0x4008941a, ~0UL}},
    {"FIFREEZE", SYS_ioctl, ENOTTY, {0, FIFREEZE, ~0UL}},
    {"an ioctl of no list", SYS_ioctl, ENOTTY, {0, 0x12345678, ~0UL}},
    {"TIOCSETD", SYS_ioctl, EPERM, {0, TIOCSETD, ~0UL}},
    {"F_SETPIPE_SZ", SYS_fcntl, EPERM, {0, F_SETPIPE_SZ, 1048576}},
    {"F_SETPIPE_SZ, dirty",
     SYS_fcntl,
     EPERM,
     {0, DIRTY | F_SETPIPE_SZ, 1048576}},
    {"personality READ_IMPLIES_EXEC", SYS_personality, EPERM, {0x0400000}},
    {"personality, dirty", SYS_personality, EPERM, {DIRTY | 0xffffffff}},
    {"TIOCSTI", SYS_ioctl, EPERM, {0, TIOCSTI, ~0UL}},
    {"TIOCSTI, dirty", SYS_ioctl, EPERM, {0, DIRTY | TIOCSTI, ~0UL}},
    {"TIOCSTI, negative",
     SYS_ioctl,
     EPERM,
     {0, 0xffffffff00000000 | TIOCSTI, ~0UL}},
    {"SO_LINGER", SYS_setsockopt, EPERM, {~0UL, SOL_SOCKET, SO_LINGER}},
    {"SO_LINGER, dirty",
     SYS_setsockopt,
     EPERM,
     {~0UL, DIRTY | SOL_SOCKET, DIRTY | SO_LINGER}},
    {"TIOCLINUX", SYS_ioctl, EPERM, {0, TIOCLINUX, ~0UL}},
    {"TIOCLINUX, dirty", SYS_ioctl, EPERM, {0, DIRTY | TIOCLINUX, ~0UL}},
    {"prlimit64 of process 1", SYS_prlimit64, EPERM, {1, RLIMIT_CORE}},
    {"prlimit64, dirty", SYS_prlimit64, EPERM, {DIRTY, RLIMIT_CORE}},
    {"setpriority of process 1", SYS_setpriority, EPERM, {PRIO_PROCESS, 1, 0}},
    {"setpriority of process 1, dirty",
     SYS_setpriority,
     EPERM,
     {PRIO_PROCESS, DIRTY | 1, 0}},
    {"setpriority of a user", SYS_setpriority, EPERM, {PRIO_USER, 60000, 0}},
    {"sched_setaffinity of process 1",
     SYS_sched_setaffinity,
     EPERM,
     {1, 0, ~0UL}},
#ifdef __x86_64__
    {"open, set-uid", SYS_open, EPERM, {0, O_CREAT, 04755}},
    {"open, set-gid", SYS_open, EPERM, {0, O_CREAT, 02755}},
    {"creat, set-uid", SYS_creat, EPERM, {0, 04755}},
    {"mknod, set-uid", SYS_mknod, EPERM, {0, S_IFREG | 04755}},
    {"chmod, set-uid", SYS_chmod, EPERM, {0, 04755}},
    {"chmod, set-gid, dirty", SYS_chmod, EPERM, {0, DIRTY | 02755}},
#endif
    {"openat, set-uid", SYS_openat, EPERM, {~0UL, 0, O_CREAT, 04755}},
    {"openat, set-gid", SYS_openat, EPERM, {~0UL, 0, O_CREAT, 02755}},
    {"openat, nameless, set-uid",
     SYS_openat,
     EPERM,
     {~0UL, 0, O_TMPFILE | O_WRONLY, 04755}},
    {"openat2", SYS_openat2, ENOSYS, {~0UL}},
    {"mknodat, set-gid", SYS_mknodat, EPERM, {~0UL, 0, S_IFREG | 02755}},
    {"fchmod, set-uid", SYS_fchmod, EPERM, {~0UL, 04755}},
    {"fchmod, set-gid", SYS_fchmod, EPERM, {~0UL, 02755}},
    {"fchmodat, set-uid", SYS_fchmodat, EPERM, {~0UL, 0, 04755}},
    {"fchmodat, set-gid", SYS_fchmodat, EPERM, {~0UL, 0, 02755}},
    {"sched_setaffinity, dirty",
     SYS_sched_setaffinity,
     EPERM,
     {DIRTY | 1, 0, ~0UL}},
    {"sched_setscheduler of process 1",
     SYS_sched_setscheduler,
     EPERM,
     {1, ~0UL, ~0UL}},
    {"sched_setparam of process 1", SYS_sched_setparam, EPERM, {1, ~0UL}},
    {"sched_setattr of process 1", SYS_sched_setattr, EPERM, {1, ~0UL}},
    {"socketpair AF_INET",
     SYS_socketpair,
     EAFNOSUPPORT,
     {AF_INET, SOCK_STREAM, 0, 0}},
    {"socketpair AF_TIPC",
     SYS_socketpair,
     EAFNOSUPPORT,
     {AF_TIPC, SOCK_STREAM, 0, 0}},
};

static const struct call passing[] = {
    {"getpid", SYS_getpid, 0, {0}},
    {"openat", SYS_openat, 0, {~0UL, 0, O_CREAT, 0755}},
    {"openat of a directory", SYS_openat, 0, {~0UL, 0, O_DIRECTORY, 04755}},
    {"personality, the query", SYS_personality, 0, {0xffffffff}},
    {"TIOCGWINSZ", SYS_ioctl, 0, {0, TIOCGWINSZ, ~0UL}},
    {"TIOCGWINSZ, dirty", SYS_ioctl, 0, {0, DIRTY | TIOCGWINSZ, ~0UL}},
    {"TIOCGPTN, negative",
     SYS_ioctl,
     0,
     {0, 0xffffffff00000000 | TIOCGPTN, ~0UL}},
    {"FIONREAD", SYS_ioctl, 0, {0, FIONREAD, ~0UL}},
    {"SIOCGIFCONF", SYS_ioctl, 0, {0, SIOCGIFCONF, ~0UL}},
    {"FS_IOC_GETFLAGS", SYS_ioctl, 0, {0, FS_IOC_GETFLAGS, ~0UL}},
    {"FICLONE", SYS_ioctl, 0, {0, FICLONE, ~0UL}},
    {"F_GETFL", SYS_fcntl, 0, {0, F_GETFL}},
    {"F_GETPIPE_SZ", SYS_fcntl, 0, {0, F_GETPIPE_SZ}},
    {"ioprio_set of itself", SYS_ioprio_set, 0, {1, 0, 0xffff}},
    {"PR_SET_NAME", SYS_prctl, 0, {PR_SET_NAME, (unsigned long)"noether"}},
    {"prlimit64 of itself", SYS_prlimit64, 0, {0, RLIMIT_CORE}},
    {"setpriority of itself", SYS_setpriority, 0, {PRIO_PROCESS, 0, 5}},
    {"socketpair AF_UNIX", SYS_socketpair, 0, {AF_UNIX, SOCK_STREAM, 0, ~0UL}},
    {"the mode query of seccomp", SYS_seccomp, 0, {~0UL, 0, 0}},
    {"landlock", SYS_landlock_create_ruleset, 0, {0, 0, 1}},
};

/* Whole families: an object that somebody else made is used by its number. */
#define OBJECTS(error)                                                        \
    REFUSED(shmget, error), REFUSED(shmat, error), REFUSED(shmctl, error),    \
        REFUSED(shmdt, error), REFUSED(semget, error), REFUSED(semop, error), \
        REFUSED(semtimedop, error), REFUSED(semctl, error),                   \
        REFUSED(msgget, error), REFUSED(msgsnd, error),                       \
        REFUSED(msgrcv, error), REFUSED(msgctl, error),                       \
        REFUSED(mq_open, error), REFUSED(mq_unlink, error),                   \
        REFUSED(mq_timedsend, error), REFUSED(mq_timedreceive, error),        \
        REFUSED(mq_notify, error), REFUSED(mq_getsetattr, error),             \
        REFUSED(inotify_init1, error), REFUSED(inotify_add_watch, error)

#define PAIR(type, error)                                        \
    {"socketpair of " #type,                                     \
     SYS_socketpair,                                             \
     error,                                                      \
     {AF_UNIX, type | FLAGS, 0, ~0UL}},                          \
    {                                                            \
        "socketpair of " #type ", dirty", SYS_socketpair, error, \
        {                                                        \
            AF_UNIX, DIRTY | type, 0, ~0UL                       \
        }                                                        \
    }

/* Of a datagram socket each end reaches any other by its path. */
#define PAIRS(error)                                                        \
    PAIR(SOCK_STREAM, 0), PAIR(SOCK_SEQPACKET, 0), PAIR(SOCK_DGRAM, error), \
        PAIR(SOCK_RAW, error)

/* What is one's own to do behind walls, and reaches others without. */
#define OWN(error)                                                          \
    {"sched_setaffinity of 2", SYS_sched_setaffinity, error, {2, 0, ~0UL}}, \
        {"setpriority of 2", SYS_setpriority, error, {PRIO_PROCESS, 2, 0}}, \
        {"fchmod", SYS_fchmod, error, {~0UL, 0755}},                        \
        {"fchmodat", SYS_fchmodat, error, {~0UL, 0, 0755}},                 \
        {"utimensat", SYS_utimensat, error, {~0UL, 0, 0, ~0UL}},            \
        REFUSED(fchown, error), REFUSED(fchownat, error),                   \
        REFUSED(setxattr, error), REFUSED(fsetxattr, error),                \
        REFUSED(lremovexattr, error)

#define SIGNALS(error)                                                  \
    {"kill of 2", SYS_kill, error, {2, 0}},                             \
        {"kill of all", SYS_kill, error, {~0UL, 0}},                    \
        {"tgkill", SYS_tgkill, error, {2, 2, 64}},                      \
        {"tkill", SYS_tkill, error, {2, 64}},                           \
        {"pidfd_send_signal", SYS_pidfd_send_signal, error, {~0UL, 0}}, \
        {"F_SETOWN", SYS_fcntl, error, {~0UL, F_SETOWN, 2}},            \
        {"F_SETOWN_EX", SYS_fcntl, error, {~0UL, F_SETOWN_EX, ~0UL}},   \
        {"F_SETSIG", SYS_fcntl, error, {~0UL, F_SETSIG, SIGKILL}},      \
        {"F_NOTIFY", SYS_fcntl, error, {~0UL, F_NOTIFY, 1}},            \
        {"FIOSETOWN", SYS_ioctl, error, {~0UL, FIOSETOWN, ~0UL}},       \
        {"SIOCSPGRP, dirty",                                            \
         SYS_ioctl,                                                     \
         error,                                                         \
         {~0UL, DIRTY | SIOCSPGRP, ~0UL}},                              \
    {                                                                   \
        "rt_sigqueueinfo", SYS_rt_sigqueueinfo, error,                  \
        {                                                               \
            2, 0, ~0UL                                                  \
        }                                                               \
    }

static void test_signals(void)
{
    static const policy scoped = {.signals = true};
    static const policy walls = {.walls = true};
    static const struct call sent[] = {SIGNALS(0)};
    static const struct call denied[] = {
        SIGNALS(EPERM), {"kill of the group", SYS_kill, 0, {0, 0}}};

    test_calls(&STRICT, "without walls or scopes", denied, COUNT(denied));
    test_calls(&scoped, "with scopes", sent, COUNT(sent));
    test_calls(&walls, "with walls", sent, COUNT(sent));
}

static void test_single_calls(void)
{
    static const struct call shared_ipc[] = {OBJECTS(ENOSYS),
                                             PAIRS(ESOCKTNOSUPPORT)};
    static const struct call walls[] = {OBJECTS(0), PAIRS(0)};
    static const struct call own[] = {OWN(0)};
    static const struct call neighbours[] = {OWN(EPERM)};

    test_calls(&OPEN, "with all", refused, COUNT(refused));
    test_calls(&STRICT, "with nothing", refused, COUNT(refused));
    test_calls(&OPEN, "with all", passing, COUNT(passing));
    test_calls(&STRICT, "with nothing", passing, COUNT(passing));
    test_calls(&STRICT, "with shared IPC", shared_ipc, COUNT(shared_ipc));
    test_calls(&OPEN, "with walls", own, COUNT(own));
    test_calls(&STRICT, "without walls", neighbours, COUNT(neighbours));
    test_calls(&OPEN, "with private IPC", walls, COUNT(walls));
}

/* By which the kernel's own trampolines return from a probe (uretprobe,
 * uprobe): from 6.14 on it shows them to no filter, and ends whoever else makes
 * them. */
static int is_of_probes(int number)
{
#ifdef __x86_64__
    return number == 335 || number == 336;
#else
    return number < 0;
#endif
}

/* What has no name is newer than the list, or stands in a gap of it, where some
 * kernels have put calls. */
static void test_unknown_calls(void)
{
    enum { NUMBERS = 700 };
    struct call calls[MAX_CALLS];
    struct series series = {calls, 0};
    int plain[MAX_CALLS];
    int marked[MAX_CALLS];
    int unknown = 0;
    int refused_all = 1;

    for (int number = 0; number <= NUMBERS; number++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
        if (name == NULL && number < NUMBERS && !is_of_probes(number))
            calls[series.count++] =
                (struct call){"unknown", number, ENOSYS, BAD_ARGS};
        free(name);
        if (series.count < MAX_CALLS && number < NUMBERS)
            continue;
        call_under(&OPEN, PLAIN, &series, plain);
        call_under(&STRICT, MARK_ALL, &series, marked);
        for (size_t i = 0; i < series.count; i++, unknown++)
            refused_all &= is_answer(ENOSYS, plain[i], marked[i]);
        series.count = 0;
    }
    ok(unknown > 100 && refused_all, "a number without a name is no call");
}

/* A raw clone whose child, if there is one, ends at once. */
static int make_clone(const void *argument)
{
    const unsigned long *flags = argument;
    long pid = syscall(SYS_clone, *flags, 0, 0, 0, 0);

    if (pid == 0)
        _exit(0);
    return pid < 0 ? errno : 0;
}

/* Whether the attempt fails with `error`, by the filter's doing. */
static int fails(const policy *wanted, enum marking marking, attempt *run,
                 const void *argument, int error)
{
    struct copy plain = build(wanted, PLAIN);
    struct copy marked = build(wanted, marking);
    int first = under(&plain, run, argument);

    return is_answer(error, first, under(&marked, run, argument));
}

static void test_namespaces(void)
{
    static const unsigned long kinds[] = {
        CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
        CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};
    unsigned long plain = SIGCHLD;

    for (size_t i = 0; i < COUNT(kinds); i++) {
        unsigned long process = kinds[i] | SIGCHLD;
        unsigned long dirty = DIRTY | process;
        unsigned long thread = kinds[i] | CLONE_THREAD;
        ok(fails(&OPEN, MARK_ALL, make_clone, &process, EPERM),
           "clone makes no namespace");
        ok(fails(&OPEN, MARK_ALL, make_clone, &dirty, EPERM),
           "nor with a dirty flag");
        ok(fails(&STRICT, MARK_ALL, make_clone, &thread, EPERM),
           "nor for a thread");
    }
    ok(fails(&OPEN, MARK_ALL, make_clone, &plain, 0), "but a process");
}

#define SOCKET(name, error, family, type, protocol) \
    {                                               \
        name, SYS_socket, error,                    \
        {                                           \
            family, type, protocol                  \
        }                                           \
    }
static int is_internet(unsigned long family)
{
    return family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
}

static void test_families(const policy *wanted, const char *when, int internet)
{
    enum { FAMILIES = 60 };
    struct call calls[2 * FAMILIES + 1];
    char names[FAMILIES][16];

    for (unsigned long i = 0; i < FAMILIES; i++) {
        bool named = wanted->walls && !wanted->pairs;
        int open = i == AF_UNIX ? named : internet && is_internet(i);
        snprintf(names[i], sizeof(names[i]), "family %lu", i);
        calls[2 * i] = (struct call)SOCKET(names[i], open ? 0 : EAFNOSUPPORT, i,
                                           SOCK_DGRAM, 0);
        calls[2 * i + 1] = (struct call)SOCKET("the same, dirty", EAFNOSUPPORT,
                                               DIRTY | i, SOCK_DGRAM, 0);
    }
    calls[2 * FAMILIES] =
        (struct call)SOCKET("family -1", EAFNOSUPPORT, ~0UL, SOCK_DGRAM, 0);
    test_calls(wanted, when, calls, COUNT(calls));
}

#define IP_TYPES(family)                                                      \
    SOCKET(#family " TCP", 0, family, SOCK_STREAM | FLAGS, IPPROTO_TCP),      \
        SOCKET(#family " UDP", 0, family, SOCK_DGRAM | FLAGS, IPPROTO_UDP),   \
        SOCKET(#family " ping", 0, family, SOCK_DGRAM, IPPROTO_ICMPV6),       \
        SOCKET(#family " raw", EPERM, family, SOCK_RAW | FLAGS, IPPROTO_UDP), \
        SOCKET(#family " raw, dirty", EPERM, family, DIRTY | SOCK_RAW,        \
               IPPROTO_UDP),                                                  \
        SOCKET(#family " RDM", ESOCKTNOSUPPORT, family, SOCK_RDM, 0),         \
        SOCKET(#family " SEQPACKET", ESOCKTNOSUPPORT, family,                 \
               SOCK_SEQPACKET | FLAGS, 0),                                    \
        SOCKET(#family " DCCP", ESOCKTNOSUPPORT, family, SOCK_DCCP, 33),      \
        SOCKET(#family " PACKET", ESOCKTNOSUPPORT, family,                    \
               SOCK_PACKET | FLAGS, 0),                                       \
        SOCKET(#family " type 15", ESOCKTNOSUPPORT, family, 15, 0),           \
        SOCKET(#family " SCTP", EPROTONOSUPPORT, family, SOCK_STREAM,         \
               IPPROTO_SCTP),                                                 \
        SOCKET(#family " UDP, dirty", EPROTONOSUPPORT, family, SOCK_DGRAM,    \
               DIRTY | IPPROTO_UDP)

#define NETLINK(error, protocol) \
    SOCKET("netlink " #protocol, error, AF_NETLINK, SOCK_RAW | FLAGS, protocol)

static void test_types(void)
{
    static const struct call calls[] = {
        IP_TYPES(AF_INET),
        IP_TYPES(AF_INET6),
        SOCKET("UNIX SEQPACKET", 0, AF_UNIX, SOCK_SEQPACKET | FLAGS, 0),
        SOCKET("UNIX RAW", 0, AF_UNIX, SOCK_RAW | FLAGS, 0),
        NETLINK(0, 0),
        NETLINK(EPROTONOSUPPORT, 2),
        NETLINK(EPROTONOSUPPORT, 12),
        NETLINK(EPROTONOSUPPORT, 15),
        NETLINK(EPROTONOSUPPORT, 16),
        NETLINK(EPROTONOSUPPORT, DIRTY),
    };

    test_calls(&OPEN, "with all", calls, COUNT(calls));
}

static void test_sockets(void)
{
    static const policy walls = {.walls = true};
    static const policy walls_net = {.walls = true, .private_network = true};
    static const policy pairs = {.walls = true, .pairs = true};
    static const struct call names[] = {
        REFUSED(bind, EPERM), REFUSED(connect, EPERM), PAIRS(ESOCKTNOSUPPORT)};

    test_families(&STRICT, "without walls or network", 0);
    test_families(&walls, "with walls, without a network", 0);
    test_families(&walls_net, "with walls and a network of its own", 1);
    test_families(&pairs, "with walls and pairs alone", 0);
    test_calls(&pairs, "with pairs alone", names, COUNT(names));
    test_calls(&STRICT, "without walls or network", names, COUNT(names));
    test_families(&STRICT_NET, "with a network of its own", 1);
    test_families(&HOST_NET, "with the host's", 1);
    test_types();
}

#ifdef __x86_64__
static int make_32_bit_call(const void *argument)
{
    long result;

    /* Number 20 is getpid to a 32-bit program. */
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(*(const long *)argument)
                     : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? (int)-result : 0;
}

static void test_32_bit(void)
{
    static const long getpid_32 = 20;
    static const long ptrace_32 = 26;
    struct copy allow = {.code = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
                         .count = 1};

    if (under(&allow, make_32_bit_call, &getpid_32) == LOST) {
        ok(1, "this kernel has no 32-bit calls");
        return;
    }
    ok(fails(&OPEN, MARK_ALL, make_32_bit_call, &getpid_32, ENOSYS),
       "a 32-bit call is not there");
    ok(fails(&STRICT, MARK_ALL, make_32_bit_call, &ptrace_32, ENOSYS),
       "nor any other");
}
#else
static void test_32_bit(void)
{
}
#endif

static char *const true_argv[] = {"true", NULL};

static const char *true_path(void)
{
    return access("/usr/bin/true", X_OK) == 0 ? "/usr/bin/true" : "/bin/true";
}

static int reap(pid_t pid)
{
    int status;

    if (pid < 0)
        return errno;
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : LOST;
}

static int try_fork(const void *argument)
{
    (void)argument;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return reap(pid);
}

static int try_vfork(const void *argument)
{
    (void)argument;
    pid_t pid = vfork();
    if (pid == 0) {
        execv(true_path(), true_argv);
        _exit(1);
    }
    return reap(pid);
}

static int try_posix_spawn(const void *argument)
{
    pid_t pid;

    (void)argument;
    int code = posix_spawn(&pid, true_path(), NULL, NULL, true_argv, NULL);
    return code != 0 ? code : reap(pid);
}

static int try_system(const void *argument)
{
    int status = system("exit 0");

    (void)argument;
    return status == -1 ? errno : status == 0 ? 0 : LOST;
}

static int try_popen(const void *argument)
{
    (void)argument;
    FILE *pipe = popen("exit 0", "r");
    if (pipe == NULL)
        return errno;
    return pclose(pipe) == 0 ? 0 : LOST;
}

static int try_exec(const void *argument)
{
    execv(argument, true_argv);
    return errno;
}

static int try_exec_at(const void *argument)
{
    int fd = open(argument, O_PATH | O_CLOEXEC);

    syscall(SYS_execveat, fd, "", true_argv, NULL, AT_EMPTY_PATH);
    return errno;
}

/* The program's copy in memory, by both ways to run it. */
static int try_memfd(const void *argument)
{
    char path[32];
    char buffer[4096];
    ssize_t len;
    int from = open(true_path(), O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("true", 0);

    while ((len = read(from, buffer, sizeof(buffer))) > 0)
        if (write(fd, buffer, (size_t)len) != len)
            return LOST;
    if (argument == NULL)
        fexecve(fd, true_argv, environ);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (argument != NULL)
        execv(path, true_argv);
    return errno;
}

static int try_loader(const void *argument)
{
#ifdef __x86_64__
    static const char loader[] = "/lib64/ld-linux-x86-64.so.2";
#else
    static const char loader[] = "/lib/ld-linux-aarch64.so.1";
#endif
    char *const argv[] = {"ld.so", (char *)true_path(), NULL};

    (void)argument;
    execv(loader, argv);
    return errno;
}

struct from_thread {
    attempt *run;
    const void *argument;
    int result;
};

static void *thread_main(void *argument)
{
    struct from_thread *thread = argument;

    thread->result = thread->run(thread->argument);
    return NULL;
}

static int on_thread(const void *argument)
{
    struct from_thread thread = *(const struct from_thread *)argument;
    pthread_t id;

    int code = pthread_create(&id, NULL, thread_main, &thread);
    if (code != 0)
        return code;
    pthread_join(id, NULL);
    return thread.result;
}

static int do_nothing(const void *argument)
{
    (void)argument;
    return 0;
}

static int runs(const policy *wanted, attempt *run)
{
    struct copy copy = build(wanted, MARK_BUT_ENOSYS);

    return under(&copy, run, NULL) == 0;
}

static void test_processes(void)
{
    static const struct from_thread idle = {do_nothing, NULL, LOST};
    struct copy strict = build(&STRICT, MARK_BUT_ENOSYS);

    ok(runs(&OPEN, try_fork), "with processes: fork");
    ok(runs(&OPEN, try_vfork), "vfork and exec");
    ok(runs(&OPEN, try_posix_spawn), "posix_spawn");
    ok(runs(&OPEN, try_system), "system");
    ok(runs(&OPEN, try_popen), "popen");
    ok(under(&strict, on_thread, &idle) == 0, "without: threads");
}

/* With EPERM, and by the filter's doing. */
static int starts_nothing(attempt *run, const void *argument)
{
    return fails(&STRICT, MARK_BUT_ENOSYS, run, argument, EPERM);
}

static void test_no_processes(void)
{
    static const struct from_thread forks = {try_fork, NULL, LOST};
    const struct from_thread execs = {try_exec, true_path(), LOST};
    unsigned long alone = SIGCHLD;
    unsigned long as_vfork = CLONE_VM | CLONE_VFORK | SIGCHLD;
    unsigned long dirty = (unsigned long)CLONE_THREAD << 32 | SIGCHLD;

    ok(starts_nothing(try_fork, NULL), "without: no fork");
    ok(starts_nothing(try_vfork, NULL), "no vfork");
    ok(starts_nothing(make_clone, &alone), "no clone");
    ok(starts_nothing(make_clone, &as_vfork), "no shared clone");
    ok(starts_nothing(make_clone, &dirty), "no dirty clone");
    ok(starts_nothing(try_posix_spawn, NULL), "no posix_spawn");
    /* These two hide the errno. */
    ok(!runs(&STRICT, try_system), "no system");
    ok(!runs(&STRICT, try_popen), "no popen");
    ok(starts_nothing(try_exec, true_path()), "no exec");
    ok(starts_nothing(try_exec, "/proc/self/exe"), "not of itself");
    ok(starts_nothing(try_exec_at, true_path()), "no execveat");
    ok(starts_nothing(try_memfd, NULL), "no memfd by fexecve");
    ok(starts_nothing(try_memfd, ""), "no memfd by its path");
    ok(starts_nothing(try_loader, NULL), "no program by ld.so");
    ok(starts_nothing(on_thread, &forks), "no fork by a thread");
    ok(starts_nothing(on_thread, &execs), "no exec by a thread");
#ifdef SYS_fork
    static const struct call raw[] = {{"fork", SYS_fork, EPERM, {0}}};
    test_calls(&STRICT, "without", raw, COUNT(raw));
#endif
}

static int exec_with(const void *argument)
{
    const uint64_t *password = argument;

    syscall(SYS_execve, true_path(), true_argv, NULL, password[0], password[1],
            password[2]);
    return errno;
}

static void test_wrong_passwords(void)
{
    static const uint64_t places[] = {0x9f0e4c1ad2375b61, 0xb86d7e25a1c9f403,
                                      0xe4217a9bc65d0f38};

    for (size_t bit = 0; bit < 192; bit += 31) {
        uint64_t wrong[3] = {PASSWORD[0], PASSWORD[1], PASSWORD[2]};
        wrong[bit / 64] ^= 1ULL << bit % 64;
        ok(fails(&STRICT, MARK_ALL, exec_with, wrong, EPERM),
           "a password with one wrong bit is refused");
    }
    ok(fails(&STRICT, MARK_ALL, exec_with, places, EPERM),
       "and so is the one that the filter was built with");
}

/* The registers of a process that has just run exec, as an array. */
static size_t registers_after_exec(uint64_t *registers, size_t size)
{
    struct copy copy = build(&STRICT, PLAIN);
    struct iovec io = {registers, size};
    int status;

    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        if (load(&copy, 0) == 0)
            exec_with(PASSWORD);
        _exit(1);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return 0;
    if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) != 0)
        io.iov_len = 0;
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    waitpid(pid, &status, 0);
    return status == 0 ? io.iov_len / sizeof(*registers) : 0;
}

static void test_password(void)
{
    uint64_t registers[128];
    size_t count = registers_after_exec(registers, sizeof(registers));
    int leaked = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 3; k++)
            leaked += registers[i] == PASSWORD[k];
    ok(count > 0, "the password starts the program");
    ok(leaked == 0, "which does not find it in its registers");
}

static int send_fd(int socket, int fd)
{
    char byte = 0;
    struct iovec io = {&byte, 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct msghdr message = {.msg_iov = &io,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};

    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

static int receive_fd(int socket)
{
    char byte;
    int fd = -1;
    struct iovec io = {&byte, 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &io,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};

    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1 &&
        CMSG_FIRSTHDR(&message) != NULL)
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

/* The program under a reporting filter: its exit code is the errno that its
 * attempt ends with. */
static pid_t start_reporting(const char *what, int *listener)
{
    policy reporting = {.report = true};
    struct copy copy = build(&reporting, PLAIN);
    char *const argv[] = {(char *)self, (char *)what, NULL};
    int pair[2];

    if (noe_fd_socketpair(pair) != 0)
        return -1;
    pid_t pid = fork(); /* after vfork nobody could answer */
    if (pid == 0) {
        int fd = load(&copy, SECCOMP_FILTER_FLAG_NEW_LISTENER);
        if (fd < 0 || send_fd(pair[1], fd) != 0)
            _exit(255);
        noe_fd_close(&fd);
        syscall(SYS_execve, self, argv, NULL, PASSWORD[0], PASSWORD[1],
                PASSWORD[2]);
        _exit(254);
    }
    noe_fd_close(&pair[1]);
    *listener = receive_fd(pair[0]);
    noe_fd_close(&pair[0]);
    return pid;
}

/* Answers one attempt with EPERM; the number of the call, or -1. */
static int hear(int listener)
{
    struct seccomp_notif heard = {.id = 0};
    struct pollfd ready = {listener, POLLIN, 0};

    if (poll(&ready, 1, 10000) != 1 ||
        ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &heard) != 0)
        return -1;
    struct seccomp_notif_resp answer = {.id = heard.id, .error = -EPERM};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) != 0)
        return -1;
    return heard.data.nr;
}

static int exit_code(pid_t pid)
{
    int status = 0;

    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_report(void)
{
    static const struct {
        const char *what;
        int number;
    } attempts[] = {
        {"fork", SYS_clone}, {"exec", SYS_execve}, {"execveat", SYS_execveat}};
    int listener = -1;

    for (size_t i = 0; i < COUNT(attempts); i++) {
        pid_t pid = start_reporting(attempts[i].what, &listener);
        ok(hear(listener) == attempts[i].number, "an attempt is reported");
        ok(exit_code(pid) == EPERM, "and fails as the listener says");
        noe_fd_close(&listener);
    }
    pid_t pid = start_reporting("fork", &listener);
    noe_fd_close(&listener);
    ok(exit_code(pid) == ENOSYS, "when nobody listens, it fails as well");
}

/*
 * The kernel asks the newest of several filters that want to report. A program
 * must not become its own listener when ours has gone, and let itself pass.
 */
static void test_own_listener(void)
{
    int listener = -1;
    pid_t pid = start_reporting("listen", &listener);

    noe_fd_close(&listener);
    ok(exit_code(pid) == EPERM, "no listener of the program's own");
}

/* What this program does when start_reporting runs it. */
static int attempt_main(const char *what)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, code};

    if (strcmp(what, "fork") == 0)
        return try_fork(NULL);
    if (strcmp(what, "exec") == 0)
        return try_exec(true_path());
    if (strcmp(what, "execveat") == 0)
        return try_exec_at(true_path());
    /* It may still filter itself, but not listen. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        return 253;
    while (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                   SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0)
        if (errno != EBUSY) /* ours is not yet closed */
            return errno;
    return 0;
}

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void test_build(void)
{
    int before = open_descriptors();
    size_t largest = 0;
    int built = 0;

    for (unsigned bits = 0; bits < 256; bits++) {
        policy wanted = {.network = bits & 1,
                         .private_network = bits & 2,
                         .walls = bits & 4,
                         .processes = bits & 8,
                         .report = bits & 16,
                         .signals = bits & 32,
                         .watch = bits & 64,
                         .pairs = bits & 128};
        struct noe_filter filter;
        built += noe_seccomp_build(&wanted, &filter, &err) == 0;
        largest = filter.count > largest ? filter.count : largest;
        noe_filter_free(&filter);
        noe_filter_free(&filter);
    }
    ok(built == 256, "every policy has a filter");
    ok(largest < MAX_CODE, "of a size that loads fast");
    ok(open_descriptors() == before, "no descriptor is left");
}

/* What libseccomp does on a kernel before 5.0. */
static void test_without_listeners(void)
{
    policy reporting = {.report = true};
    struct noe_filter filter;
    unsigned level = seccomp_api_get();

    seccomp_api_set(3);
    ok(noe_seccomp_build(&reporting, &filter, &err) == -1 &&
           err.code == ENOTSUP && err.message[0] != '\0',
       "says that a kernel cannot report");
    ok(filter.code == NULL && filter.count == 0, "and leaves no filter");
    ok(noe_seccomp_build(&STRICT, &filter, &err) == 0, "where it can refuse");
    noe_filter_free(&filter);
    seccomp_api_set(level);
}

int main(int argc, char **argv)
{
    /* Not return: a leak checker would start a process. */
    if (argc == 2)
        _exit(attempt_main(argv[1]));
    self = "/proc/self/exe";
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    test_build();
    test_without_listeners();
    test_signals();
    test_single_calls();
    test_unknown_calls();
    test_namespaces();
    test_sockets();
    test_32_bit();
    test_processes();
    test_no_processes();
    test_wrong_passwords();
    test_password();
    test_report();
    test_own_listener();
    return plan_done();
}
