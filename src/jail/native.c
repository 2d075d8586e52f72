/* SPDX-License-Identifier: MIT */
/*
 * Walls of our own.
 *
 *   supervisor (the host's namespaces) --- init (PID 1) --- the program
 *
 * The supervisor clones init into new namespaces. Init is still the jail's own
 * code, with every capability over what is inside; it goes through STEPS from
 * top to bottom, gives its capabilities up and becomes `init`, which starts the
 * program, reaps and reports. No code of the program's runs before all of them
 * are done.
 *
 * A host that is root gives its identity up before the namespaces are made: the
 * files and sysctls of user 0 need no capability, only the id.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/uapi.h"
#include "../core/text.h"

static uid_t host_uid; /* the id outside that becomes NOE_JAIL_ID inside */
static gid_t host_gid;

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t wrote = write(fd, text, strlen(text));
    int code = errno;
    close(fd);
    errno = code;
    return wrote == (ssize_t)strlen(text) ? 0 : -1;
}

/* "INSIDE OUTSIDE 1": one id, and what is not mapped does not exist inside. */
static int write_map(const char *path, unsigned outside)
{
    char line[64];

    noe_text_add(
        noe_text_number(noe_text_add(noe_text_number(line, NOE_JAIL_ID), " "),
                        outside),
        " 1");
    return write_file(path, line);
}

/* The kernel takes a map of groups only after setgroups was given up. Since the
 * change of ids we are not dumpable, and our files in /proc are root's. */
static int map_ids(struct jail *jail, const char **path)
{
    prctl(PR_SET_DUMPABLE, 1);
    *path = "/proc/self/setgroups";
    if (write_file(*path, "deny") != 0)
        return -1;
    *path = "/proc/self/uid_map";
    if (write_map(*path, host_uid) != 0)
        return -1;
    *path = "/proc/self/gid_map";
    if (write_map(*path, host_gid) != 0)
        return -1;
    *path = NULL;
    prctl(PR_SET_DUMPABLE, 0);
    if (!jail->by_root)
        return 0;
    /* Until here the real and saved ids are still root's. */
    if (setresgid(NOE_JAIL_ID, NOE_JAIL_ID, NOE_JAIL_ID) != 0)
        return -1;
    return setresuid(NOE_JAIL_ID, NOE_JAIL_ID, NOE_JAIL_ID);
}

/* A change of ids has taken back the parent-death signal. */
static int die_with_supervisor(struct jail *jail, const char **path)
{
    (void)jail;
    (void)path;
    return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static int name_host(struct jail *jail, const char **path)
{
    (void)jail;
    (void)path;
    return sethostname("noether", strlen("noether"));
}

static pid_t network_helper;
static int network_socket = -1; /* in the namespace, which it keeps alive */

static int make_network(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};

    if (unshare(CLONE_NEWNET) != 0)
        return -1;
    network_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (network_socket < 0)
        return -1;
    return ioctl(network_socket, SIOCSIFFLAGS, &request);
}

static int help_with_network(void *unused)
{
    (void)unused;
    return make_network() == 0 ? 0 : 1;
}

/* The kernel needs as long for a network namespace as for all other steps: a
 * helper makes it beside them. It has init's memory and descriptors, and so
 * init's errno: where it fails, init tries by itself and is told why. */
static int begin_network(struct jail *jail, const char **path)
{
    static char stack[16 * 1024] __attribute__((aligned(16)));

    (void)path;
    if (!jail->start.host_network)
        network_helper = clone(help_with_network, stack + sizeof(stack),
                               CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
    return 0;
}

static bool enter_what_was_made(void)
{
    int status;

    if (network_helper <= 0 ||
        waitpid(network_helper, &status, 0) != network_helper || status != 0)
        return false;
    int namespace = ioctl(network_socket, SIOCGSKNS);
    bool entered = namespace >= 0 && setns(namespace, CLONE_NEWNET) == 0;
    if (namespace >= 0)
        close(namespace);
    return entered;
}

static int enter_network(struct jail *jail, const char **path)
{
    (void)path;
    if (jail->start.host_network)
        return 0;
    if (!enter_what_was_made() && make_network() != 0)
        return -1;
    return close(network_socket);
}

static int drop_capabilities(struct jail *jail, const char **path)
{
    (void)jail;
    (void)path;
    return confine_privileges();
}

static const char *const NAMES[NOE_JAIL_STEP_COUNT] = NOE_JAIL_STEPS;

/* Between making the namespaces and starting the program. */
static int (*const STEPS[])(struct jail *jail, const char **path) = {
    begin_network,     map_ids,        die_with_supervisor, mount_root,
    mount_private,     make_places,    mount_binds,         mount_proc,
    make_devices,      leave_old_root, name_host,           enter_network,
    drop_capabilities,
};

enum { STEP_COUNT = sizeof(STEPS) / sizeof(*STEPS) };
_Static_assert(STEP_COUNT + 2 == NOE_JAIL_STEP_COUNT, "a name for each step");

/* From here on we are PID 1 of the sandbox. */
static int live_inside(struct jail *jail, const int control[2])
{
    struct noe_jail_event event;

    jail_step_done(jail, 0);
    if (dup2(control[1], NOE_JAIL_CONTROL_FD) < 0)
        return 1;
    close(control[0]); /* with it open, the supervisor's end would be unheard */
    mode_t mask = umask(0);
    for (int i = 0; i < STEP_COUNT; i++) {
        const char *path = NULL;
        if (STEPS[i](jail, &path) != 0) {
            jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, NAMES[i + 1], path);
            jail_send(NOE_JAIL_CONTROL_FD, &event);
            return 1;
        }
        jail_step_done(jail, i + 1);
    }
    umask(mask); /* the host's: the program may write where others can read */
    return init(jail);
}

/* What no namespace changes: the sysctls are the host's own root's. */
static bool is_root_of_host(void)
{
    struct stat st;

    return stat("/proc/sys", &st) == 0 && st.st_uid == geteuid();
}

/* Whether we are root and can become another. Root of a user namespace that
 * maps no other id cannot, and need not: outside it is whoever made the
 * namespace. */
static bool must_leave_root(void)
{
    if (geteuid() != 0)
        return is_root_of_host(); /* by another name: that cannot succeed */
    return setgroups(0, NULL) == 0 || is_root_of_host();
}

/* Root keeps user id 0 as its real and saved id only, to come back to; the
 * namespace belongs to the effective one. */
static int leave_root(void)
{
    if (setgroups(0, NULL) != 0)
        return -1;
    if (setresgid(NOE_JAIL_ID, NOE_JAIL_ID, NOE_JAIL_ID) != 0)
        return -1;
    return setresuid((uid_t)-1, NOE_JAIL_ID, (uid_t)-1);
}

static void close_trees(struct jail *jail)
{
    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        if (jail->binds[i].tree >= 0)
            close(jail->binds[i].tree);
        jail->binds[i].tree = -1;
    }
}

static pid_t clone_init(struct jail *jail, const int control[2])
{
    unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
                          CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

    jail->step_began_us = jail_clock_us();
    pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(live_inside(jail, control));
    return pid;
}

pid_t native_start(struct jail *jail, const int control[2],
                   struct noe_jail_event *event)
{
    const char *path = NULL;
    pid_t pid = -1;

    jail->by_root = must_leave_root();
    if (jail->by_root && geteuid() != 0) {
        errno = EPERM;
        jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "leave user 0", NULL);
        return -1;
    }
    if (jail->by_root && open_binds(jail, &path) != 0) {
        jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "open for bind", path);
    } else if (jail->by_root && leave_root() != 0) {
        jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "leave user 0", NULL);
    } else {
        host_uid = geteuid();
        host_gid = getegid();
        pid = clone_init(jail, control);
        if (pid < 0)
            jail_failure(event, NOE_JAIL_FAULT_SANDBOX, NAMES[0], NULL);
        if (jail->by_root && seteuid(0) != 0)
            _exit(1);
    }
    close_trees(jail);
    return pid;
}
