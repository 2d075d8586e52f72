/* SPDX-License-Identifier: MIT */
/* Between the relay and who resolves names for it: one message each way, of a
 * SOCK_SEQPACKET pair. */
#ifndef NOE_JAIL_LOOKUP_H
#define NOE_JAIL_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hosts.h"

enum { NOE_LOOKUP_MAX = 16 /* addresses of a name that are tried */ };

enum noe_lookup_status {
    NOE_LOOKUP_FOUND = 0,
    NOE_LOOKUP_ABSENT,
    NOE_LOOKUP_TIMED_OUT,
    NOE_LOOKUP_NO_RESOLVER /* this machine has no getent */
};

struct noe_lookup_question {
    uint32_t id;
    char name[NOE_HOST_NAME_MAX + 1];
};

struct noe_lookup_address {
    uint8_t v6;
    uint8_t bytes[16];
};

struct noe_lookup_answer {
    uint32_t id;
    uint32_t status;
    uint32_t count;
    struct noe_lookup_address addresses[NOE_LOOKUP_MAX];
};

/* Reads what `getent ahosts` prints: an address at the beginning of each line,
 * which come several times. How many were added. */
uint32_t noe_lookup_read(const char *text, struct noe_lookup_answer *answer);

#endif
