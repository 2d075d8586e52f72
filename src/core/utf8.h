/* SPDX-License-Identifier: MIT */
#ifndef NOE_UTF8_H
#define NOE_UTF8_H

#include <stddef.h>

/* The number of bytes before the first character that is not UTF-8 (RFC 3629);
 * `length`, if all are. */
size_t noe_utf8_check(const char *text, size_t length);

#endif
