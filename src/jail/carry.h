/* SPDX-License-Identifier: MIT */
/*
 * One connection through the relay: what was accepted inside, and what is
 * connected outside. Bytes go on as they are, in both directions, each as fast
 * as its reader takes them: what cannot be passed on stays in the kernel, whose
 * window closes in the sender's face. They are moved from socket to socket
 * through a pipe, which costs a quarter of a copy here; where there is none
 * left, they are copied. The end of one direction is passed on, and so is a
 * reset.
 */
#ifndef NOE_JAIL_CARRY_H
#define NOE_JAIL_CARRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lookup.h"
#include "pipes.h"

/* What waits in the epoll set: the first member of whoever it belongs to. */
struct noe_source {
    void (*ready)(struct noe_source *source, uint32_t events);
};

struct noe_carried;

struct noe_end {
    struct noe_source source;
    struct noe_carried *of;
    int fd;
    struct noe_pipe *pipe; /* with what is on its way to it; or NULL */
    uint32_t watched;      /* EPOLLIN, EPOLLOUT */
    bool in_set;
    bool over; /* it sends no more, and the other was told */
    bool full; /* it takes no more for now */
};

/* Why a connection was not made, or ended by us. */
enum noe_refusal {
    NOE_REFUSED_NOT = 0,
    NOE_REFUSED_UNLISTED,
    NOE_REFUSED_PRIVATE, /* the name leads to where it may not */
    NOE_REFUSED_ABSENT,  /* the name leads nowhere */
    NOE_REFUSED_NO_RESOLVER,
    NOE_REFUSED_LOOKUP_TIME,
    NOE_REFUSED_CONNECT_TIME,
    NOE_REFUSED_BY_HOST, /* a reset */
    NOE_REFUSED_UNREACHABLE,
    NOE_REFUSED_CONNECTIONS, /* too many at a time */
    NOE_REFUSED_BYTES,       /* too many altogether */
    NOE_REFUSED_NAMES,       /* too many by wildcards */
    NOE_REFUSED_IDLE,
    NOE_REFUSED_DENIED,     /* the host said no */
    NOE_REFUSED_UNANSWERED, /* it said nothing in time */
    NOE_REFUSALS
};

/* Where connections go. */
struct noe_target {
    const char *host; /* as the list has it; of a name the name */
    uint16_t port;
    bool private;       /* it may be anywhere */
    bool literal;       /* the list has its number */
    unsigned name;      /* the relay's number for it */
    uint64_t connected; /* how many connections were made */
    uint64_t bytes_in;
    uint64_t bytes_out;
};

struct noe_carried {
    struct noe_carried *next; /* all there are */
    struct noe_carried *before;
    struct noe_end inner;
    struct noe_end outer;
    struct noe_target *to;
    const struct noe_lookup_answer *found; /* where to try */
    uint32_t tried;
    bool connected;
    bool waiting; /* for leave */
    bool looking; /* for where its name leads */
    bool dead;    /* to be freed when the events at hand are done */
    int64_t until_us;
};

/* What all connections share. */
struct noe_carrier {
    int epoll;
    uint64_t limit;       /* connections at a time */
    uint64_t bytes_limit; /* altogether */
    uint64_t bytes;
    uint64_t count;
    struct noe_carried *first;
    struct noe_carried *dead;
    void (*refused)(const char *host, uint16_t port, enum noe_refusal why);
};

/* Takes over a connection that was accepted inside. NULL: it was refused. */
struct noe_carried *noe_carry_accept(struct noe_carrier *carrier, int fd,
                                     struct noe_target *to);

/* Connects it to the first of these, which stay where they are, that it may be
 * connected to. */
void noe_carry_connect(struct noe_carried *carried,
                       const struct noe_lookup_answer *found);

/* Ends it with a reset, and notes why. */
void noe_carry_refuse(struct noe_carried *carried, enum noe_refusal why);

/* Ends those that have waited too long. */
void noe_carry_check_clock(void);

/* Frees what has ended. */
void noe_carry_sweep(void);

/* Closes a socket so that its peer notices that something is wrong. */
void noe_carry_reset(int fd);

#endif
