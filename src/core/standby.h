/* SPDX-License-Identifier: MIT */
/*
 * Supervisors that stand by, so that a run has not to wait for one: the
 * launcher (src/jail/launcher.c) makes them, and they serve one run after the
 * other. All of this may be missing at any moment; then the run starts its own
 * supervisor, as the first one always does.
 */
#ifndef NOE_STANDBY_H
#define NOE_STANDBY_H

#include <stdbool.h>
#include <stdint.h>

#include "argv.h"
#include "base/protocol.h"
#include "inherited.h"
#include "kept.h"
#include "launch.h"

enum { NOE_STANDBY_MAX = 32 };

struct noe_standby {
    int seat;               /* our socket to it, or -1: there is none */
    struct noe_kept id;     /* the seat's */
    struct noe_child child; /* not ours to reap */
    unsigned service;       /* which launcher's */
    int file;               /* of a cradle: its copy's own, or -1 */
};

struct noe_standbys {
    pid_t owner;      /* a fork of the host has none of this */
    unsigned service; /* counts those that were given up */
    int socket;       /* to the launcher, or -1 */
    struct noe_kept id;
    pid_t pid; /* the launcher's, once it is known, or -1 */
    pid_t witness;
    bool saw_witness;
    bool known; /* `born` is what a run found before this one */
    struct noe_inherited_source source;
    struct noe_inherited *born; /* what the launcher was started with */
    struct noe_inherited *now;
    struct noe_standby idle[NOE_STANDBY_MAX];
    unsigned idle_count;
    struct noe_standby coming[NOE_STANDBY_MAX]; /* asked for */
    unsigned coming_count;
    unsigned busy_count; /* all three are never more than the maximum */
    unsigned failures;
    int64_t retry_us; /* after failures: not before */
};

/* Asks for one by the socket of who makes them. 0, and `one` has a seat unless
 * we had no descriptor for it; -1: nobody is there. */
int noe_standby_ask(int socket, struct noe_standby *one);

/* Takes the first words of one that was asked for. 0; or -1 if it is not there
 * yet, or, with errno ECONNRESET, will not come. */
int noe_standby_hear(struct noe_standby *standby,
                     struct noe_jail_standby *said);

/* Gives it a run: its words (`arguments` of them, then variables) and its
 * descriptors. Sent whole, or not at all: 0, or -1 with errno. */
int noe_standby_hand_over(const struct noe_launch *launch, int cwd,
                          const struct noe_argv *strings, unsigned arguments,
                          const struct noe_standby *standby);

void noe_standby_let_go(struct noe_standby *standby);

void noe_standbys_init(struct noe_standbys *standbys);

/* Lets go of all that is idle, for the sake of their descriptors; more come
 * when they are needed again. Whether there was any. */
bool noe_standbys_rest(struct noe_standbys *standbys);

/* Lets go of all that is idle, and of the launcher. */
void noe_standbys_close(struct noe_standbys *standbys);

/*
 * Hands the run, whose start waits in the control socket, to one that stands
 * by. 0, and it is in `standby`: the run has begun, and its end is when the
 * control socket is closed at the far end. -1: nothing has happened, it is to
 * be started in the common way.
 */
int noe_standby_start(struct noe_launcher *launcher,
                      const struct noe_launch *launch, bool inherits_cwd,
                      struct noe_standby *standby);

/* After a run: it stands by again, or (`fit` is false) is let go. */
void noe_standby_return(struct noe_launcher *launcher,
                        struct noe_standby *standby, bool fit);

#endif
