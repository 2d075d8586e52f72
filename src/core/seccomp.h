/* SPDX-License-Identifier: MIT */
/*
 * The seccomp filters: which system calls a sandboxed program may make. They
 * are on a list (calls.c), and of these some are refused, always or by what is
 * asked of them (seccomp.c). What is not on the list, newer calls and foreign
 * calling conventions (32-bit, x32) among it, fails with ENOSYS, as on a kernel
 * that has none.
 *
 * Without `processes` a program can start threads, but no process and no
 * program: not even the one that the filter is loaded for. That first execve
 * must carry the password in the three argument registers it does not use:
 *
 *     syscall(SYS_execve, path, argv, envp, p[0], p[1], p[2])
 *
 * The kernel clears these registers, and a program cannot read its own filter.
 */
#ifndef NOE_SECCOMP_H
#define NOE_SECCOMP_H

#include "noether.h"

struct sock_filter;

/* All false is the strictest. */
struct noe_seccomp_policy {
    bool network;         /* the host's network: IP and routing sockets */
    bool private_network; /* a network namespace of its own: these too */
    bool pairs;           /* no sockets but connected pairs, and no names for
                             them: others may have its network namespace */
    bool walls;           /* namespaces of mounts, processes and IPC of its own:
                             what it makes ends with them, and no neighbour,
                             socket or file of the host's is in reach */
    bool processes;       /* fork and exec */
    bool enters;          /* namespaces that somebody gives it */
    bool running;         /* it is loaded by the program itself: without
                             `processes` there is no execve, and no password */
    bool signals;         /* without walls: the kernel keeps signals inside by
                             itself (Landlock's scope) */
    /*
     * Attempts to fork or exec go to a listener instead of failing at once.
     * The filter must then be loaded with SECCOMP_FILTER_FLAG_NEW_LISTENER
     * (without it they fail with ENOSYS). Whoever listens answers with an
     * errno, never with SECCOMP_USER_NOTIF_FLAG_CONTINUE, whose arguments
     * another thread can change after they were looked at.
     */
    bool report;
    /*
     * Attempts to connect, and to send to an address, go to the listener too,
     * who may let them go on: it only wants to know. What keeps them in is the
     * network namespace.
     */
    bool watch;
    /* Likewise looks at files by their names, and attempts to open, make,
     * remove or rename them. What keeps them in is what is mounted. */
    bool learn;
};

/* A program for the kernel, for the architecture it was built on. */
struct noe_filter {
    struct sock_filter *code;
    size_t count;
};

/*
 * Builds the filter of a policy, which any number of runs can load. Without
 * `processes` each run needs a copy with a password of its own. 0, or -1 with
 * `err` (ENOTSUP: the kernel cannot report).
 */
int noe_seccomp_build(const struct noe_seccomp_policy *policy,
                      struct noe_filter *filter, struct noe_error *err);

/* Leaves an empty filter, which may be freed again. */
void noe_filter_free(struct noe_filter *filter);

/* Puts the password of one run, three random numbers, into a fresh copy of a
 * filter's code. In a filter with `processes` there is nothing to replace. */
void noe_seccomp_set_password(struct sock_filter *code, size_t count,
                              const uint64_t password[3]);

#endif
