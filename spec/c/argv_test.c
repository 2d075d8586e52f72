/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/argv.h"
#include "tap.h"

static void test_strings(void)
{
    struct noe_argv argv = {.count = 0};

    noe_argv_add(&argv, "one");
    noe_argv_add(&argv, "");
    noe_argv_add_joined(&argv, "--name=", "a b\n'\"");
    noe_argv_add_all(&argv, "x", "y", (char *)NULL);
    noe_argv_add_number(&argv, UINT64_MAX);
    noe_argv_add_number(&argv, 0);
    char **vector = noe_argv_finish(&argv);
    if (!ok(vector != NULL, "all are there"))
        return;
    ok(strcmp(vector[0], "one") == 0, "a string");
    ok(vector[1][0] == '\0', "an empty one");
    ok(strcmp(vector[2], "--name=a b\n'\"") == 0, "two as one, unquoted");
    ok(strcmp(vector[3], "x") == 0 && strcmp(vector[4], "y") == 0, "several");
    ok(strcmp(vector[5], "18446744073709551615") == 0, "the largest number");
    ok(strcmp(vector[6], "0") == 0 && vector[7] == NULL, "and the end");
    free(vector);
    ok(argv.count == 0 && argv.bytes.data == NULL,
       "the builder is empty again");
}

static void test_empty(void)
{
    struct noe_argv argv = {.count = 0};
    char **vector = noe_argv_finish(&argv);

    ok(vector != NULL && vector[0] == NULL, "no strings are a vector, too");
    free(vector);
    noe_argv_add(&argv, "given up");
    noe_argv_free(&argv);
    ok(argv.count == 0, "a builder may be given up");
}

static void test_many(void)
{
    struct noe_argv argv = {.count = 0};
    char text[32];
    bool all = true;

    for (int i = 0; i < 50000; i++) {
        snprintf(text, sizeof(text), "argument %d", i);
        noe_argv_add(&argv, text);
    }
    char **vector = noe_argv_finish(&argv);
    for (int i = 0; i < 50000; i++) {
        snprintf(text, sizeof(text), "argument %d", i);
        all = all && strcmp(vector[i], text) == 0;
    }
    ok(all && vector[50000] == NULL, "many strings");
    free(vector);
}

int main(void)
{
    test_strings();
    test_empty();
    test_many();
    return plan_done();
}
