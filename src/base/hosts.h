/* SPDX-License-Identifier: MIT */
/*
 * A list of hosts: what an entry says, which names it covers, and which
 * addresses nobody means who names a host.
 *
 * An entry is as the host writes it, and no other spelling is taken:
 * "api.example.com:443", "*.example.org:443", "10.0.0.5:5432",
 * "[2001:db8::1]:1" and, for a name that may lead to this machine and its
 * neighbours, "private:db.example.com:5432". "?:443" stands for every name on
 * that port about which the host, when it is asked, says yes.
 */
#ifndef NOE_HOSTS_H
#define NOE_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NOE_HOSTS_MAX = 256,    /* entries of a list */
    NOE_HOST_NAME_MAX = 253 /* bytes of a name (RFC 1035) */
};

enum noe_host_kind {
    NOE_HOST_NAME,
    NOE_HOST_WILDCARD, /* every name below it, not itself */
    NOE_HOST_ASKED,    /* every name that the host says yes to */
    NOE_HOST_V4,
    NOE_HOST_V6
};

struct noe_host {
    enum noe_host_kind kind;
    bool private;
    uint16_t port;
    const char *name; /* in the entry's text: not ended by NUL */
    size_t name_len;
    uint8_t address[16]; /* the first four of it for V4 */
};

/* 0, or -1: it is none. */
int noe_host_parse(const char *text, struct noe_host *host);

/* Whether a name is one: lower case, labels of letters, digits, '-' and '_',
 * no dot at the end. */
bool noe_host_is_name(const char *name, size_t len);

/* Whether an entry covers a name, in lower case. */
bool noe_host_covers(const struct noe_host *host, const char *name, size_t len);

enum noe_reach {
    NOE_REACH_PUBLIC,
    NOE_REACH_PRIVATE, /* this machine and its neighbours: for private entries
                        */
    NOE_REACH_NEVER    /* only by its own number in the list */
};

/* Of an address of four (v4) or sixteen bytes; one within another is looked at
 * as what it is in truth. */
enum noe_reach noe_address_reach(const uint8_t *address, bool v6);

#endif
