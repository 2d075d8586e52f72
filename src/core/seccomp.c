/* SPDX-License-Identifier: MIT */
#include "seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"
#include "error.h"
#include "base/fd.h"

enum {             /* in place of an errno */
       REPORT = 0, /* EPERM, or the listener's answer */
       WATCH = -1  /* what the listener says */
};

enum { TMPFILE = O_TMPFILE & ~O_DIRECTORY }; /* the one bit that is its own */

/* A call is refused with `error` if all its comparisons hold. */
struct rule {
    const char *name;
    int number; /* negative where the architecture does not have the call */
    int error;
    struct scmp_arg_cmp when[2]; /* the first without an operator ends it */
};

#define DENY(call, error)           \
    {                               \
#call, __SNR_##call, error, \
        {                           \
            {                       \
                0                   \
            }                       \
        }                           \
    }
#define DENY_IF(call, error, ...)   \
    {                               \
#call, __SNR_##call, error, \
        {                           \
            __VA_ARGS__             \
        }                           \
    }

/*
 * Registers have 64 bits, and of an int the kernel looks at the lower half
 * only: either the upper half is masked out, or a comparison is written so that
 * anything in it is refused. libseccomp takes one comparison per argument and
 * rule, and where several rules for one call have conditions on the same
 * argument, these must exclude each other or end the rule.
 */
#define IS(arg, value)                 \
    {                                  \
        (arg), SCMP_CMP_EQ, (value), 0 \
    }
#define IS_NOT(arg, value)             \
    {                                  \
        (arg), SCMP_CMP_NE, (value), 0 \
    }
#define ABOVE(arg, value)              \
    {                                  \
        (arg), SCMP_CMP_GT, (value), 0 \
    }
#define INT_IS(arg, value)                             \
    {                                                  \
        (arg), SCMP_CMP_MASKED_EQ, UINT32_MAX, (value) \
    }
#define BITS_ARE(arg, mask, value)                 \
    {                                              \
        (arg), SCMP_CMP_MASKED_EQ, (mask), (value) \
    }
#define HAS(arg, bit) BITS_ARE(arg, bit, bit)
#define LACKS(arg, bit) BITS_ARE(arg, bit, 0)

/* A file's mode with either of two bits takes a rule for each. */
#define DENY_SET_IDS(call, mode)              \
    DENY_IF(call, EPERM, HAS(mode, S_ISUID)), \
        DENY_IF(call, EPERM, HAS(mode, S_ISGID))
#define DENY_SET_IDS_IF(call, mode, condition)           \
    DENY_IF(call, EPERM, condition, HAS(mode, S_ISUID)), \
        DENY_IF(call, EPERM, condition, HAS(mode, S_ISGID))

static const struct rule mounts[] = {
    DENY(mount, EPERM),
    DENY(umount2, EPERM),
    DENY(pivot_root, EPERM),
    DENY(chroot, EPERM),
    DENY(open_tree, EPERM),
    DENY(move_mount, EPERM),
    DENY(mount_setattr, EPERM),
    DENY(fsopen, EPERM),
    DENY(fsconfig, EPERM),
    DENY(fsmount, EPERM),
    DENY(fspick, EPERM),
    /* A handle leads to files by number, past any mount namespace. */
    DENY(name_to_handle_at, EPERM),
    DENY(open_by_handle_at, EPERM),
};

/* The flags of clone3 are in memory, where no filter can read them: ENOSYS
 * makes every C library fall back to clone. */
static const struct rule namespaces[] = {
    DENY(unshare, EPERM),
    DENY(clone3, ENOSYS),
    DENY_IF(clone, EPERM, HAS(0, CLONE_NEWNS)),
    DENY_IF(clone, EPERM, HAS(0, CLONE_NEWCGROUP)),
    DENY_IF(clone, EPERM, HAS(0, CLONE_NEWUTS)),
    DENY_IF(clone, EPERM, HAS(0, CLONE_NEWIPC)),
    DENY_IF(clone, EPERM, HAS(0, CLONE_NEWUSER)),
    DENY_IF(clone, EPERM, HAS(0, CLONE_NEWPID)),
    DENY_IF(clone, EPERM, HAS(0, CLONE_NEWNET)),
};

static const struct rule entering[] = {
    DENY(setns, EPERM),
};

/* Parts of the kernel that are large, rarely needed, and where ways out were
 * found. Those that programs try before something else are as if not built. */
static const struct rule kernel[] = {
    DENY(io_uring_setup, ENOSYS),
    DENY(io_uring_enter, ENOSYS),
    DENY(io_uring_register, ENOSYS),
    DENY(userfaultfd, ENOSYS),
    DENY(memfd_secret, ENOSYS),
    DENY(modify_ldt, ENOSYS),
    DENY(bpf, EPERM),
    DENY(perf_event_open, EPERM),
    DENY(keyctl, EPERM),
    DENY(add_key, EPERM),
    DENY(request_key, EPERM),
    DENY(fanotify_init, EPERM),
    DENY(fanotify_mark, EPERM),
    DENY(init_module, EPERM),
    DENY(finit_module, EPERM),
    DENY(delete_module, EPERM),
    DENY(kexec_load, EPERM),
    DENY(kexec_file_load, EPERM),
    DENY(uselib, ENOSYS),
    /* Memory policy: libnuma takes ENOSYS for a machine with one node. */
    DENY(get_mempolicy, ENOSYS),
    DENY(set_mempolicy, ENOSYS),
    DENY(set_mempolicy_home_node, ENOSYS),
    DENY(mbind, ENOSYS),
    DENY(migrate_pages, ENOSYS),
    DENY(move_pages, ENOSYS),
    /* Only a query, which all bits set are: other values undo address
     * randomisation, or make memory executable. */
    DENY_IF(personality, EPERM, IS_NOT(0, UINT32_MAX)),
};

static const struct rule machine[] = {
    DENY(reboot, EPERM),
    DENY(swapon, EPERM),
    DENY(swapoff, EPERM),
    DENY(acct, EPERM),
    DENY(quotactl, EPERM),
    DENY(quotactl_fd, EPERM),
    DENY(syslog, EPERM),
    DENY(lookup_dcookie, EPERM),
    DENY(iopl, EPERM),
    DENY(ioperm, EPERM),
    DENY(sethostname, EPERM),
    DENY(setdomainname, EPERM),
    DENY(settimeofday, EPERM),
    DENY(clock_settime, EPERM),
    DENY(clock_adjtime, EPERM),
    DENY(adjtimex, EPERM),
    /* What is put into a terminal's input is run by the shell outside
     * (CVE-2017-5226; with a dirty upper half, CVE-2019-10063). */
    DENY(vhangup, EPERM),
    DENY_IF(ioctl, EPERM, INT_IS(1, TIOCSTI)),
    DENY_IF(ioctl, EPERM, INT_IS(1, TIOCLINUX)),
    DENY_IF(ioctl, EPERM, INT_IS(1, TIOCSETD)), /* loads a module for it */
    /* Who gives back a socket last waits for what lingers in it, and that may
     * be the host, to whom it was sent by the channel. */
    DENY_IF(setsockopt, EPERM, INT_IS(1, SOL_SOCKET), INT_IS(2, SO_LINGER)),
    /* Pages in pipes are counted for the user, all runs together: large ones
     * here would make small ones elsewhere. */
    DENY_IF(fcntl, EPERM, INT_IS(1, F_SETPIPE_SZ)),
};

enum {
    IO_PRIORITY_OF_USER = 3,     /* IOPRIO_WHO_USER */
    SHARE_PROCESSOR_COOKIE = 62, /* PR_SCHED_CORE, with another process */
    NEWEST_PRCTL = 66            /* PR_GET_MDWE; the next is memory merge */
};

static const struct rule others[] = {
    DENY(ptrace, EPERM),
    DENY(process_vm_readv, EPERM),
    DENY(process_vm_writev, EPERM),
    DENY(pidfd_getfd, EPERM),
    DENY(kcmp, EPERM),
    DENY_IF(prlimit64, EPERM, IS_NOT(0, 0)),
    DENY_IF(setpriority, EPERM, INT_IS(0, PRIO_USER)),
    DENY_IF(ioprio_set, EPERM, INT_IS(0, IO_PRIORITY_OF_USER)),
    /* What is newer than the list, as an older kernel says it; and pages that
     * are merged with equal ones of others tell of these by their time. */
    DENY_IF(prctl, EINVAL, ABOVE(0, NEWEST_PRCTL)),
    DENY_IF(prctl, EINVAL, INT_IS(0, SHARE_PROCESSOR_COOKIE)),
};

/* Process 1 has the program's user, whom the kernel lets change its limits,
 * priority, scheduler and processors. Starved, it would watch no deadline. */
static const struct rule process_1[] = {
    DENY_IF(setpriority, EPERM, INT_IS(1, 1)),
    DENY_IF(sched_setparam, EPERM, INT_IS(0, 1)),
    DENY_IF(sched_setscheduler, EPERM, INT_IS(0, 1)),
    DENY_IF(sched_setattr, EPERM, INT_IS(0, 1)),
    DENY_IF(sched_setaffinity, EPERM, INT_IS(0, 1)),
    DENY_IF(ioprio_set, EPERM, INT_IS(1, 1)),
};

/* Without walls it has the user's other processes beside it. */
static const struct rule neighbours[] = {
    DENY_IF(setpriority, EPERM, IS_NOT(1, 0)),
    DENY_IF(sched_setparam, EPERM, IS_NOT(0, 0)),
    DENY_IF(sched_setscheduler, EPERM, IS_NOT(0, 0)),
    DENY_IF(sched_setattr, EPERM, IS_NOT(0, 0)),
    DENY_IF(sched_setaffinity, EPERM, IS_NOT(0, 0)),
    DENY_IF(ioprio_set, EPERM, IS_NOT(1, 0)),
};

/* Nor does an old Landlock keep signals from them. To its own group a program
 * may send, the group being of a session of its own. */
static const struct rule signals[] = {
    DENY_IF(kill, EPERM, IS_NOT(0, 0)),
    DENY(tkill, EPERM),
    DENY(tgkill, EPERM),
    DENY(rt_sigqueueinfo, EPERM),
    DENY(rt_tgsigqueueinfo, EPERM),
    DENY(pidfd_send_signal, EPERM),
    /* Nor those that a file sends to whom it is told to. */
    DENY_IF(fcntl, EPERM, INT_IS(1, F_SETOWN)),
    DENY_IF(fcntl, EPERM, INT_IS(1, F_SETOWN_EX)),
    DENY_IF(fcntl, EPERM, INT_IS(1, F_SETSIG)),
    DENY_IF(fcntl, EPERM, INT_IS(1, F_NOTIFY)),
    DENY_IF(ioctl, EPERM, INT_IS(1, FIOSETOWN)),
    DENY_IF(ioctl, EPERM, INT_IS(1, SIOCSPGRP)),
};

/* A program that lies in a directory of the host's with its owner's id is a way
 * in for other users, or out for this one. */
static const struct rule set_ids[] = {
    DENY_SET_IDS(fchmod, 1),
    DENY_SET_IDS(fchmodat, 2),
    DENY_SET_IDS(chmod, 1),
};

/* Likewise born so. What openat2 is to do is in memory; who knows it knows
 * openat. */
static const struct rule births[] = {
    DENY(openat2, ENOSYS),
    DENY_SET_IDS_IF(open, 2, HAS(1, O_CREAT)),
    DENY_SET_IDS_IF(open, 2, HAS(1, TMPFILE)),
    DENY_SET_IDS_IF(openat, 3, HAS(2, O_CREAT)),
    DENY_SET_IDS_IF(openat, 3, HAS(2, TMPFILE)),
    DENY_SET_IDS(creat, 1),
    DENY_SET_IDS(mknod, 1),
    DENY_SET_IDS(mknodat, 2),
};

/* What Landlock does not judge: whoever owns a file may change these wherever
 * it lies. */
static const struct rule attributes[] = {
    DENY(chmod, EPERM),        DENY(fchmod, EPERM),
    DENY(fchmodat, EPERM),     DENY(chown, EPERM),
    DENY(fchown, EPERM),       DENY(lchown, EPERM),
    DENY(fchownat, EPERM),     DENY(utime, EPERM),
    DENY(utimes, EPERM),       DENY(utimensat, EPERM),
    DENY(futimesat, EPERM),    DENY(setxattr, EPERM),
    DENY(lsetxattr, EPERM),    DENY(fsetxattr, EPERM),
    DENY(removexattr, EPERM),  DENY(lremovexattr, EPERM),
    DENY(fremovexattr, EPERM),
};

/* Objects without a file name, which outlive the program; and by their numbers,
 * which are small and listed, those of others are used. */
static const struct rule shared_ipc[] = {
    DENY(shmget, ENOSYS),       DENY(shmat, ENOSYS),
    DENY(shmctl, ENOSYS),       DENY(shmdt, ENOSYS),
    DENY(semget, ENOSYS),       DENY(semop, ENOSYS),
    DENY(semtimedop, ENOSYS),   DENY(semctl, ENOSYS),
    DENY(msgget, ENOSYS),       DENY(msgsnd, ENOSYS),
    DENY(msgrcv, ENOSYS),       DENY(msgctl, ENOSYS),
    DENY(mq_open, ENOSYS),      DENY(mq_unlink, ENOSYS),
    DENY(mq_timedsend, ENOSYS), DENY(mq_timedreceive, ENOSYS),
    DENY(mq_notify, ENOSYS),    DENY(mq_getsetattr, ENOSYS),
};

/* Watches on files take a path, and Landlock does not judge what they tell. */
static const struct rule watches[] = {
    DENY(inotify_init, ENOSYS),
    DENY(inotify_init1, ENOSYS),
    DENY(inotify_add_watch, ENOSYS),
};

static const struct rule pairs[] = {
    DENY_IF(socketpair, EAFNOSUPPORT, IS_NOT(0, AF_UNIX)),
};

/* Who has the same network namespace, and be it the host's, sees names of
 * sockets, and meets them. A connected pair can be given one, too; to ask for a
 * connection is enough where credentials are to be passed. */
static const struct rule names[] = {
    DENY(bind, EPERM),
    DENY(connect, EPERM),
};

#define SOCKET_TYPE 0xf /* below SOCK_NONBLOCK and SOCK_CLOEXEC */

/* One half of a datagram pair reaches any such socket of the host's by its
 * path: so streams (1) and SOCK_SEQPACKET (5) only. */
static const struct rule connected_pairs[] = {
    DENY_IF(socketpair, ESOCKTNOSUPPORT, LACKS(1, 1)),
    DENY_IF(socketpair, ESOCKTNOSUPPORT, HAS(1, 2)),
    DENY_IF(socketpair, ESOCKTNOSUPPORT, HAS(1, 8)),
};

/* AF_INET, and AF_INET6, which differs from it in this bit. */
#define IS_IP(arg) BITS_ARE(arg, ~(uint64_t)8, AF_INET)
_Static_assert((AF_INET | 8) == AF_INET6, "both families match, and no other");

/*
 * Only streams (1) and datagrams (2), and no protocol beyond IP's own, for
 * which the kernel would load a module (SCTP, L2TP). The legacy SOCK_PACKET
 * (10) would make AF_INET mean AF_PACKET.
 *
 * Of netlink only protocol 0, routing, by which a C library learns which
 * addresses the machine has.
 */
static const struct rule internet[] = {
    DENY_IF(socket, EPERM, IS_IP(0), BITS_ARE(1, SOCKET_TYPE, SOCK_RAW)),
    DENY_IF(socket, ESOCKTNOSUPPORT, IS_IP(0), HAS(1, 4)),
    DENY_IF(socket, ESOCKTNOSUPPORT, IS_IP(0), HAS(1, 8)),
    DENY_IF(socket, EPROTONOSUPPORT, IS_IP(0), ABOVE(2, IPPROTO_ICMPV6)),
    DENY_IF(socket, EPROTONOSUPPORT, IS(0, AF_NETLINK), IS_NOT(2, 0)),
};

/* Stands for the password while the filter is built. Each half is a number
 * that occurs nowhere else. */
#define PLACE_0 0x9f0e4c1ad2375b61
#define PLACE_1 0xb86d7e25a1c9f403
#define PLACE_2 0xe4217a9bc65d0f38

/*
 * A filter of the program's own may hand calls to a listener of its own, who
 * could let pass what only our listener is asked about, once that is closed.
 */
static const struct rule starting[] = {
    DENY(fork, REPORT),
    DENY(vfork, REPORT),
    DENY_IF(clone, REPORT, LACKS(0, CLONE_THREAD)),
    DENY(execveat, REPORT),
    DENY_IF(seccomp, EPERM, HAS(1, SECCOMP_FILTER_FLAG_NEW_LISTENER)),
};

static const struct rule one_program[] = {
    DENY_IF(execve, REPORT, IS_NOT(3, PLACE_0)),
    DENY_IF(execve, REPORT, IS_NOT(4, PLACE_1)),
    DENY_IF(execve, REPORT, IS_NOT(5, PLACE_2)),
};

static const struct rule no_program[] = {
    DENY(execve, REPORT),
};

static const struct rule attempts[] = {
    DENY(connect, WATCH),
    DENY_IF(sendto, WATCH, IS_NOT(4, 0)),
};

/* What is made with bits that `births` refuses is not asked about, so that the
 * kernel judges it by these rules alone. */
#define WATCH_BIRTHS(call, flags, mode)                          \
    DENY_IF(call, WATCH, BITS_ARE(flags, O_CREAT | TMPFILE, 0)), \
        DENY_IF(call, WATCH, HAS(flags, O_CREAT),                \
                BITS_ARE(mode, S_ISUID | S_ISGID, 0))

static const struct rule looks[] = {
    WATCH_BIRTHS(open, 1, 2),
    WATCH_BIRTHS(openat, 2, 3),
    DENY_IF(creat, WATCH, BITS_ARE(1, S_ISUID | S_ISGID, 0)),
    DENY(stat, WATCH),
    DENY(lstat, WATCH),
    DENY(newfstatat, WATCH),
    DENY(statx, WATCH),
    DENY(access, WATCH),
    DENY(faccessat, WATCH),
    DENY(faccessat2, WATCH),
    DENY(readlink, WATCH),
    DENY(readlinkat, WATCH),
    DENY(chdir, WATCH),
    DENY(truncate, WATCH),
    DENY(mkdir, WATCH),
    DENY(mkdirat, WATCH),
    DENY(rmdir, WATCH),
    DENY(unlink, WATCH),
    DENY(unlinkat, WATCH),
    DENY(rename, WATCH),
    DENY(renameat, WATCH),
    DENY(renameat2, WATCH),
    DENY(symlink, WATCH),
    DENY(symlinkat, WATCH),
};

/* In rising order. Without walls not the first: a socket of the host's may be
 * reached by its name. Without a network no more than the first. AF_VSOCK, for
 * one, reaches the hypervisor from any network namespace. */
static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct builder {
    scmp_filter_ctx context;
    const struct noe_seccomp_policy *policy;
    struct noe_calls *calls;
    struct noe_error *err;
};

static int failed(const struct builder *b, int code, const char *what)
{
    return noe_error_set(b->err, NOE_FAULT_SANDBOX, code, "seccomp", "%s",
                         what);
}

static uint32_t action(const struct builder *b, int error)
{
    if (error == WATCH)
        return SCMP_ACT_NOTIFY;
    if (error != REPORT)
        return SCMP_ACT_ERRNO((unsigned)error);
    return b->policy->report ? SCMP_ACT_NOTIFY : SCMP_ACT_ERRNO(EPERM);
}

/* What is refused whatever its arguments needs no more than the gate. */
static int add(const struct builder *b, const struct rule *rule)
{
    unsigned count = 0;

    if (rule->number < 0)
        return 0;
    while (count < COUNT(rule->when) && rule->when[count].op != _SCMP_CMP_MIN)
        count++;
    enum noe_call call = NOE_CALL_JUDGED;
    if (count == 0 && rule->error == EPERM)
        call = NOE_CALL_REFUSED;
    else if (count == 0 && rule->error == ENOSYS)
        call = NOE_CALL_UNKNOWN;
    noe_calls_set(b->calls, rule->number, call);
    if (call != NOE_CALL_JUDGED)
        return 0;
    int code = seccomp_rule_add_exact_array(b->context, action(b, rule->error),
                                            rule->number, count, rule->when);
    return code == 0 ? 0 : failed(b, -code, rule->name);
}

static int add_all(const struct builder *b, const struct rule *rules,
                   size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (add(b, &rules[i]) != 0)
            return -1;
    return 0;
}

/* Every family that is not on the list: the gaps one by one, then all above. */
static int add_families(const struct builder *b, bool inet)
{
    static const struct rule none = DENY(socket, EAFNOSUPPORT);
    size_t first = b->policy->walls && !b->policy->pairs ? 0 : 1;
    size_t end = inet ? COUNT(families) : 1;
    unsigned next = 0;

    if (first == end)
        return add(b, &none);
    for (size_t i = first; i < end; i++, next++)
        for (; next < families[i]; next++) {
            struct rule gap = DENY_IF(socket, EAFNOSUPPORT, IS(0, next));
            if (add(b, &gap) != 0)
                return -1;
        }
    struct rule above = DENY_IF(socket, EAFNOSUPPORT, ABOVE(0, next - 1));
    return add(b, &above);
}

static bool has_password(const struct noe_seccomp_policy *policy)
{
    return !policy->processes && !policy->running;
}

static int add_policy(const struct builder *b)
{
    const struct noe_seccomp_policy *policy = b->policy;
    bool inet = policy->network || policy->private_network;
    const struct {
        const struct rule *rules;
        size_t count;
        bool wanted;
    } groups[] = {
        {mounts, COUNT(mounts), true},
        {namespaces, COUNT(namespaces), true},
        {entering, COUNT(entering), !policy->enters},
        {kernel, COUNT(kernel), true},
        {machine, COUNT(machine), true},
        {others, COUNT(others), true},
        {process_1, COUNT(process_1), policy->walls},
        {neighbours, COUNT(neighbours), !policy->walls},
        {signals, COUNT(signals), !policy->walls && !policy->signals},
        {births, COUNT(births), true},
        {set_ids, COUNT(set_ids), policy->walls},
        {attributes, COUNT(attributes), !policy->walls},
        {pairs, COUNT(pairs), true},
        {internet, COUNT(internet), inet},
        {shared_ipc, COUNT(shared_ipc), !policy->walls},
        {watches, COUNT(watches), !policy->walls},
        {connected_pairs, COUNT(connected_pairs),
         !policy->walls || policy->pairs},
        {names, COUNT(names), policy->pairs || (!policy->walls && !inet)},
        {starting, COUNT(starting), !policy->processes},
        {one_program, COUNT(one_program), has_password(policy)},
        {no_program, COUNT(no_program),
         !policy->processes && !has_password(policy)},
        {attempts, COUNT(attempts), policy->watch},
        {looks, COUNT(looks), policy->learn},
    };

    for (size_t i = 0; i < COUNT(groups); i++)
        if (groups[i].wanted &&
            add_all(b, groups[i].rules, groups[i].count) != 0)
            return -1;
    return add_families(b, inet);
}

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

/* What is not known ends in the gate; the rest is libseccomp's, which writes to
 * a file only; this one has no name. */
static int export(const struct builder *b, int fd, struct noe_filter *filter)
{
    struct sock_filter gate[NOE_CALLS_MAX_CODE];
    struct stat st;
    size_t front =
        noe_calls_gate(b->calls, NATIVE_ARCH, b->policy->processes, gate);

    if (front == 0)
        return failed(b, 0, "the list of calls is too long");
    if (fd < 0)
        return failed(b, errno, "memfd_create");
    int code = seccomp_export_bpf(b->context, fd);
    if (code != 0)
        return failed(b, -code, "export the filter");
    if (fstat(fd, &st) != 0)
        return failed(b, errno, "fstat");
    size_t size = (size_t)st.st_size;
    filter->code = malloc(front * sizeof(*gate) + size);
    if (filter->code == NULL)
        return failed(b, ENOMEM, "the filter");
    memcpy(filter->code, gate, front * sizeof(*gate));
    filter->count = front + size / sizeof(*filter->code);
    if (pread(fd, filter->code + front, size, 0) != st.st_size)
        return failed(b, EIO, "read the filter");
    return 0;
}

static const uint64_t places[] = {PLACE_0, PLACE_1, PLACE_2};

enum { HALVES = 2 * COUNT(places) };

static uint32_t half(const uint64_t *numbers, size_t i)
{
    return (uint32_t)(i % 2 == 0 ? numbers[i / 2] : numbers[i / 2] >> 32);
}

/* Which half of a place the instruction compares with; HALVES: none. */
static size_t place_at(const struct sock_filter *at)
{
    size_t i = 0;

    if (at->code != (BPF_JMP | BPF_JEQ | BPF_K))
        return HALVES;
    while (i < HALVES && at->k != half(places, i))
        i++;
    return i;
}

void noe_seccomp_set_password(struct sock_filter *code, size_t count,
                              const uint64_t password[3])
{
    for (size_t n = 0; n < count; n++) {
        size_t i = place_at(&code[n]);
        if (i < HALVES)
            code[n].k = half(password, i);
    }
}

/* Should a libseccomp compile comparisons another way, the places would keep
 * standing in the filter, where they are a password that everybody knows. */
static int check_places(const struct builder *b,
                        const struct noe_filter *filter)
{
    size_t seen[HALVES + 1] = {0};
    size_t wanted = has_password(b->policy) ? 1 : 0;

    for (size_t n = 0; n < filter->count; n++)
        seen[place_at(&filter->code[n])]++;
    for (size_t i = 0; i < HALVES; i++)
        if (seen[i] != wanted)
            return failed(b, 0, "libseccomp made a filter of unknown shape");
    return 0;
}

enum { API_WITH_LISTENERS = 5 };

static int compile(const struct builder *b, struct noe_filter *filter)
{
    if ((b->policy->report || b->policy->watch) &&
        seccomp_api_get() < API_WITH_LISTENERS)
        return failed(b, ENOTSUP, "a filter with a listener");
    int code = seccomp_attr_set(b->context, SCMP_FLTATR_ACT_BADARCH,
                                SCMP_ACT_ERRNO(ENOSYS));
    /* A binary tree of the numbers: loads in half the time of a list. */
    if (code == 0)
        code = seccomp_attr_set(b->context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (code != 0)
        return failed(b, -code, "seccomp_attr_set");
    if (add_policy(b) != 0)
        return -1;
    int fd = memfd_create("noether-filter", MFD_CLOEXEC);
    int result = export(b, fd, filter);
    noe_fd_close(&fd);
    return result != 0 ? result : check_places(b, filter);
}

int noe_seccomp_build(const struct noe_seccomp_policy *policy,
                      struct noe_filter *filter, struct noe_error *err)
{
    struct noe_calls calls;
    struct builder b = {seccomp_init(SCMP_ACT_ALLOW), policy, &calls, err};

    noe_calls_init(&calls);
    if (policy->enters)
        noe_calls_set(&calls, __SNR_setns, NOE_CALL_PASSES);
    *filter = (struct noe_filter){NULL, 0};
    if (b.context == NULL)
        return failed(&b, ENOMEM, "seccomp_init");
    int result = compile(&b, filter);
    seccomp_release(b.context);
    if (result != 0)
        noe_filter_free(filter);
    return result;
}

void noe_filter_free(struct noe_filter *filter)
{
    free(filter->code);
    *filter = (struct noe_filter){NULL, 0};
}
