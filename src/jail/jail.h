/* SPDX-License-Identifier: MIT */
#ifndef NOE_JAIL_H
#define NOE_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

#include "protocol.h"

struct jail_bind {
    bool writable;
    const char *source;
    const char *target;
    int tree; /* a detached copy of the mount that root opened, or -1 */
};

struct jail_link {
    const char *text;
    const char *path;
};

/* The start message, unpacked. */
struct jail {
    struct noe_jail_start start;
    const void *filter; /* seccomp: start.filter_len bytes */
    const char *cwd;    /* or NULL */
    const char *own;    /* a directory to be removed at the end, or NULL */
    const char *memory_parent; /* where a control group can be made, or NULL */
    const char *pids_parent;
    const char *cgroup_home; /* version 2: where to go back to */
    char **argv;             /* the program's */
    char **envp;             /* the program's */
    char **wrapper;          /* the wrapping command, NULL-terminated */
    struct jail_bind *binds;
    struct jail_link *links;
    const char *places; /* the strings of binds and links, as they came */
    size_t places_len;
    bool by_root; /* the host has user id 0 */
    int64_t step_began_us;
    uint32_t step_us[NOE_JAIL_STEP_COUNT];
    bool stub_proc; /* the kernel refused a fresh /proc */
};

/* Sends one event. A peer that is gone is no error: the next read tells. */
void jail_send(int fd, const struct noe_jail_event *event);

/* An event that says what failed, on what (or NULL), with errno. */
void jail_failure(struct noe_jail_event *event, enum noe_jail_fault fault,
                  const char *step, const char *path);

/* CLOCK_MONOTONIC in microseconds. */
int64_t jail_clock_us(void);

/* Notes what a step of NOE_JAIL_STEPS took. The next one begins. */
void jail_step_done(struct jail *jail, int step);

struct program {
    char **argv;
    char **envp;
    const char *cwd;                      /* or NULL */
    const struct noe_jail_limits *limits; /* or NULL */
    int control;           /* becomes its NOE_JAIL_CONTROL_FD, or -1 */
    int report;            /* where a seccomp listener is sent, or -1 */
    const struct jail *in; /* to be confined as this one says, or NULL */
};

/* Starts it in a session of its own, with default signals and an empty mask.
 * Its pid, or -1 with `event` filled as NOE_JAIL_FAILED. */
pid_t program_start(const struct program *program,
                    struct noe_jail_event *event);

/* As program_start, for a confined program: *listener becomes what to poll for
 * the filter's questions, if it has any. */
pid_t program_start_reporting(struct program *program, int *listener,
                              struct noe_jail_event *event);

/* Answers one question with no. How many attempts that was: 0 or 1. */
unsigned listener_answer(int *listener);

/* Gives up all capabilities, and the ways to get any. 0, or -1 with errno. */
int confine_privileges(void);

/* The Landlock version to use; 0: none. */
int landlock_version(const struct jail *jail);

/* What the program's process does to itself, just before exec. Each returns
 * NULL, or the name of the step that failed. */

const char *confine_files(const struct jail *jail);
const char *confine_calls(const struct jail *jail, int report);

/* execve, with what the filter asks for. Returns only if it failed. */
void confine_exec(const struct jail *jail, char **argv, char **envp);

/* Starts the first process of a new set of namespaces, which builds the sandbox
 * and goes on as `init`; of the pair `control` the second is its end. Its pid,
 * or -1 with `event` filled. */
pid_t native_start(struct jail *jail, const int control[2],
                   struct noe_jail_event *event);

int mount_root(struct jail *jail, const char **path);
int make_places(struct jail *jail, const char **path);
int mount_binds(struct jail *jail, const char **path);
int mount_proc(struct jail *jail, const char **path);
int make_devices(struct jail *jail, const char **path);
int mount_private(struct jail *jail, const char **path);
int leave_old_root(struct jail *jail, const char **path);

int cover_devices(const char **path); /* the supervisor's, for a wrapper */

/* Root's part, while it still is root: what only root may reach. */
int open_binds(struct jail *jail, const char **path);

/* Enters a control group made for this run, and notes in `end` what it holds.
 */
void cgroup_enter(struct jail *jail, struct noe_jail_event *end);

/* Whether something was killed because the group had no memory left. */
bool cgroup_memory_was_short(const struct jail *jail);

/* The most memory that the group ever had; 0 if that is not known. */
int64_t cgroup_memory_peak(const struct jail *jail);

/* Leaves the memory group to what was started in it: the kernel would end us,
 * too, where it needs more than one victim. (Page tables stay charged until
 * their owner is gone.) */
void cgroup_step_out(const struct jail *jail);

/* Goes back and removes the group, which must hold nobody else by now. */
void cgroup_leave(const struct jail *jail);

/* Root's part, too: maps the owner of a bind's tree to the stage's id, if that
 * is needed to use it. 0, or -1 with errno (EACCES: it cannot be used). */
int idmap_bind(const struct jail_bind *bind);

/* Kills and reaps every descendant. The number of those that would not die,
 * because they run as another user. */
unsigned tree_end(int children_fd);

/* Whether this kernel's /proc tells a process's children. */
bool tree_can_be_seen(void);

struct tree_usage {
    int64_t memory_bytes;
    int64_t cpu_us; /* of what is alive */
};

/* What all descendants use now, `limit` being the memory that matters: shared
 * pages are shared out only where the cheap upper bound exceeds it. */
void tree_sample(int64_t limit, struct tree_usage *usage);

/* The processor time of children of our own that tree_sample has reaped. */
int64_t tree_lookers_cpu_us(void);

int supervise(struct jail *jail);
int init(struct jail *jail);

#endif
