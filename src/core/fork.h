/* SPDX-License-Identifier: MIT */
#ifndef NOE_CORE_FORK_H
#define NOE_CORE_FORK_H

#include <stdbool.h>

#include "inherited.h"
#include "launch.h"
#include "standby.h"

/*
 * The host's end of a fork server (src/jail/cradle.c): the cradles that its
 * init has made ahead, each for one run. All of it may be missing at any
 * moment; then the run is to be started in the common way.
 */
enum { NOE_FORK_MAX = 64 };

struct noe_forks {
    pid_t owner;
    int service; /* to the server's init, or -1 */
    struct noe_kept id;
    unsigned number; /* of the next control group */
    unsigned ahead;  /* so many cradles at most that are not used */
    bool filling;    /* until there are as many */
    struct noe_inherited_source source;
    struct noe_inherited *born; /* what the server was started with */
    struct noe_inherited *now;
    pid_t witness; /* the server, by whom we see whether we still may; or -1 */
    struct noe_standby idle[NOE_FORK_MAX];
    unsigned idle_count;
    struct noe_standby coming[NOE_FORK_MAX];
    unsigned coming_count;
    struct noe_error failure; /* why there is none, if one said so */
};

/* A socket for the service: *theirs is the init's end. 0, or -1 with errno. */
int noe_forks_open(struct noe_forks **forks, size_t ahead, int *theirs);

/* Asks for as many cradles as are wanted, and welcomes those that have come.
 * What is made beside a run takes its processor: so they are made in lots, and
 * not before half of them are used. */
void noe_forks_tend(struct noe_forks *forks, pid_t supervisor);

/* Hands a run over, whose start waits in the control socket. 0, and *cradle is
 * the run's; -1 with `err`, and nothing has happened. */
int noe_forks_start(struct noe_forks *forks, const struct noe_launch *launch,
                    struct noe_standby *cradle, struct noe_error *err);

/* No more runs: what is under way goes on. NULL is allowed. */
void noe_forks_close(struct noe_forks *forks);
void noe_forks_free(struct noe_forks *forks);

#endif
