/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/sandbox.h"
#include "tap.h"

static struct noe_sandbox described(void)
{
    return (struct noe_sandbox){.size = sizeof(struct noe_sandbox),
                                .backend = NOE_BACKEND_BWRAP,
                                .bwrap_path = "/usr/bin/bwrap"};
}

static bool refused(const struct noe_sandbox *sandbox, const char *path)
{
    struct noe_error err = NOE_ERROR_INIT;
    bool no = noe_sandbox_check(sandbox, &err) == -1 &&
              err.fault == NOE_FAULT_ARGUMENT &&
              (path == NULL || strstr(err.message, path) != NULL);

    if (!no)
        printf("# %s: %s\n", path != NULL ? path : "NULL", err.message);
    return no;
}

/* As every part of a description that is a path to bind. */
static bool refused_everywhere(const char *path)
{
    struct noe_bind source = {path, "/data"};
    struct noe_bind target = {"/data", path};
    const struct noe_bind *binds[] = {&source, &target};
    bool all = true;

    for (int i = 0; i < 2; i++) {
        struct noe_sandbox sandbox = described();
        sandbox.ro_binds = binds[i];
        sandbox.ro_bind_count = 1;
        all = refused(&sandbox, path) && all;
        sandbox.ro_bind_count = 0;
        sandbox.rw_binds = binds[i];
        sandbox.rw_bind_count = 1;
        all = refused(&sandbox, path) && all;
    }
    struct noe_sandbox sandbox = described();
    sandbox.links = &target;
    sandbox.link_count = 1;
    return refused(&sandbox, path) && all;
}

static void test_refusals(void)
{
    static const char *const paths[] = {
        "",         "/",       "//",     "relative", "./x",
        "../x",     "/a/../b", "/a/./b", "/a//b",    "/a/",
        "/..",      "/.",      "/a/..",  "/proc",    "/proc/self/fd",
        "/sys",     "/sys/fs", "/dev",   "/dev/sda", "--bind",
        "/dev/shm", NULL};
    bool all = true;

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        all = refused_everywhere(paths[i]) && all;
    ok(all, "paths that lead astray or to the kernel are refused");
}

static void test_acceptance(void)
{
    static const char *const paths[] = {"/a",     "/a/..b", "/...",    "/a/.b",
                                        "/proc2", "/devil", "/system", "/a b",
                                        "/a\nb",  "/-x"};
    bool all = true;

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        struct noe_bind bind = {paths[i], paths[i]};
        struct noe_sandbox sandbox = described();
        sandbox.ro_binds = &bind;
        sandbox.ro_bind_count = 1;
        all = noe_sandbox_check(&sandbox, NULL) == 0 && all;
    }
    ok(all, "paths that only look odd are taken");
}

static void test_other_fields(void)
{
    struct noe_bind empty = {"", "/a"};
    struct noe_sandbox sandbox = described();

    sandbox.links = &empty;
    sandbox.link_count = 1;
    ok(refused(&sandbox, "/a"), "a link to nowhere is refused");
    sandbox = described();
    sandbox.work_dir = "work";
    ok(refused(&sandbox, "work"), "a relative work_dir is refused");
    sandbox = described();
    sandbox.bwrap_path = "bwrap";
    ok(refused(&sandbox, "bwrap"), "a relative bwrap is refused");
    sandbox = described();
    sandbox.backend = (enum noe_backend)99;
    ok(refused(&sandbox, "99"), "a backend that there is not is refused");
    sandbox = described();
    sandbox.network = (enum noe_network)7;
    ok(refused(&sandbox, "7"), "so is such a network");
    sandbox = described();
    sandbox.ro_bind_count = 1000000;
    ok(refused(&sandbox, NULL), "a million binds are refused");
}

static int position(char **argv, const char *const *words, int count)
{
    for (int i = 0; argv[i] != NULL; i++) {
        int same = 0;
        while (same < count && argv[i + same] != NULL &&
               strcmp(argv[i + same], words[same]) == 0)
            same++;
        if (same == count)
            return i;
    }
    return -1;
}

#define AT(argv, ...)                             \
    position(                                     \
        argv, (const char *const[]){__VA_ARGS__}, \
        (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static void test_command_line(void)
{
    static const struct noe_bind ro[] = {{"/usr", "/usr"}, {"/x", "/data/x"}};
    static const struct noe_bind rw[] = {{"/y", "/data"}};
    static const struct noe_bind links[] = {{"usr/bin", "/bin"}};
    static const char *const program[] = {"/bin/true", "--bind", NULL};
    struct noe_limits limits;
    struct noe_sandbox sandbox = described();

    noe_limits_init(&limits);
    limits.private_bytes = 12345;
    sandbox.ro_binds = ro;
    sandbox.ro_bind_count = 2;
    sandbox.rw_binds = rw;
    sandbox.rw_bind_count = 1;
    sandbox.links = links;
    sandbox.link_count = 1;
    char **argv = noe_sandbox_bwrap_argv(&sandbox, &limits, program, NULL);
    ok(argv != NULL && strcmp(argv[0], "/usr/bin/bwrap") == 0, "the program");
    ok(AT(argv, "--ro-bind", "/usr", "/usr") > 0, "a read-only bind");
    ok(AT(argv, "--bind", "/y", "/data") > 0 &&
           AT(argv, "--bind", "/y", "/data") <
               AT(argv, "--ro-bind", "/x", "/data/x"),
       "read-write binds come first, so that narrower read-only ones win");
    ok(AT(argv, "--symlink", "usr/bin", "/bin") > 0, "a link");
    ok(AT(argv, "--size", "12345", "--tmpfs", "/work") > 0 &&
           AT(argv, "--size", "12345", "--tmpfs", "/tmp") > 0 &&
           AT(argv, "--size", "12345", "--tmpfs", "/dev/shm") > 0,
       "private directories are limited");
    ok(AT(argv, "--unshare-net") > 0 && AT(argv, "--unshare-user") > 0 &&
           AT(argv, "--unshare-pid") > 0 && AT(argv, "--new-session") > 0 &&
           AT(argv, "--die-with-parent") > 0,
       "namespaces and a session of its own");
    ok(AT(argv, "--", "/bin/true", "--bind") > 0, "then the program");
    free(argv);

    sandbox.network = NOE_NETWORK_HOST;
    sandbox.work_dir = "/data";
    argv = noe_sandbox_bwrap_argv(&sandbox, NULL, program, NULL);
    ok(AT(argv, "--unshare-net") < 0, "the host's network if it is asked for");
    ok(AT(argv, "--chdir", "/data") > 0, "where to start");
    ok(AT(argv, "--size") < 0, "no limits, no sizes");
    ok(AT(argv, "--tmpfs", "/data") < 0, "what is bound is there already");
    free(argv);
    sandbox.work_dir = "/home/a";
    argv = noe_sandbox_bwrap_argv(&sandbox, NULL, program, NULL);
    ok(AT(argv, "--tmpfs", "/home/a") > 0 &&
           AT(argv, "--tmpfs", "/home/a") <
               AT(argv, "--ro-bind", "/usr", "/usr"),
       "another place to start is made, beneath all binds");
    free(argv);
    sandbox.work_dir = "/tmp/a";
    argv = noe_sandbox_bwrap_argv(&sandbox, NULL, program, NULL);
    ok(AT(argv, "--tmpfs", "/tmp/a") < 0 && AT(argv, "--dir", "/tmp/a") > 0,
       "in a private directory it is a directory");
    free(argv);
    sandbox.work_dir = "/dev/x";
    ok(refused(&sandbox, "/dev/x"), "a work_dir of the kernel's is refused");
    sandbox.work_dir = "..";
    ok(noe_sandbox_bwrap_argv(&sandbox, NULL, program, NULL) == NULL,
       "nothing from a description that is refused");
}

static void test_claims(void)
{
    struct noe_sandbox sandbox = described();
    struct noe_limits limits;

    noe_limits_init(&limits);
    ok(noe_sandbox_enforced(NULL, NULL) == 0, "no sandbox, no claims");
    ok(noe_sandbox_enforced(&sandbox, &limits) & NOE_ENFORCED_NET_NS,
       "no network is claimed");
    ok(!(noe_sandbox_enforced(&sandbox, &limits) & NOE_ENFORCED_TMPFS_LIMITS),
       "limits are not, where there are none");
    ok(!(noe_sandbox_enforced(&sandbox, &limits) & NOE_ENFORCED_HOST_UID) ==
           (geteuid() == 0),
       "started by root, bubblewrap leaves the host's uid 0: not claimed");
    sandbox.network = NOE_NETWORK_HOST;
    ok(!(noe_sandbox_enforced(&sandbox, NULL) & NOE_ENFORCED_NET_NS),
       "with the host's network nothing is claimed of it");
}

int main(void)
{
    test_refusals();
    test_acceptance();
    test_other_fields();
    test_command_line();
    test_claims();
    return plan_done();
}
