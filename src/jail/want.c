/* SPDX-License-Identifier: MIT */
/* What a program names among files that is not there, or that it may not
 * change: seen, and not held up. What is there is looked up as the program
 * would, by init, which has its root and its user. Of relative names nothing is
 * told: they lead into what is there. */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/inside.h"
#include "base/text.h"

enum access {              /* as it is told */
              BEGIN = 'b', /* the program's own script, for the first time */
              LOOK = 'l',
              READ = 'r',
              LINK = 'k',     /* likewise, of what a link leads to */
              WRITE = 'w',    /* what is there */
              CREATE = 'c',   /* likewise, or make it */
              MAKE = 'm',     /* a name in a directory, or take one away */
              DIRECTORY = 'd' /* make one */
};

enum { MAX_WANTED = 256, NO_ARGUMENT = -1 };

struct named {
    int call;
    int path;  /* which argument */
    int other; /* likewise, of a second name */
    int flags; /* which argument has those of open */
    enum access access;
};

static const struct named CALLS[] = {
#ifdef SYS_open
    {SYS_open, 0, NO_ARGUMENT, 1, READ},
    {SYS_creat, 0, NO_ARGUMENT, NO_ARGUMENT, CREATE},
    {SYS_stat, 0, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_lstat, 0, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_access, 0, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_readlink, 0, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_mkdir, 0, NO_ARGUMENT, NO_ARGUMENT, DIRECTORY},
    {SYS_rmdir, 0, NO_ARGUMENT, NO_ARGUMENT, MAKE},
    {SYS_unlink, 0, NO_ARGUMENT, NO_ARGUMENT, MAKE},
    {SYS_rename, 0, 1, NO_ARGUMENT, MAKE},
    {SYS_symlink, 1, NO_ARGUMENT, NO_ARGUMENT, MAKE},
#endif
#ifdef SYS_renameat
    {SYS_renameat, 1, 3, NO_ARGUMENT, MAKE},
#endif
    {SYS_openat, 1, NO_ARGUMENT, 2, READ},
    {SYS_newfstatat, 1, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_statx, 1, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_faccessat, 1, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_faccessat2, 1, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_readlinkat, 1, NO_ARGUMENT, NO_ARGUMENT, LOOK},
    {SYS_chdir, 0, NO_ARGUMENT, NO_ARGUMENT, READ},
    {SYS_truncate, 0, NO_ARGUMENT, NO_ARGUMENT, WRITE},
    {SYS_mkdirat, 1, NO_ARGUMENT, NO_ARGUMENT, DIRECTORY},
    {SYS_unlinkat, 1, NO_ARGUMENT, NO_ARGUMENT, MAKE},
    {SYS_renameat2, 1, 3, NO_ARGUMENT, MAKE},
    {SYS_symlinkat, 2, NO_ARGUMENT, NO_ARGUMENT, MAKE},
};

static uint64_t known[MAX_WANTED];
static unsigned known_count;

/* A string of another process's memory: no more of it than up to the end of a
 * page is asked for at once, beyond which there may be nothing. */
static bool read_path(pid_t pid, uint64_t address, char path[PATH_MAX])
{
    enum { PAGE = 4096 };
    size_t len = 0;

    while (len < PATH_MAX) {
        size_t part = PAGE - (size_t)((address + len) % PAGE);
        if (part > PATH_MAX - len)
            part = PATH_MAX - len;
        struct iovec here = {path + len, part};
        struct iovec there = {(void *)(uintptr_t)(address + len), part};
        if (process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)part)
            return false;
        if (memchr(path + len, '\0', part) != NULL)
            return true;
        len += part;
    }
    return false;
}

/* It is to stand in a line, and to be shown to people. */
static bool can_be_told(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *at = path; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return false;
    return true;
}

static bool can_change(const char *path)
{
    return faccessat(AT_FDCWD, path, W_OK, 0) == 0;
}

/* Takes the last part away. False: there is none. */
static bool climb(char *path)
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 1 && path[len - 1] != '/')
        len--;
    bool climbed = path[len] != '\0';
    path[len] = '\0';
    return climbed;
}

static bool can_change_parent(const char *path)
{
    char parent[PATH_MAX];

    strcpy(parent, path);
    return climb(parent) && can_change(parent);
}

/* Of what is not there: what is not in a directory that is bound, is not on the
 * host either. Everything else of ours lies on the root's own file system, but
 * for what is private. Returns `access`, LINK, or 0: it is nothing to be told.
 */
static int judge_absent(const char *path, enum access access)
{
    char above[PATH_MAX];
    struct stat st;
    struct stat root;

    strcpy(above, path);
    while (lstat(above, &st) != 0)
        if (!climb(above))
            return 0;
    if (S_ISLNK(st.st_mode))
        return LINK;
    bool bound = stat("/", &root) == 0 && st.st_dev != root.st_dev &&
                 !noe_inside_is_private(above);
    return bound ? 0 : (int)access;
}

static bool may_change(const char *path, enum access access, bool there)
{
    switch (access) {
    case WRITE:
        return there && can_change(path);
    case CREATE:
        return there ? can_change(path) : can_change_parent(path);
    case DIRECTORY:
        return there || can_change_parent(path);
    default:
        return can_change_parent(path);
    }
}

/* As what it is to be told, if it would be refused or is not there; 0: it is
 * not. */
static int judge(const char *path, enum access access)
{
    bool there = faccessat(AT_FDCWD, path, F_OK, 0) == 0;

    if (!there && errno != ENOENT && errno != ENOTDIR)
        return 0;
    if (access != LOOK && access != READ)
        return may_change(path, access, there) ? 0 : (int)access;
    return there ? 0 : judge_absent(path, access);
}

/* FNV-1a: who makes two names of one number hides the second from himself. */
static bool is_news(const char *path, int access)
{
    uint64_t number = 14695981039346656037U ^ (uint64_t)access;

    for (const char *at = path; *at != '\0'; at++)
        number = (number ^ (unsigned char)*at) * 1099511628211U;
    for (unsigned i = 0; i < known_count; i++)
        if (known[i] == number)
            return false;
    if (known_count == MAX_WANTED)
        return false;
    known[known_count++] = number;
    return true;
}

/* The supervisor hears us all the time, and nothing may be lost. */
static void tell(const char *path, int access)
{
    static struct {
        struct noe_jail_event event;
        char text[NOE_JAIL_MAX_LINE];
    } wanted;
    const char word[] = {(char)access, ' ', '\0'};

    wanted.event = (struct noe_jail_event){.type = NOE_JAIL_WANTED};
    char *end = noe_text_add(noe_text_add(wanted.text, "wanted "), word);
    end = noe_text_add(noe_text_add(end, path), "\n");
    (void)send(NOE_JAIL_CONTROL_FD, &wanted,
               sizeof(wanted.event) + (size_t)(end - wanted.text),
               MSG_NOSIGNAL);
}

static void note_path(const char *path, enum access access)
{
    int judged = can_be_told(path) ? judge(path, access) : 0;

    if (judged != 0 && is_news(path, judged))
        tell(path, judged);
}

/* What an interpreter looks for before it comes to what it is to run is none of
 * that. */
static void note_script(const struct noe_jail *jail, const char *path)
{
    char *const *argv = jail->argv;

    for (int i = 1; argv[0] != NULL && argv[i] != NULL; i++)
        if (strcmp(argv[i], path) == 0 && is_news(path, BEGIN))
            tell(path, BEGIN);
}

static void note(const struct noe_jail *jail, pid_t pid, uint64_t address,
                 enum access access)
{
    static char path[PATH_MAX];

    if (!read_path(pid, address, path))
        return;
    note_path(path, access);
    if (access == READ && can_be_told(path))
        note_script(jail, path);
}

/* What open is to do stands in its flags. */
static enum access access_of(const struct named *named, const uint64_t *args)
{
    if (named->flags == NO_ARGUMENT)
        return named->access;
    uint64_t flags = args[named->flags];
    if (flags & O_CREAT)
        return CREATE;
    return (flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY ? WRITE : READ;
}

bool noe_want_note(const struct noe_jail *jail, pid_t pid,
                   const struct seccomp_data *call)
{
    const uint64_t *args = (const uint64_t *)call->args;

    for (size_t i = 0; i < sizeof(CALLS) / sizeof(*CALLS); i++) {
        const struct named *named = &CALLS[i];
        if (named->call != call->nr)
            continue;
        note(jail, pid, args[named->path], access_of(named, args));
        if (named->other != NO_ARGUMENT)
            note(jail, pid, args[named->other], named->access);
        return true;
    }
    return false;
}

void noe_want_note_socket(pid_t pid, uint64_t address, uint64_t len)
{
    struct sockaddr_un name;
    struct iovec here = {&name, len < sizeof(name) ? len : sizeof(name)};
    struct iovec there = {(void *)(uintptr_t)address, here.iov_len};
    char path[sizeof(name.sun_path) + 1] = "";

    if (here.iov_len <= offsetof(struct sockaddr_un, sun_path) ||
        process_vm_readv(pid, &here, 1, &there, 1, 0) !=
            (ssize_t)here.iov_len ||
        name.sun_family != AF_UNIX)
        return;
    memcpy(path, name.sun_path,
           here.iov_len - offsetof(struct sockaddr_un, sun_path));
    note_path(path, READ);
}
