/* SPDX-License-Identifier: MIT */
#ifndef NOE_CGROUP_H
#define NOE_CGROUP_H

/*
 * Control groups in which this process may make one for a run. Every path is a
 * block of its own, or NULL where there is none. In version 2 one group holds
 * both limits, and `memory` and `pids` are the same path.
 */
struct noe_cgroups {
    int version; /* 1, 2, or 0: none is to be had */
    char *memory;
    char *pids;
    char *home; /* version 2: the group that this process is in */
};

/* Looks at the hierarchies once. Fails by finding none. */
void noe_cgroups_find(struct noe_cgroups *cgroups);

void noe_cgroups_free(struct noe_cgroups *cgroups);

#endif
