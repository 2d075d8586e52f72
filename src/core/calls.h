/* SPDX-License-Identifier: MIT */
/*
 * The front of every filter: which system calls there are at all, and which
 * commands of ioctl. Both are lists of what is known to be harmless, or is
 * judged by the rules behind (seccomp.c); what is on neither is as on a kernel
 * that has none, whatever kernel this is.
 */
#ifndef NOE_CALLS_H
#define NOE_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sock_filter;

/* The numbers of all calls. */
enum { NOE_CALLS_END = 451 }; /* after set_mempolicy_home_node, 5.17 */

enum noe_call {
    NOE_CALL_UNKNOWN = 0, /* fails with ENOSYS */
    NOE_CALL_REFUSED,     /* fails with EPERM */
    NOE_CALL_PASSES,
    NOE_CALL_JUDGED /* by what stands behind the gate */
};

struct noe_calls {
    unsigned char of[NOE_CALLS_END];
};

/* The calls that need no rule pass, and no other. */
void noe_calls_init(struct noe_calls *calls);

/* A negative number is that of a call which this architecture has not. */
void noe_calls_set(struct noe_calls *calls, int number, enum noe_call call);

enum { NOE_CALLS_MAX_CODE = 320 };

/*
 * Writes the gate, of at most NOE_CALLS_MAX_CODE instructions, for calls of
 * `arch` (AUDIT_ARCH_...). What is judged goes on behind the last of them, and
 * ioctl only where its request is known (else ENOTTY); `notify`: those to a
 * seccomp listener are. How many, or 0 if there is no room.
 */
size_t noe_calls_gate(const struct noe_calls *calls, uint32_t arch, bool notify,
                      struct sock_filter *code);

#endif
