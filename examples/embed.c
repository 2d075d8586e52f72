/* SPDX-License-Identifier: MIT */
/*
 * A C host: two programs at once, each in a sandbox and under a deadline,
 * driven by one poll(2) loop. docs/embedding.md says how to build it.
 */
#include <noether.h>
#include <poll.h>
#include <stdio.h>

enum { COUNT = 2 };

/* The system's programs and libraries, read-only, where /usr holds them all. */
static const struct noe_bind SYSTEM[] = {{"/usr", "/usr"}};
static const struct noe_bind LINKS[] = {
    {"usr/bin", "/bin"}, {"usr/lib", "/lib"}, {"usr/lib64", "/lib64"}};

static struct noe_process *start(struct noe_launcher *launcher,
                                 const char *script, struct noe_error *err)
{
    const char *argv[] = {"/usr/bin/sh", "-c", script, NULL};
    struct noe_limits limits;
    struct noe_sandbox sandbox = {.size = sizeof(sandbox)};
    struct noe_options options;
    struct noe_process *process = NULL;

    noe_limits_init(&limits);
    limits.memory_bytes = 64 << 20;
    sandbox.backend = NOE_BACKEND_NATIVE;
    sandbox.ro_binds = SYSTEM;
    sandbox.ro_bind_count = sizeof(SYSTEM) / sizeof(SYSTEM[0]);
    sandbox.links = LINKS;
    sandbox.link_count = sizeof(LINKS) / sizeof(LINKS[0]);
    noe_options_init(&options);
    options.argv = argv;
    options.timeout_ms = 500;
    options.limits = &limits;
    options.sandbox = &sandbox;
    return noe_process_start(&process, launcher, &options, err) == 0 ? process
                                                                     : NULL;
}

static void report(const struct noe_process *process)
{
    const struct noe_result *result = noe_process_result(process);

    printf("%s: %.*s\n", noe_reason_name(result->reason),
           (int)result->output_len, result->output);
}

/* Waits for what is still to be done. A descriptor that is -1 is not looked at.
 */
static void wait_for_any(struct noe_process *const *running)
{
    struct pollfd fds[COUNT];
    int shortest = -1;

    for (int i = 0; i < COUNT; i++) {
        fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
        if (running[i] == NULL)
            continue;
        fds[i].fd = noe_process_pollfd(running[i]);
        int timeout = noe_process_timeout_ms(running[i]);
        if (timeout >= 0 && (shortest < 0 || timeout < shortest))
            shortest = timeout;
    }
    (void)poll(fds, COUNT, shortest);
}

/* 0, or -1 if a program could not be run at all. */
static int run_all(struct noe_process **running, struct noe_error *err)
{
    for (int left = COUNT; left > 0;) {
        wait_for_any(running);
        for (int i = 0; i < COUNT; i++) {
            int over = running[i] ? noe_process_step(running[i], err) : 0;
            if (over < 0)
                return -1;
            if (over == 0)
                continue;
            report(running[i]);
            noe_process_close(running[i]);
            running[i] = NULL;
            left--;
        }
    }
    return 0;
}

int main(void)
{
    static const char *const scripts[COUNT] = {"while :; do :; done",
                                               "printf $((6 * 7))"};
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_launcher *launcher = NULL;
    struct noe_process *running[COUNT] = {NULL};
    int failed = noe_launcher_open(&launcher, NULL, &err);

    for (int i = 0; failed == 0 && i < COUNT; i++) {
        running[i] = start(launcher, scripts[i], &err);
        failed = running[i] == NULL;
    }
    if (failed == 0)
        failed = run_all(running, &err);
    if (failed != 0)
        fprintf(stderr, "%s\n", err.message);
    for (int i = 0; i < COUNT; i++)
        noe_process_close(running[i]);
    noe_launcher_close(launcher);
    return failed != 0;
}
