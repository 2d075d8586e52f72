/* SPDX-License-Identifier: MIT */
#include "base/hosts.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/inside.h"

enum { LABEL_MAX = 63 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || c == '_' || is_digit(c);
}

/* A resolver takes a name whose last label is a number for an address. */
static bool is_number(const char *label, size_t len)
{
    size_t i = 0;

    while (i < len && is_digit(label[i]))
        i++;
    return i == len || (label[0] == '0' && len > 1 && label[1] == 'x');
}

bool noe_host_is_name(const char *name, size_t len)
{
    size_t start = 0;

    if (len == 0 || len > NOE_HOST_NAME_MAX)
        return false;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && name[i] != '.') {
            if (!is_letter(name[i]) && (name[i] != '-' || i == start))
                return false;
            continue;
        }
        if (i == start || i - start > LABEL_MAX || name[i - 1] == '-')
            return false;
        if (i == len)
            return !is_number(name + start, i - start);
        start = i + 1;
    }
    return false;
}

/* The digits at the end, without a zero in front. 0: there is no port. */
static uint16_t read_port(const char *text)
{
    unsigned port = 0;

    if (*text == '0')
        return 0;
    for (; is_digit(*text) && port <= UINT16_MAX; text++)
        port = port * 10 + (unsigned)(*text - '0');
    return *text == '\0' && port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* Of the text alone: musl's and glibc's inet_pton take the same. */
static bool read_address(const char *text, size_t len, int family,
                         uint8_t *address)
{
    char copy[INET6_ADDRSTRLEN];

    if (len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(family, copy, address) == 1;
}

/* What is no host's address; and those that the sandbox has for itself. */
static bool is_some_host(const struct noe_host *host)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t none[16] = {0};
    static const uint8_t own[16] = NOE_INSIDE_V6;
    static const uint8_t server[4] = {127, 0, 0, 1};
    const uint8_t *at = host->address;

    if (host->kind == NOE_HOST_V4)
        return at[0] != 0 && at[0] < 224 &&
               !(at[0] == 198 && (at[1] & 0xfe) == 18) &&
               !(host->port == NOE_INSIDE_DNS && memcmp(at, server, 4) == 0);
    return at[0] != 0xff && memcmp(at, mapped, sizeof(mapped)) != 0 &&
           memcmp(at, none, sizeof(none)) != 0 &&
           memcmp(at, own, sizeof(own)) != 0;
}

static bool read_host(const char *text, size_t len, struct noe_host *host)
{
    host->name = text;
    host->name_len = len;
    if (len == 1 && text[0] == '?') {
        host->kind = NOE_HOST_ASKED;
        return true;
    }
    if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
        host->kind = NOE_HOST_V6;
        return read_address(text + 1, len - 2, AF_INET6, host->address) &&
               is_some_host(host);
    }
    if (read_address(text, len, AF_INET, host->address)) {
        host->kind = NOE_HOST_V4;
        return is_some_host(host);
    }
    host->kind = NOE_HOST_NAME;
    if (len > 2 && text[0] == '*' && text[1] == '.') {
        host->kind = NOE_HOST_WILDCARD;
        host->name += 2;
        host->name_len -= 2;
    }
    return noe_host_is_name(host->name, host->name_len);
}

int noe_host_parse(const char *text, struct noe_host *host)
{
    static const char mark[] = "private:";

    *host = (struct noe_host){.kind = NOE_HOST_NAME};
    if (strncmp(text, mark, sizeof(mark) - 1) == 0) {
        host->private = true;
        text += sizeof(mark) - 1;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return -1;
    host->port = read_port(colon + 1);
    if (host->port == 0 || !read_host(text, (size_t)(colon - text), host))
        return -1;
    return 0;
}

bool noe_host_covers(const struct noe_host *host, const char *name, size_t len)
{
    size_t own = host->name_len;

    if (host->kind == NOE_HOST_ASKED)
        return true;
    if (host->kind == NOE_HOST_NAME)
        return len == own && memcmp(name, host->name, len) == 0;
    return host->kind == NOE_HOST_WILDCARD && len > own + 1 &&
           name[len - own - 1] == '.' &&
           memcmp(name + len - own, host->name, own) == 0;
}

struct range {
    uint8_t address[4];
    uint8_t bits;
    enum noe_reach reach;
};

/* RFC 6890 and what came after it. */
static const struct range RANGES_V4[] = {
    {{0, 0, 0, 0}, 8, NOE_REACH_NEVER},
    {{10, 0, 0, 0}, 8, NOE_REACH_PRIVATE},
    {{100, 64, 0, 0}, 10, NOE_REACH_PRIVATE},
    {{127, 0, 0, 0}, 8, NOE_REACH_PRIVATE},
    {{169, 254, 0, 0}, 16, NOE_REACH_NEVER}, /* clouds' metadata, too */
    {{172, 16, 0, 0}, 12, NOE_REACH_PRIVATE},
    {{192, 0, 0, 0}, 24, NOE_REACH_NEVER}, /* likewise: 192.0.0.192 */
    {{192, 0, 2, 0}, 24, NOE_REACH_PRIVATE},
    {{192, 88, 99, 0}, 24, NOE_REACH_NEVER},
    {{192, 168, 0, 0}, 16, NOE_REACH_PRIVATE},
    {{198, 18, 0, 0}, 15, NOE_REACH_PRIVATE},
    {{198, 51, 100, 0}, 24, NOE_REACH_PRIVATE},
    {{203, 0, 113, 0}, 24, NOE_REACH_PRIVATE},
    {{224, 0, 0, 0}, 3, NOE_REACH_NEVER},
};

static enum noe_reach reach_v4(const uint8_t *address)
{
    for (size_t i = 0; i < sizeof(RANGES_V4) / sizeof(*RANGES_V4); i++) {
        const struct range *range = &RANGES_V4[i];
        uint32_t mask = ~(uint32_t)0 << (32 - range->bits);
        uint32_t differs = 0;
        for (int byte = 0; byte < 4; byte++)
            differs =
                differs << 8 | (uint32_t)(address[byte] ^ range->address[byte]);
        if ((differs & mask) == 0)
            return range->reach;
    }
    return NOE_REACH_PUBLIC;
}

static bool begins(const uint8_t *address, const uint8_t *prefix, size_t bytes)
{
    return memcmp(address, prefix, bytes) == 0;
}

static const uint8_t ZEROES[16];
static const uint8_t NAT64[12] = {0, 0x64, 0xff, 0x9b};

/* Of those that stand for one of version 4, where it is; NULL: it stands for
 * itself. ::ffff:0:0/96 and ::/96 are the machine's own ways of writing it,
 * 64:ff9b::/96 is NAT64, 2002::/16 is 6to4. */
static const uint8_t *inner_v4(const uint8_t *address)
{
    bool mapped = begins(address, ZEROES, 10) && address[10] == 0xff &&
                  address[11] == 0xff;
    bool compatible = begins(address, ZEROES, 12) &&
                      !begins(address, ZEROES, 15); /* neither :: nor ::1 */

    if (mapped || compatible || begins(address, NAT64, 12))
        return address + 12;
    return address[0] == 0x20 && address[1] == 0x02 ? address + 2 : NULL;
}

static enum noe_reach reach_v6(const uint8_t *address)
{
    static const uint8_t teredo[4] = {0x20, 0x01, 0, 0};
    static const uint8_t documents[4] = {0x20, 0x01, 0x0d, 0xb8};
    static const uint8_t metadata[4] = {0xfd, 0x00, 0x0e, 0xc2}; /* a cloud's */
    bool loopback = begins(address, ZEROES, 15) && address[15] == 1;

    if (begins(address, metadata, 4) || begins(address, teredo, 4))
        return NOE_REACH_NEVER;
    if (loopback || (address[0] & 0xfe) == 0xfc ||
        begins(address, documents, 4))
        return NOE_REACH_PRIVATE;
    return (address[0] & 0xe0) == 0x20 ? NOE_REACH_PUBLIC : NOE_REACH_NEVER;
}

/* Where there is NAT64, it is the way to what is public; the other disguises
 * nobody wears who needs none. */
enum noe_reach noe_address_reach(const uint8_t *address, bool v6)
{
    if (!v6)
        return reach_v4(address);
    const uint8_t *inner = inner_v4(address);
    if (inner == NULL)
        return reach_v6(address);
    enum noe_reach reach = reach_v4(inner);
    if (reach == NOE_REACH_PUBLIC && !begins(address, NAT64, 12))
        return NOE_REACH_NEVER;
    return reach;
}
