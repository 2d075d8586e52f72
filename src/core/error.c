/* SPDX-License-Identifier: MIT */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *noe_version(void)
{
    return NOE_VERSION;
}

const char *noe_errno_name(int code)
{
    return strerrorname_np(code);
}

int noe_error_set(struct noe_error *err, enum noe_fault fault, int code,
                  const char *operation, const char *format, ...)
{
    int saved = errno;
    va_list arguments;

    if (err == NULL)
        return -1;
    *err =
        (struct noe_error){.size = sizeof(*err), .fault = fault, .code = code};
    snprintf(err->operation, sizeof(err->operation), "%s", operation);
    va_start(arguments, format);
    int len = vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    const char *text = code != 0 ? strerrordesc_np(code) : NULL;
    if (text != NULL && len >= 0 && (size_t)len < sizeof(err->message))
        snprintf(err->message + len, sizeof(err->message) - (size_t)len, "%s%s",
                 len > 0 ? ": " : "", text);
    errno = saved;
    return -1;
}
