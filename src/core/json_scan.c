/* SPDX-License-Identifier: MIT */
/*
 * After a check that all is UTF-8, one pass without recursion: a value, then
 * what may follow it. Bytes are copied only once there is a tag to write: then
 * everything since the last tag, in one piece. The zero byte after the text
 * stands for its end, as no rule accepts it, so that one byte can always be
 * looked at.
 */
#include "json_scan.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "error.h"
#include "json_number.h"
#include "utf8.h"

/* Any number of this many digits is told from its neighbours by a double. */
enum { EXACT_DIGITS = 15, INT64_DIGITS = 19 };

/* The tag between its quotes, without the token. */
enum { TAGGED_BYTES = NOE_JSON_TAG_BYTES + 2 };

/* Sixteen bytes at once: of such vectors the compiler makes what the processor
 * has. A comparison gives all ones or all zeros in each byte. */
typedef unsigned char block __attribute__((vector_size(16)));

enum { LITTLE_ENDIAN_WORDS = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ };

struct scanner {
    const unsigned char *text;
    const unsigned char *end;
    const unsigned char *at;
    const unsigned char *copied; /* before this, all is in scan->data */
    unsigned mode;
    struct noe_json_scan *scan;
    struct noe_error *err;
    size_t depth;
    unsigned char closers[NOE_JSON_MAX_DEPTH];
};

/* A number taken apart. */
struct number {
    const unsigned char *token;
    const unsigned char *end;
    size_t digits; /* before the exponent */
    bool negative;
    bool point;
    bool exponent;
    bool fraction; /* a digit after the point that is not 0 */
};

/* What a step of the grammar found; below 0 is an error. */
enum { COMPLETE = 0, EXPECT_VALUE = 1 };

/* Where `at` is, in lines and characters, both from 1. Text before an error is
 * valid UTF-8: so its characters are the bytes that do not continue one. */
static void find_position(const struct scanner *s, const unsigned char *at,
                          size_t *line, size_t *column)
{
    *line = 1;
    *column = 1;
    for (const unsigned char *p = s->text; p < at; p++) {
        if (*p == '\n') {
            *line += 1;
            *column = 1;
        } else if ((*p & 0xC0) != 0x80) {
            *column += 1;
        }
    }
}

static int fail(struct scanner *s, const unsigned char *at, const char *reason)
{
    size_t line;
    size_t column;

    find_position(s, at, &line, &column);
    return noe_error_set(s->err, NOE_FAULT_ARGUMENT, 0, "json",
                         "%s at line %zu column %zu", reason, line, column);
}

static int fail_expected(struct scanner *s, const char *what)
{
    char reason[80];

    if (s->at == s->end)
        snprintf(reason, sizeof(reason), "expected %s, not the end", what);
    else if (*s->at > ' ' && *s->at < 0x7F)
        snprintf(reason, sizeof(reason), "expected %s, not '%c'", what, *s->at);
    else
        snprintf(reason, sizeof(reason), "expected %s, not byte 0x%02X", what,
                 *s->at);
    return fail(s, s->at, reason);
}

static int reserve(struct scanner *s, size_t more)
{
    struct noe_json_scan *scan = s->scan;

    if (more <= scan->capacity - scan->length)
        return 0;
    /* No overflow: the text is at most NOE_JSON_MAX_BYTES, its tagged form a
     * few times as much. The room for what is left saves copying later. */
    size_t capacity = scan->length + more + (size_t)(s->end - s->copied);
    capacity += capacity / 2;
    char *data = realloc(scan->data, capacity);
    if (data == NULL)
        return noe_error_set(s->err, NOE_FAULT_SYSTEM, ENOMEM, "json",
                             "tagging %zu bytes", capacity);
    scan->data = data;
    scan->capacity = capacity;
    return 0;
}

/* The caller has reserved the room. */
static void append(struct scanner *s, const void *bytes, size_t length)
{
    memcpy(s->scan->data + s->scan->length, bytes, length);
    s->scan->length += length;
}

/* Brings the result up to `until`, with room for `more` bytes after that. */
static int copy_until(struct scanner *s, const unsigned char *until,
                      size_t more)
{
    size_t length = (size_t)(until - s->copied);

    if (reserve(s, length + more) != 0)
        return -1;
    append(s, s->copied, length);
    s->copied = until;
    s->scan->tagged = true;
    return 0;
}

static void append_blanks(struct scanner *s, size_t length)
{
    memset(s->scan->data + s->scan->length, ' ', length);
    s->scan->length += length;
}

/* Puts a tagged `token` in the place of what ends at s->at. */
static int tag_token(struct scanner *s, const unsigned char *place,
                     const void *token, size_t length)
{
    size_t blanks = noe_json_padding(length);

    if (copy_until(s, place, TAGGED_BYTES + length + blanks) != 0)
        return -1;
    append(s, "\"" NOE_JSON_TAG, 1 + NOE_JSON_TAG_BYTES);
    append(s, token, length);
    append_blanks(s, blanks);
    append(s, "\"", 1);
    s->copied = s->at;
    return 0;
}

/* A string in the place of the token, which is a number. */
static int quote_token(struct scanner *s, const unsigned char *token,
                       size_t length)
{
    if (copy_until(s, token, TAGGED_BYTES + length) != 0)
        return -1;
    append(s, "\"", 1);
    append(s, token, length);
    append(s, "\"", 1);
    s->copied = s->at;
    return 0;
}

/* The value of the four digits at `p`; -1 if they are none. */
static int32_t hex_value(const unsigned char *p)
{
    int32_t value = 0;

    for (int i = 0; i < 4; i++) {
        int32_t digit = p[i] >= '0' && p[i] <= '9'   ? p[i] - '0'
                        : p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10
                        : p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10
                                                     : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* `p` is at "\u". A half of a surrogate pair alone is no character. */
static const unsigned char *skip_unicode(struct scanner *s,
                                         const unsigned char *p)
{
    int32_t value = hex_value(p + 2);

    if (value < 0) {
        fail(s, p, "invalid \\u escape in a string");
        return NULL;
    }
    if (value < 0xD800 || value > 0xDFFF)
        return p + 6;
    int32_t low = p[6] == '\\' && p[7] == 'u' ? hex_value(p + 8) : -1;
    if (value <= 0xDBFF && low >= 0xDC00 && low <= 0xDFFF)
        return p + 12;
    fail(s, p, "lone surrogate in a string");
    return NULL;
}

/* `p` is at a backslash. Behind the escape, or NULL. */
static inline const unsigned char *skip_escape(struct scanner *s,
                                               const unsigned char *p)
{
    static const bool is_simple[256] = {
        ['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
        ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true,
    };

    if (is_simple[p[1]])
        return p + 2;
    if (p[1] == 'u')
        return skip_unicode(s, p);
    fail(s, p, "invalid escape in a string");
    return NULL;
}

static bool is_special(unsigned char byte)
{
    return byte < ' ' || byte == '"' || byte == '\\';
}

/* One bit for each byte of the block at `p`, the lowest for the first: set for
 * '"', '\\' and controls. Each byte keeps a bit of its own, and the product's
 * highest byte is the sum of all. */
static inline unsigned find_special(const unsigned char *p)
{
    const uint64_t own_bits = UINT64_C(0x8040201008040201);
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t halves[2];
    block b;

    memcpy(&b, p, sizeof(b));
    block special = (block)(b == '"') | (block)(b == '\\') | (block)(b < ' ');
    memcpy(halves, &special, sizeof(halves));
    return (unsigned)((halves[0] & own_bits) * ones >> 56) |
           (unsigned)((halves[1] & own_bits) * ones >> 56) << 8;
}

/*
 * Follows a string through one block. The first byte of the block that neither
 * belongs to the string nor to an escape, or NULL: then the string goes on, or,
 * if *next is NULL, is wrong. What lies before *next was part of an escape.
 * Blocks are looked at in steps that do not depend on what they hold, since
 * waiting for the end of one escape to look for the next is what takes time.
 */
static inline const unsigned char *scan_block(struct scanner *s,
                                              const unsigned char *p,
                                              const unsigned char **next)
{
    unsigned found = find_special(p);

    for (; found != 0; found &= found - 1) {
        const unsigned char *at = p + __builtin_ctz(found);
        if (at < *next)
            continue;
        if (*at != '\\')
            return at;
        *next = skip_escape(s, at);
        if (*next == NULL)
            return NULL;
    }
    return NULL;
}

/* The quote, control or zero byte that ends the string; or NULL. */
static const unsigned char *skip_string(struct scanner *s,
                                        const unsigned char *p)
{
    const unsigned char *next = p;

    while (LITTLE_ENDIAN_WORDS && s->end - p >= (ptrdiff_t)sizeof(block)) {
        const unsigned char *stop = scan_block(s, p, &next);
        if (stop != NULL || next == NULL)
            return stop;
        p += sizeof(block);
    }
    p = p < next ? next : p;
    while (*p == '\\' || !is_special(*p)) {
        p = *p == '\\' ? skip_escape(s, p) : p + 1;
        if (p == NULL)
            return NULL;
    }
    return p;
}

/* s->at is at the quote that opens, and then after the one that closes. */
static int scan_string(struct scanner *s)
{
    const unsigned char *p = skip_string(s, s->at + 1);

    if (p == NULL)
        return -1;
    if (p == s->end)
        return fail(s, s->at, "string without its closing quote");
    if (*p != '"')
        return fail(s, p, "control byte in a string");
    s->at = p + 1;
    return 0;
}

static bool begins_with_tag(const unsigned char *p)
{
    return (p[0] == 0xEF && p[1] == 0xB7 && p[2] == 0x90) ||
           (p[0] == '\\' && strncasecmp((const char *)p, "\\ufdd0", 6) == 0);
}

static int scan_string_value(struct scanner *s)
{
    const unsigned char *first = s->at + 1;

    if (begins_with_tag(first)) {
        if (copy_until(s, first, NOE_JSON_TAG_BYTES) != 0)
            return -1;
        append(s, NOE_JSON_TAG, NOE_JSON_TAG_BYTES);
    }
    return scan_string(s);
}

static bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

/* At least one digit at s->at, which moves behind the last. */
static int scan_digits(struct scanner *s, struct number *number)
{
    const unsigned char *first = s->at;

    if (!is_digit(*first))
        return fail_expected(s, "a digit");
    while (is_digit(*s->at))
        s->at++;
    number->digits += (size_t)(s->at - first);
    return 0;
}

static int scan_fraction(struct scanner *s, struct number *number)
{
    const unsigned char *first = ++s->at;

    number->point = true;
    if (scan_digits(s, number) != 0)
        return -1;
    while (first < s->at && !number->fraction)
        number->fraction = *first++ != '0';
    return 0;
}

static int scan_exponent(struct scanner *s, struct number *number)
{
    struct number exponent = {0};

    number->exponent = true;
    s->at++;
    if (*s->at == '+' || *s->at == '-')
        s->at++;
    return scan_digits(s, &exponent);
}

/* What the decoder would make of a number. */
enum loss { OUT_OF_RANGE = -1, KEPT, LOST, BIG };

/* An integer of at most 2^53 is told from its neighbours by a double too. Not
 * so -0, where the sign would be lost if it were taken for an integer. */
static int judge_integer(struct scanner *s, const struct number *number)
{
    const bool doubles = (s->mode & NOE_JSON_DOUBLES) != 0;
    const bool strings = (s->mode & NOE_JSON_BIG_STRINGS) != 0;
    const uint64_t max_double = (uint64_t)NOE_JSON_MAX_DOUBLE_INTEGER;
    const unsigned char *p = number->token + number->negative;
    uint64_t value = 0;

    s->scan->has_integer = true;
    if (number->digits <= EXACT_DIGITS)
        return number->negative && *p == '0';
    if (number->digits <= INT64_DIGITS)
        for (; p < number->end; p++)
            value = value * 10 + (uint64_t)(*p - '0');
    if (strings && (value > max_double || number->digits > INT64_DIGITS))
        return BIG;
    uint64_t max =
        doubles ? max_double : (uint64_t)INT64_MAX + number->negative;
    if (value > max || number->digits > INT64_DIGITS)
        return fail(s, number->token,
                    doubles ? "integer beyond 2^53, which this Lua cannot hold "
                              "(send it as a string)"
                            : "integer beyond 64 bits (send it as a string)");
    return value > max_double;
}

/* A number with a point or an exponent. Left as it is, it must not come out as
 * a double that looks like an integer. With a fraction and so few digits it
 * cannot; else its value tells. */
static int judge_double(struct scanner *s, const struct number *number)
{
    if (!number->exponent && number->fraction && number->digits <= EXACT_DIGITS)
        return 0;
    double value = noe_json_number_parse((const char *)number->token);
    if (isinf(value))
        return fail(s, number->token, "number beyond the range of doubles");
    return (s->mode & NOE_JSON_DOUBLES) == 0 &&
           fabs(value) <= NOE_JSON_MAX_DOUBLE_INTEGER &&
           value == (double)(int64_t)value;
}

static int judge_number(struct scanner *s, const struct number *number)
{
    return number->point || number->exponent ? judge_double(s, number)
                                             : judge_integer(s, number);
}

static int scan_number(struct scanner *s)
{
    struct number number = {.token = s->at, .negative = *s->at == '-'};

    s->at += number.negative;
    if (*s->at == '0' && is_digit(s->at[1]))
        return fail(s, s->at, "number with a leading zero");
    if (scan_digits(s, &number) != 0)
        return -1;
    if (*s->at == '.' && scan_fraction(s, &number) != 0)
        return -1;
    if ((*s->at == 'e' || *s->at == 'E') && scan_exponent(s, &number) != 0)
        return -1;
    number.end = s->at;
    s->scan->has_number = true;
    size_t length = (size_t)(number.end - number.token);
    int loss = judge_number(s, &number);
    if (loss == BIG)
        return quote_token(s, number.token, length);
    if (loss == LOST || (loss == KEPT && (s->mode & NOE_JSON_TAG_NUMBERS) != 0))
        return tag_token(s, number.token, number.token, length);
    return loss;
}

static void skip_blanks(struct scanner *s)
{
    while (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r')
        s->at++;
}

static int scan_word(struct scanner *s, const char *word, size_t length)
{
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, word, length) != 0)
        return fail_expected(s, "a value");
    s->at += length;
    return COMPLETE;
}

/* A key and its colon. */
static int scan_key(struct scanner *s)
{
    skip_blanks(s);
    if (*s->at != '"')
        return fail_expected(s, "a key in double quotes");
    if (scan_string(s) != 0)
        return -1;
    skip_blanks(s);
    if (*s->at != ':')
        return fail_expected(s, "':'");
    s->at++;
    return EXPECT_VALUE;
}

static int scan_opening(struct scanner *s, unsigned char closer)
{
    const unsigned char *opening = s->at;

    if (s->depth == NOE_JSON_MAX_DEPTH)
        return fail(s, s->at, "more than 512 levels of arrays and objects");
    s->at++;
    skip_blanks(s);
    if (*s->at == closer) {
        s->at++;
        return closer == '}' ? COMPLETE : tag_token(s, opening, "[]", 2);
    }
    s->closers[s->depth++] = closer;
    if (closer == '}')
        return scan_key(s);
    s->scan->has_array = true;
    return EXPECT_VALUE;
}

static int scan_value(struct scanner *s)
{
    skip_blanks(s);
    if (++s->scan->values > s->scan->most && s->scan->most > 0)
        return noe_error_set(s->err, NOE_FAULT_ARGUMENT, 0, "json",
                             "more than %zu values", s->scan->most);
    switch (*s->at) {
    case '"':
        return scan_string_value(s);
    case '{':
        return scan_opening(s, '}');
    case '[':
        return scan_opening(s, ']');
    case 't':
        return scan_word(s, "true", 4);
    case 'f':
        return scan_word(s, "false", 5);
    case 'n':
        return scan_word(s, "null", 4);
    default:
        if (*s->at == '-' || is_digit(*s->at))
            return scan_number(s);
        return fail_expected(s, "a value");
    }
}

/* Closes what ends here; COMPLETE at the end of the outermost value. */
static int scan_rest(struct scanner *s)
{
    while (s->depth > 0) {
        unsigned char closer = s->closers[s->depth - 1];

        skip_blanks(s);
        if (*s->at == ',') {
            s->at++;
            return closer == '}' ? scan_key(s) : EXPECT_VALUE;
        }
        if (*s->at != closer)
            return fail_expected(s,
                                 closer == '}' ? "',' or '}'" : "',' or ']'");
        s->at++;
        s->depth--;
    }
    return COMPLETE;
}

static int scan_text(struct scanner *s)
{
    int next = EXPECT_VALUE;

    while (next == EXPECT_VALUE) {
        next = scan_value(s);
        if (next == COMPLETE)
            next = scan_rest(s);
    }
    if (next < 0)
        return -1;
    skip_blanks(s);
    return s->at == s->end ? 0 : fail_expected(s, "nothing after the value");
}

int noe_json_scan(const char *text, size_t length, unsigned mode,
                  struct noe_json_scan *scan, struct noe_error *err)
{
    const unsigned char *start = (const unsigned char *)text;
    struct scanner s = {.text = start,
                        .end = start + length,
                        .at = start,
                        .copied = start,
                        .mode = mode,
                        .scan = scan,
                        .err = err};

    if (length > NOE_JSON_MAX_BYTES)
        return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "json",
                             "text longer than 256 MiB");
    size_t valid = noe_utf8_check(text, length);
    if (valid < length)
        return fail(&s, start + valid, "invalid UTF-8");
    if (scan_text(&s) != 0)
        return -1;
    return scan->tagged ? copy_until(&s, s.end, 0) : 0;
}

void noe_json_scan_free(struct noe_json_scan *scan)
{
    free(scan->data);
    *scan = (struct noe_json_scan){0};
}

static size_t put(char *out, size_t length, const char *from, const char *until)
{
    memcpy(out + length, from, (size_t)(until - from));
    return length + (size_t)(until - from);
}

size_t noe_json_untag(const char *text, size_t length, char *out)
{
    static const char opening[] = "\"" NOE_JSON_TAG;
    const char *end = text + length;
    const char *at = text;
    size_t done = 0;

    for (;;) {
        const char *hit = memmem(at, (size_t)(end - at), opening, 4);
        if (hit == NULL)
            return put(out, done, at, end);
        const char *token = hit + 4;
        if (hit > text && hit[-1] == '\\') { /* a quote within a string */
            done = put(out, done, at, token);
            at = token;
        } else if (end - token > NOE_JSON_TAG_BYTES &&
                   memcmp(token, NOE_JSON_TAG, NOE_JSON_TAG_BYTES) == 0) {
            done = put(out, done, at, hit + 1);
            at = token;
        } else {
            const char *close = memchr(token, '"', (size_t)(end - token));
            if (close == NULL)
                return put(out, done, at, end);
            done = put(out, done, at, hit);
            at = close + 1;
            while (close > token && close[-1] == ' ')
                close--;
            done = put(out, done, token, close);
        }
    }
}
