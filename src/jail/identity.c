/* SPDX-License-Identifier: MIT */
/*
 * A wrapping command looks up by name what is to be bound, and follows the
 * links that it meets, once more. Somebody may have put one there since the
 * path was judged. So what was judged is noted as what it is, and compared with
 * what is inside when all is built, before the program starts.
 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/uapi.h"

static int identify(struct noe_jail_bind *bind)
{
    struct noe_open_how how = {.flags = O_PATH | O_CLOEXEC,
                               .resolve = NOE_RESOLVE_NO_SYMLINKS |
                                          NOE_RESOLVE_NO_MAGICLINKS};
    struct stat st;
    int fd =
        (int)syscall(SYS_openat2, AT_FDCWD, bind->source, &how, sizeof(how));

    if (fd < 0)
        return -1;
    int status = fstat(fd, &st);
    if (status == 0)
        bind->identity = (struct noe_jail_identity){st.st_dev, st.st_ino};
    close(fd);
    return status;
}

int noe_identity_note(struct noe_jail *jail, const char **path)
{
    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        *path = jail->binds[i].source;
        if (identify(&jail->binds[i]) != 0)
            return -1;
    }
    return 0;
}

/* Of two at one place the later one lies on top. */
static bool is_covered(const struct noe_jail *jail, uint32_t i)
{
    return i + 1 < jail->start.bind_count &&
           strcmp(jail->binds[i].target, jail->binds[i + 1].target) == 0;
}

int noe_identity_check(const struct noe_jail *jail, const char **path)
{
    struct stat st;

    for (uint32_t i = 0; i < jail->start.bind_count; i++) {
        const struct noe_jail_bind *bind = &jail->binds[i];
        *path = bind->source;
        if (is_covered(jail, i))
            continue;
        if (stat(bind->target, &st) != 0) {
            if (errno == EACCES) /* nor can the program reach it */
                continue;
            return -1;
        }
        if (st.st_dev != bind->identity.device ||
            st.st_ino != bind->identity.inode) {
            errno = ELOOP;
            return -1;
        }
    }
    return 0;
}
