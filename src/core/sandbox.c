/* SPDX-License-Identifier: MIT */
#include "sandbox.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "argv.h"
#include "base/hosts.h"
#include "base/inside.h"
#include "error.h"
#include "request.h"

enum { MAX_BINDS = 4096 };

/* Absolute, and without empty, "." or ".." components, so that a path says
 * where it leads but for symbolic links. */
static bool is_plain_path(const char *path)
{
    if (path == NULL || path[0] != '/')
        return false;
    while (*path == '/') {
        size_t len = strcspn(++path, "/");
        if (len == 0 || (len == 1 && path[0] == '.') ||
            (len == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        path += len;
    }
    return true;
}

static bool is_at_or_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    return strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == 0);
}

/* These are the sandbox's own to make. */
static bool is_reserved(const char *path)
{
    static const char *const tops[] = {"/proc", "/sys", "/dev"};

    for (size_t i = 0; i < sizeof(tops) / sizeof(*tops); i++)
        if (is_at_or_below(path, tops[i]))
            return true;
    return false;
}

/* Shared memory is files in memory, and may be all that can be written to. */
static bool is_forbidden_source(const char *path)
{
    return is_reserved(path) && (!is_at_or_below(path, NOE_INSIDE_SHM) ||
                                 strcmp(path, NOE_INSIDE_SHM) == 0);
}

static int refuse(struct noe_error *err, const char *what, const char *path,
                  const char *why)
{
    return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "sandbox",
                         "%s '%.300s' %s", what, path != NULL ? path : "", why);
}

static int check_bind(const struct noe_bind *bind, const char *what,
                      struct noe_error *err)
{
    const char *const ends[] = {bind->source, bind->target};

    for (size_t i = 0; i < 2; i++) {
        if (!is_plain_path(ends[i]))
            return refuse(err, what, ends[i],
                          "must be an absolute path without '.', '..' or '//'");
        if (i == 0 ? is_forbidden_source(ends[i]) : is_reserved(ends[i]))
            return refuse(err, what, ends[i],
                          "is not allowed: /proc, /sys and /dev are private");
    }
    return 0;
}

static int check_link(const struct noe_bind *link, struct noe_error *err)
{
    if (!is_plain_path(link->target) || is_reserved(link->target))
        return refuse(err, "the link", link->target,
                      "must be an absolute path outside /proc, /sys and /dev");
    if (link->source == NULL || link->source[0] == '\0')
        return refuse(err, "the link", link->target, "leads nowhere");
    return 0;
}

/* A link in what is bound would be made on the host. */
static int check_links(const struct noe_sandbox *sandbox,
                       const struct noe_bind *binds, size_t count,
                       struct noe_error *err)
{
    for (size_t i = 0; i < sandbox->link_count; i++)
        for (size_t j = 0; j < count; j++)
            if (is_at_or_below(sandbox->links[i].target, binds[j].target))
                return refuse(err, "the link", sandbox->links[i].target,
                              "lies in a path that is bound");
    return 0;
}

int noe_sandbox_check_source(const char *resolved, struct noe_error *err)
{
    if (is_plain_path(resolved) && !is_forbidden_source(resolved))
        return 0;
    return refuse(err, "the bind of", resolved,
                  "is not allowed, by whatever link it is named");
}

/* By another name too, if that leads to the same file on the host. */
static bool leads_to(const char *target, const char *source)
{
    char *a = realpath(target, NULL);
    char *b = realpath(source, NULL);
    bool same = a != NULL && b != NULL && strcmp(a, b) == 0;

    free(a);
    free(b);
    return same;
}

static int check_same_name(const struct noe_bind *bind, struct noe_error *err)
{
    if (strcmp(bind->source, bind->target) == 0 ||
        leads_to(bind->target, bind->source))
        return 0;
    return refuse(err, "the bind", bind->source,
                  "cannot have another name: Landlock hides nothing");
}

static int check_private_dir(const struct noe_sandbox *sandbox,
                             struct noe_error *err)
{
    if (is_plain_path(sandbox->private_dir))
        return 0;
    return refuse(err, "private_dir", sandbox->private_dir,
                  "must be an absolute path: Landlock can make none");
}

static int check_names(const struct noe_sandbox *sandbox, struct noe_error *err)
{
    if (check_private_dir(sandbox, err) != 0)
        return -1;
    for (size_t i = 0; i < sandbox->rw_bind_count; i++)
        if (check_same_name(&sandbox->rw_binds[i], err) != 0)
            return -1;
    for (size_t i = 0; i < sandbox->ro_bind_count; i++)
        if (check_same_name(&sandbox->ro_binds[i], err) != 0)
            return -1;
    return 0;
}

static bool is_at_or_below_any(const char *path, const struct noe_bind *list,
                               size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_at_or_below(path, list[i].target))
            return true;
    return false;
}

/* What a backend is. */
struct traits {
    bool known;
    bool in_place;   /* everything lies where it does on the host */
    bool holds_list; /* of hosts */
};

static struct traits traits_of(const struct noe_sandbox *sandbox)
{
    switch (sandbox->backend) { /* no default: the compiler names what is new */
    case NOE_BACKEND_NONE:
        return (struct traits){.known = true};
    case NOE_BACKEND_BWRAP:
    case NOE_BACKEND_NATIVE:
        return (struct traits){.known = true, .holds_list = true};
    case NOE_BACKEND_LANDLOCK:
        return (struct traits){.known = true, .in_place = true};
    }
    return (struct traits){.known = false};
}

bool noe_sandbox_is_in_place(const struct noe_sandbox *sandbox)
{
    return traits_of(sandbox).in_place;
}

const char *noe_sandbox_start_dir(const struct noe_sandbox *sandbox)
{
    const char *dir = sandbox->work_dir;

    if (dir == NULL || noe_sandbox_is_in_place(sandbox) ||
        strcmp(dir, NOE_INSIDE_WORK) == 0 ||
        is_at_or_below_any(dir, sandbox->rw_binds, sandbox->rw_bind_count) ||
        is_at_or_below_any(dir, sandbox->ro_binds, sandbox->ro_bind_count) ||
        is_at_or_below_any(dir, sandbox->links, sandbox->link_count))
        return NULL;
    return dir;
}

static int check_work_dir(const struct noe_sandbox *sandbox,
                          struct noe_error *err)
{
    const char *dir = sandbox->work_dir;

    if (dir == NULL)
        return 0;
    if (!is_plain_path(dir))
        return refuse(err, "work_dir", dir,
                      "must be an absolute path without '.', '..' or '//'");
    if (!noe_sandbox_is_in_place(sandbox) && is_reserved(dir) &&
        !noe_inside_is_private(dir))
        return refuse(err, "work_dir", dir,
                      "is not allowed: /proc, /sys and /dev are private");
    return 0;
}

/* A number that means nothing here must not be taken for no wall. */
static int check_words(const struct noe_sandbox *sandbox, struct noe_error *err)
{
    if (!traits_of(sandbox).known)
        return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "sandbox",
                             "there is no backend %d", (int)sandbox->backend);
    if ((unsigned)sandbox->network > NOE_NETWORK_NO_IP)
        return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "sandbox",
                             "there is no network %d", (int)sandbox->network);
    return 0;
}

/* A list that nothing could hold is no list. */
static int check_hosts(const struct noe_sandbox *sandbox, struct noe_error *err)
{
    bool listed = sandbox->network == NOE_NETWORK_LIST;
    bool learns = sandbox->learn != 0;
    struct noe_host host;

    if (listed != (sandbox->host_count > 0 || learns) ||
        sandbox->host_count > NOE_HOSTS_MAX)
        return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "sandbox",
                             "a list of hosts has 1 to %d entries, and its "
                             "network is the list",
                             NOE_HOSTS_MAX);
    if (listed && !traits_of(sandbox).holds_list)
        return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "sandbox",
                             "only native and bwrap can hold a list of hosts");
    for (size_t i = 0; i < sandbox->host_count; i++)
        if (sandbox->hosts[i] == NULL ||
            noe_host_parse(sandbox->hosts[i], &host) != 0)
            return refuse(err, "the host", sandbox->hosts[i],
                          "is not NAME:PORT or ADDRESS:PORT");
    return 0;
}

bool noe_sandbox_asks(const struct noe_sandbox *sandbox)
{
    struct noe_host host;

    if (sandbox->network != NOE_NETWORK_LIST)
        return false;
    for (size_t i = 0; i < sandbox->host_count; i++)
        if (noe_host_parse(sandbox->hosts[i], &host) == 0 &&
            host.kind == NOE_HOST_ASKED)
            return true;
    return false;
}

int noe_sandbox_check(const struct noe_sandbox *sandbox, struct noe_error *err)
{
    if (check_words(sandbox, err) != 0 || check_hosts(sandbox, err) != 0)
        return -1;
    if (sandbox->ro_bind_count > MAX_BINDS ||
        sandbox->rw_bind_count > MAX_BINDS || sandbox->link_count > MAX_BINDS)
        return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "sandbox",
                             "more than %d paths", MAX_BINDS);
    for (size_t i = 0; i < sandbox->rw_bind_count; i++)
        if (check_bind(&sandbox->rw_binds[i], "the read-write bind", err) != 0)
            return -1;
    for (size_t i = 0; i < sandbox->ro_bind_count; i++)
        if (check_bind(&sandbox->ro_binds[i], "the read-only bind", err) != 0)
            return -1;
    for (size_t i = 0; i < sandbox->link_count; i++)
        if (check_link(&sandbox->links[i], err) != 0)
            return -1;
    if (check_links(sandbox, sandbox->rw_binds, sandbox->rw_bind_count, err) ||
        check_links(sandbox, sandbox->ro_binds, sandbox->ro_bind_count, err))
        return -1;
    if (check_work_dir(sandbox, err) != 0)
        return -1;
    if (noe_sandbox_is_in_place(sandbox))
        return check_names(sandbox, err);
    if (sandbox->backend == NOE_BACKEND_NONE && sandbox->private_dir != NULL)
        return check_private_dir(sandbox, err);
    if (sandbox->backend == NOE_BACKEND_BWRAP &&
        !is_plain_path(sandbox->bwrap_path))
        return refuse(err, "bwrap_path", sandbox->bwrap_path,
                      "must be an absolute path");
    return 0;
}

static int compare_places(const void *left, const void *right)
{
    const struct noe_place *a = left;
    const struct noe_place *b = right;
    int order = strcmp(a->bind->target, b->bind->target);

    return order != 0 ? order : b->writable - a->writable;
}

struct noe_place *noe_sandbox_places(const struct noe_sandbox *sandbox,
                                     size_t *count)
{
    *count = sandbox->rw_bind_count + sandbox->ro_bind_count;
    struct noe_place *places = calloc(*count + 1, sizeof(*places));

    if (places == NULL)
        return NULL;
    for (size_t i = 0; i < sandbox->rw_bind_count; i++)
        places[i] = (struct noe_place){&sandbox->rw_binds[i], true};
    for (size_t i = 0; i < sandbox->ro_bind_count; i++)
        places[sandbox->rw_bind_count + i] =
            (struct noe_place){&sandbox->ro_binds[i], false};
    qsort(places, *count, sizeof(*places), compare_places);
    return places;
}

/* Whether `bind` has something of its own kind to be mounted on in `over`,
 * without a link on the way. */
static bool has_place(const struct noe_bind *bind, const struct noe_bind *over)
{
    const char *rest = bind->target + strlen(over->target);
    char path[PATH_MAX];
    struct stat place;
    struct stat source;
    char *top = realpath(over->source, NULL);
    int len =
        snprintf(path, sizeof(path), "%s%s", top != NULL ? top : "", rest);
    char *real = len < (int)sizeof(path) ? realpath(path, NULL) : NULL;
    bool there = top != NULL && real != NULL && strcmp(real, path) == 0 &&
                 lstat(real, &place) == 0 && stat(bind->source, &source) == 0 &&
                 S_ISDIR(place.st_mode) == S_ISDIR(source.st_mode);

    free(top);
    free(real);
    return there;
}

/* bubblewrap makes what is missing: in a bind that is writable, on the host;
 * and it follows links there, to anywhere. */
static int check_places(const struct noe_sandbox *sandbox,
                        struct noe_error *err)
{
    size_t count;
    struct noe_place *places = noe_sandbox_places(sandbox, &count);
    int status = 0;

    for (size_t i = 0; places != NULL && i < count && status == 0; i++) {
        const struct noe_bind *bind = places[i].bind;
        size_t over = i;
        while (over > 0 &&
               (!is_at_or_below(bind->target, places[over - 1].bind->target) ||
                strcmp(bind->target, places[over - 1].bind->target) == 0))
            over--;
        if (over > 0 && !has_place(bind, places[over - 1].bind))
            status = noe_error_set(err, NOE_FAULT_SANDBOX, ENOENT, "bind",
                                   "%.300s", bind->target);
    }
    free(places);
    return status;
}

static void add_binds(struct noe_argv *argv, const struct noe_place *places,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        noe_argv_add_all(argv, places[i].writable ? "--bind" : "--ro-bind",
                         places[i].bind->source, places[i].bind->target,
                         (char *)NULL);
}

static void add_private(struct noe_argv *argv, const char *path,
                        const struct noe_limits *limits)
{
    if (limits != NULL && limits->private_bytes != NOE_UNLIMITED) {
        noe_argv_add(argv, "--size");
        noe_argv_add_number(argv, limits->private_bytes);
    }
    noe_argv_add_all(argv, "--tmpfs", path, (char *)NULL);
}

static void add_namespaces(struct noe_argv *argv,
                           const struct noe_sandbox *sandbox)
{
    noe_argv_add_all(argv, "--unshare-user", "--unshare-pid", "--unshare-ipc",
                     "--unshare-uts", "--unshare-cgroup-try", (char *)NULL);
    if (sandbox->network != NOE_NETWORK_HOST)
        noe_argv_add(argv, "--unshare-net");
    noe_argv_add(argv, "--uid");
    noe_argv_add_number(argv, NOE_INSIDE_ID);
    noe_argv_add(argv, "--gid");
    noe_argv_add_number(argv, NOE_INSIDE_ID);
    /* As process 1 our init can be neither killed nor slowed down. */
    noe_argv_add_all(argv, "--hostname", NOE_INSIDE_HOST, "--new-session",
                     "--as-pid-1", "--die-with-parent", "--cap-drop", "ALL",
                     (char *)NULL);
    /* For init alone, which furnishes the network and gives these up. */
    if (sandbox->network != NOE_NETWORK_HOST)
        noe_argv_add_all(argv, "--cap-add", "CAP_NET_ADMIN", "--cap-add",
                         "CAP_SETPCAP", (char *)NULL);
    if (sandbox->network == NOE_NETWORK_LIST)
        noe_argv_add_all(argv, "--cap-add", "CAP_NET_BIND_SERVICE",
                         (char *)NULL);
}

/* With `--dev` there are terminals, for which bubblewrap makes a second user
 * namespace within the one that has the network: init would have no right over
 * that. A network of its own is furnished, and has no terminals. */
static void add_devices(struct noe_argv *argv,
                        const struct noe_sandbox *sandbox)
{
    static const char *const nodes[] = {"/dev/null", "/dev/zero", "/dev/full",
                                        "/dev/random", "/dev/urandom"};
    static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                           {"/proc/self/fd/0", "/dev/stdin"},
                                           {"/proc/self/fd/1", "/dev/stdout"},
                                           {"/proc/self/fd/2", "/dev/stderr"}};

    if (sandbox->network == NOE_NETWORK_HOST) {
        noe_argv_add_all(argv, "--dev", "/dev", (char *)NULL);
        return;
    }
    noe_argv_add_all(argv, "--dir", "/dev", (char *)NULL);
    for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++)
        noe_argv_add_all(argv, "--dev-bind", nodes[i], nodes[i], (char *)NULL);
    for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
        noe_argv_add_all(argv, "--symlink", links[i][0], links[i][1],
                         (char *)NULL);
}

/* /proc is made read-only as a whole: started by root, bubblewrap leaves
 * /proc/sys/kernel/core_pattern writable, which runs any program on the host.
 */
static void add_files(struct noe_argv *argv, const struct noe_sandbox *sandbox,
                      const struct noe_limits *limits,
                      const struct noe_place *places, size_t count)
{
    const char *start = noe_sandbox_start_dir(sandbox);
    bool within = start != NULL && noe_inside_is_private(start);

    add_private(argv, NOE_INSIDE_TMP, limits);
    add_private(argv, NOE_INSIDE_WORK, limits);
    if (start != NULL && !within)
        add_private(argv, start, limits);
    add_binds(argv, places, count);
    for (size_t i = 0; i < sandbox->link_count; i++)
        noe_argv_add_all(argv, "--symlink", sandbox->links[i].source,
                         sandbox->links[i].target, (char *)NULL);
    noe_argv_add_all(argv, "--proc", "/proc", "--remount-ro", "/proc",
                     (char *)NULL);
    add_devices(argv, sandbox);
    add_private(argv, NOE_INSIDE_SHM, limits);
    if (within)
        noe_argv_add_all(argv, "--dir", start, (char *)NULL);
    noe_argv_add_all(argv, "--remount-ro", "/", "--chdir",
                     sandbox->work_dir != NULL ? sandbox->work_dir
                                               : NOE_INSIDE_WORK,
                     (char *)NULL);
}

static int add_bwrap(struct noe_argv *argv, const struct noe_sandbox *sandbox,
                     const struct noe_limits *limits, struct noe_error *err)
{
    size_t count;
    struct noe_place *places = noe_sandbox_places(sandbox, &count);

    if (places == NULL)
        return noe_error_set(err, NOE_FAULT_SYSTEM, ENOMEM, "sandbox", "%s",
                             "");
    noe_argv_add(argv, sandbox->bwrap_path);
    add_namespaces(argv, sandbox);
    add_files(argv, sandbox, limits, places, count);
    noe_argv_add(argv, "--");
    free(places);
    return 0;
}

static char **finish(struct noe_argv *argv, struct noe_error *err)
{
    char **vector = noe_argv_finish(argv);

    if (vector == NULL)
        noe_error_set(err, NOE_FAULT_SYSTEM, ENOMEM, "sandbox",
                      "the command line of bwrap");
    return vector;
}

char **noe_sandbox_wrapper(const struct noe_sandbox *sandbox,
                           const struct noe_limits *limits,
                           struct noe_error *err)
{
    struct noe_argv argv = {.count = 0};

    if (check_places(sandbox, err) != 0 ||
        add_bwrap(&argv, sandbox, limits, err) != 0)
        return NULL;
    return finish(&argv, err);
}

char **noe_sandbox_bwrap_argv(const struct noe_sandbox *sandbox,
                              const struct noe_limits *limits,
                              const char *const *program, struct noe_error *err)
{
    struct noe_argv argv = {.count = 0};
    struct noe_request request;

    if (noe_request_read_sandbox(&request, sandbox, limits, err) != 0 ||
        noe_sandbox_check(&request.sandbox, err) != 0 ||
        add_bwrap(&argv, &request.sandbox, &request.limits, err) != 0)
        return NULL;
    for (; *program != NULL; program++)
        noe_argv_add(&argv, *program);
    return finish(&argv, err);
}

static uint32_t enforced_in_place(const struct noe_sandbox *sandbox)
{
    return NOE_ENFORCED_SECCOMP | NOE_ENFORCED_NO_NEW_PRIVS |
           NOE_ENFORCED_CAPS |
           (sandbox->processes ? 0 : NOE_ENFORCED_NO_PROCESS);
}

/* By walls of either kind. */
static uint32_t enforced_by_walls(const struct noe_sandbox *sandbox,
                                  const struct noe_limits *limits)
{
    uint32_t bits = NOE_ENFORCED_USER_NS | NOE_ENFORCED_MOUNT_NS |
                    NOE_ENFORCED_PID_NS | NOE_ENFORCED_IPC_NS |
                    NOE_ENFORCED_UTS_NS | NOE_ENFORCED_SECCOMP |
                    NOE_ENFORCED_NO_NEW_PRIVS | NOE_ENFORCED_CAPS;

    bool native = sandbox->backend == NOE_BACKEND_NATIVE;
    if (native)
        bits |= NOE_ENFORCED_CGROUP_NS;
    if (sandbox->network != NOE_NETWORK_HOST)
        bits |= NOE_ENFORCED_NET_NS;
    if (sandbox->network == NOE_NETWORK_LIST)
        bits |= NOE_ENFORCED_HOST_LIST;
    if (!sandbox->processes)
        bits |= NOE_ENFORCED_NO_PROCESS;
    /* bubblewrap limits the bytes of a private directory, not the files. */
    if (limits != NULL && limits->private_bytes != NOE_UNLIMITED &&
        (native || limits->private_files == NOE_UNLIMITED))
        bits |= NOE_ENFORCED_TMPFS_LIMITS;
    /* bubblewrap started by root stays user 0 of the host, against whom the
     * kernel does not hold a number of processes. */
    bool leaves_root = native || geteuid() != 0;
    if (leaves_root)
        bits |= NOE_ENFORCED_HOST_UID;
    if (leaves_root && limits != NULL && limits->processes != NOE_UNLIMITED)
        bits |= NOE_ENFORCED_PIDS_RLIMIT;
    return bits;
}

/* What is known only when it runs (Landlock, a fresh /proc) the process adds.
 */
uint32_t noe_sandbox_enforced(const struct noe_sandbox *sandbox,
                              const struct noe_limits *limits)
{
    if (sandbox == NULL)
        return 0;
    switch (sandbox->backend) { /* one that is not named here holds nothing */
    case NOE_BACKEND_NONE:
        break;
    case NOE_BACKEND_BWRAP:
    case NOE_BACKEND_NATIVE:
        return enforced_by_walls(sandbox, limits);
    case NOE_BACKEND_LANDLOCK:
        return enforced_in_place(sandbox);
    }
    return 0;
}
