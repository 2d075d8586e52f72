/* SPDX-License-Identifier: MIT */
/*
 * Numbers as JSON writes them: whatever the locale of the host, and without
 * losing a bit.
 */
#ifndef NOE_JSON_NUMBER_H
#define NOE_JSON_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

/* Doubles count integers up to here, 2^53, without gaps. */
#define NOE_JSON_MAX_DOUBLE_INTEGER 9007199254740992.0

/* Room for any number that noe_json_number_format writes, and a zero byte. */
#define NOE_JSON_NUMBER_BYTES 40

/* The double nearest to a valid JSON number that something else follows (a zero
 * byte, a comma); infinite, if it is too big. */
double noe_json_number_parse(const char *text);

/* Whether "%.14g" is exact for `number` and shows that it is no integer. It may
 * say no for a number of very many places, never yes for a wrong one. */
bool noe_json_number_is_short(double number);

/* Writes a finite number with as few digits as give the same number back.
 * `mark` adds ".0" where it would look like an integer. The length. */
size_t noe_json_number_format(double number, bool mark,
                              char out[NOE_JSON_NUMBER_BYTES]);

#endif
