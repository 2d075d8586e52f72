/* SPDX-License-Identifier: MIT */
#ifndef NOE_SUPERVISOR_H
#define NOE_SUPERVISOR_H

#include "process.h"

/* What is said to the jail, and heard of it, while it runs. */

/* 0, or -1 with errno: ESRCH if nobody is there to hear it. */
int noe_supervisor_command(const struct noe_process *p, uint32_t type, int sig);

/* The deadline as it is in `p` now, and how much more processor time. */
int noe_supervisor_terms(const struct noe_process *p, uint64_t cpu_ms);
/* The deadline that it has now: NOE_JAIL_WAIT or NOE_JAIL_BEGIN. 0, or -1. */
int noe_supervisor_tell_deadline(const struct noe_process *p, uint32_t type);

/* What a question of the relay's comes to. 0, or -1 as above. */
int noe_supervisor_answer(const struct noe_process *p, uint32_t id, bool yes);

/* A program without a sandbox may have stopped the jail. Killing that would
 * leave the rest of the tree behind: it is to do its work. */
void noe_supervisor_wake(const struct noe_process *p);

/* Tells it to end the tree, and sets the time it has for that. */
void noe_supervisor_end(struct noe_process *p);

/* Notes what it has said by now. */
void noe_supervisor_hear(struct noe_process *p);

#endif
