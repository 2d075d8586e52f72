/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "core/file.h"
#include "tap.h"

static struct noe_error err = NOE_ERROR_INIT;

static int count_entries(const char *path)
{
    int count = -2; /* "." and ".." */
    DIR *dir = opendir(path);

    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static int content_is(const char *path, const char *text)
{
    char *data = NULL;
    size_t len = 0;

    if (noe_file_read(path, 1000, &data, &len, &err) != 0)
        return 0;
    int same = len == strlen(text) && strcmp(data, text) == 0;
    free(data);
    return same;
}

static int failed_with(int result, int code)
{
    return result == -1 && err.code == code && err.message[0] != '\0';
}

static void test_write(void)
{
    struct stat st;

    mkdir("write", 0700);
    umask(0077);
    ok(noe_file_write("write/a", "one", 3, 0644, &err) == 0, "writes a file");
    umask(0022);
    ok(content_is("write/a", "one"), "with its content");
    ok(stat("write/a", &st) == 0 && (st.st_mode & 0777) == 0644,
       "and its mode, whatever the umask");
    ok(noe_file_write("write/a", NULL, 0, 0600, &err) == 0 &&
           content_is("write/a", ""),
       "replaces it by an empty one");
    ok(failed_with(noe_file_write("write", "x", 1, 0600, &err), EISDIR),
       "does not replace a directory");
    ok(strcmp(err.operation, "rename") == 0, "and names the step");
    ok(failed_with(noe_file_write("none/a", "x", 1, 0600, &err), ENOENT),
       "needs the directory");
    ok(failed_with(noe_file_write("", "x", 1, 0600, &err), EINVAL),
       "needs a name");
    ok(count_entries("write") == 1, "leaves no temporary file");
}

/* A file size limit stands in for a full disk: both end a write half-way. */
static void test_write_cut_short(void)
{
    static char big[100000];
    struct rlimit before;
    struct rlimit small;

    noe_file_write("write/a", "old", 3, 0600, &err);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){.rlim_cur = 5000, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    int result = noe_file_write("write/a", big, sizeof(big), 0600, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    ok(failed_with(result, EFBIG), "reports a write that was cut short");
    ok(content_is("write/a", "old"), "keeps the old content");
    ok(count_entries("write") == 1, "and removes the temporary file");
}

static void test_no_descriptors(void)
{
    struct rlimit before;
    struct rlimit none;
    char *data;
    size_t len;
    int fd;

    getrlimit(RLIMIT_NOFILE, &before);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    ok(failed_with(noe_file_write("write/a", "x", 1, 0600, &err), EMFILE),
       "write reports that there is no descriptor left");
    ok(failed_with(noe_file_read("write/a", 9, &data, &len, &err), EMFILE),
       "so does read");
    ok(failed_with(noe_file_lock("write/lock", true, &fd, &err), EMFILE),
       "so does lock");
    ok(failed_with(noe_file_remove_tree("write", &err), EMFILE),
       "so does removing a tree");
    setrlimit(RLIMIT_NOFILE, &before);
    ok(content_is("write/a", "old"), "and nothing happened");
}

static void test_read(void)
{
    char *data = NULL;
    size_t len = 0;

    noe_file_write("file", "12345", 5, 0600, &err);
    ok(symlink("file", "link") == 0 && mkfifo("fifo", 0600) == 0, "prepared");
    ok(noe_file_read("file", 5, &data, &len, &err) == 0 && len == 5,
       "reads as much as is allowed");
    free(data);
    ok(failed_with(noe_file_read("file", 4, &data, &len, &err), EFBIG),
       "and no more");
    ok(noe_file_read("/proc/self/status", SIZE_MAX, &data, &len, &err) == 0 &&
           len > 500 && data[len] == '\0',
       "reads a file of unknown size");
    free(data);
    ok(failed_with(noe_file_read("link", 9, &data, &len, &err), ELOOP),
       "refuses a link");
    ok(failed_with(noe_file_read("fifo", 9, &data, &len, &err), EINVAL),
       "refuses a fifo at once");
    ok(noe_file_equals("file", "12345", 5, &err) == 1, "finds equal");
    ok(noe_file_equals("file", "12346", 5, &err) == 0, "finds a difference");
    ok(noe_file_equals("file", "1234", 4, &err) == 0, "finds a longer file");
    ok(noe_file_equals("file", "123456", 6, &err) == 0, "finds a shorter one");
    ok(failed_with(noe_file_equals("link", "12345", 5, &err), ELOOP),
       "compares no link");
}

static void test_errors(void)
{
    char path[2000];

    memset(path, 'x', sizeof(path));
    path[0] = '/';
    memcpy(path + sizeof(path) - 5, "/end", 5);
    errno = EACCES;
    noe_file_fail(&err, "open", path);
    ok(strstr(err.message, "/end: Permission denied") != NULL,
       "a long path keeps its end and the reason");
    errno = ENOENT;
    ok(noe_file_fail(NULL, "open", "a") == -1, "an error may be unwanted");
}

/* Levels of directories, each entered by fd: no path is that long. */
static int make_deep(const char *path, int levels)
{
    int dir = -1;
    int done = 0;

    if (mkdir(path, 0700) == 0)
        dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (dir >= 0 && done < levels) {
        int next =
            mkdirat(dir, "below", 0700) == 0
                ? openat(dir, "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                : -1;
        noe_fd_close(&dir);
        dir = next;
        done++;
    }
    noe_fd_close(&dir);
    return done == levels;
}

static void test_tree(void)
{
    /* More than descriptors that may be open, and than a path is long. */
    ok(make_deep("deep", 2000), "2,000 levels are made");
    ok(noe_file_remove_tree("deep", &err) == 0 && access("deep", F_OK) != 0,
       "and removed");
    mkdir("outside", 0700);
    noe_file_write("outside/kept", "x", 1, 0600, &err);
    mkdir("tree", 0700);
    mkdir("tree/a", 0700);
    mkdir("tree/a/b", 0700);
    noe_file_write("tree/a/b/file", "x", 1, 0600, &err);
    ok(symlink("../../outside", "tree/a/link") == 0 &&
           symlink("../outside", "tree/link") == 0 &&
           symlink("tree", "tree-link") == 0,
       "prepared");
    chmod("tree/a/b", 0);
    chmod("tree/a", 0500);
    ok(noe_file_remove_tree("tree-link", &err) == 0 &&
           access("tree", F_OK) == 0,
       "removes a link, not what it leads to");
    ok(noe_file_remove_tree("tree", &err) == 0 && access("tree", F_OK) != 0,
       "removes a tree without permissions");
    ok(access("outside/kept", F_OK) == 0, "follows no link in it");
    ok(noe_file_remove_tree("tree", &err) == 0, "what is gone is gone");
    ok(failed_with(noe_file_remove_tree("outside/.", &err), EINVAL),
       "takes no name that is not one");
}

static void test_private(void)
{
    struct stat st;

    ok(noe_file_make_private("private/a/b", &err) == 0 &&
           stat("private/a", &st) == 0 && (st.st_mode & 07777) == 0700,
       "makes the whole path private");
    mkdir("private/open", 0755);
    noe_file_write("private/open/file", "x", 1, 0600, &err);
    ok(failed_with(noe_file_make_private("private/open", &err), EPERM),
       "refuses a used directory that others can read");
    ok(symlink("a", "private/link") == 0 &&
           failed_with(noe_file_make_private("private/link", &err), ENOTDIR),
       "refuses a link");
}

static void test_lock(void)
{
    int one = -1;
    int other = -1;

    ok(noe_file_lock("lock", true, &one, &err) == 0, "takes a lock");
    ok((fcntl(one, F_GETFD) & FD_CLOEXEC) != 0, "which ends at exec");
    ok(failed_with(noe_file_lock("lock", false, &other, &err), EAGAIN) &&
           other == -1,
       "which nobody else gets");
    unlink("lock");
    ok(noe_file_lock("lock", false, &other, &err) == 0,
       "a removed file's lock hinders nobody");
    noe_fd_close(&one);
    noe_fd_close(&other);
}

/* Whether a process waits for a lock: "1: -> FLOCK ADVISORY WRITE 4711 ..." */
static int waits_for_lock(pid_t pid)
{
    char line[256];
    char words[64];
    int found = 0;
    FILE *locks = fopen("/proc/locks", "re");

    snprintf(words, sizeof(words), "-> FLOCK  ADVISORY  WRITE %d ", (int)pid);
    while (locks != NULL && !found && fgets(line, sizeof(line), locks) != NULL)
        found = strstr(line, words) != NULL;
    if (locks != NULL)
        fclose(locks);
    return found;
}

static int lock_and_compare(const char *path)
{
    struct stat named;
    struct stat held;
    int fd = -1;

    return noe_file_lock(path, true, &fd, &err) == 0 && fstat(fd, &held) == 0 &&
           stat(path, &named) == 0 && held.st_ino == named.st_ino;
}

static void test_lock_replaced(void)
{
    int status = -1;
    int fd = -1;

    noe_file_lock("lock", true, &fd, &err);
    pid_t waiter = fork();
    if (waiter == 0) {
        noe_fd_close(&fd); /* this copy would keep the lock for ever */
        _exit(lock_and_compare("lock") ? 0 : 1);
    }
    for (int i = 0; i < 1000 && !waits_for_lock(waiter); i++)
        usleep(5000);
    ok(waits_for_lock(waiter), "another process waits for the lock");
    noe_file_write("lock", "new", 3, 0600, &err);
    noe_fd_close(&fd);
    ok(waitpid(waiter, &status, 0) == waiter && status == 0,
       "and takes the file's that has the name by then");
}

static void test_rename(void)
{
    mkdir("one", 0700);
    mkdir("two", 0700);
    noe_file_write("one/a", "a", 1, 0600, &err);
    noe_file_write("two/b", "b", 1, 0600, &err);
    ok(noe_file_exchange("one", "two", &err) == 0 &&
           access("one/b", F_OK) == 0 && access("two/a", F_OK) == 0,
       "swaps two names");
    ok(failed_with(noe_file_rename("one", "two", &err), ENOTEMPTY),
       "replaces no full directory");
    ok(noe_file_rename("one", "three", &err) == 0 &&
           access("three/b", F_OK) == 0,
       "renames");
}

int main(void)
{
    char dir[] = "/tmp/noether-file-test-XXXXXX";

    if (mkdtemp(dir) == NULL || chdir(dir) != 0)
        return 1;
    test_write();
    test_write_cut_short();
    test_no_descriptors();
    test_read();
    test_errors();
    test_tree();
    test_private();
    test_lock();
    test_lock_replaced();
    test_rename();
    ok(noe_file_remove_tree(dir, &err) == 0 && access(dir, F_OK) != 0,
       "removes all of it in the end");
    return plan_done();
}
