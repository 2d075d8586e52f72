/* SPDX-License-Identifier: MIT */
/*
 * The supervisor's side of a list of hosts. Init makes the doors; they are kept
 * here until somebody is at one of them, which many programs never are. Only
 * then is there a relay, a child of the supervisor's, to which they go.
 */
#ifndef NOE_JAIL_KEEPER_H
#define NOE_JAIL_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "jail.h"

struct noe_keeper {
    const struct noe_jail *jail;
    int visitors; /* readable when somebody is at a door; -1: nobody waits */
    int relay;    /* socket to the relay, or -1 */
    pid_t pid;    /* the relay's, or -1 */
    unsigned door_count; /* that are kept */
    unsigned asked;      /* questions of the relay's, so far */
};

void noe_keeper_begin(struct noe_keeper *keeper, const struct noe_jail *jail);

/* Takes doors that have come, which are the keeper's in any case. 0, or -1 with
 * errno. */
int noe_keeper_take(struct noe_keeper *keeper,
                    const struct noe_jail_given *given);

/* What to poll for reading; -1: nothing. */
int noe_keeper_pollfd(const struct noe_keeper *keeper);

/* It can be read from. */
void noe_keeper_hear(struct noe_keeper *keeper);

/* What init saw of the program goes on to the relay. */
void noe_keeper_tell(struct noe_keeper *keeper,
                     const struct noe_jail_event *event);

/* Likewise what the host has answered. */
void noe_keeper_answer(struct noe_keeper *keeper,
                       const struct noe_jail_answer *answer);

/* The relay has ended by itself, and is reaped here: from then on every door is
 * shut. */
void noe_keeper_lose(struct noe_keeper *keeper);

/* The program has been killed, or has ended: what the relay tells is passed on,
 * and then nobody is at the doors. */
void noe_keeper_end(struct noe_keeper *keeper);

#endif
