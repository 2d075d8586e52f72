/* SPDX-License-Identifier: MIT */
/*
 * Mounts in which somebody else's files are the stage's own. A host that is
 * root runs stages under an id that owns nothing; what it lets them use often
 * belongs to root alone. Such a bind is id-mapped: on disk nothing changes,
 * inside the owner of the bound path is the stage's id, and what the stage
 * writes is the owner's on disk.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/inside.h"
#include "base/text.h"
#include "base/uapi.h"

static const unsigned LAST_ID = 4294967294U; /* the next one means "none" */

static char *add_line(char *at, unsigned inside, unsigned outside,
                      unsigned count)
{
    if (count == 0)
        return at;
    at = noe_text_add(noe_text_number(at, inside), " ");
    at = noe_text_add(noe_text_number(at, outside), " ");
    return noe_text_add(noe_text_number(at, count), "\n");
}

static char *add_same(char *at, unsigned first, unsigned end)
{
    return add_line(at, first, first, end > first ? end - first : 0);
}

/* The owner becomes NOE_INSIDE_ID, everybody else stays; whoever has that
 * number on disk is nobody inside. */
static void format_map(char *map, unsigned owner)
{
    unsigned low = owner < NOE_INSIDE_ID ? owner : NOE_INSIDE_ID;
    unsigned high = owner < NOE_INSIDE_ID ? NOE_INSIDE_ID : owner;

    map = add_same(map, 0, low);
    map = add_line(map, owner, NOE_INSIDE_ID, 1);
    map = add_same(map, low + 1, high);
    add_same(map, high + 1, LAST_ID);
}

static int open_of(pid_t pid, const char *rest, int flags)
{
    char path[64];

    noe_text_add(noe_text_number(noe_text_add(path, "/proc/"), (unsigned)pid),
                 rest);
    return open(path, flags | O_CLOEXEC);
}

static int write_map(pid_t pid, const char *rest, unsigned owner)
{
    char map[160];
    int fd = open_of(pid, rest, O_WRONLY);

    if (fd < 0)
        return -1;
    format_map(map, owner);
    ssize_t wrote = write(fd, map, strlen(map));
    int code = errno;
    close(fd);
    errno = code;
    return wrote == (ssize_t)strlen(map) ? 0 : -1;
}

/* A user namespace lives as long as a process or a descriptor of it; the
 * process is needed only until there is a descriptor. */
static int namespace_with(uid_t owner, gid_t group)
{
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        for (;;)
            pause();
    if (pid < 0)
        return -1;
    int fd = -1;
    if (write_map(pid, "/uid_map", owner) == 0 &&
        write_map(pid, "/gid_map", group) == 0)
        fd = open_of(pid, "/ns/user", O_RDONLY);
    int code = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    errno = code;
    return fd;
}

/* Whether the permissions for everybody allow what the bind is for. */
static bool open_to_all(const struct stat *st, bool writable)
{
    mode_t needed = writable ? S_IROTH | S_IWOTH : S_IROTH;

    if (S_ISDIR(st->st_mode))
        needed |= S_IXOTH;
    return (st->st_mode & needed) == needed;
}

/* 0, or -1 with errno. */
static int map_owner(const struct noe_jail_bind *bind, const struct stat *st)
{
    int userns = namespace_with(st->st_uid, st->st_gid);
    if (userns < 0)
        return -1;
    struct noe_mount_attr attr = {.attr_set = NOE_MOUNT_ATTR_IDMAP,
                                  .userns_fd = (uint64_t)userns};
    long status = syscall(SYS_mount_setattr, bind->tree, "", AT_EMPTY_PATH,
                          &attr, sizeof(attr));
    int code = errno;
    close(userns);
    errno = code;
    return (int)status;
}

int noe_idmap_bind(const struct noe_jail_bind *bind)
{
    struct stat st;

    if (fstat(bind->tree, &st) != 0)
        return -1;
    if (!bind->writable && open_to_all(&st, false))
        return 0;
    if (map_owner(bind, &st) == 0 || open_to_all(&st, bind->writable))
        return 0;
    /* A file system that cannot, or root of a container, who may not. */
    if (errno == EINVAL || errno == EPERM)
        errno = EACCES;
    return -1;
}
