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

/* The caller's, as far as the caller knows it. NULL is allowed. */
void noe_error_copy(struct noe_error *err, const struct noe_error *from);

#endif
