/* SPDX-License-Identifier: MIT */
#include "base/dns.h"

#include <stdbool.h>
#include <string.h>

enum {
    HEADER = 12,
    QUESTION_END = 4, /* type and class */
    OPT_BYTES = 11,
    NAME_MAX_BYTES = 253,
    TTL_SECS = 60,

    TYPE_A = 1,
    TYPE_AAAA = 28,
    TYPE_OPT = 41,
    TYPE_ANY = 255,
    CLASS_IN = 1,

    NO_ERROR = 0,
    FORMAT_ERROR = 1,
    SERVER_FAILURE = 2,
    NO_SUCH_NAME = 3,
    NOT_IMPLEMENTED = 4,
    REFUSED = 5
};

static unsigned read_16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static uint8_t *write_16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

struct question {
    char name[NAME_MAX_BYTES + 1];
    size_t name_len;
    bool plain; /* its name is of letters, digits, '-' and '_' */
    unsigned type;
    unsigned class;
    size_t end; /* in the query */
    bool has_opt;
};

static char lower(uint8_t byte)
{
    return (char)(byte >= 'A' && byte <= 'Z' ? byte + 'a' - 'A' : byte);
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Nothing stands before a question that it could point to. The place after the
 * name; 0: it is none. */
static size_t read_name(const uint8_t *query, size_t len, struct question *q)
{
    size_t at = HEADER;

    q->plain = true;
    q->name_len = 0;
    while (at < len && query[at] != 0) {
        size_t label = query[at];
        size_t dot = q->name_len > 0;
        if (label > 63 || at + 1 + label > len ||
            q->name_len + dot + label > NAME_MAX_BYTES)
            return 0;
        if (dot)
            q->name[q->name_len++] = '.';
        for (size_t i = 0; i < label; i++) {
            char c = lower(query[at + 1 + i]);
            q->plain = q->plain && is_plain(c);
            q->name[q->name_len++] = c;
        }
        at += 1 + label;
    }
    return at < len ? at + 1 : 0;
}

static bool read_question(const uint8_t *query, size_t len, struct question *q)
{
    size_t at = read_name(query, len, q);

    if (at == 0 || len - at < QUESTION_END)
        return false;
    q->type = read_16(query + at);
    q->class = read_16(query + at + 2);
    q->end = at + QUESTION_END;
    bool alone = read_16(query + 6) == 0 && read_16(query + 8) == 0;
    q->has_opt = alone && read_16(query + 10) > 0 &&
                 len - q->end >= OPT_BYTES && query[q->end] == 0 &&
                 read_16(query + q->end + 1) == TYPE_OPT;
    return true;
}

/* Its data must follow. */
static uint8_t *write_record(uint8_t *at, unsigned type, size_t data_len)
{
    at = write_16(at, 0xc000 | HEADER); /* the name is the question's */
    at = write_16(at, type);
    at = write_16(at, CLASS_IN);
    at = write_16(at, 0);
    at = write_16(at, TTL_SECS);
    return write_16(at, (unsigned)data_len);
}

static uint8_t *write_address(uint8_t *at, unsigned type, const void *address,
                              size_t len)
{
    at = write_record(at, type, len);
    memcpy(at, address, len);
    return at + len;
}

static bool is_localhost(const struct question *q)
{
    static const char name[] = "localhost";
    size_t len = sizeof(name) - 1;

    return q->name_len >= len &&
           memcmp(q->name + q->name_len - len, name, len) == 0 &&
           (q->name_len == len || q->name[q->name_len - len - 1] == '.');
}

struct reply {
    uint8_t *at;
    unsigned code;
    unsigned answers;
};

/* RFC 6761: whoever it is asked for. */
static void answer_localhost(const struct question *q, struct reply *reply)
{
    static const uint8_t v4[4] = {127, 0, 0, 1};
    static const uint8_t v6[16] = {[15] = 1};

    reply->code = NO_ERROR;
    if (q->type == TYPE_A || q->type == TYPE_ANY)
        reply->at = write_address(reply->at, TYPE_A, v4, sizeof(v4));
    else if (q->type == TYPE_AAAA)
        reply->at = write_address(reply->at, TYPE_AAAA, v6, sizeof(v6));
    else
        return;
    reply->answers = 1;
}

static void answer_name(const struct question *q, struct reply *reply,
                        noe_dns_lookup *lookup, void *data)
{
    uint8_t address[4];
    enum noe_dns_found found = lookup(q->name, q->name_len, address, data);

    reply->code = found == NOE_DNS_ADDRESS  ? NO_ERROR
                  : found == NOE_DNS_ABSENT ? NO_SUCH_NAME
                                            : SERVER_FAILURE;
    if (found != NOE_DNS_ADDRESS || (q->type != TYPE_A && q->type != TYPE_ANY))
        return;
    reply->at = write_address(reply->at, TYPE_A, address, sizeof(address));
    reply->answers = 1;
}

static void answer(const struct question *q, struct reply *reply,
                   noe_dns_lookup *lookup, void *data)
{
    if (q->class != CLASS_IN)
        reply->code = REFUSED;
    else if (!q->plain || q->name_len == 0)
        reply->code = NO_SUCH_NAME;
    else if (is_localhost(q))
        answer_localhost(q, reply);
    else
        answer_name(q, reply, lookup, data);
}

static void write_header(const uint8_t *query, uint8_t *out,
                         const struct reply *reply, bool has_question,
                         bool has_opt)
{
    enum { ANSWER = 0x80, AUTHORITATIVE = 0x04, RECURSES = 0x80 };

    memcpy(out, query, 2);
    out[2] = (uint8_t)(ANSWER | AUTHORITATIVE | (query[2] & 0x79));
    out[3] = (uint8_t)(RECURSES | reply->code);
    write_16(out + 4, has_question);
    write_16(out + 6, reply->answers);
    write_16(out + 8, 0);
    write_16(out + 10, has_opt);
}

static uint8_t *write_opt(uint8_t *at)
{
    memset(at, 0, OPT_BYTES);
    write_16(at + 1, TYPE_OPT);
    write_16(at + 3, NOE_DNS_MAX_REPLY);
    return at + OPT_BYTES;
}

size_t noe_dns_reply(const uint8_t *query, size_t len, uint8_t *out,
                     noe_dns_lookup *lookup, void *data)
{
    struct question q = {.has_opt = false};
    struct reply reply = {out + HEADER, FORMAT_ERROR, 0};
    bool asked = false;

    if (len < HEADER || len > NOE_DNS_MAX_QUERY || (query[2] & 0x80) != 0)
        return 0;
    if ((query[2] & 0x78) != 0)
        reply.code = NOT_IMPLEMENTED;
    else if (read_16(query + 4) == 1 && read_question(query, len, &q)) {
        asked = true;
        memcpy(out + HEADER, query + HEADER, q.end - HEADER);
        reply.at = out + q.end;
        answer(&q, &reply, lookup, data);
        if (q.has_opt)
            reply.at = write_opt(reply.at);
    }
    write_header(query, out, &reply, asked, q.has_opt);
    return (size_t)(reply.at - out);
}
