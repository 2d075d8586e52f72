/* SPDX-License-Identifier: MIT */
#include "sized.h"

#include <string.h>

#include "error.h"

/* No struct of ours will be as large: garbage, in all likelihood. */
enum { MOST = 4096 };

static bool is_size(size_t size)
{
    return size >= sizeof(size_t) && size <= MOST;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool is_zero(const unsigned char *bytes, size_t from, size_t to)
{
    for (; from < to; from++)
        if (bytes[from] != 0)
            return false;
    return true;
}

int noe_sized_read(void *ours, size_t size, const void *theirs,
                   const char *what, struct noe_error *err)
{
    size_t their_size;

    memcpy(&their_size, theirs, sizeof(their_size));
    if (!is_size(their_size))
        return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "spawn",
                             "the %s were not initialised", what);
    if (!is_zero(theirs, size, their_size))
        return noe_error_set(
            err, NOE_FAULT_ARGUMENT, 0, "spawn",
            "the %s ask for what version " NOE_VERSION " does not know", what);
    memcpy(ours, theirs, smaller(size, their_size));
    memcpy(ours, &size, sizeof(size));
    return 0;
}

void noe_sized_write(void *theirs, size_t their_size, const void *ours,
                     size_t size)
{
    if (!is_size(their_size))
        return;
    memset(theirs, 0, their_size);
    memcpy(theirs, ours, smaller(size, their_size));
    memcpy(theirs, &their_size, sizeof(their_size));
}
