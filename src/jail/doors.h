/* SPDX-License-Identifier: MIT */
/*
 * The doors of a sandbox that may reach the hosts of a list: its name server's
 * sockets and, for each (name, port) of the list, a listener on an address that
 * stands for the name. They are made in the sandbox's network namespace by who
 * owns it, and served outside by the relay. Both read the list in the same way,
 * and so know which descriptor is which.
 */
#ifndef NOE_JAIL_DOORS_H
#define NOE_JAIL_DOORS_H

#include <stdbool.h>

#include "base/hosts.h"
#include "jail.h"

enum {
    NOE_DOOR_UDP = 0, /* the name server's two, before the listeners */
    NOE_DOOR_TCP,
    NOE_DOOR_FIRST,
    NOE_DOORS_MAX = 640,
    NOE_SPARE_DOORS = 192, /* for names that only a wildcard covers */
    NOE_SPARE_NAMES = 64
};

enum noe_door_kind {
    NOE_DOOR_OF_NAME,
    NOE_DOOR_OF_ADDRESS, /* the list has its number */
    NOE_DOOR_SPARE       /* bound, and to be opened for a name */
};

/* Whether a name may be spoken to. */
enum noe_leave {
    NOE_LEAVE_NONE,
    NOE_LEAVE_ASK, /* if the host says yes */
    NOE_LEAVE_GIVEN
};

struct noe_door {
    enum noe_door_kind kind;
    bool v6;
    bool private;
    enum noe_leave leave;
    uint16_t port;
    unsigned of; /* which name, or entry; of spares, which of them */
    uint8_t address[16];
};

struct noe_doors {
    struct noe_host hosts[NOE_HOSTS_MAX];
    unsigned host_count;
    unsigned name_of[NOE_HOSTS_MAX]; /* of an entry that is a name: which */
    const char *names[NOE_HOSTS_MAX];
    size_t name_lens[NOE_HOSTS_MAX];
    unsigned name_count;
    unsigned spare_names;
    bool learns; /* what is tried of any name is to be seen */
    struct noe_door doors[NOE_DOORS_MAX];
    unsigned count;
};

/* What the list of a run comes to. 0, or -1 with errno (EINVAL: what is no
 * entry; E2BIG: too many). */
int noe_doors_plan(struct noe_doors *doors, const struct noe_jail *jail);

/* On this port; *private: wherever the name leads. */
enum noe_leave noe_doors_allow(const struct noe_doors *doors, const char *name,
                               size_t len, uint16_t port, bool *private);

bool noe_door_is_loopback(const struct noe_door *door);

/* The address inside of a name of the list; of a spare one. */
void noe_doors_address(unsigned name, uint8_t address[4]);
void noe_doors_spare_address(unsigned spare, uint8_t address[4]);

#endif
