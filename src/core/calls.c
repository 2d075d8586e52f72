/* SPDX-License-Identifier: MIT */
#include "calls.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>

#define CALL(name) __SNR_##name

/* Harmless, or harmless but for what a rule refuses of them. What is missing
 * here is what no program needs, or what the kernel itself has long lost. */
static const int harmless[] = {
    CALL(read),
    CALL(write),
    CALL(open),
    CALL(close),
    CALL(stat),
    CALL(fstat),
    CALL(lstat),
    CALL(poll),
    CALL(lseek),
    CALL(mmap),
    CALL(mprotect),
    CALL(munmap),
    CALL(brk),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigreturn),
    CALL(ioctl),
    CALL(pread64),
    CALL(pwrite64),
    CALL(readv),
    CALL(writev),
    CALL(access),
    CALL(pipe),
    CALL(select),
    CALL(sched_yield),
    CALL(mremap),
    CALL(msync),
    CALL(mincore),
    CALL(madvise),
    CALL(shmget),
    CALL(shmat),
    CALL(shmctl),
    CALL(dup),
    CALL(dup2),
    CALL(pause),
    CALL(nanosleep),
    CALL(getitimer),
    CALL(alarm),
    CALL(setitimer),
    CALL(getpid),
    CALL(sendfile),
    CALL(socket),
    CALL(connect),
    CALL(accept),
    CALL(sendto),
    CALL(recvfrom),
    CALL(sendmsg),
    CALL(recvmsg),
    CALL(shutdown),
    CALL(bind),
    CALL(listen),
    CALL(getsockname),
    CALL(getpeername),
    CALL(socketpair),
    CALL(setsockopt),
    CALL(getsockopt),
    CALL(clone),
    CALL(fork),
    CALL(vfork),
    CALL(execve),
    CALL(exit),
    CALL(wait4),
    CALL(kill),
    CALL(uname),
    CALL(semget),
    CALL(semop),
    CALL(semctl),
    CALL(shmdt),
    CALL(msgget),
    CALL(msgsnd),
    CALL(msgrcv),
    CALL(msgctl),
    CALL(fcntl),
    CALL(flock),
    CALL(fsync),
    CALL(fdatasync),
    CALL(truncate),
    CALL(ftruncate),
    CALL(getdents),
    CALL(getcwd),
    CALL(chdir),
    CALL(fchdir),
    CALL(rename),
    CALL(mkdir),
    CALL(rmdir),
    CALL(creat),
    CALL(link),
    CALL(unlink),
    CALL(symlink),
    CALL(readlink),
    CALL(chmod),
    CALL(fchmod),
    CALL(chown),
    CALL(fchown),
    CALL(lchown),
    CALL(umask),
    CALL(gettimeofday),
    CALL(getrlimit),
    CALL(getrusage),
    CALL(sysinfo),
    CALL(times),
    CALL(getuid),
    CALL(getgid),
    CALL(setuid),
    CALL(setgid),
    CALL(geteuid),
    CALL(getegid),
    CALL(setpgid),
    CALL(getppid),
    CALL(getpgrp),
    CALL(setsid),
    CALL(setreuid),
    CALL(setregid),
    CALL(getgroups),
    CALL(setgroups),
    CALL(setresuid),
    CALL(getresuid),
    CALL(setresgid),
    CALL(getresgid),
    CALL(getpgid),
    CALL(setfsuid),
    CALL(setfsgid),
    CALL(getsid),
    CALL(capget),
    CALL(capset),
    CALL(rt_sigpending),
    CALL(rt_sigtimedwait),
    CALL(rt_sigqueueinfo),
    CALL(rt_sigsuspend),
    CALL(sigaltstack),
    CALL(utime),
    CALL(mknod),
    CALL(personality),
    CALL(statfs),
    CALL(fstatfs),
    CALL(getpriority),
    CALL(setpriority),
    CALL(sched_setparam),
    CALL(sched_getparam),
    CALL(sched_setscheduler),
    CALL(sched_getscheduler),
    CALL(sched_get_priority_max),
    CALL(sched_get_priority_min),
    CALL(sched_rr_get_interval),
    CALL(mlock),
    CALL(munlock),
    CALL(mlockall),
    CALL(munlockall),
    CALL(prctl),
    CALL(arch_prctl),
    CALL(setrlimit),
    CALL(sync),
    CALL(gettid),
    CALL(readahead),
    CALL(setxattr),
    CALL(lsetxattr),
    CALL(fsetxattr),
    CALL(getxattr),
    CALL(lgetxattr),
    CALL(fgetxattr),
    CALL(listxattr),
    CALL(llistxattr),
    CALL(flistxattr),
    CALL(removexattr),
    CALL(lremovexattr),
    CALL(fremovexattr),
    CALL(tkill),
    CALL(time),
    CALL(futex),
    CALL(sched_setaffinity),
    CALL(sched_getaffinity),
    CALL(epoll_create),
    CALL(remap_file_pages),
    CALL(getdents64),
    CALL(set_tid_address),
    CALL(restart_syscall),
    CALL(semtimedop),
    CALL(fadvise64),
    CALL(timer_create),
    CALL(timer_settime),
    CALL(timer_gettime),
    CALL(timer_getoverrun),
    CALL(timer_delete),
    CALL(clock_gettime),
    CALL(clock_getres),
    CALL(clock_nanosleep),
    CALL(exit_group),
    CALL(epoll_wait),
    CALL(epoll_ctl),
    CALL(tgkill),
    CALL(utimes),
    CALL(mq_open),
    CALL(mq_unlink),
    CALL(mq_timedsend),
    CALL(mq_timedreceive),
    CALL(mq_notify),
    CALL(mq_getsetattr),
    CALL(waitid),
    CALL(ioprio_set),
    CALL(ioprio_get),
    CALL(inotify_init),
    CALL(inotify_add_watch),
    CALL(inotify_rm_watch),
    CALL(openat),
    CALL(mkdirat),
    CALL(mknodat),
    CALL(fchownat),
    CALL(futimesat),
    CALL(newfstatat),
    CALL(unlinkat),
    CALL(renameat),
    CALL(linkat),
    CALL(symlinkat),
    CALL(readlinkat),
    CALL(fchmodat),
    CALL(faccessat),
    CALL(pselect6),
    CALL(ppoll),
    CALL(set_robust_list),
    CALL(splice),
    CALL(tee),
    CALL(sync_file_range),
    CALL(vmsplice),
    CALL(utimensat),
    CALL(epoll_pwait),
    CALL(signalfd),
    CALL(timerfd_create),
    CALL(eventfd),
    CALL(fallocate),
    CALL(timerfd_settime),
    CALL(timerfd_gettime),
    CALL(accept4),
    CALL(signalfd4),
    CALL(eventfd2),
    CALL(epoll_create1),
    CALL(dup3),
    CALL(pipe2),
    CALL(inotify_init1),
    CALL(preadv),
    CALL(pwritev),
    CALL(rt_tgsigqueueinfo),
    CALL(recvmmsg),
    CALL(prlimit64),
    CALL(syncfs),
    CALL(sendmmsg),
    CALL(getcpu),
    CALL(sched_setattr),
    CALL(sched_getattr),
    CALL(renameat2),
    CALL(seccomp),
    CALL(getrandom),
    CALL(memfd_create),
    CALL(execveat),
    CALL(membarrier),
    CALL(mlock2),
    CALL(copy_file_range),
    CALL(preadv2),
    CALL(pwritev2),
    CALL(pkey_mprotect),
    CALL(pkey_alloc),
    CALL(pkey_free),
    CALL(statx),
    CALL(rseq),
    CALL(pidfd_send_signal),
    CALL(pidfd_open),
    CALL(close_range),
    CALL(faccessat2),
    CALL(epoll_pwait2),
    CALL(landlock_create_ruleset),
    CALL(landlock_add_rule),
    CALL(landlock_restrict_self),
    CALL(futex_waitv),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Requests of ioctl: those of terminals ('T', in which are FIONREAD and the
 * like) and of sockets (0x89), less what rules refuse of them; and these few,
 * of files, which only look, or copy what both descriptors allow. Others change
 * what may only be read (flags, generation, verity), or speak to a driver.
 */
static const uint32_t kinds[] = {'T', 0x89};
static const uint32_t requests[] = {
    FIGETBSZ,          FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FS_IOC_FIEMAP,
    FS_IOC_FSGETXATTR, FICLONE,         FICLONERANGE,      RNDGETENTCNT,
};
static const uint32_t of_listeners[] = {
    (uint32_t)SECCOMP_IOCTL_NOTIF_RECV,
    (uint32_t)SECCOMP_IOCTL_NOTIF_SEND,
    (uint32_t)SECCOMP_IOCTL_NOTIF_ID_VALID,
    (uint32_t)SECCOMP_IOCTL_NOTIF_ADDFD,
};

void noe_calls_init(struct noe_calls *calls)
{
    memset(calls, NOE_CALL_UNKNOWN, sizeof(*calls));
    for (size_t i = 0; i < COUNT(harmless); i++)
        noe_calls_set(calls, harmless[i], NOE_CALL_PASSES);
}

void noe_calls_set(struct noe_calls *calls, int number, enum noe_call call)
{
    if (number >= 0 && number < NOE_CALLS_END)
        calls->of[number] = (unsigned char)call;
}

static struct sock_filter load(size_t offset)
{
    return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                        (uint32_t)offset);
}

static struct sock_filter refuse(int error)
{
    return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
                                        SECCOMP_RET_ERRNO | (uint32_t)error);
}

static struct sock_filter is(uint32_t value, size_t skip_if, size_t skip_else)
{
    return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value,
                                        (uint8_t)skip_if, (uint8_t)skip_else);
}

/* The decision by number: a binary tree over the places where what becomes of a
 * call changes. It loads and runs in half the time of a list. */
struct tree {
    struct sock_filter *code;
    uint32_t turns[NOE_CALLS_END + 1];
    unsigned char after[NOE_CALLS_END + 1]; /* after so many turns */
    size_t count;
    size_t next; /* instruction */
    size_t ends; /* the first of those for each enum noe_call */
};

static void find_turns(struct tree *tree, const struct noe_calls *calls)
{
    tree->after[0] = calls->of[0];
    for (uint32_t number = 1; number <= NOE_CALLS_END; number++) {
        unsigned char now =
            number < NOE_CALLS_END ? calls->of[number] : NOE_CALL_UNKNOWN;
        if (now == tree->after[tree->count])
            continue;
        tree->turns[tree->count++] = number;
        tree->after[tree->count] = now;
    }
}

/* The subtree that decides by the turns from `first` to before `end`. Where it
 * begins. */
static size_t grow(struct tree *tree, size_t first, size_t end)
{
    if (first == end)
        return tree->ends + tree->after[first];
    size_t at = tree->next++;
    size_t middle = first + (end - first) / 2;
    size_t below = grow(tree, first, middle);
    size_t above = grow(tree, middle + 1, end);
    tree->code[at] = (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JGE | BPF_K, tree->turns[middle],
        (uint8_t)(above - at - 1), (uint8_t)(below - at - 1));
    return at;
}

/* If the value is one of them: on to `end`. */
static size_t skip_all(struct sock_filter *code, size_t at, size_t end,
                       const uint32_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++, at++)
        code[at] = is(values[i], end - at - 1, 0);
    return at;
}

/* The kernel looks at the lower half of a request only. */
static size_t judge_ioctl(struct sock_filter *code, size_t at, bool notify)
{
    size_t low = offsetof(struct seccomp_data, args[1]);
    size_t listeners = notify ? COUNT(of_listeners) : 0;
    size_t end = at + 4 + COUNT(requests) + listeners + COUNT(kinds) + 1;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    low += sizeof(uint32_t);
#endif
    code[at] = is((uint32_t)CALL(ioctl), 0, end - at - 1);
    code[at + 1] = load(low);
    at = skip_all(code, at + 2, end, requests, COUNT(requests));
    at = skip_all(code, at, end, of_listeners, listeners);
    code[at++] =
        (struct sock_filter)BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, _IOC_TYPESHIFT);
    code[at++] =
        (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, _IOC_TYPEMASK);
    at = skip_all(code, at, end, kinds, COUNT(kinds));
    code[at++] = refuse(ENOTTY);
    return at;
}

size_t noe_calls_gate(const struct noe_calls *calls, uint32_t arch, bool notify,
                      struct sock_filter *code)
{
    enum { HEAD = 3, FAR = UINT8_MAX, OTHERS = 32 };
    struct tree tree = {.code = code, .next = HEAD};

    find_turns(&tree, calls);
    if (tree.count + HEAD > FAR ||
        tree.count + HEAD + OTHERS > NOE_CALLS_MAX_CODE)
        return 0;
    tree.ends = HEAD + tree.count;
    code[0] = load(offsetof(struct seccomp_data, arch));
    code[1] = is(arch, 0, tree.ends + NOE_CALL_UNKNOWN - 2);
    code[2] = load(offsetof(struct seccomp_data, nr));
    grow(&tree, 0, tree.count);
    code[tree.ends + NOE_CALL_UNKNOWN] = refuse(ENOSYS);
    code[tree.ends + NOE_CALL_REFUSED] = refuse(EPERM);
    code[tree.ends + NOE_CALL_PASSES] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    return judge_ioctl(code, tree.ends + NOE_CALL_JUDGED, notify);
}
