/* SPDX-License-Identifier: MIT */
/*
 * Walls of our own.
 *
 *   supervisor (the host's namespaces) --- init (PID 1) --- the program
 *
 * The supervisor clones init into new namespaces. Init is still the jail's own
 * code, with every capability over what is inside; it goes through STEPS from
 * top to bottom, gives its capabilities up and becomes `noe_init`, which starts
 * the program, reaps and reports. No code of the program's runs before all of
 * them are done.
 *
 * A host that is root gives its identity up before the namespaces are made: the
 * files and sysctls of user 0 need no capability, only the id.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/inside.h"
#include "base/uapi.h"
#include "base/text.h"

static uid_t host_uid; /* the id outside that becomes NOE_INSIDE_ID inside */
static gid_t host_gid;

static int write_file(int dir, const char *path, const char *text)
{
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t wrote = write(fd, text, strlen(text));
    int code = errno;
    close(fd);
    errno = code;
    return wrote == (ssize_t)strlen(text) ? 0 : -1;
}

/* "INSIDE OUTSIDE 1": one id, and what is not mapped does not exist inside. */
static int write_map(int dir, const char *path, unsigned outside)
{
    char line[64];

    noe_text_add(
        noe_text_number(noe_text_add(noe_text_number(line, NOE_INSIDE_ID), " "),
                        outside),
        " 1");
    return write_file(dir, path, line);
}

/* The kernel takes a map of groups only after setgroups was given up. Since the
 * change of ids we are not dumpable, and our files in /proc are root's. */
int noe_native_map(int proc, unsigned uid, unsigned gid, const char **path)
{
    /* "/proc/" is left out where the directory is open. */
    static const char *const paths[] = {
        "/proc/self/setgroups", "/proc/self/uid_map", "/proc/self/gid_map"};
    size_t skip = proc >= 0 ? strlen("/proc/") : 0;
    int dir = proc >= 0 ? proc : AT_FDCWD;

    prctl(PR_SET_DUMPABLE, 1);
    *path = paths[0];
    if (write_file(dir, *path + skip, "deny") != 0)
        return -1;
    *path = paths[1];
    if (write_map(dir, *path + skip, uid) != 0)
        return -1;
    *path = paths[2];
    if (write_map(dir, *path + skip, gid) != 0)
        return -1;
    *path = NULL;
    prctl(PR_SET_DUMPABLE, 0);
    return 0;
}

static int map_ids(struct noe_jail *jail, const char **path)
{
    /* Of the namespace above. */
    uid_t uid = jail->in_shared ? NOE_INSIDE_ID : host_uid;
    gid_t gid = jail->in_shared ? NOE_INSIDE_ID : host_gid;

    if (noe_native_map(-1, uid, gid, path) != 0)
        return -1;
    if (!jail->by_root)
        return 0;
    /* Until here the real and saved ids are still root's. */
    if (setresgid(NOE_INSIDE_ID, NOE_INSIDE_ID, NOE_INSIDE_ID) != 0)
        return -1;
    return setresuid(NOE_INSIDE_ID, NOE_INSIDE_ID, NOE_INSIDE_ID);
}

/* A change of ids has taken back the parent-death signal. */
static int die_with_supervisor(struct noe_jail *jail, const char **path)
{
    (void)jail;
    (void)path;
    return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* The filter of a container may refuse it to who is not its administrator,
 * whatever rights he has inside: then the host's name is seen, and not hidden
 * is what is not claimed. */
static int name_host(struct noe_jail *jail, const char **path)
{
    (void)path;
    if (sethostname(NOE_INSIDE_HOST, strlen(NOE_INSIDE_HOST)) == 0)
        return 0;
    jail->host_name_seen = errno == EPERM;
    return jail->host_name_seen ? 0 : -1;
}

static int drop_capabilities(struct noe_jail *jail, const char **path)
{
    (void)path;
    return jail->start.serves ? noe_confine_to_cradles()
                              : noe_confine_privileges();
}

static const char *const NAMES[NOE_JAIL_STEP_COUNT] = NOE_JAIL_STEPS;

/* Between making the namespaces and starting the program. */
static int (*const STEPS[])(struct noe_jail *jail, const char **path) = {
    noe_loopback_begin,       map_ids,           die_with_supervisor,
    noe_mount_root,           noe_mount_private, noe_mount_places,
    noe_mount_binds,          noe_mount_proc,    noe_mount_devices,
    noe_mount_leave_old_root, name_host,         noe_loopback_enter,
    drop_capabilities,
};

enum { STEP_COUNT = sizeof(STEPS) / sizeof(*STEPS) };
_Static_assert(STEP_COUNT + 2 == NOE_JAIL_STEP_COUNT, "a name for each step");

/* From here on we are PID 1 of the sandbox. */
static int live_inside(struct noe_jail *jail, const int control[2])
{
    struct noe_jail_event event;

    noe_jail_step_done(jail, 0);
    noe_shared_leave(jail);
    if (dup2(control[1], NOE_JAIL_CONTROL_FD) < 0)
        return 1;
    close(control[0]); /* with it open, the supervisor's end would be unheard */
    if (jail->seat >= 0) /* what is the supervisor's alone */
        for (int fd = NOE_SEAT_FD; fd < NOE_FIRST_OF_RUN_FD; fd++)
            close(fd);
    if (jail->start.serves) /* ours is read-only, as soon as it is there */
        jail->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    mode_t mask = umask(0);
    for (int i = 0; i < STEP_COUNT; i++) {
        const char *path = NULL;
        if (STEPS[i](jail, &path) != 0) {
            noe_jail_failure(&event, NOE_JAIL_FAULT_SANDBOX, NAMES[i + 1],
                             path);
            noe_jail_send(NOE_JAIL_CONTROL_FD, &event);
            return 1;
        }
        noe_jail_step_done(jail, i + 1);
    }
    umask(mask); /* the host's: the program may write where others can read */
    return noe_init(jail);
}

/* What no namespace changes: the sysctls are the host's own root's. */
bool noe_is_root_of_host(void)
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
        return noe_is_root_of_host(); /* by another name: that cannot succeed */
    return setgroups(0, NULL) == 0 || noe_is_root_of_host();
}

/* Root keeps user id 0 as its real and saved id only, to come back to; the
 * namespace belongs to the effective one. */
static int leave_root(void)
{
    if (setgroups(0, NULL) != 0)
        return -1;
    if (setresgid(NOE_INSIDE_ID, NOE_INSIDE_ID, NOE_INSIDE_ID) != 0)
        return -1;
    return setresuid((uid_t)-1, NOE_INSIDE_ID, (uid_t)-1);
}

/* Who stands by again is what it was before. */
static struct {
    gid_t groups[65536]; /* NGROUPS_MAX */
    int count;
    gid_t gid[3];
} before;

static void note_groups(void)
{
    before.count = getgroups(65536, before.groups);
    if (getresgid(&before.gid[0], &before.gid[1], &before.gid[2]) != 0)
        before.count = -1;
}

static void come_back(struct noe_jail *jail)
{
    if (seteuid(0) != 0)
        _exit(1);
    if (jail->seat < 0)
        return;
    jail->spoilt =
        jail->spoilt || before.count < 0 ||
        setresgid(before.gid[0], before.gid[1], before.gid[2]) != 0 ||
        setgroups((size_t)before.count, before.groups) != 0;
}

static void close_trees(struct noe_jail *jail)
{
    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        if (jail->binds[i].tree >= 0)
            close(jail->binds[i].tree);
        jail->binds[i].tree = -1;
    }
}

static pid_t clone_init(struct noe_jail *jail, const int control[2],
                        unsigned long flags)
{
    pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

    if (pid == 0)
        _exit(live_inside(jail, control));
    return pid;
}

static pid_t make_namespaces(struct noe_jail *jail, const int control[2])
{
    const unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
                                CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    pid_t pid = -1;

    jail->step_began_us = noe_jail_clock_us();
    if (jail->start.shares_network)
        pid = noe_shared_clone(jail, control, flags, clone_init);
    noe_shared_leave(jail);
    return pid > 0 ? pid : clone_init(jail, control, flags);
}

pid_t noe_native_start(struct noe_jail *jail, const int control[2],
                       struct noe_jail_event *event)
{
    const char *path = NULL;
    pid_t pid = -1;

    if (jail->seat >= 0)
        note_groups();
    jail->by_root = must_leave_root();
    if (jail->by_root && geteuid() != 0) {
        errno = EPERM;
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "leave user 0", NULL);
        return -1;
    }
    int admin = jail->by_root ? noe_admin_become() : 0;
    jail->spoilt = admin > 0;
    if (admin < 0) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "become administrator",
                         NULL);
    } else if (jail->by_root && noe_mount_open_binds(jail, &path) != 0) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "open for bind", path);
    } else if (jail->by_root && leave_root() != 0) {
        noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "leave user 0", NULL);
    } else {
        host_uid = geteuid();
        host_gid = getegid();
        pid = make_namespaces(jail, control);
        if (pid < 0)
            noe_jail_failure(event, NOE_JAIL_FAULT_SANDBOX, NAMES[0], NULL);
        if (jail->by_root)
            come_back(jail);
    }
    close_trees(jail);
    return pid;
}
