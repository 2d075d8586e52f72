/* SPDX-License-Identifier: MIT */
/* The channel beside the standard streams, as a C program uses it. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "noether.h"
#include "tap.h"

static struct noe_launcher *launcher;

static struct noe_process *start(const char *script, size_t max_frame)
{
    const char *const argv[] = {"/bin/bash", "-c", script, NULL};
    struct noe_channel channel = {.size = sizeof(channel),
                                  .max_frame_bytes = max_frame};
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_options options;
    struct noe_process *process = NULL;

    noe_options_init(&options);
    options.argv = argv;
    options.timeout_ms = 120000;
    options.channel = &channel;
    if (noe_process_start(&process, launcher, &options, &err) != 0)
        printf("# %s\n", err.message);
    return process;
}

/* The next frame, waiting for it; NULL once there can be none. */
static const char *next_frame(struct noe_process *process, size_t *len)
{
    for (;;) {
        const char *frame = noe_process_channel_take(process, len);
        if (frame != NULL ||
            noe_process_wait(process, noe_process_timeout_ms(process), NULL))
            return frame != NULL ? frame
                                 : noe_process_channel_take(process, len);
    }
}

static bool next_is(struct noe_process *process, const char *text)
{
    size_t len = 0;
    const char *frame = next_frame(process, &len);

    return frame != NULL && len == strlen(text) &&
           memcmp(frame, text, len) == 0;
}

static const struct noe_result *end_of(struct noe_process *process)
{
    while (noe_process_wait(process, -1, NULL) == 0)
        continue;
    return noe_process_result(process);
}

static bool output_is(const struct noe_result *result, const char *text)
{
    return result != NULL && result->output_len == strlen(text) &&
           memcmp(result->output, text, result->output_len) == 0;
}

static void test_both_ways(void)
{
    struct noe_process *process = start("printf '\\3\\0\\0\\0one' >&5;"
                                        "head -c 9 <&5 | tail -c 5;"
                                        "printf '\\0\\0\\0\\0' >&5",
                                        100);

    ok(noe_process_channel_state(process) == NOE_CHANNEL_OPEN, "it is open");
    ok(next_is(process, "one"), "a frame comes");
    ok(noe_process_channel_put(process, "reply", 5) == 0, "one is sent");
    ok(next_is(process, ""), "one may be empty");
    ok(output_is(end_of(process), "reply"), "what was sent was read");
    ok(noe_process_channel_state(process) == NOE_CHANNEL_CLOSED,
       "it is closed at the end");
    errno = 0;
    ok(noe_process_channel_put(process, "late", 4) != 0 && errno == EPIPE,
       "nothing can be sent then");
    noe_process_close(process);
}

static void test_pieces(void)
{
    struct noe_process *process =
        start("printf '\\5\\0' >&5; sleep 0.05; printf '\\0\\0ab' >&5;"
              "sleep 0.05; printf 'cde\\1\\0\\0\\0x\\1\\0\\0\\0y\\2\\0\\0' >&5",
              100);
    size_t len;

    ok(next_is(process, "abcde"), "a frame in pieces is whole");
    ok(next_is(process, "x") && next_is(process, "y"), "two come at once");
    ok(next_frame(process, &len) == NULL, "half a frame is none");
    ok(end_of(process)->reason == NOE_REASON_EXIT, "and ends nothing");
    noe_process_close(process);
}

static void test_too_long(void)
{
    static const char *const scripts[] = {
        "printf '\\1\\0\\0\\0x\\5\\0\\0\\0abcde' >&5; sleep 0.1",
        "printf '\\1\\0\\0\\0x\\377\\377\\377\\377' >&5; sleep 0.1",
        "printf '\\1\\0\\0\\0x' >&5;"
        "printf '\\377%.0s' {1..16384} >&5"};

    for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++) {
        struct noe_process *process = start(scripts[i], 4);
        size_t len;
        ok(next_is(process, "x"), "what came before a bad length is taken");
        ok(next_frame(process, &len) == NULL, "the bad one is not");
        ok(noe_process_channel_state(process) == NOE_CHANNEL_BROKEN,
           "the channel is broken");
        noe_process_close(process);
    }
}

/* Whoever waits hears of it at once, and not when the program is over. */
static void test_broken_is_news(void)
{
    struct noe_process *process =
        start("printf '\\377\\377\\377\\377' >&5; sleep 60", 4);

    while (noe_process_channel_state(process) == NOE_CHANNEL_OPEN &&
           noe_process_wait(process, -1, NULL) == 0)
        continue;
    ok(noe_process_channel_state(process) == NOE_CHANNEL_BROKEN &&
           noe_process_result(process) == NULL,
       "a channel that breaks wakes who waits");
    noe_process_close(process);
}

/* A program that reads nothing is not read, either. */
static void test_back_pressure(void)
{
    static char megabyte[1024 * 1024];
    struct noe_process *process = start(
        "printf '\\1\\0\\0\\0a' >&5; sleep 0.3; printf '\\1\\0\\0\\0b' >&5;"
        "sleep 0.3; head -c 3145740 <&5 >/dev/null; echo read",
        100);

    ok(next_is(process, "a"), "the first one comes");
    for (int i = 0; i < 3; i++)
        ok(noe_process_channel_put(process, megabyte, sizeof(megabyte)) == 0,
           "more is kept than a socket takes");
    ok(next_is(process, "b"), "the second one comes once ours was read");
    ok(output_is(end_of(process), "read\n"), "all of which arrived");
    noe_process_close(process);
}

static void test_closed_early(void)
{
    struct noe_process *process = start("trap 'echo on; exit' TERM; exec 5>&-;"
                                        "while :; do sleep 0.05; done",
                                        100);
    size_t len;

    while (noe_process_channel_state(process) == NOE_CHANNEL_OPEN &&
           noe_process_wait(process, 10, NULL) == 0)
        continue;
    ok(noe_process_result(process) == NULL,
       "that it was closed is seen before the end");
    ok(noe_process_channel_take(process, &len) == NULL, "nothing comes");
    noe_process_kill(process, SIGTERM);
    ok(output_is(end_of(process), "on\n"), "the program goes on");
    noe_process_close(process);
}

static void test_without(void)
{
    static const char *const argv[] = {"/bin/bash", "-c",
                                       "echo >&5 && echo open; true", NULL};
    struct noe_channel channel = {.size = sizeof(channel),
                                  .max_frame_bytes = 9};
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *process = NULL;
    struct noe_options options;
    size_t len;

    noe_options_init(&options);
    options.argv = argv;
    ok(noe_process_start(&process, launcher, &options, NULL) == 0,
       "a run without a channel");
    ok(output_is(end_of(process), ""), "has no descriptor for one");
    ok(noe_process_channel_state(process) == NOE_CHANNEL_NONE, "and says so");
    ok(noe_process_channel_take(process, &len) == NULL, "nothing can be taken");
    ok(noe_process_channel_put(process, "x", 1) != 0, "nor sent");
    noe_process_close(process);
    options.channel = &channel;
    options.supervise = false;
    ok(noe_process_start(&process, launcher, &options, &err) != 0 &&
           err.fault == NOE_FAULT_ARGUMENT,
       "bare, there can be none");
}

int main(void)
{
    if (noe_launcher_open(&launcher, NULL, NULL) != 0)
        return 1;
    test_both_ways();
    test_pieces();
    test_too_long();
    test_broken_is_news();
    test_back_pressure();
    test_closed_early();
    test_without();
    noe_launcher_close(launcher);
    return plan_done();
}
