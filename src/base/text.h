/* SPDX-License-Identifier: MIT */
/* Strings put together without stdio, which would double the jail's size, and
 * which a child in its parent's memory must not use. Each writes at `at`, which
 * must have the room, and returns the new end. */
#ifndef NOE_TEXT_H
#define NOE_TEXT_H

char *noe_text_add(char *at, const char *text);
char *noe_text_number(char *at, unsigned long long number);

#endif
