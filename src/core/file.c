/* SPDX-License-Identifier: MIT */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"
#include "base/fd.h"
#include "base/tree.h"

#define PATH_SHOWN 300 /* leaves room for the error's text */

int noe_file_fail(struct noe_error *err, const char *operation,
                  const char *path)
{
    int code = errno;
    size_t len = strlen(path);
    const char *dots = len > PATH_SHOWN ? "..." : "";

    if (len > PATH_SHOWN)
        path += len - PATH_SHOWN; /* the end tells more than the beginning */
    return noe_error_set(err, NOE_FAULT_SYSTEM, code, operation, "%s%s", dots,
                         path);
}

int noe_file_open_parent(const char *path, int flags, const char **base)
{
    char parent[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;

    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        errno = EINVAL;
        return -1;
    }
    if (slash != NULL) {
        size_t len = slash == path ? 1 : (size_t)(slash - path);
        if (len >= sizeof(parent)) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(parent, path, len);
        parent[len] = '\0';
    }
    *base = name;
    return open(parent, flags | O_DIRECTORY | O_CLOEXEC);
}

int noe_file_write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Nobody needs to be kept from guessing the name: O_EXCL refuses whatever waits
 * there. It only has to differ from those of others who write now. */
void noe_file_temp_name(char name[NOE_TEMP_NAME_SIZE])
{
    uint64_t number;

    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
        number = (uint64_t)noe_clock_us() << 20 ^ (uint64_t)getpid();
    snprintf(name, NOE_TEMP_NAME_SIZE, ".noe-%016" PRIx64 ".tmp", number);
}

int noe_file_create_temp(int dir, char name[NOE_TEMP_NAME_SIZE])
{
    int fd;
    int attempts = 100;

    do {
        noe_file_temp_name(name);
        fd = openat(dir, name,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EEXIST && --attempts > 0);
    return fd;
}

/* Some file systems cannot sync a directory, and say so with EINVAL: there is
 * nothing more to be had from those. */
static int sync_directory(int dir)
{
    return fsync(dir) == 0 || errno == EINVAL ? 0 : -1;
}

/* Fills the new file and closes it: NFS and quotas tell of a full disk only
 * then. Sets *step to what failed. */
static int fill(int fd, const char *data, size_t len, mode_t mode, bool syncs,
                const char **step)
{
    int failed;

    *step = "write";
    failed = noe_file_write_all(fd, data, len);
    if (failed == 0) {
        *step = "chmod";
        failed = fchmod(fd, mode);
    }
    if (failed == 0 && syncs) {
        *step = "fsync";
        failed = fsync(fd);
    }
    if (failed != 0) {
        noe_fd_close(&fd);
        return -1;
    }
    *step = "close";
    return close(fd);
}

/* A rename would put a file in the place of a device, for everybody:
 * `/dev/null` is a path that root writes to. */
int noe_file_check_replaceable(int dir, const char *base)
{
    struct stat st;

    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
        return 0;
    errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    return -1;
}

/* As noe_file_write, in an open directory. */
static int write_in(int dir, const char *base, const void *data, size_t len,
                    mode_t mode, const char **step)
{
    char temp[NOE_TEMP_NAME_SIZE];
    int fd;

    *step = "rename";
    if (noe_file_check_replaceable(dir, base) != 0)
        return -1;
    *step = "create";
    fd = noe_file_create_temp(dir, temp);
    if (fd < 0)
        return -1;
    int failed = fill(fd, data, len, mode, true, step);
    if (failed == 0) {
        *step = "rename";
        failed = renameat(dir, temp, dir, base);
    }
    if (failed != 0) {
        int saved = errno;
        unlinkat(dir, temp, 0);
        errno = saved;
        return -1;
    }
    *step = "fsync";
    return sync_directory(dir);
}

int noe_file_write(const char *path, const void *data, size_t len, mode_t mode,
                   struct noe_error *err)
{
    const char *base;
    const char *step = "open";
    int dir = noe_file_open_parent(path, O_RDONLY, &base);
    int failed = dir < 0 ? -1 : write_in(dir, base, data, len, mode, &step);

    noe_fd_close(&dir);
    return failed != 0 ? noe_file_fail(err, step, path) : 0;
}

int noe_file_make(const char *path, const void *data, size_t len, mode_t mode,
                  struct noe_error *err)
{
    const char *step = "create";
    int fd =
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return noe_file_fail(err, step, path);
    if (fill(fd, data, len, mode, false, &step) == 0)
        return 0;
    int saved = errno;
    unlink(path);
    errno = saved;
    return noe_file_fail(err, step, path);
}

/* O_NONBLOCK, so that a fifo in the file's place cannot hold us. The fd, or -1
 * with errno. */
static int open_regular(const char *path, struct stat *st)
{
    int fd =
        open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, st) != 0) {
        noe_fd_close(&fd);
        return -1;
    }
    if (!S_ISREG(st->st_mode)) {
        noe_fd_close(&fd);
        errno = S_ISDIR(st->st_mode) ? EISDIR : EINVAL;
    }
    return fd;
}

/* Reads until `len` bytes are there or the file ends. The count, or -1. */
static ssize_t read_full(int fd, char *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = read(fd, data + done, len - done);
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

/* Reads to the end into *data, a block of *len bytes and one more. The size
 * that stat gave is only where to begin: a log grows, and /proc says 0 and
 * gives some of its files in one read or not at all. */
static int read_growing(int fd, size_t size, size_t max, char **data,
                        size_t *len)
{
    char *block = NULL;
    size_t used = 0;
    size_t least = size < 4096 ? 4096 : size + 1;
    size_t room = least < max ? least : max;

    for (;;) {
        char *bigger = realloc(block, room + 1);
        if (bigger == NULL)
            break;
        block = bigger;
        ssize_t n = read_full(fd, block + used, room - used);
        if (n < 0)
            break;
        used += (size_t)n;
        if (used < room) {
            block[used] = '\0';
            *data = block;
            *len = used;
            return 0;
        }
        if (room >= max) {
            errno = EFBIG;
            break;
        }
        room = room < max / 2 ? room * 2 : max;
    }
    int saved = errno;
    free(block);
    errno = saved;
    return -1;
}

int noe_file_read(const char *path, size_t max_bytes, char **data, size_t *len,
                  struct noe_error *err)
{
    struct stat st;
    size_t max = max_bytes < SSIZE_MAX / 2 ? max_bytes + 1 : SSIZE_MAX / 2;
    int fd = open_regular(path, &st);

    if (fd < 0)
        return noe_file_fail(err, "open", path);
    int failed = -1;
    if (st.st_size > 0 && (uintmax_t)st.st_size >= max)
        errno = EFBIG;
    else
        failed = read_growing(fd, (size_t)st.st_size, max, data, len);
    noe_fd_close(&fd);
    return failed != 0 ? noe_file_fail(err, "read", path) : 0;
}

static int compare(int fd, const char *data, size_t len)
{
    char block[16384];
    ssize_t n;

    while ((n = read_full(fd, block, sizeof(block))) > 0) {
        if ((size_t)n > len || memcmp(block, data, (size_t)n) != 0)
            return 0;
        data += n;
        len -= (size_t)n;
    }
    if (n < 0)
        return -1;
    return len == 0;
}

int noe_file_equals(const char *path, const void *data, size_t len,
                    struct noe_error *err)
{
    struct stat st;
    int fd = open_regular(path, &st);

    if (fd < 0)
        return noe_file_fail(err, "open", path);
    int same = 0;
    if ((uintmax_t)st.st_size == len)
        same = compare(fd, data, len);
    noe_fd_close(&fd);
    return same < 0 ? noe_file_fail(err, "read", path) : same;
}

/* Creates `path` and what is missing above it, each with mode 0700. */
static int make_path(const char *path)
{
    char part[PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return -1;
        part[i] = path[i];
    }
    return 0;
}

/* Takes the descriptor over. 1, 0, or -1 with errno. */
static int is_empty(int fd)
{
    DIR *dir = fdopendir(fd);
    int entries = 0;

    if (dir == NULL) {
        noe_fd_close(&fd);
        return -1;
    }
    errno = 0;
    while (entries <= 2 && readdir(dir) != NULL)
        entries++;
    int code = errno;
    closedir(dir);
    errno = code;
    return code != 0 ? -1 : entries <= 2;
}

/* Only the opened directory is judged: its name may lead elsewhere by now. */
static int check_private(int fd, const char *path, struct noe_error *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return noe_file_fail(err, "stat", path);
    if (st.st_uid != geteuid())
        return noe_error_set(err, NOE_FAULT_SYSTEM, EPERM, "open",
                             "%.300s belongs to user %u, not to user %u", path,
                             st.st_uid, geteuid());
    if ((st.st_mode & 0077) == 0)
        return 0;
    bool writable = (st.st_mode & 07022) != 0; /* somebody's /tmp, perhaps */
    if (!writable && is_empty(openat(fd, ".", O_RDONLY | O_CLOEXEC)) == 1 &&
        fchmod(fd, 0700) == 0)
        return 0;
    return noe_error_set(err, NOE_FAULT_SYSTEM, EPERM, "open",
                         "%.300s is open to other users (mode %03o)", path,
                         (unsigned)(st.st_mode & 07777));
}

int noe_file_make_private(const char *path, struct noe_error *err)
{
    if (make_path(path) != 0)
        return noe_file_fail(err, "mkdir", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return noe_file_fail(err, "open", path);
    int failed = check_private(fd, path, err);
    noe_fd_close(&fd);
    return failed;
}

int noe_file_rename(const char *from, const char *to, struct noe_error *err)
{
    const char *base;
    int dir = noe_file_open_parent(to, O_RDONLY, &base);

    if (dir < 0)
        return noe_file_fail(err, "open", to);
    int failed = renameat(AT_FDCWD, from, dir, base);
    if (failed == 0)
        failed = sync_directory(dir);
    noe_fd_close(&dir);
    return failed != 0 ? noe_file_fail(err, "rename", to) : 0;
}

int noe_file_exchange(const char *one, const char *other, struct noe_error *err)
{
    if (renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) != 0)
        return noe_file_fail(err, "exchange", other);
    return 0;
}

static int open_lock(const char *path)
{
    struct stat st;
    int fd = open(
        path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
        0600);

    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        noe_fd_close(&fd);
        errno = EINVAL;
    }
    return fd;
}

static int take_lock(int fd, bool wait)
{
    int result;

    do {
        result = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    return result;
}

/* Whoever removed the file while we waited left us a lock that nobody else will
 * ever meet. */
static bool still_named(int fd, const char *path)
{
    struct stat opened;
    struct stat named;

    return fstat(fd, &opened) == 0 && lstat(path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

int noe_file_lock(const char *path, bool wait, int *fd, struct noe_error *err)
{
    for (;;) {
        int lock = open_lock(path);
        if (lock < 0)
            return noe_file_fail(err, "open", path);
        if (take_lock(lock, wait) != 0) {
            noe_fd_close(&lock);
            return noe_file_fail(err, "flock", path);
        }
        if (still_named(lock, path)) {
            *fd = lock;
            return 0;
        }
        noe_fd_close(&lock);
    }
}

int noe_file_remove_tree(const char *path, struct noe_error *err)
{
    const char *base;
    int parent = noe_file_open_parent(path, O_PATH, &base);

    if (parent < 0)
        return errno == ENOENT ? 0 : noe_file_fail(err, "remove", path);
    int failed = noe_tree_remove_at(parent, base);
    noe_fd_close(&parent);
    return failed != 0 ? noe_file_fail(err, "remove", path) : 0;
}
