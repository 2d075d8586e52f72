/* SPDX-License-Identifier: MIT */
#ifndef NOE_SHA256_H
#define NOE_SHA256_H

#include <stddef.h>

#define NOE_SHA256_BYTES 32

/* The SHA-256 (FIPS 180-4) of `len` bytes; `data` may be NULL if len is 0.
 * 0, or -1 if the library has no working implementation. */
int noe_sha256(const void *data, size_t len,
               unsigned char out[NOE_SHA256_BYTES]);

#endif
