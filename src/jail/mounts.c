/* SPDX-License-Identifier: MIT */
/*
 * The files of a sandbox: a tmpfs as root, into which the described binds, a
 * fresh /proc, a small /dev and private directories are mounted.
 *
 * The new root is mounted over the old one's "/" and entered as "/..", so that
 * no directory of the host is needed for it and nothing of the host is hidden:
 * until noe_mount_leave_old_root, absolute paths are the host's and relative
 * ones the sandbox's.
 *
 * Binds go by descriptors. Sources are opened without following links (the core
 * has resolved them), so one that somebody swaps for a link in between is
 * refused; targets are looked up beneath the new root, likewise; and a copy of
 * a mount is read-only before it is attached, not a moment after.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/inside.h"
#include "base/text.h"
#include "base/uapi.h"

static const char *beneath(const char *absolute)
{
    return absolute[1] != '\0' ? absolute + 1 : ".";
}

static int open_plain(int dir, const char *path, uint64_t resolve)
{
    struct noe_open_how how = {.flags = O_PATH | O_CLOEXEC,
                               .resolve = resolve | NOE_RESOLVE_NO_SYMLINKS |
                                          NOE_RESOLVE_NO_MAGICLINKS};

    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* A detached copy of what is mounted at `path`, with `attributes`. Private: a
 * copy that root makes would stay in the group of the host's own mount, and
 * what is mounted on it here would be mounted there, and stay. */
static int copy_tree(const char *path, uint64_t attributes)
{
    int fd = open_plain(AT_FDCWD, path, 0);
    if (fd < 0)
        return -1;
    int tree = (int)syscall(SYS_open_tree, fd, "",
                            NOE_OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH |
                                NOE_AT_RECURSIVE);
    int code = errno;
    close(fd);
    struct noe_mount_attr attr = {.attr_set = attributes,
                                  .propagation = MS_PRIVATE};
    if (tree >= 0 &&
        syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | NOE_AT_RECURSIVE,
                &attr, sizeof(attr)) != 0) {
        code = errno;
        close(tree);
        tree = -1;
    }
    errno = code;
    return tree;
}

static int attach_tree(int tree, const char *target)
{
    int place = open_plain(AT_FDCWD, beneath(target), NOE_RESOLVE_BENEATH);
    if (place < 0)
        return -1;
    long status =
        syscall(SYS_move_mount, tree, "", place, "",
                NOE_MOVE_MOUNT_F_EMPTY_PATH | NOE_MOVE_MOUNT_T_EMPTY_PATH);
    int code = errno;
    close(place);
    errno = code;
    return (int)status;
}

static uint64_t attributes_of(const struct noe_jail_bind *bind)
{
    uint64_t attributes = NOE_MOUNT_ATTR_NOSUID | NOE_MOUNT_ATTR_NODEV;

    return bind->writable ? attributes : attributes | NOE_MOUNT_ATTR_RDONLY;
}

/* "PATH (owner 0, mode 0700)": why the program's id cannot use it. */
static const char *with_owner(const struct noe_jail_bind *bind)
{
    static char text[sizeof(((struct noe_jail_event *)0)->path)];
    char mode[5] = "0000";
    struct stat st;

    if (errno != EACCES || strlen(bind->source) > sizeof(text) - 48 ||
        fstat(bind->tree, &st) != 0)
        return bind->source;
    for (int digit = 0; digit < 4; digit++)
        mode[3 - digit] = (char)('0' + (st.st_mode >> (3 * digit) & 7));
    char *at = noe_text_add(noe_text_add(text, bind->source), " (owner ");
    at = noe_text_add(noe_text_number(at, st.st_uid), ", mode ");
    noe_text_add(noe_text_add(at, mode), ")");
    errno = EACCES;
    return text;
}

int noe_mount_open_binds(struct noe_jail *jail, const char **path)
{
    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        struct noe_jail_bind *bind = &jail->binds[i];
        *path = bind->source;
        bind->tree = copy_tree(bind->source, attributes_of(bind));
        if (bind->tree < 0)
            return -1;
        if (noe_idmap_bind(bind) != 0) {
            *path = with_owner(bind);
            return -1;
        }
    }
    return 0;
}

int noe_mount_root(struct noe_jail *jail, const char **path)
{
    (void)jail;
    *path = "/";
    if (mount("noether", "/", "tmpfs", MS_NOSUID | MS_NODEV,
              "mode=0755,size=4m,nr_inodes=16384") != 0)
        return -1;
    return chdir("/..");
}

int noe_make_parents(int dir, const char *path, mode_t mode)
{
    char part[4096];
    size_t len = strlen(path);

    if (len >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path, len + 1);
    for (char *at = strchr(part, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdirat(dir, part, mode) != 0 && errno != EEXIST)
            return -1;
        *at = '/';
    }
    return 0;
}

static int make_parents(const char *path)
{
    return noe_make_parents(AT_FDCWD, path, 0755);
}

/* Most have their parents already, so these are made only if it fails. */
static int make_node(const char *path, mode_t mode)
{
    bool directory = S_ISDIR(mode);

    for (int attempt = 0; attempt < 2; attempt++) {
        int status =
            directory ? mkdir(path, mode & 0777) : mknod(path, mode, 0);
        if (status == 0 || errno == EEXIST)
            return 0;
        if (errno != ENOENT || make_parents(path) != 0)
            return -1;
    }
    return -1;
}

static int make_directory(const char *path)
{
    return make_node(path, S_IFDIR | 0755);
}

static int make_empty_file(const char *path)
{
    return make_node(path, S_IFREG | 0644);
}

static int make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    if (fd < 0)
        return -1;
    ssize_t wrote = write(fd, text, strlen(text));
    close(fd);
    return wrote == (ssize_t)strlen(text) ? 0 : -1;
}

static bool is_directory(const struct noe_jail_bind *bind)
{
    struct stat st;

    if (bind->tree >= 0)
        return fstat(bind->tree, &st) == 0 && S_ISDIR(st.st_mode);
    return lstat(bind->source, &st) == 0 && S_ISDIR(st.st_mode);
}

static int make_bind_place(const struct noe_jail_bind *bind)
{
    const char *place = beneath(bind->target);

    return is_directory(bind) ? make_directory(place) : make_empty_file(place);
}

/* So that the program's own id has a name and localhost an address. */
static const struct named_file {
    const char *path;
    const char *text;
} FILES[] = {
    {"etc/passwd",
     NOE_INSIDE_USER ":x:" NOE_INSIDE_ID_TEXT ":" NOE_INSIDE_ID_TEXT
                     ":" NOE_INSIDE_USER ":" NOE_INSIDE_WORK ":/bin/sh\n"},
    {"etc/group", NOE_INSIDE_GROUP ":x:" NOE_INSIDE_ID_TEXT ":\n"},
    {"etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
};

/* With a list of hosts: whom to ask for a name. Most programs would ask there
 * by themselves. */
static const struct named_file LIST_FILES[] = {
    {"etc/resolv.conf", "nameserver 127.0.0.1\n"},
    {"etc/nsswitch.conf", "hosts: files dns\n"},
};

static int make_files(const struct named_file *files, size_t count,
                      const char **path)
{
    for (size_t i = 0; i < count; i++) {
        *path = files[i].path;
        if (make_file(*path, files[i].text) != 0)
            return -1;
    }
    return 0;
}

/* All of them before anything of the host's is mounted: made later they would
 * be made in what is bound, on the host. */
int noe_mount_places(struct noe_jail *jail, const char **path)
{
    static const char *const directories[] = {"/proc", "/etc"};

    for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
        *path = directories[i];
        if (make_directory(beneath(*path)) != 0)
            return -1;
    }
    if (make_files(FILES, sizeof(FILES) / sizeof(*FILES), path) != 0)
        return -1;
    if (jail->start.has_doors &&
        make_files(LIST_FILES, sizeof(LIST_FILES) / sizeof(*LIST_FILES),
                   path) != 0)
        return -1;
    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        *path = jail->binds[i].target;
        if (make_bind_place(&jail->binds[i]) != 0)
            return -1;
    }
    for (uint32_t i = 0; i < jail->start.link_count; i++) {
        *path = jail->links[i].path;
        if (make_parents(beneath(*path)) != 0 ||
            symlink(jail->links[i].text, beneath(*path)) != 0)
            return -1;
    }
    return 0;
}

int noe_mount_binds(struct noe_jail *jail, const char **path)
{
    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        struct noe_jail_bind *bind = &jail->binds[i];
        *path = bind->source;
        if (bind->tree < 0)
            bind->tree = copy_tree(bind->source, attributes_of(bind));
        if (bind->tree < 0)
            return -1;
        *path = bind->target;
        if (attach_tree(bind->tree, bind->target) != 0)
            return -1;
        close(bind->tree);
        bind->tree = -1;
    }
    return 0;
}

/* What only root can have put there, upon a place that was made just now. */
static int bind_file(const char *path, uint64_t attributes)
{
    struct noe_mount_attr attr = {.attr_set = attributes,
                                  .propagation = MS_PRIVATE};
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path,
                            NOE_OPEN_TREE_CLONE | O_CLOEXEC);

    if (tree < 0)
        return -1;
    int status = -1;
    if (make_empty_file(beneath(path)) == 0 &&
        syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr,
                sizeof(attr)) == 0)
        status = (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, beneath(path),
                              NOE_MOVE_MOUNT_F_EMPTY_PATH);
    int code = errno;
    close(tree);
    errno = code;
    return status;
}

/* What programs look for on a machine; nothing of any process. */
static int mount_stub_proc(void)
{
    static const char *const names[] = {"cpuinfo",    "meminfo", "stat",
                                        "uptime",     "loadavg", "version",
                                        "filesystems"};

    if (mount("proc", "proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "mode=0755,size=64k") != 0)
        return -1;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char path[64];
        noe_text_add(noe_text_add(path, "/proc/"), names[i]);
        if (bind_file(path, NOE_MOUNT_ATTR_RDONLY | NOE_MOUNT_ATTR_NOSUID |
                                NOE_MOUNT_ATTR_NODEV | NOE_MOUNT_ATTR_NOEXEC) !=
            0)
            return -1;
    }
    return mount(NULL, "proc", NULL,
                 MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV |
                     MS_NOEXEC,
                 NULL);
}

/* Read-only as a whole, so that no sysctl can be written whatever the ids. The
 * kernel refuses a fresh one where the host's is partly covered, as in
 * containers. */
int noe_mount_proc(struct noe_jail *jail, const char **path)
{
    *path = "/proc";
    if (mount("proc", "proc", "proc",
              MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
        return 0;
    if (errno != EPERM)
        return -1;
    jail->stub_proc = true;
    return mount_stub_proc();
}

static const char *const nodes[] = {"/dev/null", "/dev/zero", "/dev/full",
                                    "/dev/random", "/dev/urandom"};

/* Read-only: that keeps nobody from writing to a device, but its owner from
 * changing its mode, which would be the host's. */
int noe_mount_devices(struct noe_jail *jail, const char **path)
{
    static const char *const links[][2] = {{"/proc/self/fd", "dev/fd"},
                                           {"/proc/self/fd/0", "dev/stdin"},
                                           {"/proc/self/fd/1", "dev/stdout"},
                                           {"/proc/self/fd/2", "dev/stderr"}};

    (void)jail;
    for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
        *path = nodes[i];
        if (bind_file(*path, NOE_MOUNT_ATTR_RDONLY | NOE_MOUNT_ATTR_NOSUID |
                                 NOE_MOUNT_ATTR_NOEXEC) != 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++) {
        *path = links[i][1];
        if (symlink(links[i][0], *path) != 0)
            return -1;
    }
    return 0;
}

/* What bubblewrap started by root needs: it stays user 0 of the host, who owns
 * the nodes that it binds. Done in a mount namespace of the supervisor's own.
 */
int noe_mount_cover_devices(const char **path)
{
    *path = "/";
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
        return -1;
    for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
        *path = nodes[i];
        if (mount(nodes[i], nodes[i], NULL, MS_BIND, NULL) != 0 ||
            mount(NULL, nodes[i], NULL,
                  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC,
                  NULL) != 0)
            return -1;
    }
    *path = "/dev/tty"; /* of these, the one that a machine may lack */
    if (mount(*path, *path, NULL, MS_BIND, NULL) != 0)
        return errno == ENOENT ? 0 : -1;
    return mount(NULL, *path, NULL,
                 MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC,
                 NULL);
}

static void add_amount(char *options, const char *name, int64_t amount)
{
    if (amount != NOE_JAIL_NO_LIMIT)
        noe_text_number(noe_text_add(options + strlen(options), name),
                        (unsigned long long)amount);
}

static int show_part(const char *part, const char *place)
{
    if (mkdir(beneath(part), 0700) != 0 || make_directory(beneath(place)) != 0)
        return -1;
    return mount(beneath(part), beneath(place), NULL, MS_BIND, NULL);
}

/* A file of the run's own in the place of one of the server's, read-only but
 * for who has it open: NOE_PLACE_FD. */
static int mount_place(struct noe_jail *jail, const char **path)
{
    const char *file = &NOE_INSIDE_WORK "/file"[1];
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

    *path = jail->place;
    if (fd < 0)
        return -1;
    int status = dup3(fd, NOE_PLACE_FD, O_CLOEXEC) < 0 ? -1 : 0;
    close(fd);
    if (status != 0 ||
        mount(file, beneath(jail->place), NULL, MS_BIND, NULL) != 0)
        return -1;
    return mount(NULL, beneath(jail->place), NULL,
                 MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL);
}

/* First of all mounts: a bind may lie in one of them, or be one. They are
 * directories of one tmpfs, which costs a third of three and has one limit for
 * all. It lies beneath the last of them, where no path leads. */
int noe_mount_private(struct noe_jail *jail, const char **path)
{
    const char *start = jail->start_dir;
    bool within = start != NULL && noe_inside_is_private(start);
    const char *const parts[][2] = {
        {NOE_INSIDE_WORK "/tmp", NOE_INSIDE_TMP},
        {NOE_INSIDE_WORK "/shm", NOE_INSIDE_SHM},
        {NOE_INSIDE_WORK "/start", within ? NULL : start},
        {NOE_INSIDE_WORK "/work", NOE_INSIDE_WORK}};
    const char *work = beneath(NOE_INSIDE_WORK);
    char options[128] = "mode=0700";

    add_amount(options, ",size=", jail->start.private_bytes);
    add_amount(options, ",nr_inodes=", jail->start.private_files);
    *path = NOE_INSIDE_WORK;
    if (make_directory(work) != 0 ||
        mount("private", work, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
        return -1;
    if (jail->in_cradle && jail->place != NULL && mount_place(jail, path) != 0)
        return -1;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        if (parts[i][1] == NULL)
            continue;
        *path = parts[i][1];
        if (show_part(parts[i][0], parts[i][1]) != 0)
            return -1;
    }
    *path = start;
    return within ? make_directory(beneath(start)) : 0;
}

/* Afterwards there is no way, by any name, to a file that is not bound. */
int noe_mount_leave_old_root(struct noe_jail *jail, const char **path)
{
    (void)jail;
    *path = "/";
    if (syscall(SYS_pivot_root, ".", ".") != 0)
        return -1;
    if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
        return -1;
    return mount(NULL, "/", NULL,
                 MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL);
}
