/* SPDX-License-Identifier: MIT */
/* A program that was built against a header with shorter structs. */
#include "abi/older.h"

#include "abi.h"

static void test_what_it_does_not_know(void)
{
    struct noe_limits limits;
    struct noe_sandbox sandbox = {.size = sizeof(sandbox),
                                  .backend = NOE_BACKEND_BWRAP,
                                  .bwrap_path = "/usr/bin/bwrap"};

    noe_limits_init(&limits);
    char **argv = noe_sandbox_bwrap_argv(&sandbox, &limits, TRUE, NULL);
    ok(argv != NULL && !names(argv, "--size"),
       "a limit it does not know: none");
    free(argv);
}

int main(void)
{
    test_all();
    test_what_it_does_not_know();
    return plan_done();
}
