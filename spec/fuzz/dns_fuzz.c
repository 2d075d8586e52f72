/* SPDX-License-Identifier: MIT */
/*
 * A stage's bytes to the name server: whatever they are, the answer fits, has
 * the question as it came, says as many records as it has, and no name is
 * looked up but one of letters, digits, '-', '_' and dots between labels.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/dns.h"
#include "base/hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static unsigned asked;

static enum noe_dns_found find(const char *name, size_t len, uint8_t address[4],
                               void *data)
{
    require(data == &asked && len > 0 && len <= NOE_HOST_NAME_MAX);
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        require((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                c == '_' || c == '.');
        require(c != '.' || (i > 0 && i + 1 < len && name[i - 1] != '.'));
    }
    asked++;
    memset(address, 7, 4);
    return name[0] == 'f'   ? NOE_DNS_FAILED
           : name[0] == 'a' ? NOE_DNS_ABSENT
                            : NOE_DNS_ADDRESS;
}

/* The place after a question's name that has no pointers. */
static size_t after_name(const uint8_t *reply, size_t len)
{
    size_t at = 12;

    while (at < len && reply[at] != 0) {
        require(reply[at] < 64);
        at += 1u + reply[at];
    }
    require(at < len);
    return at + 1;
}

static void check(const uint8_t *query, const uint8_t *reply, size_t len)
{
    unsigned questions = reply[5];
    unsigned answers = reply[7];
    unsigned more = reply[11];
    size_t at = 12;

    require(len >= 12 && memcmp(reply, query, 2) == 0);
    require((reply[2] & 0x80) != 0 && (reply[2] & 0x02) == 0);
    require(questions <= 1 && answers <= 1 && more <= 1);
    require(reply[4] == 0 && reply[6] == 0 && reply[8] == 0 && reply[9] == 0 &&
            reply[10] == 0);
    if (questions > 0) {
        at = after_name(reply, len) + 4;
        require(at <= len && memcmp(reply + 12, query + 12, at - 12) == 0);
    }
    if (answers > 0) {
        require((reply[3] & 15) == 0 && questions == 1 && at + 12 <= len);
        require(reply[at] == 0xc0 && reply[at + 1] == 12);
        at += 12u + ((size_t)reply[at + 10] << 8) + reply[at + 11];
    }
    if (more > 0)
        at += 11;
    require(at == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *reply = malloc(NOE_DNS_MAX_REPLY); /* so that more is seen */
    uint8_t *query = malloc(size + 1);

    require(reply != NULL && query != NULL);
    memcpy(query, data, size);
    asked = 0;
    size_t len = noe_dns_reply(query, size, reply, find, &asked);
    require(len <= NOE_DNS_MAX_REPLY && asked <= 1);
    require(memcmp(query, data, size) == 0);
    if (len > 0)
        check(query, reply, len);
    free(query);
    free(reply);
    return 0;
}
