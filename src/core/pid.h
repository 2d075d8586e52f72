/* SPDX-License-Identifier: MIT */
#ifndef NOE_PID_H
#define NOE_PID_H

#include <sys/types.h>

/*
 * getpid(), but for the system call: every handle asks at every step whether it
 * is in a forked copy of its host. Right after any fork or clone, however it
 * was made, but for one that shares memory with its parent.
 */
pid_t noe_pid_own(void);

#endif
