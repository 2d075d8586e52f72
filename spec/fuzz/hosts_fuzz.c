/* SPDX-License-Identifier: MIT */
/*
 * Entries of a list of hosts, names that are compared with them, and what
 * getent(1) prints. An entry that is taken covers nothing but what ends as it
 * does, at a dot; of an address nothing is taken that is not one.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hosts.h"
#include "jail/lookup.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int64_t noe_jail_clock_us(void)
{
    return 0;
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_entry(const char *entry, const char *name, size_t len)
{
    struct noe_host host;

    if (noe_host_parse(entry, &host) != 0)
        return;
    require(host.port > 0 && host.name >= entry &&
            host.name + host.name_len < entry + strlen(entry));
    bool named = host.kind == NOE_HOST_NAME || host.kind == NOE_HOST_WILDCARD;
    require(!named || noe_host_is_name(host.name, host.name_len));
    if (!noe_host_covers(&host, name, len))
        return;
    require(named && len >= host.name_len);
    require(memcmp(name + len - host.name_len, host.name, host.name_len) == 0);
    require(host.kind == NOE_HOST_NAME
                ? len == host.name_len
                : len > host.name_len + 1 &&
                      name[len - host.name_len - 1] == '.');
}

static void check_output(const char *text)
{
    struct noe_lookup_answer answer = {.count = 0};

    require(noe_lookup_read(text, &answer) == answer.count);
    require(answer.count <= NOE_LOOKUP_MAX);
    for (uint32_t i = 0; i < answer.count; i++) {
        const struct noe_lookup_address *address = &answer.addresses[i];
        enum noe_reach reach =
            noe_address_reach(address->bytes, address->v6 != 0);
        require(reach <= NOE_REACH_NEVER);
        /* What is in another is at most as near as that. */
        if (!address->v6 && reach != NOE_REACH_PUBLIC) {
            uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff};
            memcpy(mapped + 12, address->bytes, 4);
            require(noe_address_reach(mapped, true) == reach);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    size_t len = strlen(text);
    const char *second = len < size ? text + len + 1 : "";
    check_entry(text, second, strlen(second));
    check_output(text);
    free(text);
    return 0;
}
