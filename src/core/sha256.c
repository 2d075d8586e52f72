/* SPDX-License-Identifier: MIT */
#include "sha256.h"

#include <mbedtls/sha256.h>
#include <mbedtls/version.h>

/* The function that reports errors lost its suffix in 3.0; the one that was
 * called mbedtls_sha256 before returned nothing. */
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#define sha256_bytes mbedtls_sha256
#else
#define sha256_bytes mbedtls_sha256_ret
#endif

int noe_sha256(const void *data, size_t len,
               unsigned char out[NOE_SHA256_BYTES])
{
    static const unsigned char nothing[1];
    const unsigned char *bytes = data != NULL ? data : nothing;

    return sha256_bytes(bytes, len, out, 0) == 0 ? 0 : -1;
}
