/* SPDX-License-Identifier: MIT */
/* What a list of hosts lets through, as the relay sees it; and the answers of
 * its name server. */
#include <arpa/inet.h>
#include <string.h>

#include "base/dns.h"
#include "base/hosts.h"
#include "tap.h"

static bool parses(const char *text)
{
    struct noe_host host;

    return noe_host_parse(text, &host) == 0;
}

static const char *const good[] = {"api.example.com:443",
                                   "*.example.org:1",
                                   "10.0.0.5:5432",
                                   "[2001:db8::1]:65535",
                                   "private:db:5432",
                                   "_a.b-c.xn--bcher-kva:80",
                                   "private:*.a.b:80",
                                   "169.254.169.254:80",
                                   "?:443",
                                   "private:?:1",
                                   "127.0.0.1:54",
                                   "127.0.0.2:53",
                                   "[::1]:53"};

static const char *const bad[] = {"",
                                  "a",
                                  "a:",
                                  ":1",
                                  "a:0",
                                  "a:65536",
                                  "a:70000",
                                  "a:01",
                                  "a:1x",
                                  "A:1",
                                  "a.:1",
                                  ".a:1",
                                  "a..b:1",
                                  "-a:1",
                                  "a-:1",
                                  "*:1",
                                  "*.:1",
                                  "a.*:1",
                                  "*.*.a:1",
                                  "a b:1",
                                  "127.1:1",
                                  "1:1",
                                  "0x7f:1",
                                  "a.1:1",
                                  "1.2.3.256:1",
                                  "01.2.3.4:1",
                                  "0.0.0.0:1",
                                  "224.0.0.1:1",
                                  "198.18.0.1:1",
                                  "198.19.9.9:1",
                                  "127.0.0.1:53",
                                  "private:127.0.0.1:53",
                                  "[fd6e:6f65:7468::1]:1",
                                  "?.a:1",
                                  "*.?:1",
                                  "??:1",
                                  "[::]:1",
                                  "[ff02::1]:1",
                                  "[::ffff:1.2.3.4]:1",
                                  "[1.2.3.4]:1",
                                  "[::1:1",
                                  "::1:1",
                                  "private:private:a:1",
                                  "a\n:1",
                                  "http://a:1",
                                  "b\xc3\xbc:1"};

static void test_entries(void)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        ok(parses(good[i]), good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        ok(!parses(bad[i]), "what is no entry is refused");
}

static bool covers(const char *entry, const char *name)
{
    struct noe_host host;

    return noe_host_parse(entry, &host) == 0 &&
           noe_host_covers(&host, name, strlen(name));
}

static void test_names(void)
{
    ok(covers("a.example:1", "a.example"), "a name covers itself");
    ok(!covers("a.example:1", "b.a.example"), "and nothing below it");
    ok(covers("*.example:1", "a.example"), "a wildcard covers what is below");
    ok(covers("*.example:1", "a.b.example"), "however deep");
    ok(!covers("*.example:1", "example"), "and not itself");
    ok(!covers("*.example:1", "evilexample"), "and no other ending");
    ok(!covers("*.example:1", ".example"), "and no empty label");
    ok(!covers("1.2.3.4:1", "1.2.3.4"), "an address covers no name");
    ok(covers("?:1", "a.b.example"), "what is asked about is any name");
    ok(!noe_host_is_name("a.b.", 4), "a name has no dot at its end");
    ok(!noe_host_is_name("a.9", 3), "and no number there");
}

static enum noe_reach reach(const char *text)
{
    uint8_t address[16];
    bool v6 = strchr(text, ':') != NULL;

    if (inet_pton(v6 ? AF_INET6 : AF_INET, text, address) != 1)
        return (enum noe_reach) - 1;
    return noe_address_reach(address, v6);
}

static void test_addresses(void)
{
    static const char *const public[] = {"8.8.8.8",         "1.1.1.1",
                                         "172.32.0.1",      "100.128.0.1",
                                         "198.17.255.255",  "198.20.0.0",
                                         "223.255.255.255", "2606:4700::1111",
                                         "3fff::1",         "64:ff9b::808:808"};
    static const char *const private[] = {
        "10.0.0.1",         "10.255.255.255",  "127.0.0.1",
        "127.255.255.255",  "172.16.0.1",      "172.31.255.255",
        "192.168.1.1",      "100.64.0.1",      "100.127.255.255",
        "198.18.0.1",       "198.19.255.255",  "192.0.2.1",
        "198.51.100.7",     "203.0.113.9",     "::1",
        "fc00::1",          "fdff::1",         "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1",
        "64:ff9b::7f00:1",  "64:ff9b::a00:1",  "2002:7f00:1::",
        "2002:a00:1::1"};
    static const char *const never[] = {"0.0.0.0",
                                        "0.1.2.3",
                                        "169.254.169.254",
                                        "169.254.0.1",
                                        "192.0.0.192",
                                        "224.0.0.1",
                                        "240.0.0.1",
                                        "255.255.255.255",
                                        "::",
                                        "fe80::1",
                                        "febf::1",
                                        "ff02::1",
                                        "fec0::1",
                                        "fd00:ec2::254",
                                        "::ffff:169.254.169.254",
                                        "64:ff9b::a9fe:a9fe",
                                        "2002:a9fe:a9fe::",
                                        "2001:0:1::1",
                                        "::ffff:8.8.8.8",
                                        "::8.8.8.8",
                                        "2002:808:808::1",
                                        "64:ff9b:1::1",
                                        "100::1",
                                        "5f00::1"};

    for (size_t i = 0; i < sizeof(public) / sizeof(*public); i++)
        ok(reach(public[i]) == NOE_REACH_PUBLIC, public[i]);
    for (size_t i = 0; i < sizeof(private) / sizeof(*private); i++)
        ok(reach(private[i]) == NOE_REACH_PRIVATE, private[i]);
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
        ok(reach(never[i]) == NOE_REACH_NEVER, never[i]);
}

static enum noe_dns_found find(const char *name, size_t len, uint8_t address[4],
                               void *data)
{
    memcpy(address, (const uint8_t[]){198, 18, 0, 2}, 4);
    ++*(int *)data;
    return len == 9 && memcmp(name, "a.example", 9) == 0 ? NOE_DNS_ADDRESS
                                                         : NOE_DNS_ABSENT;
}

static int asked;

static size_t ask(const char *query, size_t len, uint8_t *reply)
{
    asked = 0;
    return noe_dns_reply((const uint8_t *)query, len, reply, find, &asked);
}

#define ASK(text, reply) ask((text), sizeof(text) - 1, (reply))
#define HEAD "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define HEAD_OPT "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"
#define NAME "\1A\7eXample\0"
#define OPT "\0\0\x29\x10\0\0\0\0\0\0\0"

static void test_answers(void)
{
    uint8_t reply[NOE_DNS_MAX_REPLY];
    size_t len = ASK(HEAD NAME "\0\1\0\1", reply);

    ok(len == 12 + 15 + 16 && memcmp(reply, "\x12\x34\x85\x80", 4) == 0 &&
           memcmp(reply + len - 4, "\xc6\x12\0\2", 4) == 0,
       "a listed name has its address, in whatever case");
    ok(memcmp(reply + 12, NAME, 11) == 0, "the question comes back as it was");
    ok(ASK(HEAD NAME "\0\x1c\0\1", reply) == 12 + 15 && reply[3] == 0x80 &&
           reply[7] == 0,
       "and no other record");
    ok(ASK(HEAD "\1b\7example\0\0\1\0\1", reply) == 27 && reply[3] == 0x83,
       "what is not listed does not exist");
    ok(ASK(HEAD_OPT NAME "\0\1\0\1" OPT, reply) == 12 + 15 + 16 + 11 &&
           reply[11] == 1,
       "who speaks EDNS is answered so");
    ok(ASK(HEAD "\x09localhost\0\0\1\0\1", reply) == 12 + 15 + 16 &&
           memcmp(reply + 12 + 15 + 12, "\x7f\0\0\1", 4) == 0 && asked == 0,
       "localhost is the sandbox");
    ok(ASK(HEAD "\x09localhost\0\0\x1c\0\1", reply) == 12 + 15 + 28,
       "in both versions");
    ok(ASK(HEAD NAME "\0\1\0\3", reply) == 27 && reply[3] == 0x85,
       "another class is refused");
    ok(ASK(HEAD "\3a.b\0\0\1\0\1", reply) > 0 && reply[3] == 0x83 && asked == 0,
       "a dot in a label is none between two");
}

static void test_rubbish(void)
{
    uint8_t reply[NOE_DNS_MAX_REPLY];
    char query[NOE_DNS_MAX_QUERY + 1];

    ok(ASK("", reply) == 0 && ASK("\x12\x34\1\0\0\1\0\0\0\0\0", reply) == 0,
       "what has no header has no answer");
    ok(ASK("\x12\x34\x81\x00\0\1\0\0\0\0\0\0" NAME "\0\1\0\1", reply) == 0,
       "nor has an answer");
    ok(ASK("\x12\x34\x11\x00\0\1\0\0\0\0\0\0" NAME "\0\1\0\1", reply) == 12 &&
           (reply[3] & 15) == 4,
       "another operation is not implemented");
    ok(ASK(HEAD "\xc0\x0c\0\1\0\1", reply) == 12 && (reply[3] & 15) == 1,
       "a name that points to itself is none");
    ok(ASK(HEAD "\1a\x3f", reply) == 12 && ASK(HEAD NAME "\0\1\0", reply) == 12,
       "nor is one that is cut off");
    memset(query, 1, sizeof(query));
    memcpy(query, HEAD, 12);
    ok(ask(query, 600, reply) == 12 && (reply[3] & 15) == 1,
       "a name that never ends is none");
    ok(ask(query, sizeof(query), reply) == 0, "too much is not looked at");
}

int main(void)
{
    test_entries();
    test_names();
    test_addresses();
    test_answers();
    test_rubbish();
    return plan_done();
}
