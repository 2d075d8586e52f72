/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "core/sha256.h"
#include "tap.h"

/* FIPS 180-4, and NIST's CAVP vectors for bytes. */
static const struct {
    const char *text;
    const char *hex;
} vectors[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
     "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    {"\xd3",
     "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
};

static int hash_is(const void *data, size_t len, const char *expected)
{
    unsigned char hash[NOE_SHA256_BYTES];
    char hex[2 * NOE_SHA256_BYTES + 1];

    if (noe_sha256(data, len, hash) != 0)
        return 0;
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return strcmp(hex, expected) == 0;
}

int main(void)
{
    static char million[1000000];

    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        ok(hash_is(vectors[i].text, strlen(vectors[i].text), vectors[i].hex),
           "a known answer");
    ok(hash_is(NULL, 0, vectors[0].hex), "nothing needs no address");
    memset(million, 'a', sizeof(million));
    ok(hash_is(million, sizeof(million),
               "cdc76e5c9914fb9281a1c7e284d73e67"
               "f1809a48a497200e046d39ccc7112cd0"),
       "a million bytes");
    return plan_done();
}
