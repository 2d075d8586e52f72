/* SPDX-License-Identifier: MIT */
#ifndef NOE_ARGV_H
#define NOE_ARGV_H

#include <stddef.h>

#include "buffer.h"

/*
 * Builds a NULL-terminated vector of strings. Failures to get memory are
 * remembered and told once, by noe_argv_finish.
 */
struct noe_argv {
    struct noe_buffer bytes; /* each string with its NUL */
    size_t count;
    int failed;
};

void noe_argv_add(struct noe_argv *argv, const char *text);

/* Several at once; the last argument is NULL. */
void noe_argv_add_all(struct noe_argv *argv, ...);

/* `prefix` and `text` as one string. */
void noe_argv_add_joined(struct noe_argv *argv, const char *prefix,
                         const char *text);

void noe_argv_add_number(struct noe_argv *argv, unsigned long long number);

/* The vector in one block for free(), or NULL if there was no memory. The
 * builder is empty afterwards. */
char **noe_argv_finish(struct noe_argv *argv);

void noe_argv_free(struct noe_argv *argv);

#endif
