/* SPDX-License-Identifier: MIT */
/* Streams that are not memory, as a C program uses them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "noether.h"
#include "tap.h"

/* Lives as long as the block that it stands in. */
#define STREAM(...)                                    \
    &(struct noe_stream)                               \
    {                                                  \
        .size = sizeof(struct noe_stream), __VA_ARGS__ \
    }

static struct noe_launcher *launcher;

static struct noe_options options_of(const char *const *argv)
{
    struct noe_options options;

    noe_options_init(&options);
    options.argv = argv;
    options.timeout_ms = 20000;
    return options;
}

static struct noe_process *start(const struct noe_options *options)
{
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *process = NULL;

    if (noe_process_start(&process, launcher, options, &err) != 0)
        printf("# %s\n", err.message);
    return process;
}

static const struct noe_result *end_of(struct noe_process *process)
{
    while (noe_process_wait(process, -1, NULL) == 0)
        continue;
    return noe_process_result(process);
}

static bool result_is(const struct noe_result *result, enum noe_reason reason)
{
    return result != NULL && result->reason == reason;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd waiting = {fd, POLLIN, 0};

    return poll(&waiting, 1, timeout_ms) > 0;
}

static void test_files(const char *directory)
{
    static const char *const copy[] = {"/bin/cat", NULL};
    static const char *const fill[] = {"/bin/echo", "full", NULL};
    struct noe_options options = options_of(copy);
    char path[200];
    char back[8] = "";

    snprintf(path, sizeof(path), "%s/file", directory);
    options.input = "kept\n";
    options.input_len = 5;
    options.streams[1] = STREAM(.kind = NOE_STREAM_PATH, .path = path);
    struct noe_process *process = start(&options);
    const struct noe_result *result = end_of(process);
    ok(result_is(result, NOE_REASON_EXIT), "output goes to a file");
    ok(result->output_len == 0 && result->output_bytes == 5, "and is counted");
    noe_process_close(process);

    options = options_of(copy);
    options.streams[0] = STREAM(.kind = NOE_STREAM_PATH, .path = path);
    process = start(&options);
    result = end_of(process);
    ok(result->output_len == 5 && memcmp(result->output, "kept\n", 5) == 0,
       "input comes from a file");
    noe_process_close(process);

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ok(read(fd, back, 2) == 2, "read in part");
    options.streams[0] = STREAM(.kind = NOE_STREAM_FD, .fd = fd);
    process = start(&options);
    result = end_of(process);
    ok(result->output_len == 3 && memcmp(result->output, "pt\n", 3) == 0,
       "a descriptor of a file gives the rest");
    ok(fcntl(fd, F_GETFD) >= 0, "and stays the caller's");
    noe_process_close(process);
    close(fd);

    options = options_of(fill);
    options.streams[1] = STREAM(.kind = NOE_STREAM_PATH, .path = "/dev/full");
    process = start(&options);
    result = end_of(process);
    ok(result_is(result, NOE_REASON_STREAM_FAILED) &&
           result->failed_stream == 1 && result->stream_code == ENOSPC,
       "a full disk is told as what it is");
    noe_process_close(process);
    unlink(path);
}

static void test_pieces(void)
{
    static const char *const copy[] = {"/bin/cat", NULL};
    static char piece[50000];
    struct noe_options options = options_of(copy);
    size_t seen = 0;
    int fed = 0;

    options.streams[0] = STREAM(.kind = NOE_STREAM_PIECES);
    options.streams[1] = STREAM(.tapped = true);
    struct noe_process *process = start(&options);
    while (noe_process_wait(process, -1, NULL) == 0) {
        const char *data;
        seen += noe_process_take(process, 1, &data);
        while (noe_process_hungry(process))
            noe_process_feed(process, piece, fed++ < 10 ? sizeof(piece) : 0);
    }
    const char *data;
    seen += noe_process_take(process, 1, &data);
    const struct noe_result *result = noe_process_result(process);
    ok(result_is(result, NOE_REASON_EXIT) && result->output_len == 500000,
       "input comes in pieces");
    ok(seen == 500000, "output is shown as it comes, each byte once");
    ok(noe_process_take(process, 1, &data) == 0, "then there is nothing more");
    noe_process_close(process);
}

static void test_pieces_that_come_late(void)
{
    static const char *const copy[] = {"/bin/cat", NULL};
    struct noe_options options = options_of(copy);

    options.streams[0] = STREAM(.kind = NOE_STREAM_PIECES);
    struct noe_process *process = start(&options);
    while (noe_process_wait_started(process, -1, NULL) == 0)
        continue;
    while (!noe_process_hungry(process))
        noe_process_wait(process, 1000, NULL);
    noe_process_rest(process);
    ok(noe_process_hungry(process), "one that rests stays hungry");
    ok(!is_readable(noe_process_pollfd(process), 50), "and is quiet");
    ok(noe_process_wait(process, 50, NULL) == 0, "to be waited for");
    noe_process_feed(process, "late", 4);
    while (!noe_process_hungry(process))
        noe_process_wait(process, 1000, NULL);
    noe_process_feed(process, "", 0);
    const struct noe_result *result = end_of(process);
    ok(result->output_len == 4 && memcmp(result->output, "late", 4) == 0,
       "and is fed when there is something");
    noe_process_close(process);
}

static void test_reader_that_goes(void)
{
    static const char *const flood[] = {"/usr/bin/yes", NULL};
    struct noe_options options = options_of(flood);
    char some[10];
    int fds[2];

    ok(pipe2(fds, O_CLOEXEC) == 0, "a pipe");
    options.streams[1] = STREAM(.kind = NOE_STREAM_FD, .fd = fds[1]);
    struct noe_process *process = start(&options);
    struct pollfd readable = {fds[0], POLLIN, 0};
    while (poll(&readable, 1, 0) == 0)
        noe_process_wait(process, 1, NULL);
    ok(read(fds[0], some, sizeof(some)) > 0, "output comes through it");
    ok((fcntl(fds[1], F_GETFL) & O_NONBLOCK) == 0, "which is left as it was");
    close(fds[0]);
    const struct noe_result *result = end_of(process);
    ok(result_is(result, NOE_REASON_STREAM_FAILED) &&
           result->stream_code == EPIPE,
       "and ends the run, not the host, when nobody reads it any more");
    noe_process_close(process);
    close(fds[1]);
}

static void test_shared(void)
{
    static const char *const say[] = {"/bin/echo", "shared", NULL};
    struct noe_options options = options_of(say);
    char text[16] = "";
    int fds[2];

    ok(pipe2(fds, O_CLOEXEC) == 0, "a pipe");
    options.streams[1] = STREAM(.kind = NOE_STREAM_SHARED, .fd = fds[1]);
    struct noe_process *process = start(&options);
    close(fds[1]);
    const struct noe_result *result = end_of(process);
    ok(result_is(result, NOE_REASON_EXIT) && result->output_bytes == 0,
       "a shared descriptor is not looked at");
    ok(read(fds[0], text, sizeof(text)) == 7 && strcmp(text, "shared\n") == 0,
       "and is the program's");
    noe_process_close(process);
    close(fds[0]);

    struct noe_error err = NOE_ERROR_INIT;
    options.streams[1] =
        STREAM(.kind = NOE_STREAM_SHARED, .fd = fds[1], .tapped = true);
    ok(noe_process_start(&process, launcher, &options, &err) != 0 &&
           err.fault == NOE_FAULT_ARGUMENT,
       "to show it is refused");
    options.streams[1] = STREAM(.kind = NOE_STREAM_PIECES);
    ok(noe_process_start(&process, launcher, &options, &err) != 0 &&
           err.fault == NOE_FAULT_ARGUMENT,
       "and so are pieces of output");
}

int main(void)
{
    char directory[] = "/tmp/streams.XXXXXX";
    struct noe_error err = NOE_ERROR_INIT;

    signal(SIGPIPE, SIG_DFL);
    if (noe_launcher_open(&launcher, NULL, &err) != 0 ||
        mkdtemp(directory) == NULL)
        return 1;
    test_files(directory);
    test_pieces();
    test_pieces_that_come_late();
    test_reader_that_goes();
    test_shared();
    rmdir(directory);
    noe_launcher_close(launcher);
    return plan_done();
}
