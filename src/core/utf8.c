/* SPDX-License-Identifier: MIT */
#include "utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Sixteen bytes at once: of such vectors the compiler makes what the processor
 * has. A comparison gives all ones or all zeros in each byte. */
typedef unsigned char block __attribute__((vector_size(16)));

static inline block load(const unsigned char *p)
{
    block bytes;

    memcpy(&bytes, p, sizeof(bytes));
    return bytes;
}

static inline bool is_any(block bytes)
{
    uint64_t halves[2];

    memcpy(halves, &bytes, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

/* Not zero where a byte at `p` after one of the four leads with rules of their
 * own makes a long form, a surrogate or more than U+10FFFF. */
static block find_out_of_range(block b, block before)
{
    return ((block)(before == 0xE0) & (block)(b < 0xA0)) |
           ((block)(before == 0xED) & (block)(b >= 0xA0)) |
           ((block)(before == 0xF0) & (block)(b < 0x90)) |
           ((block)(before == 0xF4) & (block)(b >= 0x90));
}

/* Not zero where a byte at `p` cannot follow the three before it, which must be
 * readable (RFC 3629, section 4): it continues a character where none goes on,
 * or the reverse; is never used; or is out of range. */
static inline block find_invalid(const unsigned char *p)
{
    block b = load(p);
    block before = load(p - 1);
    block goes_on = (block)(before >= 0xC0) | (block)(load(p - 2) >= 0xE0) |
                    (block)(load(p - 3) >= 0xF0);
    block unused = (block)(b >= 0xF5) | (block)((b & 0xFE) == 0xC0);
    block invalid = ((block)((b & 0xC0) == 0x80) ^ goes_on) | unused;
    block ruled = (block)((before & 0xEF) == 0xE0) | (block)(before == 0xED) |
                  (block)(before == 0xF4);

    if (is_any(ruled))
        invalid |= find_out_of_range(b, before);
    return invalid;
}

static bool continues(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Where a character begins before which all is valid: near the end, or, if
 * something is not valid, at the start. At least one block is there. */
static const unsigned char *skip_blocks(const unsigned char *start,
                                        const unsigned char *end)
{
    unsigned char first[3 + sizeof(block)] = {0};
    const unsigned char *p = start + sizeof(block);

    memcpy(first + 3, start, sizeof(block));
    block invalid = find_invalid(first + 3);
    for (; end - p >= (ptrdiff_t)sizeof(block); p += sizeof(block))
        invalid |= find_invalid(p);
    if (is_any(invalid))
        return start;
    do
        p--;
    while (continues(*p));
    return p;
}

/* Whether less than two blocks are valid: with zeros around them. */
static bool is_valid_rest(const unsigned char *p, size_t length)
{
    unsigned char padded[3 + 2 * sizeof(block)] = {0};

    memcpy(padded + 3, p, length);
    block invalid = find_invalid(padded + 3);
    if (length >= sizeof(block))
        invalid |= find_invalid(padded + 3 + sizeof(block));
    return !is_any(invalid);
}

static const unsigned char *skip_ascii(const unsigned char *p,
                                       const unsigned char *end)
{
    uint64_t word;

    for (; end - p >= 8; p += 8) {
        memcpy(&word, p, sizeof(word));
        if ((word & UINT64_C(0x8080808080808080)) != 0)
            return p;
    }
    while (p < end && *p < 0x80)
        p++;
    return p;
}

/* The first byte of the first character that is not valid, which is there. */
static const unsigned char *locate_invalid(const unsigned char *p,
                                           const unsigned char *end)
{
    for (;;) {
        size_t length = *p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;
        if ((size_t)(end - p) < length || !is_valid_rest(p, length))
            return p;
        p += length;
    }
}

size_t noe_utf8_check(const char *text, size_t length)
{
    const unsigned char *start = (const unsigned char *)text;
    const unsigned char *end = start + length;
    const unsigned char *p = skip_ascii(start, end);

    if (p == end)
        return length;
    if ((size_t)(end - p) >= sizeof(block))
        p = skip_blocks(p, end);
    size_t rest = (size_t)(end - p);
    if (rest < 2 * sizeof(block) && is_valid_rest(p, rest))
        return length;
    return (size_t)(locate_invalid(p, end) - start);
}
