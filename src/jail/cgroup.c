/* SPDX-License-Identifier: MIT */
/*
 * A control group for one run, where the host may make one. The supervisor
 * enters it before anything else is started, so that all there will ever be is
 * born in it; at the end it goes home, and the empty group is removed. What
 * cannot be had is not claimed, and is no failure: the limits are then held by
 * other means.
 */
#include "jail.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/text.h"

/* The supervisor and, behind walls, init are in the group too. */
enum { OUR_OWN = 3 };

static char memory_group[512];
static char pids_group[512];

static int write_in(const char *directory, const char *name, const char *text)
{
    char path[640];

    noe_text_add(noe_text_add(noe_text_add(path, directory), "/"), name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t wrote = write(fd, text, strlen(text));
    close(fd);
    return wrote == (ssize_t)strlen(text) ? 0 : -1;
}

static int write_number(const char *directory, const char *name, int64_t number)
{
    char text[24];

    noe_text_number(text, (unsigned long long)number);
    return write_in(directory, name, text);
}

/* The number after `key` in a file of the group; 0 if there is none. */
static int64_t read_number(const char *directory, const char *name,
                           const char *key)
{
    char path[640];
    char text[1024];

    noe_text_add(noe_text_add(noe_text_add(path, directory), "/"), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    const char *at = strstr(text, key);
    return at != NULL ? strtoll(at + strlen(key), NULL, 10) : 0;
}

/* A directory for this run, named by our own number. */
static int make_group(char *group, const char *parent)
{
    if (parent == NULL || strlen(parent) > 450)
        return -1;
    noe_text_number(noe_text_add(noe_text_add(group, parent), "/noether-"),
                    (unsigned)getpid());
    if (mkdir(group, 0755) == 0)
        return 0;
    group[0] = '\0';
    return -1;
}

static void drop_group(char *group)
{
    if (group[0] != '\0')
        (void)rmdir(group);
    group[0] = '\0';
}

/* "0" is whoever writes it. In version 1 by the list of threads: we have but
 * one, and to move one thread the kernel need not wait for all other
 * processors. */
static int enter(const struct jail *jail, const char *group)
{
    bool threads = jail->start.cgroup_version == 1;

    return write_in(group, threads ? "tasks" : "cgroup.procs", "0");
}

static int limit_memory(const struct jail *jail, const char *group)
{
    int64_t bytes = jail->start.limits.memory_bytes;

    if (jail->start.cgroup_version == 2) {
        (void)write_in(group, "memory.swap.max", "0");
        (void)write_in(group, "memory.oom.group", "1");
        return write_number(group, "memory.max", bytes);
    }
    if (write_number(group, "memory.limit_in_bytes", bytes) != 0)
        return -1;
    (void)write_number(group, "memory.memsw.limit_in_bytes", bytes);
    return 0;
}

static void enter_memory(struct jail *jail)
{
    if (jail->start.limits.memory_bytes == NOE_JAIL_NO_LIMIT ||
        make_group(memory_group, jail->memory_parent) != 0)
        return;
    if (limit_memory(jail, memory_group) != 0 || enter(jail, memory_group) != 0)
        drop_group(memory_group);
}

/* In version 2 it is the same group, if there is one already. Another is not
 * made where the program has users of its own: RLIMIT_NPROC counts these alone
 * then, and a group takes longer to make and to remove than the namespaces. */
static void enter_pids(struct jail *jail)
{
    int64_t count = jail->start.limits.processes;
    bool shared = jail->start.cgroup_version == 2 && memory_group[0] != '\0';
    bool own_users = jail->start.walls == NOE_JAIL_NATIVE;

    if (count == NOE_JAIL_NO_LIMIT || (own_users && !shared))
        return;
    if (shared)
        noe_text_add(pids_group, memory_group);
    else if (make_group(pids_group, jail->pids_parent) != 0)
        return;
    if (write_number(pids_group, "pids.max", count + OUR_OWN) == 0 &&
        (shared || enter(jail, pids_group) == 0))
        return;
    if (shared)
        pids_group[0] = '\0';
    else
        drop_group(pids_group);
}

void cgroup_enter(struct jail *jail, struct noe_jail_event *end)
{
    if (jail->start.cgroup_version == 0)
        return;
    enter_memory(jail);
    enter_pids(jail);
    end->memory_cgroup = memory_group[0] != '\0';
    end->pids_cgroup = pids_group[0] != '\0';
}

bool cgroup_memory_was_short(const struct jail *jail)
{
    if (memory_group[0] == '\0')
        return false;
    const char *file = jail->start.cgroup_version == 2 ? "memory.events"
                                                       : "memory.oom_control";
    return read_number(memory_group, file, "oom_kill ") > 0;
}

int64_t cgroup_memory_peak(const struct jail *jail)
{
    if (memory_group[0] == '\0')
        return 0;
    return read_number(memory_group,
                       jail->start.cgroup_version == 2
                           ? "memory.peak"
                           : "memory.max_usage_in_bytes",
                       "");
}

static bool is_outside; /* of the memory group */

void cgroup_step_out(const struct jail *jail)
{
    const char *home = jail->cgroup_home;

    if (memory_group[0] != '\0' && !is_outside)
        is_outside =
            enter(jail, home != NULL ? home : jail->memory_parent) == 0;
}

void cgroup_leave(const struct jail *jail)
{
    const char *home = jail->cgroup_home;

    cgroup_step_out(jail);
    if (pids_group[0] != '\0' && strcmp(pids_group, memory_group) != 0) {
        (void)enter(jail, home != NULL ? home : jail->pids_parent);
        drop_group(pids_group);
    }
    drop_group(memory_group);
}
