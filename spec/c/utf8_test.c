/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "core/utf8.h"
#include "tap.h"

/* The table of RFC 3629, section 4, row by row. */
static size_t reference_length(const unsigned char *p, size_t left)
{
    static const unsigned char rows[][8] = {
        {0x00, 0x7F},
        {0xC2, 0xDF, 0x80, 0xBF},
        {0xE0, 0xE0, 0xA0, 0xBF, 0x80, 0xBF},
        {0xE1, 0xEC, 0x80, 0xBF, 0x80, 0xBF},
        {0xED, 0xED, 0x80, 0x9F, 0x80, 0xBF},
        {0xEE, 0xEF, 0x80, 0xBF, 0x80, 0xBF},
        {0xF0, 0xF0, 0x90, 0xBF, 0x80, 0xBF, 0x80, 0xBF},
        {0xF1, 0xF3, 0x80, 0xBF, 0x80, 0xBF, 0x80, 0xBF},
        {0xF4, 0xF4, 0x80, 0x8F, 0x80, 0xBF, 0x80, 0xBF},
    };

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        size_t i = 0;
        while (i < 4 && i < left && (i == 0 || rows[row][2 * i] != 0) &&
               p[i] >= rows[row][2 * i] && p[i] <= rows[row][2 * i + 1])
            i++;
        if (i > 0 && (i == 4 || rows[row][2 * i] == 0))
            return i;
    }
    return 0;
}

static size_t reference_utf8(const unsigned char *text, size_t length)
{
    size_t done = 0;

    while (done < length) {
        size_t bytes = reference_length(text + done, length - done);
        if (bytes == 0)
            break;
        done += bytes;
    }
    return done;
}

/* Every lead with bytes around the limits of the others, at every place of a
 * text that needs blocks and a rest. */
static void test_utf8(void)
{
    static const unsigned char limits[] = {0x00, 'x',  0x7F, 0x80, 0x8F,
                                           0x90, 0x9F, 0xA0, 0xBF, 0xC0,
                                           0xC2, 0xE1, 0xF0, 0xFF};
    enum { COUNT = sizeof(limits), LENGTH = 41 };
    int wrong = 0;

    for (unsigned lead = 0x80; lead <= 0xFF; lead++)
        for (unsigned rest = 0; rest < COUNT * COUNT * COUNT; rest++) {
            unsigned char text[LENGTH];
            size_t place = rest % (LENGTH - 3);
            memset(text, 'a', sizeof(text));
            text[place] = (unsigned char)lead;
            text[place + 1] = limits[rest % COUNT];
            text[place + 2] = limits[rest / COUNT % COUNT];
            text[place + 3] = limits[rest / COUNT / COUNT];
            for (size_t length = place + 1; length <= LENGTH; length += 3)
                wrong += noe_utf8_check((const char *)text, length) !=
                         reference_utf8(text, length);
        }
    ok(wrong == 0, "UTF-8 is what RFC 3629 says it is");
    ok(noe_utf8_check("", 0) == 0, "no text is valid");
}

int main(void)
{
    test_utf8();
    return plan_done();
}
