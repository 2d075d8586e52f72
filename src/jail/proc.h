/* SPDX-License-Identifier: MIT */
/* What /proc says of the processes below this one. */
#ifndef NOE_JAIL_PROC_H
#define NOE_JAIL_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads a small file whole, as text. Its length, or -1. */
ssize_t noe_proc_read(const char *path, char *text, size_t size);

/* Reads a file of a process, such as "/stat"; where the process's first thread
 * has ended and only `living` ones have it, that of another thread. */
ssize_t noe_proc_of(pid_t pid, const char *file, char *text, size_t size);
ssize_t noe_proc_of_living(pid_t pid, const char *file, char *text,
                           size_t size);

/* The nth number (from 0) of a line of numbers. */
int64_t noe_proc_field(const char *text, int nth);

enum { NOE_TREE_MAX = 4096 };

struct noe_tree {
    pid_t pids[NOE_TREE_MAX];
    unsigned count;
    bool whole; /* there are no more */
};

/* All descendants, parents before what they have started. */
void noe_tree_note(struct noe_tree *tree);

/* But for one child of ours, and what it has started; -1: no such. */
void noe_tree_leave_out(pid_t pid);

/* But for those children of this one, and what they have started, that are in
 * its own process group; -1: no such. */
void noe_tree_leave_out_group_of(pid_t pid);

/* How many children of a process nobody has reaped; 0 if it is not known. */
unsigned noe_tree_zombies_of(pid_t pid);

/* The threads of all of them. */
unsigned noe_tree_threads(void);

/* How many of a process's threads run, or would if a processor was free. */
unsigned noe_proc_running(pid_t pid);

/* Of so many threads of ours that would run, how many do: times `scale`, and no
 * more than there are processors for, beside whatever else the machine does. */
unsigned noe_proc_on_processors(unsigned running, unsigned scale);

/* Whether this kernel tells a process's children. */
bool noe_tree_can_be_seen(void);

/* The list of our own children: we have one thread. */
void noe_proc_own_children(char path[64]);

#endif
