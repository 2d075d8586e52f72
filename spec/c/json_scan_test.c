/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_number.h"
#include "core/json_scan.h"
#include "tap.h"

#define TAG NOE_JSON_TAG

static struct noe_json_scan scan;
static struct noe_error err = NOE_ERROR_INIT;

/* Scans a copy that ends where the text does, for a sanitizer to watch. */
static int scan_copy(const char *text, size_t length, unsigned mode)
{
    char *copy = malloc(length + 1);

    if (copy == NULL)
        return -1;
    memcpy(copy, text, length);
    copy[length] = '\0';
    noe_json_scan_free(&scan);
    int result = noe_json_scan(copy, length, mode, &scan, &err);
    free(copy);
    return result;
}

static int scan_string(const char *text, unsigned mode)
{
    return scan_copy(text, strlen(text), mode);
}

static const char *const accepted[] = {
    "null",
    " true ",
    "\tfalse ",
    "0",
    "-0",
    "-1",
    "1.5e+3",
    "1E-2",
    "0.0",
    "1e308",
    "1e-400",
    "\"\"",
    "\"\x7f\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFFFF\"",
    "\"\\ud83d\\ude00 \xF0\x9F\x98\x80\"",
    "\"sixteen bytes \\\" and more, with an escape \\\\\"",
    "[]",
    "[ ]",
    "{}",
    "{ }",
    "[[],{},[1,[2]]]",
    "{\"\":0,\"a\":{\"a\":1,\"a\":2}}",
    " [ 1 , 2 ] ",
    "{ \"a\" : 1 , \"b\" : [ ] }",
    "9223372036854775807",
    "-9223372036854775808",
};

static const struct {
    const char *text;
    const char *message;
} refused[] = {
    {"", "expected a value, not the end at line 1 column 1"},
    {" \n ", "expected a value, not the end at line 2 column 2"},
    {"[", "expected a value, not the end at line 1 column 2"},
    {"[1", "expected ',' or ']', not the end at line 1 column 3"},
    {"[1,]", "expected a value, not ']' at line 1 column 4"},
    {"[,1]", "expected a value, not ',' at line 1 column 2"},
    {"[1 2]", "expected ',' or ']', not '2' at line 1 column 4"},
    {"[1}", "expected ',' or ']', not '}' at line 1 column 3"},
    {"]", "expected a value, not ']' at line 1 column 1"},
    {"[]]", "expected nothing after the value, not ']' at line 1 column 3"},
    {"1 2", "expected nothing after the value, not '2' at line 1 column 3"},
    {"{", "expected a key in double quotes, not the end at line 1 column 2"},
    {"{a:1}", "expected a key in double quotes, not 'a' at line 1 column 2"},
    {"{1:1}", "expected a key in double quotes, not '1' at line 1 column 2"},
    {"{\"a\":1,}",
     "expected a key in double quotes, not '}' at line 1 column 8"},
    {"{\"a\"}", "expected ':', not '}' at line 1 column 5"},
    {"{\"a\":}", "expected a value, not '}' at line 1 column 6"},
    {"{\"a\":1 \"b\"}", "expected ',' or '}', not '\"' at line 1 column 8"},
    {"NaN", "expected a value, not 'N' at line 1 column 1"},
    {"-Infinity", "expected a digit, not 'I' at line 1 column 2"},
    {"nul", "expected a value, not 'n' at line 1 column 1"},
    {"truE", "expected a value, not 't' at line 1 column 1"},
    {"nullx", "expected nothing after the value, not 'x' at line 1 column 5"},
    {"'a'", "expected a value, not ''' at line 1 column 1"},
    {"01", "number with a leading zero at line 1 column 1"},
    {"-01", "number with a leading zero at line 1 column 2"},
    {"0x10", "expected nothing after the value, not 'x' at line 1 column 2"},
    {"+1", "expected a value, not '+' at line 1 column 1"},
    {".5", "expected a value, not '.' at line 1 column 1"},
    {"1.", "expected a digit, not the end at line 1 column 3"},
    {"1.e5", "expected a digit, not 'e' at line 1 column 3"},
    {"1e", "expected a digit, not the end at line 1 column 3"},
    {"1e+", "expected a digit, not the end at line 1 column 4"},
    {"-", "expected a digit, not the end at line 1 column 2"},
    {"[1e400]", "number beyond the range of doubles at line 1 column 2"},
    {"[-1e400]", "number beyond the range of doubles at line 1 column 2"},
    {"9223372036854775808",
     "integer beyond 64 bits (send it as a string) at line 1 column 1"},
    {"-9223372036854775809",
     "integer beyond 64 bits (send it as a string) at line 1 column 1"},
    {"100000000000000000000",
     "integer beyond 64 bits (send it as a string) at line 1 column 1"},
    {"\"", "string without its closing quote at line 1 column 1"},
    {"[\"abcdefghijklmnopqrstuvw",
     "string without its closing quote at line 1 column 2"},
    {"\"\\", "invalid escape in a string at line 1 column 2"},
    {"\"\\x41\"", "invalid escape in a string at line 1 column 2"},
    {"\"\\u12\"", "invalid \\u escape in a string at line 1 column 2"},
    {"\"\\u12g4\"", "invalid \\u escape in a string at line 1 column 2"},
    {"\"\\ud800\"", "lone surrogate in a string at line 1 column 2"},
    {"\"\\ud800\\u0041\"", "lone surrogate in a string at line 1 column 2"},
    {"\"\\udc00\\ud800\"", "lone surrogate in a string at line 1 column 2"},
    {"\"a\tb\"", "control byte in a string at line 1 column 3"},
    {"[1,\n\"\xC3\xA9\xE6\x97\xA5\", x]",
     "expected a value, not 'x' at line 2 column 7"},
    {"[\"\xC3\xA9\", \"\xFF\"]", "invalid UTF-8 at line 1 column 8"},
    {"\xEF\xBB\xBF[]", "expected a value, not byte 0xEF at line 1 column 1"},
};

static void test_grammar(void)
{
    ok(scan_string("\n[\r\n1\r]\n", 0) == 0, "any blanks");
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++)
        if (!ok(scan_string(accepted[i], 0) == 0, accepted[i]))
            printf("# %s\n", err.message);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        int result = scan_string(refused[i].text, 0);
        if (!ok(result == -1 && err.fault == NOE_FAULT_ARGUMENT &&
                    strcmp(err.message, refused[i].message) == 0,
                refused[i].message))
            printf("# %s\n", err.message);
    }
}

static void test_bytes(void)
{
    int wrong = 0;

    for (int byte = 0; byte < ' '; byte++) {
        char text[] = {'"', (char)byte, '"', '\0'};
        wrong += scan_copy(text, 3, 0) == 0;
    }
    ok(wrong == 0, "every control byte is refused within a string");
    ok(scan_copy("1\0", 2, 0) == -1, "a zero byte does not end the text");
    ok(scan_copy("\"a\0b\"", 5, 0) == -1, "nor a string");
    for (size_t places = 0; places < 40; places++) {
        char text[64] = "\"";
        memset(text + 1, 'x', places);
        memcpy(text + 1 + places, "\\\"\\\\\"", 6);
        wrong += scan_string(text, 0) != 0;
        text[places + 4] = '\0'; /* ends in an escaped quote and a backslash */
        wrong += scan_string(text, 0) == 0;
    }
    ok(wrong == 0, "an escape is found wherever it stands");
}

static void test_depth(void)
{
    size_t length = 2 * NOE_JSON_MAX_DEPTH + 2;
    char *text = malloc(length);

    if (text == NULL)
        return;
    memset(text, '[', length / 2);
    memset(text + length / 2, ']', length / 2);
    ok(scan_copy(text + 1, length - 2, 0) == 0, "512 levels are accepted");
    ok(scan_copy(text, length, 0) == -1 &&
           strcmp(err.message, "more than 512 levels of arrays and objects at "
                               "line 1 column 513") == 0,
       "513 levels are refused, at the place");
    free(text);
}

static const struct {
    const char *name;
    const char *text;
    const char *tagged; /* NULL: not changed */
    unsigned mode;
} rewritten[] = {
    {"small integers are left", "[1,-2,9007199254740992]", NULL, 0},
    {"short fractions are left", "[0.5,-1.25e1,123456789012.345]", NULL, 0},
    {"long fractions are left", "0.12345678901234567890", NULL, 0},
    {"big doubles are left", "[1e300,9007199254740994.0]", NULL, 0},
    {"objects are left", "{\"a\":{}}", NULL, 0},
    {"whole floats are tagged", "[1.0, 2e3]",
     "[\"" TAG "1.0\", \"" TAG "2e3\"]", 0},
    {"what rounds to a whole float is tagged", "0.99999999999999999999",
     "\"" TAG "0.99999999999999999999                \"", 0},
    {"underflow to zero is tagged", "1e-400", "\"" TAG "1e-400\"", 0},
    {"minus zero is tagged", "-0", "\"" TAG "-0\"", 0},
    {"big integers are tagged, too long to be interned", "[9007199254740993]",
     "[\"" TAG "9007199254740993                      \"]", 0},
    {"empty arrays are tagged", "{\"a\":[ \t]}", "{\"a\":\"" TAG "[]\"}", 0},
    {"a string with the tag gets a second", "\"" TAG "x\"", "\"" TAG TAG "x\"",
     0},
    {"an escaped tag gets a second", "\"\\uFdD0\"", "\"" TAG "\\uFdD0\"", 0},
    {"a tag further on is left", "\"x" TAG "\"", NULL, 0},
    {"a key with the tag is left", "{\"" TAG "\":1}", NULL, 0},
    {"with doubles only, whole floats are left", "[1.0,1e3]", NULL,
     NOE_JSON_DOUBLES},
    {"big integers are strings on demand, of any size",
     "[9007199254740992,-9007199254740993,18446744073709551616,1e20]",
     "[9007199254740992,\"-9007199254740993\",\"18446744073709551616\",1e20]",
     NOE_JSON_BIG_STRINGS},
    {"and beside numbers that are all tagged", "[1,9007199254740993]",
     "[\"" TAG "1\",\"9007199254740993\"]",
     NOE_JSON_BIG_STRINGS | NOE_JSON_TAG_NUMBERS},
    {"all numbers are tagged on demand", "[1,0.5]",
     "[\"" TAG "1\",\"" TAG "0.5\"]", NOE_JSON_TAG_NUMBERS},
};

static void test_tags(void)
{
    for (size_t i = 0; i < sizeof(rewritten) / sizeof(rewritten[0]); i++) {
        const char *want = rewritten[i].tagged;
        int result = scan_string(rewritten[i].text, rewritten[i].mode);
        bool same = want == NULL
                        ? !scan.tagged
                        : scan.tagged && scan.length == strlen(want) &&
                              memcmp(scan.data, want, scan.length) == 0;
        ok(result == 0 && same, rewritten[i].name);
    }
    ok(scan_string("9007199254740993", NOE_JSON_DOUBLES) == -1,
       "with doubles only, an integer beyond 2^53 is refused");
    scan_string("{\"a\":0.5}", 0);
    ok(scan.has_number && !scan.has_integer && !scan.has_array,
       "an object with a fraction has no integer and no array");
    scan_string("[\"a\"]", 0);
    ok(!scan.has_number && scan.has_array, "an array of strings is an array");
    scan_string("[]", 0);
    ok(!scan.has_array, "an empty array is not counted");
}

static void test_untag(void)
{
    static const struct {
        const char *tagged;
        const char *text;
    } cases[] = {
        {"\"" TAG "1.0\"", "1.0"},
        {"\"" TAG "9007199254740993   \"", "9007199254740993"},
        {"[\"" TAG "[]\",\"" TAG "-0.0\"]", "[[],-0.0]"},
        {"{\"" TAG TAG "a\":\"" TAG TAG "\"}", "{\"" TAG "a\":\"" TAG "\"}"},
        {"\"say \\\"" TAG "x\\\"\"", "\"say \\\"" TAG "x\\\"\""},
        {"\"" TAG TAG "\\\"" TAG "\"", "\"" TAG "\\\"" TAG "\""},
        {"\"a\"", "\"a\""},
        {"\"" TAG, "\"" TAG},
        {"", ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[64];
        size_t length =
            noe_json_untag(cases[i].tagged, strlen(cases[i].tagged), out);
        ok(length == strlen(cases[i].text) &&
               memcmp(out, cases[i].text, length) == 0,
           cases[i].text);
    }
}

/* A generator of doubles of any size, the same on each run. */
static double next_double(uint64_t *state)
{
    double number;

    do {
        *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t bits = *state ^ *state >> 29;
        if ((bits & 3) != 0) /* mostly of a size that people use */
            bits = (bits & ~(UINT64_C(0x7FF) << 52)) |
                   (UINT64_C(983) + bits % 81) << 52;
        memcpy(&number, &bits, sizeof(number));
    } while (!isfinite(number));
    return number;
}

static void test_numbers(void)
{
    static const struct {
        double number;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {0.1, "0.1"},
        {-0.3, "-0.3"},
        {1.0 / 3, "0.3333333333333333"},
        {0.1 + 0.2, "0.30000000000000004"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {1e15, "1000000000000000.0"},
        {1e22, "1e+22"},
        {9007199254740993.0, "9007199254740992.0"},
        {1e300, "1e+300"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
    };
    char text[NOE_JSON_NUMBER_BYTES];
    uint64_t state = 1;
    int wrong = 0;
    int unfaithful = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t length = noe_json_number_format(cases[i].number, true, text);
        ok(length == strlen(text) && strcmp(text, cases[i].text) == 0,
           cases[i].text);
    }
    ok(noe_json_number_format(1.0, false, text) == 1 && text[0] == '1',
       "1 without the mark of a float");
    for (int i = 0; i < 200000; i++) {
        double number = next_double(&state);
        noe_json_number_format(number, true, text);
        double back = noe_json_number_parse(text);
        wrong += memcmp(&back, &number, sizeof(back)) != 0 ||
                 strtod(text, NULL) != number;
        snprintf(text, sizeof(text), "%.14g", number);
        unfaithful +=
            noe_json_number_is_short(number) &&
            (strtod(text, NULL) != number || number == (double)(int64_t)number);
    }
    ok(wrong == 0, "every double comes back from its text");
    ok(unfaithful == 0, "a short number is exact with 14 digits");
    ok(noe_json_number_is_short(0.5) && !noe_json_number_is_short(0.1 + 0.2),
       "0.5 is short, 0.1 + 0.2 is not");
}

int main(void)
{
    test_grammar();
    test_bytes();
    test_depth();
    test_tags();
    test_untag();
    test_numbers();
    noe_json_scan_free(&scan);
    return plan_done();
}
