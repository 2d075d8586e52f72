/* SPDX-License-Identifier: MIT */
#include "argv.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_bytes(struct noe_argv *argv, const char *data, size_t len)
{
    while (len > 0) {
        char *space;
        size_t room = noe_buffer_space(&argv->bytes, SIZE_MAX / 2, &space);
        if (room == 0) {
            argv->failed = 1;
            return;
        }
        if (room > len)
            room = len;
        memcpy(space, data, room);
        argv->bytes.len += room;
        data += room;
        len -= room;
    }
}

void noe_argv_add_joined(struct noe_argv *argv, const char *prefix,
                         const char *text)
{
    add_bytes(argv, prefix, strlen(prefix));
    add_bytes(argv, text, strlen(text) + 1);
    argv->count++;
}

void noe_argv_add(struct noe_argv *argv, const char *text)
{
    noe_argv_add_joined(argv, "", text);
}

void noe_argv_add_all(struct noe_argv *argv, ...)
{
    va_list texts;
    const char *text;

    va_start(texts, argv);
    while ((text = va_arg(texts, const char *)) != NULL)
        noe_argv_add(argv, text);
    va_end(texts);
}

void noe_argv_add_number(struct noe_argv *argv, unsigned long long number)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%llu", number);
    noe_argv_add(argv, digits);
}

char **noe_argv_finish(struct noe_argv *argv)
{
    size_t pointers = (argv->count + 1) * sizeof(char *);
    char **vector = NULL;

    if (!argv->failed)
        vector = malloc(pointers + argv->bytes.len);
    if (vector != NULL) {
        char *at = (char *)vector + pointers;
        if (argv->bytes.len > 0)
            memcpy(at, argv->bytes.data, argv->bytes.len);
        for (size_t i = 0; i < argv->count; i++) {
            vector[i] = at;
            at += strlen(at) + 1;
        }
        vector[argv->count] = NULL;
    }
    noe_argv_free(argv);
    return vector;
}

void noe_argv_free(struct noe_argv *argv)
{
    noe_buffer_free(&argv->bytes);
    *argv = (struct noe_argv){.count = 0};
}
