/* SPDX-License-Identifier: MIT */
#ifndef NOE_LAUNCH_H
#define NOE_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

#include "cgroup.h"
#include "noether.h"
#include "seccomp.h"

/* One child: the jail (`control` and the launcher's image are set), or, if
 * `control` is -1, the program itself. The descriptors stay the caller's. */
struct noe_launch {
    int stdio[3];
    int control;
    int channel;      /* or -1 */
    const int *group; /* of a copy of a fork server: NOE_JAIL_GROUP_FDS of them,
                         or NULL */
    bool pass_image;  /* the jail must be able to start itself again */
    const char *const *argv;
    const char *const *envp;
    const char *cwd; /* or NULL; for the bare program */
};

/* A child, and a descriptor for it. */
struct noe_child {
    pid_t pid;
    int pidfd;
};

/* Starts the child; it has exec'd when this returns. 0, or -1 with `err`. */
int noe_launch(struct noe_launcher *launcher, const struct noe_launch *launch,
               struct noe_child *child, struct noe_error *err);

/* The seccomp filter of a policy, built when it is first asked for. */
const struct noe_filter *
noe_launcher_filter(struct noe_launcher *launcher,
                    const struct noe_seccomp_policy *policy,
                    struct noe_error *err);

/* Where the jail's program lies, for a kernel that runs nothing from memory; it
 * is compared with ours before it is run. 0, or -1 with `err`. */
int noe_launcher_use_copy(struct noe_launcher *launcher, const char *path,
                          struct noe_error *err);

/* What a kernel could lack, for tests: as if it had less than it has. */
struct noe_pretence {
    uint32_t landlock; /* the highest version there is */
    bool no_memory_programs;
    bool no_cgroups;
    bool no_launcher;
    uint32_t idle_ms; /* of a launcher, 0: as usual */
};

void noe_launcher_pretend(struct noe_launcher *launcher,
                          const struct noe_pretence *pretence);

const struct noe_pretence *
noe_launcher_pretence(const struct noe_launcher *launcher);

/* Who stands by for runs of this launcher. */
struct noe_standbys *noe_launcher_standbys(struct noe_launcher *launcher);

/* The network namespace of its runs without IP. */
struct noe_shared *noe_launcher_shared(struct noe_launcher *launcher);

/* Where a control group can be made for a run; looked for once. */
const struct noe_cgroups *noe_launcher_cgroups(struct noe_launcher *launcher);

/* /dev/null, open for reading; the launcher's own. -1 if there is none. */
int noe_launcher_null(struct noe_launcher *launcher);

/* Takes over a child that is about to end, to be reaped at some later call. The
 * descriptor is the launcher's from now on. */
void noe_launcher_adopt(struct noe_launcher *launcher, struct noe_child *child);

/* Reaps a child if it has ended. 1: done, and its status is in *status, or
 * *status is -1 if somebody else took it; 0: it still runs. */
int noe_child_reap(const struct noe_child *child, int *status);

#endif
