/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <string.h>

char *noe_text_add(char *at, const char *text)
{
    size_t len = strlen(text);

    memcpy(at, text, len + 1);
    return at + len;
}

char *noe_text_number(char *at, unsigned long long number)
{
    char digits[24];
    char *first = digits + sizeof(digits) - 1;

    *first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return noe_text_add(at, first);
}
