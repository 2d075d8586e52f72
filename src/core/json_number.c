/* SPDX-License-Identifier: MIT */
#include "json_number.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The powers of ten that are exact as doubles. */
static const double power_of_ten[] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

enum { MAX_PLACES = 22, SHORT_PLACES = 14, MAX_DIGITS = 19 };

/* The digits at *text as a number, and how many there are; *text moves behind
 * them. More than 19 do not fit. */
static size_t read_digits(const char **text, uint64_t *value)
{
    const char *first = *text;

    for (; **text >= '0' && **text <= '9'; ++*text)
        *value = *value * 10 + (uint64_t)(**text - '0');
    return (size_t)(*text - first);
}

/*
 * Without an exponent, most numbers are an integer of at most 2^53 divided by a
 * small power of ten: both are exact, and one division rounds correctly (W. D.
 * Clinger, "How to read floating point numbers accurately", 1990).
 */
static bool parse_plain(const char *text, double *number)
{
    uint64_t value = 0;
    size_t places = 0;
    bool negative = *text == '-';

    text += negative;
    size_t digits = read_digits(&text, &value);
    if (*text == '.') {
        text++;
        places = read_digits(&text, &value);
    }
    if (*text == 'e' || *text == 'E' || digits + places > MAX_DIGITS ||
        value > (uint64_t)NOE_JSON_MAX_DOUBLE_INTEGER)
        return false;
    *number = (double)value / power_of_ten[places];
    if (negative)
        *number = -*number;
    return true;
}

double noe_json_number_parse(const char *text)
{
    double number;

    if (parse_plain(text, &number))
        return number;
    /* "C" is built into the C library: nothing is allocated, nothing to free */
    return strtod_l(text, NULL, newlocale(LC_ALL_MASK, "C", (locale_t)0));
}

/*
 * The fewest decimal places, up to `max_places`, with which a positive number
 * can be written so that all digits together stay below `limit` (at most 2^53);
 * -1 if there are none. *digits is then the number without its point. Both it
 * and the power of ten are exact, and one division is correctly rounded: so the
 * quotient is what anybody reading the text would get. The product, though, may
 * from 2^50 on be off by one.
 */
static int find_places(double number, int max_places, double limit,
                       int64_t *digits)
{
    for (int places = 0; places <= max_places; places++) {
        double scaled = number * power_of_ten[places];
        if (!(scaled < limit))
            return -1;
        *digits = (int64_t)(scaled + 0.5);
        if ((double)*digits / power_of_ten[places] == number)
            return places;
        if (scaled < 0x1p50)
            continue;
        if ((double)--*digits / power_of_ten[places] == number)
            return places;
        *digits += 2;
        if ((double)*digits / power_of_ten[places] == number)
            return places;
    }
    return -1;
}

bool noe_json_number_is_short(double number)
{
    int64_t digits;

    return find_places(fabs(number), SHORT_PLACES, 1e14, &digits) > 0;
}

/* 12345 and 3 places: "12.345". */
static size_t write_places(bool negative, int64_t digits, int places, char *out)
{
    char reversed[NOE_JSON_NUMBER_BYTES];
    size_t count = 0;
    size_t length = 0;

    for (; digits > 0 || places >= 0; digits /= 10) {
        reversed[count++] = (char)('0' + digits % 10);
        if (--places == 0)
            reversed[count++] = '.';
    }
    if (negative)
        out[length++] = '-';
    while (count > 0)
        out[length++] = reversed[--count];
    out[length] = '\0';
    return length;
}

/* A locale's decimal point may be any one or more bytes that no number has. */
static void restore_point(char *text)
{
    char *point = text + strspn(text, "+-0123456789e");
    size_t length = strcspn(point, "+-0123456789e");

    if (length == 0)
        return;
    *point = '.';
    memmove(point + 1, point + length, strlen(point + length) + 1);
}

/*
 * The least number of digits to try where find_places found nothing. Subnormal
 * numbers have fewer than others. In the middle of the range, it would have
 * found any number of up to 15, and of those of 16 the ones below 2^53.
 */
static int first_precision(double size)
{
    if (size < DBL_MIN)
        return 1;
    if (size < 1e-4 || size > 1e15)
        return DBL_DIG;
    while (size < 1e15)
        size *= 10;
    return size > 8.9e15 ? 16 : 17;
}

static size_t write_digits(double number, char *out)
{
    int precision = first_precision(fabs(number));

    for (; precision <= 17; precision++) {
        snprintf(out, NOE_JSON_NUMBER_BYTES, "%.*g", precision, number);
        restore_point(out);
        if (precision == 17 || noe_json_number_parse(out) == number)
            break;
    }
    return strlen(out);
}

size_t noe_json_number_format(double number, bool mark,
                              char out[NOE_JSON_NUMBER_BYTES])
{
    int64_t digits = 0;
    int places = find_places(fabs(number), MAX_PLACES,
                             NOE_JSON_MAX_DOUBLE_INTEGER, &digits);
    bool plain = places == 0 || (places > 0 && fabs(number) >= 1e-4);
    size_t length = plain ? write_places(signbit(number), digits, places, out)
                          : write_digits(number, out);

    if (mark && strpbrk(out, ".e") == NULL) {
        memcpy(out + length, ".0", 3);
        length += 2;
    }
    return length;
}
