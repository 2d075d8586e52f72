/* SPDX-License-Identifier: MIT */
#ifndef NOE_ERROR_H
#define NOE_ERROR_H

#include "noether.h"

/*
 * Fills `err` (which may be NULL) and returns -1, so that a failing function
 * can end in `return noe_error_set(...)`. `code` is an errno, or 0 where the
 * sentence says it all; for an errno its text is appended to the sentence.
 */
int noe_error_set(struct noe_error *err, enum noe_fault fault, int code,
                  const char *operation, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
