/* SPDX-License-Identifier: MIT */
/* What is left to the relay. It handles bytes of the stage's: whoever took it
 * over by them would find no more than the sockets that it has, and new ones to
 * hosts (the host's network is not walled off from it). */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail.h"

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

static const int CALLS[] = {
    SYS_read,       SYS_write,       SYS_close,           SYS_recvfrom,
    SYS_recvmsg,    SYS_sendto,      SYS_sendmsg,         SYS_accept4,
    SYS_connect,    SYS_listen,      SYS_shutdown,        SYS_getsockname,
    SYS_getsockopt, SYS_setsockopt,  SYS_splice,          SYS_pipe2,
    SYS_epoll_ctl,  SYS_epoll_pwait,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
    SYS_brk,        SYS_mmap,        SYS_mprotect,        SYS_munmap,
    SYS_madvise,    SYS_mremap,      SYS_rt_sigreturn,    SYS_clock_gettime,
    SYS_exit,       SYS_exit_group,  SYS_restart_syscall,
};

enum { CALL_COUNT = sizeof(CALLS) / sizeof(*CALLS) };

#define LOAD(field) \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF_IS(value, then, otherwise) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), (then), (otherwise))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* A new socket is of version 4 or 6, and of a pipe the size may be set. */
static const struct sock_filter HEAD[] = {
    LOAD(arch),
    IF_IS(OWN_ARCH, 1, 0),
    KILL,
    LOAD(nr),
    IF_IS(SYS_socket, 0, 5),
    LOAD(args[0]),
    IF_IS(AF_INET, 1, 0),
    IF_IS(AF_INET6, 0, 1),
    ALLOW,
    KILL,
    IF_IS(SYS_fcntl, 0, 4),
    LOAD(args[1]),
    IF_IS(F_SETPIPE_SZ, 0, 1),
    ALLOW,
    KILL,
};

enum { HEAD_COUNT = sizeof(HEAD) / sizeof(*HEAD) };

int noe_relay_confine(void)
{
    struct sock_filter code[HEAD_COUNT + 2 * CALL_COUNT + 1];
    struct sock_filter *at = code;
    struct sock_fprog program = {.len = sizeof(code) / sizeof(*code),
                                 .filter = code};

    for (int i = 0; i < HEAD_COUNT; i++)
        *at++ = HEAD[i];
    for (int i = 0; i < CALL_COUNT; i++) {
        *at++ = (struct sock_filter)IF_IS(CALLS[i], 0, 1);
        *at++ = (struct sock_filter)ALLOW;
    }
    *at = (struct sock_filter)KILL;
    if (noe_confine_to_nothing() != 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
