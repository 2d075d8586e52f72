/* SPDX-License-Identifier: MIT */
#ifndef NOE_PROCESS_H
#define NOE_PROCESS_H

#include "base/protocol.h"
#include "channel.h"
#include "fork.h"
#include "inlet.h"
#include "launch.h"
#include "noether.h"
#include "outlet.h"
#include "standby.h"

/*
 * The handle of one run, as its parts see it: start.c fills it, supervisor.c
 * talks with the jail, process.c goes through the phases, result.c says how it
 * ended.
 */

enum noe_phase {
    NOE_PHASE_RUNNING,
    NOE_PHASE_DRAINING,
    NOE_PHASE_DONE,
    NOE_PHASE_NOTHING_RAN
};

enum { NOE_STDIN, NOE_STDOUT, NOE_STDERR };

struct noe_process {
    struct noe_launcher *launcher;
    struct noe_child child;
    struct noe_standby standby; /* whose child it is, and its seat, or none */
    bool by_launcher;
    bool by_fork;            /* in a cradle: `standby` is that */
    struct noe_forks *forks; /* of a fork server, or NULL */
    struct noe_group group;  /* for its memory, if it is a copy and has one */
    pid_t owner;
    enum noe_phase phase;
    bool supervised;
    bool walled;
    bool wrapped; /* by another program than the jail */
    bool native;
    bool started;
    bool ended; /* the jail has said so, in `end` */
    bool owns_poller;
    int poller;
    int control;
    struct noe_inlet input;
    struct noe_outlet output;
    struct noe_outlet errors;
    uint64_t signalled; /* signals that were sent to its group */
    bool listens;       /* to the supervisor, while the program runs */
    bool holds;         /* what is left is to be kept: options.hold_ms */
    bool holding;       /* and is, now, until held_until_us */
    bool released;      /* and needs not be any more */
    int work_dir;       /* or -1 */
    int64_t held_until_us;
    bool has_channel;
    struct noe_channel_end channel;
    bool waits;         /* for a request: begin.c */
    int unread;         /* where its program will read it from, or -1 */
    size_t request_len; /* of which nothing was read, unless it has */
    bool by_frame;      /* it comes by the channel */
    bool begun;
    int64_t started_us;
    int64_t deadline_us; /* INT64_MAX: none */
    int64_t patience_us; /* when to kill a jail that does not obey; as above */
    uint32_t would_enforce;
    enum noe_reason cause; /* ours: the first one stands */
    int status;            /* the child's, when it has ended */
    uint64_t output_stop;  /* what a stranger adds after the end is not read */
    uint64_t errors_stop;
    uint32_t step_us[NOE_JAIL_STEP_COUNT];
    struct noe_jail_event end;
    char *report; /* of a run with a list of hosts: what was done; or NULL */
    size_t report_len;
    struct noe_jail_question *questions; /* not taken yet; or NULL */
    size_t question_count;
    size_t question_room;
    struct noe_jail_question question; /* the one that was taken last */
    struct noe_error failure;
    struct noe_result result;
};

enum { NOE_QUESTIONS_MAX = 640 /* that wait for an answer */ };

/* Whether it is one that copies can be asked of. */
bool noe_process_serves(const struct noe_process *process);

#endif
