/* SPDX-License-Identifier: MIT */
#ifndef NOE_CGROUP_H
#define NOE_CGROUP_H

#include <stdint.h>

#include "base/protocol.h"

/*
 * Control groups in which this process may make one for a run. Every path is a
 * block of its own, or NULL where there is none. In version 2 one group holds
 * all, and `memory`, `pids` and `cpu` are the same path.
 */
struct noe_cgroups {
    int version; /* 1, 2, or 0: none is to be had */
    char *memory;
    char *pids;
    char *cpu;  /* where its time is counted */
    char *home; /* version 2: the group that this process is in */
};

/* Looks at the hierarchies once. Fails by finding none. */
void noe_cgroups_find(struct noe_cgroups *cgroups);

/* One for the memory of a copy of a fork server. Its descriptors are as enum
 * noe_jail_group says. */
struct noe_group {
    char *path; /* or NULL */
    int fds[NOE_JAIL_GROUP_FDS];
};

void noe_group_init(struct noe_group *group);

/* Makes it; its name is unique below the two numbers. What is left when this
 * process is killed the supervisor of `server` removes. 0, or -1 with errno. */
int noe_group_make(struct noe_group *group, const struct noe_cgroups *cgroups,
                   int server, unsigned number, uint64_t memory_bytes);

/* Removes it, if nothing is in it any more. */
void noe_group_drop(struct noe_group *group);

void noe_cgroups_free(struct noe_cgroups *cgroups);

#endif
