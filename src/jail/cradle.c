/* SPDX-License-Identifier: MIT */
/*
 * Runs that are copies of a process which runs already: a fork server, an
 * interpreter behind the walls of a run of its own.
 *
 *   supervisor --- init --- the server
 *                    \------ cradle (PID 1 of new namespaces) --- the copy
 *
 * A cradle is made ahead by the init of the server: a process of ours, in which
 * no program ever ran, with all namespaces of a run, and with directories, a
 * /proc and a network of its own. It stands by for one run, as a supervisor
 * does (standby.c): then it asks the server for a copy, which comes in, gives
 * up what it came in with and confines itself as any program is confined
 * (src/fork/fork.c). What it says of that is not believed: it is looked at from
 * here. Only then it is given its streams, its variables and its channel, and
 * by that what it is about; nothing of this ever comes to the server, to its
 * init or to another cradle.
 *
 * From there on the cradle is the run's supervisor, as for any other.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/inside.h"
#include "base/text.h"
#include "proc.h"

enum {
    PATIENCE_MS = 2000, /* with the server */
    FAR_FD = 64         /* above all numbers that are given out */
};

static const char *const NAMESPACES[NOE_FORK_NAMESPACES] = {
    "/proc/self/ns/net",   "/proc/self/ns/user", "/proc/self/ns/mnt",
    "/proc/self/ns/pid",   "/proc/self/ns/ipc",  "/proc/self/ns/uts",
    "/proc/self/ns/cgroup"};

/* Each by its device and number. */
static struct stat own_namespaces[NOE_FORK_NAMESPACES];

/* What a cradle takes with it, and where it lies there. */
static int settle_descriptors(const struct noe_cradle *cradle)
{
    const int from[] = {cradle->seat, cradle->host, cradle->proc,
                        cradle->orders};
    static const int to[] = {NOE_SEAT_FD, NOE_HOST_FD, NOE_PROC_FD,
                             NOE_ORDERS_FD};
    int far[4];

    for (int i = 0; i < 4; i++) {
        far[i] = fcntl(from[i], F_DUPFD_CLOEXEC, FAR_FD);
        if (far[i] < 0)
            return -1;
    }
    for (int i = 0; i < 4; i++)
        if (dup3(far[i], to[i], O_CLOEXEC) < 0)
            return -1;
    if (noe_keep_open("/dev/null", O_RDWR, NOE_NULL_FD) < 0)
        return -1;
    for (int fd = 0; fd < NOE_PROC_FD; fd++)
        if ((fd < NOE_SEAT_FD || fd > NOE_NULL_FD) &&
            dup3(NOE_NULL_FD, fd, O_CLOEXEC) < 0)
            return -1;
    if (syscall(SYS_close_range, NOE_FIRST_NAMESPACE_FD, ~0U, 0) != 0)
        return -1;
    for (int fd = NOE_FIRST_NAMESPACE_FD; fd < NOE_CRADLE_END_FD; fd++)
        if (dup3(NOE_NULL_FD, fd, O_CLOEXEC) < 0)
            return -1;
    return 0;
}

static int map_ids(struct noe_jail *jail, const char **path)
{
    (void)jail;
    int status =
        noe_native_map(NOE_PROC_FD, NOE_INSIDE_ID, NOE_INSIDE_ID, path);
    /* The outer world's: nobody needs it any more. */
    return dup3(NOE_NULL_FD, NOE_PROC_FD, O_CLOEXEC) < 0 ? -1 : status;
}

static int enter_root(struct noe_jail *jail, const char **path)
{
    (void)jail;
    *path = "/";
    return chdir("/");
}

/* Of another one nothing could be counted. */
static int mount_proc(struct noe_jail *jail, const char **path)
{
    int status = noe_mount_proc(jail, path);

    if (status == 0 && jail->stub_proc)
        errno = EOPNOTSUPP;
    return jail->stub_proc ? -1 : status;
}

static int open_namespaces(struct noe_jail *jail, const char **path)
{
    (void)jail;
    for (int i = 0; i < NOE_FORK_NAMESPACES; i++) {
        *path = NAMESPACES[i];
        int fd = noe_keep_open(*path, O_RDONLY, NOE_FIRST_NAMESPACE_FD + i);
        if (fd < 0 || fstat(fd, &own_namespaces[i]) != 0)
            return -1;
    }
    return 0;
}

static int drop_capabilities(struct noe_jail *jail, const char **path)
{
    (void)jail;
    (void)path;
    return noe_confine_privileges();
}

static const struct {
    const char *name;
    int (*take)(struct noe_jail *jail, const char **path);
} STEPS[] = {
    {"map ids", map_ids},
    {"enter root", enter_root},
    {"mount private directory", noe_mount_private},
    {"mount /proc", mount_proc},
    {"open namespaces", open_namespaces},
    {"drop capabilities", drop_capabilities},
};

enum { STEP_COUNT = sizeof(STEPS) / sizeof(*STEPS) };

/* In the cradle. */
static int live(struct noe_jail *jail, const struct noe_cradle *cradle)
{
    struct noe_jail_event event;

    if (jail->host_name_seen) { /* and would be in each of its copies */
        errno = EPERM;
        noe_jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, "set host name", NULL);
        noe_jail_send(cradle->seat, &event);
        return 1;
    }
    if (settle_descriptors(cradle) != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return 1;
    jail->in_cradle = true;
    noe_cgroup_forget();
    for (int i = 0; i < STEP_COUNT; i++) {
        const char *path = NULL;
        if (STEPS[i].take(jail, &path) == 0)
            continue;
        noe_jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, STEPS[i].name, path);
        noe_jail_send(NOE_SEAT_FD, &event);
        return 1;
    }
    return noe_stand_by_once(jail->place != NULL);
}

/* The network is made here, before there is a user namespace of the cradle's
 * own: whoever enters that has all rights over what was made in it. */
static int found(struct noe_jail *jail, const struct noe_cradle *cradle)
{
    unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
                          CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    const char *step = "enter network";
    const char *path = NULL;
    struct noe_jail_event event;
    pid_t pid = -1;

    if (noe_loopback_enter(jail, &path) == 0) {
        step = "make namespaces";
        /* A child of init's, as we are. */
        pid = (pid_t)syscall(SYS_clone, flags | CLONE_PARENT | SIGCHLD, 0, 0, 0,
                             0);
    }
    if (pid == 0)
        return live(jail, cradle);
    if (pid > 0)
        return 0;
    noe_jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, step, path);
    noe_jail_send(cradle->seat, &event);
    return 1;
}

void noe_cradle_make(struct noe_jail *jail, const struct noe_cradle *cradle)
{
    struct noe_jail_event event;
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

    if (pid == 0)
        _exit(found(jail, cradle));
    if (pid > 0)
        return;
    noe_jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, "fork", NULL);
    noe_jail_send(cradle->seat, &event);
}

/* One message, with descriptors if there are any, at once or not at all. */
static int pass(int socket, const struct iovec *parts, int part_count,
                const int *given, size_t count)
{
    size_t size = sizeof(int) * count;
    union {
        char bytes[CMSG_SPACE(sizeof(int) * NOE_FORK_ORDERED)];
        struct cmsghdr header;
    } room = {.bytes = {0}};
    struct msghdr message = {.msg_iov = (struct iovec *)parts,
                             .msg_iovlen = part_count};

    if (count > 0) {
        message.msg_control = &room;
        message.msg_controllen = (socklen_t)CMSG_SPACE(size);
    }
    room.header = (struct cmsghdr){.cmsg_len = (socklen_t)CMSG_LEN(size),
                                   .cmsg_level = SOL_SOCKET,
                                   .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&room.header), given, size);
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

/* How it is to confine itself: nothing of what it is about. The control group's
 * list goes with it: who enters by himself need not wait until the kernel has
 * stopped all that begins and ends on this machine, which takes longer than all
 * the rest. */
static int send_instructions(const struct noe_jail *jail, int link)
{
    struct noe_jail_start start = jail->start;
    const char *cwd = jail->cwd != NULL ? jail->cwd : "/";
    const char *start_dir = jail->start_dir != NULL ? jail->start_dir : "";
    size_t cwd_len = strlen(cwd) + 1;
    size_t start_dir_len = strlen(start_dir) + 1;
    struct iovec parts[] = {
        {&start, sizeof(start)},
        {(void *)(uintptr_t)jail->filter, jail->start.filter_len},
        {(void *)(uintptr_t)cwd, cwd_len},
        {(void *)(uintptr_t)start_dir, start_dir_len}};
    static const int group = NOE_GROUP_FD + NOE_JAIL_GROUP_TASKS;

    start.bind_count = start.link_count = 0;
    start.strings_len = (uint32_t)(cwd_len + start_dir_len);
    return pass(link, parts, 4, &group, jail->has_group);
}

static void leave_orders(void)
{
    for (int fd = NOE_ORDERS_FD; fd < NOE_PLACE_FD; fd++)
        close(fd);
}

static int send_order(int link)
{
    struct noe_fork_order order = {.version = NOE_JAIL_VERSION};
    struct iovec part = {&order, sizeof(order)};
    int given[NOE_FORK_ORDERED] = {link};

    for (int i = 0; i < NOE_FORK_NAMESPACES; i++)
        given[1 + i] = NOE_FIRST_NAMESPACE_FD + i;
    int status = pass(NOE_ORDERS_FD, &part, 1, given, NOE_FORK_ORDERED);
    int code = errno;
    leave_orders();
    errno = code;
    return status;
}

/* Who said so, as the kernel knows it, is in *pid: 0 if he is none of ours. */
static int hear_ready(int link, struct noe_fork_ready *ready, pid_t *pid)
{
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr header;
    } room;
    struct iovec part = {ready, sizeof(*ready)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen = sizeof(room)};
    struct pollfd said = {link, POLLIN, 0};
    struct ucred who;

    errno = ETIMEDOUT;
    if (poll(&said, 1, PATIENCE_MS) <= 0)
        return -1;
    ssize_t len = recvmsg(link, &message, MSG_DONTWAIT);
    const struct cmsghdr *header =
        len == (ssize_t)sizeof(*ready) ? CMSG_FIRSTHDR(&message) : NULL;
    errno = ECONNRESET;
    if (header == NULL || header->cmsg_type != SCM_CREDENTIALS ||
        ready->version != NOE_JAIL_VERSION)
        return -1;
    memcpy(&who, CMSG_DATA(header), sizeof(who));
    *pid = who.pid;
    return 0;
}

/* "/proc/PID" and a rest. */
static int look(pid_t pid, const char *rest, struct stat *st)
{
    char path[64];

    noe_text_add(noe_text_number(noe_text_add(path, "/proc/"), (unsigned)pid),
                 rest);
    return stat(path, st);
}

static bool is_in_own_namespaces(pid_t pid)
{
    struct stat st;

    for (int i = 0; i < NOE_FORK_NAMESPACES; i++)
        if (look(pid, NAMESPACES[i] + strlen("/proc/self"), &st) != 0 ||
            st.st_dev != own_namespaces[i].st_dev ||
            st.st_ino != own_namespaces[i].st_ino)
            return false;
    return true;
}

/* Lines of its status, of which each must be there as it is. */
static bool has_given_up(pid_t pid)
{
    static const char *const lines[] = {
        "\nPPid:\t1\n",
        "\nUid:\t" NOE_INSIDE_ID_TEXT "\t" NOE_INSIDE_ID_TEXT
        "\t" NOE_INSIDE_ID_TEXT "\t" NOE_INSIDE_ID_TEXT "\n",
        "\nGid:\t" NOE_INSIDE_ID_TEXT "\t" NOE_INSIDE_ID_TEXT
        "\t" NOE_INSIDE_ID_TEXT "\t" NOE_INSIDE_ID_TEXT "\n",
        "\nThreads:\t1\n",
        "\nCapInh:\t0000000000000000\n",
        "\nCapPrm:\t0000000000000000\n",
        "\nCapEff:\t0000000000000000\n",
        "\nCapBnd:\t0000000000000000\n",
        "\nCapAmb:\t0000000000000000\n",
        "\nNoNewPrivs:\t1\n",
        "\nSeccomp:\t2\n",
        "\nSeccomp_filters:\t2\n", /* the server's, and its own */
        "\nTracerPid:\t0\n",
    };
    char text[4096];

    if (noe_proc_of(pid, "/status", text, sizeof(text)) <= 0)
        return false;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        if (strstr(text, lines[i]) == NULL)
            return false;
    return true;
}

static bool has_limit(pid_t pid, int resource, int64_t most)
{
    struct rlimit has;

    return prlimit(pid, resource, NULL, &has) == 0 &&
           (most == NOE_JAIL_NO_LIMIT ||
            (has.rlim_max <= (rlim_t)most && has.rlim_cur <= has.rlim_max));
}

static bool has_limits(pid_t pid, const struct noe_jail_limits *limits)
{
    int64_t processes = limits->processes == NOE_JAIL_NO_LIMIT
                            ? NOE_JAIL_NO_LIMIT
                            : limits->processes + 1;

    return has_limit(pid, RLIMIT_CORE, 1) &&
           has_limit(pid, RLIMIT_NPROC, processes) &&
           has_limit(pid, RLIMIT_DATA, limits->data_bytes) &&
           has_limit(pid, RLIMIT_FSIZE, limits->file_bytes) &&
           has_limit(pid, RLIMIT_NOFILE, limits->open_files);
}

/* What failed, or NULL. */
static const char *check_walls(const struct noe_jail *jail, pid_t pid)
{
    if (pid <= 1)
        return "find the copy";
    if (!is_in_own_namespaces(pid))
        return "prove the copy's namespaces";
    if (!has_given_up(pid))
        return "prove the copy's walls";
    if (!has_limits(pid, &jail->start.limits))
        return "prove the copy's limits";
    return NULL;
}

/* A descriptor that is sent is counted for the user as long as it is under way,
 * and one run could keep all others from it: so it is taken. */
static int take_listener(pid_t pid, int number)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (pidfd < 0)
        return -1;
    int listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    int code = errno;
    close(pidfd);
    errno = code;
    return listener;
}

/* The variables lie one after the other, as they came. */
static int give(const struct noe_jail *jail, int link)
{
    struct noe_fork_request request = {.version = NOE_JAIL_VERSION,
                                       .has_channel = jail->start.has_channel};
    char *first = jail->envp[0];
    struct iovec parts[] = {{&request, sizeof(request)}, {first, 0}};
    static const int given[NOE_FORK_MAX_GIVEN] = {0, 1, 2, NOE_JAIL_CHANNEL_FD};

    for (char **variable = jail->envp; *variable != NULL; variable++)
        parts[1].iov_len = (size_t)(*variable - first) + strlen(*variable) + 1;
    request.strings_len = (uint32_t)parts[1].iov_len;
    return pass(link, parts, 2, given,
                NOE_FORK_MIN_GIVEN + (request.has_channel != 0));
}

static pid_t fail(struct noe_jail_event *event, const char *step)
{
    noe_jail_failure(event, NOE_JAIL_FAULT_SPAWN, step, NULL);
    return -1;
}

static pid_t fetch(const struct noe_jail *jail, int link, int *listener,
                   struct noe_jail_event *event)
{
    struct noe_fork_ready ready = {.version = 0};
    pid_t pid = 0;

    if (hear_ready(link, &ready, &pid) != 0)
        return fail(event, "wait for the fork server");
    if (ready.code != 0) {
        ready.step[sizeof(ready.step) - 1] = '\0';
        errno = ready.code;
        return fail(event, ready.step);
    }
    errno = EPERM;
    const char *step = check_walls(jail, pid);
    if (step == NULL && !noe_cgroup_has_only(jail, pid))
        step = "prove the copy's group";
    if (step != NULL)
        return fail(event, step);
    if (jail->start.reports_denied) {
        *listener = take_listener(pid, ready.listener);
        if (*listener < 0)
            return fail(event, "take the filter's listener");
    }
    event->landlock = (uint32_t)noe_landlock_version(jail);
    return give(jail, link) == 0 ? pid : fail(event, "give the copy its run");
}

pid_t noe_cradle_start(const struct noe_jail *jail, int *listener,
                       struct noe_jail_event *event)
{
    int link[2];
    int on = 1;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) != 0)
        return fail(event, "socketpair");
    bool asked =
        setsockopt(link[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0 &&
        send_instructions(jail, link[0]) == 0 && send_order(link[1]) == 0;
    int code = errno;
    close(link[1]);
    errno = code;
    pid_t pid = asked ? fetch(jail, link[0], listener, event)
                      : fail(event, "ask the fork server");
    close(link[0]);
    return pid;
}
