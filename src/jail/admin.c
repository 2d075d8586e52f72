/* SPDX-License-Identifier: MIT */
/*
 * Root without CAP_SYS_ADMIN, as in most containers: it may open no mount and
 * make none. But it may make a user namespace, and in that it may. So the
 * supervisor goes on in one, in which root and the program's user are who they
 * are outside. Such a root still reaches what only root may, like the script in
 * its own cache, which an ordinary user in its place could not.
 *
 * The two lines of the map are not for the process itself to write: a helper
 * that stays outside does it.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/inside.h"
#include "base/text.h"

static bool may_mount(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];

    return syscall(SYS_capget, &header, sets) == 0 &&
           (sets[0].effective & 1U << CAP_SYS_ADMIN) != 0;
}

static int write_map(pid_t pid, const char *rest)
{
    static const char map[] =
        "0 0 1\n" NOE_INSIDE_ID_TEXT " " NOE_INSIDE_ID_TEXT " 1\n";
    char path[64];

    noe_text_add(noe_text_number(noe_text_add(path, "/proc/"), (unsigned)pid),
                 rest);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t wrote = write(fd, map, strlen(map));
    int code = errno;
    close(fd);
    errno = code;
    return wrote == (ssize_t)strlen(map) ? 0 : -1;
}

/* Its exit status is an errno. It ends without a word if its parent does. */
static int help(pid_t parent, int ready)
{
    char byte;

    if (read(ready, &byte, 1) != 1)
        return ECANCELED;
    return write_map(parent, "/uid_map") == 0 &&
                   write_map(parent, "/gid_map") == 0
               ? 0
               : errno;
}

static int enter(int ready)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -1;
    return write(ready, "", 1) == 1 ? 0 : -1;
}

static int fail(int code)
{
    errno = code;
    return -1;
}

int noe_admin_become(void)
{
    int pair[2];
    int status = 0;
    pid_t self = getpid();

    if (may_mount())
        return 0;
    if (pipe2(pair, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        close(pair[1]);
        _exit(help(self, pair[0]));
    }
    close(pair[0]);
    int code = pid < 0 || enter(pair[1]) != 0 ? errno : 0;
    close(pair[1]);
    if (pid > 0 && waitpid(pid, &status, 0) == pid && code == 0)
        code = WIFEXITED(status) ? WEXITSTATUS(status) : ECANCELED;
    return code == 0 ? 1 : fail(code);
}
