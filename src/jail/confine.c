/* SPDX-License-Identifier: MIT */
/* What the program's process does to itself, last before exec: Landlock and
 * the seccomp filter. It runs in init's memory, as after vfork: system calls
 * only. */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/inside.h"
#include "base/uapi.h"

enum {
    ENTER = 1U << CAP_SYS_ADMIN, /* what setns asks for */
    MAKE_NETWORKS = 1U << CAP_NET_ADMIN,
    DROP = 1U << CAP_SETPCAP
};

static int keep(uint32_t own, uint32_t inherited)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{own, own, inherited}, {0, 0, 0}};

    return (int)syscall(SYS_capset, &header, data);
}

/* The bounding set first: afterwards there is no capability to do it with. Who
 * had none to begin with cannot, and need not: no_new_privs says the rest. */
static int give_up_but(uint32_t own, uint32_t inherited)
{
    int cap = 0;

    while (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
        cap++;
    if (errno != EINVAL && errno != EPERM) /* EINVAL: there is no such one */
        return -1;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return -1;
    if (keep(own, inherited) != 0)
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int noe_confine_privileges(void)
{
    return give_up_but(0, 0);
}

/* What is to be inherited must be in the bounding set when that is said. */
int noe_confine_to_cradles(void)
{
    if (keep(ENTER | MAKE_NETWORKS | DROP, ENTER) != 0)
        return -1;
    return give_up_but(ENTER | MAKE_NETWORKS, ENTER);
}

int noe_confine_to_entering(void)
{
    if (keep(ENTER, ENTER) != 0)
        return -1;
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0);
}

int noe_landlock_version(const struct noe_jail *jail)
{
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, NOE_LANDLOCK_VERSION);

    if (version > (long)jail->start.max_landlock)
        version = (long)jail->start.max_landlock;
    return version > 0 ? (int)version : 0;
}

/* Every right over files that this version knows. */
static uint64_t file_rights(int version)
{
    uint64_t rights = NOE_LANDLOCK_REFER - 1;

    if (version >= 2)
        rights |= NOE_LANDLOCK_REFER;
    if (version >= 3)
        rights |= NOE_LANDLOCK_TRUNCATE;
    if (version >= 5)
        rights |= NOE_LANDLOCK_IOCTL_DEV;
    return rights;
}

enum {
    LOOK = NOE_LANDLOCK_EXECUTE | NOE_LANDLOCK_READ_FILE | NOE_LANDLOCK_READ_DIR
};

/* As `resolve` says, of openat2. */
static int allow(int ruleset, const char *path, uint64_t rights,
                 uint64_t resolve)
{
    struct noe_landlock_path rule = {.allowed_access = rights};
    struct noe_open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = resolve};

    /* A copy of a fork server is under that one's filter by now, which does not
     * know openat2. */
    rule.parent_fd = resolve == 0 ? open(path, O_PATH | O_CLOEXEC)
                                  : (int)syscall(SYS_openat2, AT_FDCWD, path,
                                                 &how, sizeof(how));
    if (rule.parent_fd < 0)
        return -1;
    long status = syscall(SYS_landlock_add_rule, ruleset,
                          NOE_LANDLOCK_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return (int)status;
}

/* Rights that a file can have; a rule on a file may name no others. */
static uint64_t rights_on_file(uint64_t rights)
{
    return rights & (NOE_LANDLOCK_EXECUTE | NOE_LANDLOCK_WRITE_FILE |
                     NOE_LANDLOCK_READ_FILE | NOE_LANDLOCK_TRUNCATE |
                     NOE_LANDLOCK_IOCTL_DEV);
}

/* A directory, or a file. */
static int allow_either(int ruleset, const char *path, uint64_t rights,
                        uint64_t resolve)
{
    if (allow(ruleset, path, rights, resolve) == 0)
        return 0;
    if (errno != EINVAL)
        return -1;
    return allow(ruleset, path, rights_on_file(rights), resolve);
}

static int allow_devices(int ruleset, uint64_t rights)
{
    static const char *const nodes[] = {"/dev/null", "/dev/zero", "/dev/full",
                                        "/dev/random", "/dev/urandom"};

    for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++)
        if (allow(ruleset, nodes[i], rights_on_file(rights), 0) != 0)
            return -1;
    return 0;
}

/* Behind walls all that can be seen may be read. */
static int allow_inside(const struct noe_jail *jail, int ruleset,
                        uint64_t rights)
{
    const char *const own[] = {NOE_INSIDE_WORK, NOE_INSIDE_TMP, NOE_INSIDE_SHM,
                               jail->start_dir};

    if (allow(ruleset, "/", LOOK, 0) != 0)
        return -1;
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        if (own[i] != NULL && allow(ruleset, own[i], rights, 0) != 0)
            return -1;
    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        const struct noe_jail_bind *bind = &jail->binds[i];
        if (bind->writable &&
            allow_either(ruleset, bind->target, rights, 0) != 0)
            return -1;
    }
    return 0;
}

/* Without walls only what is named, under the host's own names. Of /proc the
 * program sees itself, and what describes the machine. */
static int allow_named(const struct noe_jail *jail, int ruleset,
                       uint64_t rights)
{
    static const char *const machine[] = {
        "/proc/self",   "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
        "/proc/uptime", "/proc/loadavg", "/proc/version", "/proc/filesystems"};

    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        const struct noe_jail_bind *bind = &jail->binds[i];
        /* The core has followed the links in it and judged where they lead:
         * what somebody puts there since is refused. */
        if (allow_either(ruleset, bind->source, bind->writable ? rights : LOOK,
                         NOE_RESOLVE_NO_SYMLINKS) != 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof(machine) / sizeof(*machine); i++)
        if (allow_either(ruleset, machine[i], LOOK, 0) != 0 && errno != ENOENT)
            return -1;
    return jail->own == NULL ? 0 : allow(ruleset, jail->own, rights, 0);
}

static int allow_files(const struct noe_jail *jail, int ruleset,
                       uint64_t rights)
{
    bool walls = jail->start.walls != NOE_JAIL_LANDLOCK;

    if ((walls ? allow_inside(jail, ruleset, rights)
               : allow_named(jail, ruleset, rights)) != 0)
        return -1;
    return allow_devices(ruleset, rights);
}

/* The walls again, by other means; and beyond them, no signals and no abstract
 * sockets to anybody outside. */
const char *noe_confine_files(const struct noe_jail *jail)
{
    int version = noe_landlock_version(jail);
    uint64_t rights = file_rights(version);
    struct noe_landlock_ruleset wanted = {.handled_access_fs = rights};
    size_t size = sizeof(wanted.handled_access_fs);

    /* ABI 3 is the first that can refuse to truncate a file. */
    if (version < 3 && jail->start.walls == NOE_JAIL_LANDLOCK) {
        static const char *const lacking[] = {"use Landlock",
                                              "use Landlock 3 (here is 1)",
                                              "use Landlock 3 (here is 2)"};
        errno = version == 0 ? ENOSYS : EOPNOTSUPP;
        return lacking[version];
    }
    /* What a fork server may not touch its copies could not either, whose own
     * directories are not there yet. What it is not to reach is not there. */
    if (jail->start.serves)
        wanted.handled_access_fs = rights = 0;
    if (version == 0 || (jail->start.serves && version < 6))
        return NULL;
    if (version >= 6) {
        wanted.scoped =
            NOE_LANDLOCK_SCOPE_ABSTRACT_SOCKET | NOE_LANDLOCK_SCOPE_SIGNAL;
        size = sizeof(wanted);
    }
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &wanted, size, 0);
    if (ruleset < 0)
        return "make Landlock rules";
    const char *step = NULL;
    if (!jail->start.serves && allow_files(jail, ruleset, rights) != 0)
        step = "add Landlock rules";
    else if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        step = "apply Landlock rules";
    close(ruleset);
    return step;
}

int noe_confine_to_nothing(void)
{
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, NOE_LANDLOCK_VERSION);
    struct noe_landlock_ruleset wanted = {.handled_access_fs =
                                              file_rights((int)version)};
    size_t size = sizeof(wanted.handled_access_fs);

    if (version <= 0)
        return 0;
    if (version >= 6) {
        wanted.scoped =
            NOE_LANDLOCK_SCOPE_ABSTRACT_SOCKET | NOE_LANDLOCK_SCOPE_SIGNAL;
        size = sizeof(wanted);
    }
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &wanted, size, 0);
    if (ruleset < 0)
        return -1;
    long status = syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
    return (int)status;
}

const char *noe_confine_calls(const struct noe_jail *jail, int *listener)
{
    struct sock_fprog program = {
        .len = (unsigned short)(jail->start.filter_len /
                                sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)jail->filter};
    bool reports = jail->start.reports_denied;
    unsigned flags = reports ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;

    if (jail->start.filter_len == 0)
        return NULL;
    long got = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (got < 0)
        return "load the seccomp filter";
    if (reports)
        *listener = (int)got;
    return NULL;
}

/* The filter lets an execve pass whose three unused registers hold numbers that
 * nobody else knows; the kernel clears the registers as the program starts. */
void noe_confine_exec(const struct noe_jail *jail, char **argv, char **envp)
{
    const uint64_t *password = jail->start.password;

    syscall(SYS_execve, argv[0], argv, envp, password[0], password[1],
            password[2]);
}
