/* SPDX-License-Identifier: MIT */
#include "pid.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_PAGE = 64 * 1024 }; /* of any Linux that we know */

/* A page in the middle is ours to have emptied in forked copies, and goes with
 * the library when that is unloaded. */
static unsigned char room[2 * MOST_PAGE];

/* In that page: what is not known in a copy is 0. In its place where there can
 * be none, `none`. */
static _Atomic(atomic_int *) known;
static atomic_int none;

/* Emulators that know no advice take any: they are asked for one that there is
 * not. */
static int wipe_on_fork(void *page, size_t size)
{
    const int no_advice = -1;

    if (madvise(page, size, no_advice) == 0)
        return -1;
    return madvise(page, size, MADV_WIPEONFORK);
}

/* Threads that do this at the same time do the same. */
static atomic_int *find_page(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    size_t over = size > MOST_PAGE ? 0 : (uintptr_t)room % size;
    unsigned char *page = over == 0 ? room : room + (size - over);
    atomic_int *found = &none;

    if (size <= MOST_PAGE && wipe_on_fork(page, size) == 0)
        found = (atomic_int *)(void *)page;
    atomic_store(&known, found);
    return found;
}

pid_t noe_pid_own(void)
{
    atomic_int *at = atomic_load(&known);

    if (at == NULL)
        at = find_page();
    if (at == &none)
        return getpid();
    pid_t pid = atomic_load(at);
    if (pid == 0) {
        pid = getpid();
        atomic_store(at, pid);
    }
    return pid;
}
