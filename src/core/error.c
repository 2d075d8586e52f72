/* SPDX-License-Identifier: MIT */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sized.h"

const char *noe_version(void)
{
    return NOE_VERSION;
}

const char *noe_errno_name(int code)
{
    return strerrorname_np(code);
}

void noe_error_copy(struct noe_error *err, const struct noe_error *from)
{
    if (err != NULL)
        noe_sized_write(err, err->size, from, sizeof(*from));
}

int noe_error_set(struct noe_error *err, enum noe_fault fault, int code,
                  const char *operation, const char *format, ...)
{
    int saved = errno;
    struct noe_error full = NOE_ERROR_INIT;
    va_list arguments;

    if (err == NULL)
        return -1;
    full.fault = fault;
    full.code = code;
    snprintf(full.operation, sizeof(full.operation), "%s", operation);
    va_start(arguments, format);
    int len = vsnprintf(full.message, sizeof(full.message), format, arguments);
    va_end(arguments);
    const char *text = code != 0 ? strerrordesc_np(code) : NULL;
    if (text != NULL && len >= 0 && (size_t)len < sizeof(full.message))
        snprintf(full.message + len, sizeof(full.message) - (size_t)len, "%s%s",
                 len > 0 ? ": " : "", text);
    noe_error_copy(err, &full);
    errno = saved;
    return -1;
}
