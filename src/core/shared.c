/* SPDX-License-Identifier: MIT */
#include "shared.h"

#include <string.h>
#include <unistd.h>

#include "base/fd.h"

void noe_shared_init(struct noe_shared *shared)
{
    memset(shared, 0, sizeof(*shared));
    for (int i = 0; i < NOE_SHARED_FDS; i++)
        shared->fds[i] = -1;
}

/* A user namespace bounds what is counted in it, and below, by what was the
 * limit when it was made. */
static void look(struct noe_shared_maker *maker)
{
    static const int limits[NOE_SHARED_LIMITS] = {
        RLIMIT_NPROC, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_MEMLOCK};

    memset(maker, 0, sizeof(*maker));
    maker->process = getpid();
    maker->user = geteuid();
    maker->group = getegid();
    for (int i = 0; i < NOE_SHARED_LIMITS; i++)
        (void)getrlimit((__rlimit_resource_t)limits[i], &maker->limits[i]);
}

bool noe_shared_check(struct noe_shared *shared)
{
    struct noe_shared_maker now;

    if (shared->fds[0] < 0)
        return false;
    look(&now);
    for (int i = 0; i < NOE_SHARED_FDS; i++)
        (void)noe_kept_check(&shared->fds[i], &shared->ids[i]);
    if (shared->fds[0] >= 0 && shared->fds[1] >= 0 &&
        memcmp(&now, &shared->maker, sizeof(now)) == 0)
        return true;
    noe_shared_close(shared);
    return false;
}

void noe_shared_keep(struct noe_shared *shared, int fds[NOE_SHARED_FDS])
{
    bool kept = !noe_shared_check(shared);

    for (int i = 0; i < NOE_SHARED_FDS; i++)
        kept = kept && noe_kept_look(fds[i], &shared->ids[i]) == 0;
    for (int i = 0; kept && i < NOE_SHARED_FDS; i++) {
        shared->fds[i] = fds[i];
        fds[i] = -1;
    }
    if (kept)
        look(&shared->maker);
}

void noe_shared_close(struct noe_shared *shared)
{
    for (int i = 0; i < NOE_SHARED_FDS; i++)
        noe_kept_close(&shared->fds[i], &shared->ids[i]);
}
