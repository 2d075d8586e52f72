/* SPDX-License-Identifier: MIT */
/* What holds for a program of any header; after that header. */
#ifndef NOE_ABI_H
#define NOE_ABI_H

#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* A struct of the program's, and what lies behind it. */
#define GUARDED(type)             \
    struct {                      \
        type it;                  \
        unsigned char guard[256]; \
    }

#define FILL(guarded) memset(&(guarded), 0xa5, sizeof(guarded))

#define UNTOUCHED(guarded) untouched((guarded).guard, sizeof((guarded).guard))

static const char *const TRUE[] = {"/bin/true", NULL};
static struct noe_launcher *launcher;

static bool untouched(const unsigned char *guard, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (guard[i] != 0xa5)
            return false;
    return true;
}

static inline bool names(char **argv, const char *word)
{
    for (; *argv != NULL; argv++)
        if (strcmp(*argv, word) == 0)
            return true;
    return false;
}

static struct noe_options options_of(const char *const *argv)
{
    struct noe_options options;

    noe_options_init(&options);
    options.argv = argv;
    options.timeout_ms = 60 * 1000;
    return options;
}

/* To its end. */
static struct noe_process *run(const struct noe_options *options)
{
    struct noe_process *process = NULL;
    struct noe_error err = NOE_ERROR_INIT;

    if (noe_process_start(&process, launcher, options, &err) != 0)
        printf("# %s\n", err.operation);
    while (process != NULL && noe_process_wait(process, -1, NULL) == 0)
        continue;
    return process;
}

static void test_init(void)
{
    GUARDED(struct noe_options) options;
    GUARDED(struct noe_limits) limits;

    FILL(options);
    noe_options_init(&options.it);
    ok(UNTOUCHED(options), "options are filled as far as they go");
    ok(options.it.size == sizeof(options.it) && options.it.timeout_ms == -1 &&
           options.it.poller == -1 && options.it.supervise,
       "with their defaults");
    FILL(limits);
    noe_limits_init(&limits.it);
    ok(UNTOUCHED(limits), "so are limits");
    ok(limits.it.size == sizeof(limits.it) &&
           limits.it.memory_bytes == NOE_UNLIMITED &&
           limits.it.file_bytes == NOE_UNLIMITED,
       "with none");
}

static void test_error(void)
{
    GUARDED(struct noe_error) err;
    struct noe_options options = options_of(NULL);
    struct noe_process *process = NULL;

    FILL(err);
    err.it = (struct noe_error)NOE_ERROR_INIT;
    ok(noe_process_start(&process, launcher, &options, &err.it) == -1 &&
           err.it.fault == NOE_FAULT_ARGUMENT &&
           strcmp(err.it.operation, "spawn") == 0,
       "an error says what failed");
    ok(err.it.size == sizeof(err.it) && UNTOUCHED(err),
       "as far as the program has room");
    FILL(err);
    err.it.size = 0;
    ok(noe_process_start(&process, launcher, &options, &err.it) == -1 &&
           untouched((unsigned char *)&err.it + sizeof(err.it.size),
                     sizeof(err.it) - sizeof(err.it.size)),
       "and nothing where that was not said");
}

static void test_run(void)
{
    static const char *const argv[] = {"/bin/sh", "-c", "cat; exit 3", NULL};
    struct noe_options options = options_of(argv);
    struct noe_limits limits;

    noe_limits_init(&limits);
    limits.memory_bytes = 512 * 1024 * 1024;
    options.limits = &limits;
    options.input = "hello";
    options.input_len = 5;
    struct noe_process *process = run(&options);
    const struct noe_result *result =
        process != NULL ? noe_process_result(process) : NULL;
    ok(result != NULL && result->reason == NOE_REASON_EXIT &&
           result->exit_code == 3 && result->output_len == 5 &&
           memcmp(result->output, "hello", 5) == 0,
       "a program runs");
    ok(result != NULL && NOE_HAS(result, failed_stream) &&
           result->failed_stream == -1,
       "and its result is read");
    noe_process_close(process);
}

static void test_missing_size(void)
{
    struct noe_options options = options_of(TRUE);
    struct noe_sandbox sandbox = {.backend = NOE_BACKEND_NATIVE};
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *process = NULL;

    options.sandbox = &sandbox;
    ok(noe_process_start(&process, launcher, &options, &err) == -1 &&
           err.fault == NOE_FAULT_ARGUMENT,
       "a sandbox without its size is refused");
    options = options_of(TRUE);
    options.size = 0;
    ok(noe_process_start(&process, launcher, &options, &err) == -1 &&
           err.fault == NOE_FAULT_ARGUMENT,
       "and so are options");
    options.size = (size_t)-1;
    ok(noe_process_start(&process, launcher, &options, &err) == -1 &&
           err.fault == NOE_FAULT_ARGUMENT,
       "or a size that can be none");
}

static void test_all(void)
{
    ok(noe_launcher_open(&launcher, NULL, NULL) == 0, "a launcher");
    test_init();
    test_error();
    test_run();
    test_missing_size();
}

#endif
