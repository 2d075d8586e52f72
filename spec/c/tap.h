/* SPDX-License-Identifier: MIT */
/* A test program calls ok() for each thing that must hold, and ends in
 * `return plan_done();`. It speaks TAP. */
#ifndef NOE_TAP_H
#define NOE_TAP_H

#include <stdio.h>

static int tap_count;
static int tap_failed;

/* True if `expr` is; says where, if it is not. */
#define ok(expr, name) tap_ok((expr) ? 1 : 0, (name), #expr, __FILE__, __LINE__)

static inline int tap_ok(int passed, const char *name, const char *expr,
                         const char *file, int line)
{
    tap_count++;
    tap_failed += !passed;
    printf("%sok %d - %s\n", passed ? "" : "not ", tap_count, name);
    if (!passed)
        printf("# %s:%d: %s\n", file, line, expr);
    fflush(stdout);
    return passed;
}

/* Prints the plan; returns the exit code. */
static inline int plan_done(void)
{
    printf("1..%d\n", tap_count);
    return tap_failed != 0 || tap_count == 0;
}

#endif
