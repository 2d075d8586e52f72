/* SPDX-License-Identifier: MIT */
/*
 * Feeds the scanner anything, and checks what must hold of any answer: text
 * that is valid stays valid with tags; taking off tags never makes it longer;
 * and a double comes back from its text.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_number.h"
#include "core/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

/* The block ends with the zero byte, so that a sanitizer sees what reads on. */
static char *copy_text(const char *text, size_t length)
{
    char *copy = malloc(length + 1);

    require(copy != NULL);
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

static void check_untag(const char *text, size_t length)
{
    char *out = malloc(length + 1);

    require(out != NULL);
    require(noe_json_untag(text, length, out) <= length);
    free(out);
}

static void check_scan(const char *text, size_t length, unsigned mode)
{
    struct noe_json_scan scan = {0};
    struct noe_error err = NOE_ERROR_INIT;

    if (noe_json_scan(text, length, mode, &scan, &err) != 0) {
        require(err.message[0] != '\0');
    } else if (scan.tagged) {
        struct noe_json_scan again = {0};
        char *tagged = copy_text(scan.data, scan.length);
        require(noe_json_scan(tagged, scan.length, 0, &again, &err) == 0);
        check_untag(tagged, scan.length);
        noe_json_scan_free(&again);
        free(tagged);
    }
    noe_json_scan_free(&scan);
}

static void check_number(const uint8_t *data)
{
    char text[NOE_JSON_NUMBER_BYTES];
    double number;

    memcpy(&number, data, sizeof(number));
    if (!isfinite(number))
        return;
    require(noe_json_number_format(number, true, text) < sizeof(text));
    double back = noe_json_number_parse(text);
    require(memcmp(&back, &number, sizeof(back)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_text((const char *)data, size);

    check_scan(text, size, NOE_JSON_EXACT);
    check_scan(text, size, NOE_JSON_DOUBLES);
    check_scan(text, size, NOE_JSON_TAG_NUMBERS);
    check_untag(text, size);
    if (size >= sizeof(double))
        check_number(data);
    free(text);
    return 0;
}
