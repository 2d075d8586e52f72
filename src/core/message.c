/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/inside.h"
#include "base/protocol.h"
#include "argv.h"
#include "error.h"
#include "request.h"
#include "sandbox.h"
#include "seccomp.h"
#include "shared.h"
#include "base/uapi.h"

enum { LANDLOCK_WITH_SCOPES = 6, MOST_HOLD_MS = 24 * 3600 * 1000 };

/* The parts of one message; `strings` is a vector for its builder's sake, whose
 * bytes are just what is wanted. */
struct parts {
    struct noe_jail_start start;
    struct noe_argv strings;
    struct sock_filter *filter; /* a copy with a password of its own */
    const int *given;           /* with it: NOE_SHARED_FDS, or NULL */
};

static int no_memory(struct noe_error *err)
{
    return noe_error_set(err, NOE_FAULT_SPAWN, ENOMEM, "spawn", "%s", "");
}

static int64_t limit_value(uint64_t value)
{
    return value > INT64_MAX ? NOE_JAIL_NO_LIMIT : (int64_t)value;
}

static void add_limits(struct noe_jail_start *start,
                       const struct noe_limits *limits)
{
    struct noe_limits unlimited;

    noe_limits_init(&unlimited);
    if (limits == NULL)
        limits = &unlimited;
    start->limits = (struct noe_jail_limits){
        .memory_bytes = limit_value(limits->memory_bytes),
        .cpu_us = limits->cpu_ms < INT64_MAX / 1000
                      ? (int64_t)limits->cpu_ms * 1000
                      : NOE_JAIL_NO_LIMIT,
        .processes = limit_value(limits->processes),
        .open_files = limit_value(limits->open_files),
        .file_bytes = limit_value(limits->file_bytes)};
    start->private_bytes = limit_value(limits->private_bytes);
    start->private_files = limit_value(limits->private_files);
    start->connections = limit_value(limits->connections);
    start->network_bytes = limit_value(limits->network_bytes);
}

static int add_wrapper(struct parts *parts, const struct noe_options *options,
                       struct noe_error *err)
{
    char **wrapper =
        noe_sandbox_wrapper(options->sandbox, options->limits, err);

    if (wrapper == NULL)
        return -1;
    for (char **word = wrapper; *word != NULL; word++) {
        noe_argv_add(&parts->strings, *word);
        parts->start.wrapper_count++;
    }
    free(wrapper);
    return 0;
}

/* Itself, unless a link stands in it. NULL with errno. */
static char *unless_linked(const char *path)
{
    struct noe_open_how how = {.flags = O_PATH | O_CLOEXEC,
                               .resolve = NOE_RESOLVE_NO_SYMLINKS |
                                          NOE_RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

    if (fd < 0)
        return NULL;
    noe_fd_close(&fd);
    return strdup(path);
}

/* Links in the source are followed once: here, unless the caller has done it
 * before it was judged. The jail follows none. */
static int add_bind(struct parts *parts, const struct noe_place *place,
                    bool resolved, struct noe_error *err)
{
    char *source = resolved ? unless_linked(place->bind->source)
                            : realpath(place->bind->source, NULL);

    if (source == NULL)
        return noe_error_set(err, NOE_FAULT_SANDBOX, errno, "bind", "%.300s",
                             place->bind->source);
    int status = noe_sandbox_check_source(source, err);
    noe_argv_add_joined(&parts->strings, place->writable ? "w" : "r", source);
    noe_argv_add(&parts->strings, place->bind->target);
    parts->start.bind_count++;
    free(source);
    return status;
}

static void add_links(struct parts *parts, const struct noe_sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->link_count; i++) {
        noe_argv_add(&parts->strings, sandbox->links[i].source);
        noe_argv_add(&parts->strings, sandbox->links[i].target);
        parts->start.link_count++;
    }
}

static int add_files(struct parts *parts, const struct noe_sandbox *sandbox,
                     struct noe_error *err)
{
    size_t count;
    struct noe_place *places = noe_sandbox_places(sandbox, &count);
    int status = 0;

    if (places == NULL)
        return no_memory(err);
    for (size_t i = 0; i < count && status == 0; i++)
        status = add_bind(parts, &places[i], sandbox->resolved, err);
    free(places);
    add_links(parts, sandbox);
    return status;
}

static void add_hosts(struct parts *parts, const struct noe_sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->host_count; i++)
        noe_argv_add(&parts->strings, sandbox->hosts[i]);
    parts->start.host_count = (uint32_t)sandbox->host_count;
    parts->start.asks = noe_sandbox_asks(sandbox);
}

/* As the jail will find it. */
static uint32_t landlock_version(const struct noe_launcher *launcher)
{
    uint32_t most = noe_launcher_pretence(launcher)->landlock;
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, NOE_LANDLOCK_VERSION);

    if (version <= 0)
        return 0;
    return (uint32_t)version < most ? (uint32_t)version : most;
}

static int add_filter(struct parts *parts, const struct noe_sandbox *sandbox,
                      struct noe_launcher *launcher, struct noe_error *err)
{
    struct noe_jail_start *start = &parts->start;
    bool walls = start->walls != NOE_JAIL_LANDLOCK;
    bool pairs = sandbox->network == NOE_NETWORK_NO_IP;
    bool network = sandbox->network == NOE_NETWORK_HOST;
    const struct noe_seccomp_policy policy = {
        .network = network,
        .private_network = walls && !network && !pairs,
        .pairs = pairs,
        .walls = walls,
        .processes = sandbox->processes || start->serves,
        .enters = start->serves,
        .running = start->walls == NOE_JAIL_FORKED,
        .signals = landlock_version(launcher) >= LANDLOCK_WITH_SCOPES,
        .report = !sandbox->processes && !start->serves,
        .watch = sandbox->network == NOE_NETWORK_LIST && !start->serves,
        .learn = sandbox->learn != 0 && !start->serves};
    const struct noe_filter *filter =
        noe_launcher_filter(launcher, &policy, err);

    if (filter == NULL)
        return -1;
    size_t size = filter->count * sizeof(*filter->code);
    parts->filter = malloc(size);
    if (parts->filter == NULL)
        return no_memory(err);
    memcpy(parts->filter, filter->code, size);
    start->filter_len = (uint32_t)size;
    start->reports_denied = policy.report || policy.watch;
    if (policy.processes || policy.running)
        return 0;
    if (getrandom(start->password, sizeof(start->password), 0) !=
        sizeof(start->password))
        return noe_error_set(err, NOE_FAULT_SPAWN, errno, "getrandom", "%s",
                             "");
    noe_seccomp_set_password(parts->filter, filter->count, start->password);
    return 0;
}

/* Landlock keeps apart once more what the filter gives no name to. */
static void share_network(struct parts *parts, struct noe_launcher *launcher)
{
    struct noe_jail_start *start = &parts->start;
    struct noe_shared *shared = noe_launcher_shared(launcher);

    start->shares_network = start->no_ip && start->walls == NOE_JAIL_NATIVE &&
                            !start->serves &&
                            landlock_version(launcher) >= LANDLOCK_WITH_SCOPES;
    if (start->shares_network && noe_shared_check(shared))
        parts->given = shared->fds;
}

static int add_sandbox(struct parts *parts, const struct noe_options *options,
                       struct noe_launcher *launcher, struct noe_error *err)
{
    const struct noe_sandbox *sandbox = options->sandbox;
    bool wrapped = parts->start.walls == NOE_JAIL_WRAPPED;

    parts->start.host_network = sandbox->network == NOE_NETWORK_HOST;
    parts->start.no_ip = sandbox->network == NOE_NETWORK_NO_IP;
    parts->start.has_doors = sandbox->network == NOE_NETWORK_LIST;
    parts->start.learns = sandbox->learn != 0;
    if (wrapped && add_wrapper(parts, options, err) != 0)
        return -1;
    const char *start_dir = noe_sandbox_start_dir(sandbox);
    share_network(parts, launcher);
    if (start_dir != NULL) {
        noe_argv_add(&parts->strings, start_dir);
        parts->start.has_start_dir = 1;
    }
    if (parts->start.serves && options->fork->place != NULL) {
        noe_argv_add(&parts->strings, options->fork->place);
        parts->start.has_place = 1;
    }
    /* A copy finds the server's. */
    if (parts->start.walls != NOE_JAIL_FORKED &&
        add_files(parts, sandbox, err) != 0)
        return -1;
    add_hosts(parts, sandbox);
    return add_filter(parts, sandbox, launcher, err);
}

static uint32_t walls_of(const struct noe_options *options)
{
    const struct noe_sandbox *sandbox = options->sandbox;

    if (options->fork != NULL && options->fork->server != NULL)
        return NOE_JAIL_FORKED;
    switch (sandbox != NULL ? sandbox->backend : NOE_BACKEND_NONE) {
    case NOE_BACKEND_BWRAP:
        return NOE_JAIL_WRAPPED;
    case NOE_BACKEND_NATIVE:
        return NOE_JAIL_NATIVE;
    case NOE_BACKEND_LANDLOCK:
        return NOE_JAIL_LANDLOCK;
    case NOE_BACKEND_NONE: /* no default: the compiler names what is new */
        break;
    }
    return NOE_JAIL_NO_WALLS;
}

static const char *work_dir_of(const struct noe_options *options,
                               uint32_t walls)
{
    const struct noe_sandbox *sandbox = options->sandbox;

    if (walls == NOE_JAIL_NO_WALLS)
        return options->cwd == NULL && noe_request_has_directory(options)
                   ? sandbox->private_dir
                   : options->cwd;
    if (walls == NOE_JAIL_WRAPPED)
        return NULL; /* the wrapper enters it by itself */
    if (sandbox->work_dir != NULL)
        return sandbox->work_dir;
    return walls == NOE_JAIL_LANDLOCK ? sandbox->private_dir : NOE_INSIDE_WORK;
}

static void add_directories(struct parts *parts,
                            const struct noe_options *options)
{
    struct noe_jail_start *start = &parts->start;
    const char *work_dir = work_dir_of(options, start->walls);

    if (work_dir != NULL) {
        noe_argv_add(&parts->strings, work_dir);
        start->has_cwd = 1;
    }
    if (noe_request_has_directory(options)) {
        noe_argv_add(&parts->strings, options->sandbox->private_dir);
        start->has_private = 1;
    }
}

static bool wants_cgroup(const struct noe_limits *limits)
{
    return limits != NULL && (limits->memory_bytes != NOE_UNLIMITED ||
                              limits->processes != NOE_UNLIMITED ||
                              limits->cpu_ms != NOE_UNLIMITED);
}

static void add_cgroups(struct parts *parts, const struct noe_cgroups *cgroups)
{
    const char *const paths[] = {cgroups->memory, cgroups->pids, cgroups->cpu,
                                 cgroups->home};

    parts->start.cgroup_version = (uint32_t)cgroups->version;
    if (cgroups->version == 0)
        return;
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        noe_argv_add(&parts->strings, paths[i] != NULL ? paths[i] : "");
}

/* Its channel is its init's. */
static bool serves(const struct noe_options *options)
{
    return options->fork != NULL && options->fork->server == NULL;
}

static int collect(struct parts *parts, const struct noe_message *message,
                   struct noe_launcher *launcher, struct noe_error *err)
{
    const struct noe_options *options = message->options;
    struct noe_jail_start *start = &parts->start;

    *start = (struct noe_jail_start){.version = NOE_JAIL_VERSION,
                                     .role = NOE_JAIL_SUPERVISOR,
                                     .walls = walls_of(options),
                                     .has_channel = options->channel != NULL,
                                     .serves = serves(options),
                                     .host_pid = message->host,
                                     .deadline_us = message->deadline_us,
                                     .ahead = options->wait_ms > 0};
    if (start->serves) {
        start->has_channel = 1;
        start->idle_ms = options->fork->idle_ms < UINT32_MAX
                             ? (uint32_t)options->fork->idle_ms
                             : UINT32_MAX;
    }
    if (message->deadline_us == INT64_MAX)
        start->deadline_us = NOE_JAIL_NO_LIMIT;
    start->hold_ms =
        options->hold_ms < MOST_HOLD_MS ? options->hold_ms : MOST_HOLD_MS;
    add_limits(start, options->limits);
    start->max_landlock = noe_launcher_pretence(launcher)->landlock;
    add_directories(parts, options);
    /* Of a server, that it can remove what is made for its copies. */
    if (start->serves ||
        (start->walls != NOE_JAIL_FORKED && wants_cgroup(options->limits)))
        add_cgroups(parts, noe_launcher_cgroups(launcher));
    if (start->walls == NOE_JAIL_NO_WALLS) {
        if (noe_request_has_directory(options))
            add_links(parts, options->sandbox);
        return 0;
    }
    return add_sandbox(parts, options, launcher, err);
}

/* Where too many descriptors are under way, without these. */
static ssize_t send_with(int socket, struct msghdr *message, const int *given)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * NOE_SHARED_FDS)];
        struct cmsghdr header;
    } room = {.bytes = {0}};
    size_t size = sizeof(int) * NOE_SHARED_FDS;

    if (given == NULL)
        return sendmsg(socket, message, MSG_NOSIGNAL);
    room.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(size),
                                   .cmsg_level = SOL_SOCKET,
                                   .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&room.header), given, size);
    message->msg_control = &room;
    message->msg_controllen = sizeof(room);
    ssize_t sent = sendmsg(socket, message, MSG_NOSIGNAL);
    message->msg_control = NULL;
    message->msg_controllen = 0;
    return sent >= 0 ? sent : sendmsg(socket, message, MSG_NOSIGNAL);
}

static int deliver(struct parts *parts, int socket, struct noe_error *err)
{
    struct noe_jail_start *start = &parts->start;
    struct iovec pieces[] = {
        {start, sizeof(*start)},
        {parts->filter, start->filter_len},
        {parts->strings.bytes.data, parts->strings.bytes.len}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 3};

    if (parts->strings.failed)
        return no_memory(err);
    size_t rest = start->filter_len + parts->strings.bytes.len;
    if (rest > NOE_JAIL_MAX_MESSAGE)
        return noe_error_set(err, NOE_FAULT_ARGUMENT, E2BIG, "spawn",
                             "the sandbox description");
    start->strings_len = (uint32_t)parts->strings.bytes.len;
    if (send_with(socket, &message, parts->given) < 0)
        return noe_error_set(err, NOE_FAULT_SPAWN, errno, "send",
                             "the supervisor's instructions");
    return 0;
}

int noe_message_send(const struct noe_message *message,
                     struct noe_launcher *launcher, int socket,
                     struct noe_error *err)
{
    struct parts parts = {.filter = NULL};
    int status = collect(&parts, message, launcher, err);

    if (status == 0)
        status = deliver(&parts, socket, err);
    noe_argv_free(&parts.strings);
    free(parts.filter);
    return status;
}
