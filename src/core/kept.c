/* SPDX-License-Identifier: MIT */
#include "kept.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"

int noe_kept_look(int fd, struct noe_kept *kept)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &st) != 0)
        return -1;
    *kept =
        (struct noe_kept){st.st_dev, st.st_ino, flags & (O_ACCMODE | O_PATH)};
    return 0;
}

bool noe_kept_check(int *fd, const struct noe_kept *kept)
{
    int saved = errno;
    struct noe_kept now = *kept;

    if (*fd >= 0 && noe_kept_look(*fd, &now) != 0 && errno == EBADF)
        *fd = -1;
    if (now.dev != kept->dev || now.ino != kept->ino ||
        now.access != kept->access)
        *fd = -1;
    errno = saved;
    return *fd >= 0;
}

void noe_kept_close(int *fd, const struct noe_kept *kept)
{
    if (noe_kept_check(fd, kept))
        noe_fd_close(fd);
}
