/* SPDX-License-Identifier: MIT */
/* A program that was built against a header with longer structs. */
#include "abi/newer.h"

#include "abi.h"

static bool refused(const struct noe_options *options)
{
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *process = NULL;

    return noe_process_start(&process, launcher, options, &err) != 0 &&
           process == NULL && err.fault == NOE_FAULT_ARGUMENT &&
           strstr(err.message, "version " NOE_VERSION) != NULL;
}

/* A wall or a limit that is asked for and not known would be none. */
static void test_what_the_library_does_not_know(void)
{
    struct noe_options options = options_of(TRUE);
    struct noe_limits limits;
    struct noe_sandbox sandbox = {.size = sizeof(sandbox), .later = 1};
    struct noe_stream stream = {.size = sizeof(stream), .later = 1};

    ok(options.later == 0, "what the library does not know is zero");
    options.later = 1;
    ok(refused(&options), "an option that is not known is refused");
    options = options_of(TRUE);
    noe_limits_init(&limits);
    limits.later = 1;
    options.limits = &limits;
    ok(refused(&options), "so is a limit");
    options = options_of(TRUE);
    options.sandbox = &sandbox;
    ok(refused(&options), "a property of a sandbox");
    ok(noe_sandbox_bwrap_argv(&sandbox, NULL, TRUE, NULL) == NULL,
       "by each function");
    options = options_of(TRUE);
    options.streams[1] = &stream;
    ok(refused(&options), "and of a stream");
}

static void test_what_the_result_has(void)
{
    struct noe_options options = options_of(TRUE);
    struct noe_process *process = run(&options);
    const struct noe_result *result = noe_process_result(process);

    ok(NOE_HAS(result, stream_code), "what the result has can be asked");
    ok(!NOE_HAS(result, later), "and what it has not");
    noe_process_close(process);
}

int main(void)
{
    test_all();
    test_what_the_library_does_not_know();
    test_what_the_result_has();
    return plan_done();
}
