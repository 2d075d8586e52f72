/* SPDX-License-Identifier: MIT */
#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/uapi.h"
#include "file.h"

static int open_plainly(int top, const char *path, int flags, uint64_t resolve)
{
    struct noe_open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                               .resolve = resolve | NOE_RESOLVE_NO_SYMLINKS |
                                          NOE_RESOLVE_NO_MAGICLINKS};
    int attempts = 100;
    int fd;

    do { /* EAGAIN: something was renamed on the way */
        fd = (int)syscall(SYS_openat2, top, path, &how, sizeof(how));
    } while (fd < 0 && (errno == EINTR || errno == EAGAIN) && --attempts > 0);
    return fd;
}

static int open_beneath(int top, const char *path, int flags)
{
    return open_plainly(top, path, flags,
                        NOE_RESOLVE_BENEATH | NOE_RESOLVE_NO_XDEV);
}

/* By the descriptor: another directory may have the name by now. */
int noe_beneath_top(const char *path)
{
    int fd = open_plainly(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);

    if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        noe_fd_close(&fd);
    return fd;
}

int noe_beneath_directory(int top, const char *path)
{
    return open_beneath(top, path, O_RDONLY | O_DIRECTORY);
}

static int check_regular(int fd, struct stat *st)
{
    if (fstat(fd, st) != 0)
        return -1;
    errno = S_ISREG(st->st_mode) ? EMLINK : EINVAL;
    return S_ISREG(st->st_mode) && st->st_nlink == 1 ? 0 : -1;
}

/* Looked at before it is opened, for to open a device is to do something to it;
 * and again afterwards, for it may have become another. */
int noe_beneath_file(int top, const char *path, struct stat *st)
{
    int look = open_beneath(top, path, O_PATH);
    int status = look < 0 ? -1 : check_regular(look, st);

    noe_fd_close(&look);
    if (status != 0)
        return -1;
    int fd = open_beneath(top, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && check_regular(fd, st) != 0)
        noe_fd_close(&fd);
    return fd;
}

/* The next component of *rest, which is moved past it and its slash. -1 if it
 * is too long. */
static int next_part(const char **rest, char part[NAME_MAX + 1])
{
    size_t len = strcspn(*rest, "/");

    if (len > NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, *rest, len);
    part[len] = '\0';
    *rest += len + ((*rest)[len] == '/');
    return 0;
}

int noe_beneath_parents(int top, const char *path, const char **base)
{
    char part[NAME_MAX + 1];
    int dir = fcntl(top, F_DUPFD_CLOEXEC, 0);

    while (dir >= 0 && strchr(path, '/') != NULL) {
        int next = -1;
        if (next_part(&path, part) == 0 &&
            (mkdirat(dir, part, 0700) == 0 || errno == EEXIST))
            next = open_beneath(dir, part, O_RDONLY | O_DIRECTORY);
        noe_fd_close(&dir);
        dir = next;
    }
    *base = path;
    return dir;
}

/* A file without a name leaves nothing, whoever dies. Not every file system has
 * such. */
static int create(struct noe_draft *draft)
{
    draft->temp[0] = '\0';
    draft->fd = openat(draft->dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (draft->fd < 0 &&
        (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT))
        draft->fd = noe_file_create_temp(draft->dir, draft->temp);
    return draft->fd < 0 ? -1 : fchmod(draft->fd, 0600);
}

int noe_draft_open(struct noe_draft *draft, int top, const char *path,
                   const char **base)
{
    *draft = (struct noe_draft){.dir = -1, .fd = -1};
    draft->dir = noe_beneath_parents(top, path, base);
    if (draft->dir >= 0 && create(draft) == 0)
        return 0;
    noe_draft_close(draft);
    return -1;
}

static ssize_t copy_piece(int to, int from, size_t max)
{
    char block[16384];
    ssize_t n = sendfile(to, from, NULL, max);

    if (n >= 0 || (errno != EINVAL && errno != ENOSYS))
        return n;
    n = read(from, block, max < sizeof(block) ? max : sizeof(block));
    if (n > 0 && noe_file_write_all(to, block, (size_t)n) != 0)
        return -1;
    return n;
}

ssize_t noe_draft_copy(struct noe_draft *draft, int from, size_t max)
{
    size_t done = 0;

    while (done < max) {
        ssize_t n = copy_piece(draft->fd, from, max - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* As /proc names it: to link by the descriptor itself takes a capability. */
static int link_unnamed(const struct noe_draft *draft, const char *base)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", draft->fd);
    return linkat(AT_FDCWD, path, draft->dir, base, AT_SYMLINK_FOLLOW);
}

/* A link is made or it is EEXIST; a rename would replace. FAT knows no links,
 * and few old file systems the rename that does not. */
static int name_new(struct noe_draft *draft, const char *base)
{
    if (draft->temp[0] == '\0')
        return link_unnamed(draft, base);
    if (renameat2(draft->dir, draft->temp, draft->dir, base,
                  RENAME_NOREPLACE) == 0) {
        draft->temp[0] = '\0';
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return linkat(draft->dir, draft->temp, draft->dir, base, 0);
}

static int name_over(struct noe_draft *draft, const char *base)
{
    if (draft->temp[0] == '\0') {
        noe_file_temp_name(draft->temp);
        if (link_unnamed(draft, draft->temp) != 0) {
            draft->temp[0] = '\0';
            return -1;
        }
    }
    if (noe_file_check_replaceable(draft->dir, base) != 0 ||
        renameat(draft->dir, draft->temp, draft->dir, base) != 0)
        return -1;
    draft->temp[0] = '\0';
    return 0;
}

int noe_draft_keep(struct noe_draft *draft, const char *base, bool replaces)
{
    return replaces ? name_over(draft, base) : name_new(draft, base);
}

void noe_draft_close(struct noe_draft *draft)
{
    if (draft->dir >= 0 && draft->temp[0] != '\0')
        (void)unlinkat(draft->dir, draft->temp, 0);
    draft->temp[0] = '\0';
    noe_fd_close(&draft->fd);
    noe_fd_close(&draft->dir);
}
