/* SPDX-License-Identifier: MIT */
/* A name server's answer to one question (RFC 1035, RFC 6891). What is asked
 * comes from a stage: any bytes. */
#ifndef NOE_DNS_H
#define NOE_DNS_H

#include <stddef.h>
#include <stdint.h>

enum {
    NOE_DNS_MAX_QUERY = 4096,
    NOE_DNS_MAX_REPLY = 512 /* all that a datagram may have in any case */
};

enum noe_dns_found {
    NOE_DNS_ADDRESS, /* of version 4, and no other record */
    NOE_DNS_ABSENT,
    NOE_DNS_FAILED
};

/* Looks a name up: in lower case, without the last dot, of letters, digits,
 * '-', '_' and '.' alone, and not ended by NUL. */
typedef enum noe_dns_found noe_dns_lookup(const char *name, size_t len,
                                          uint8_t address[4], void *data);

/* Writes the answer into `reply`, which has NOE_DNS_MAX_REPLY bytes. Its
 * length; 0: this deserves none. */
size_t noe_dns_reply(const uint8_t *query, size_t len, uint8_t *reply,
                     noe_dns_lookup *lookup, void *data);

#endif
