/* SPDX-License-Identifier: MIT */
/*
 * A control group for one run, where the host may make one. The supervisor
 * enters it before anything else is started, so that all there will ever be is
 * born in it; at the end it goes home, and the empty group is removed. What
 * cannot be had is not claimed, and is no failure: the limits are then held by
 * other means.
 */
#include "jail.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

/* In version 2 one and the same. */
static char memory_group[512];
static char pids_group[512];
static char cpu_group[512];

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

/* The number after `key`; 0 if there is none. */
static int64_t number_in(int fd, const char *key)
{
    char text[1024];
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

    text[len > 0 ? len : 0] = '\0';
    const char *at = strstr(text, key);
    return at != NULL ? strtoll(at + strlen(key), NULL, 10) : 0;
}

/* The number after `key` in a file of the group; 0 if there is none. */
static int64_t read_number(const char *directory, const char *name,
                           const char *key)
{
    char path[640];

    noe_text_add(noe_text_add(noe_text_add(path, directory), "/"), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int64_t number = number_in(fd, key);
    close(fd);
    return number;
}

/* The kernel lists what is in it by the numbers that the reader knows. */
bool noe_cgroup_has_only(const struct noe_jail *jail, pid_t pid)
{
    char expected[24];
    char text[64];

    if (!jail->has_group)
        return true;
    noe_text_add(noe_text_number(expected, (unsigned)pid), "\n");
    ssize_t len =
        pread(NOE_GROUP_FD + NOE_JAIL_GROUP_TASKS, text, sizeof(text) - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    return strcmp(text, expected) == 0;
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

static bool drop_group(char *group)
{
    bool gone = group[0] == '\0' || rmdir(group) == 0;

    group[0] = '\0';
    return gone;
}

/* "0" is whoever writes it. In version 1 by the list of threads: we have but
 * one, and to move one thread the kernel need not wait for all other
 * processors. */
static int enter(const struct noe_jail *jail, const char *group)
{
    bool threads = jail->start.cgroup_version == 1;

    return write_in(group, threads ? "tasks" : "cgroup.procs", "0");
}

static int limit_memory(const struct noe_jail *jail, const char *group)
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

static void enter_memory(struct noe_jail *jail)
{
    if (jail->start.limits.memory_bytes == NOE_JAIL_NO_LIMIT ||
        make_group(memory_group, jail->memory_parent) != 0)
        return;
    if (limit_memory(jail, memory_group) != 0 || enter(jail, memory_group) != 0)
        drop_group(memory_group);
}

int64_t noe_cgroup_our_own(const struct noe_jail *jail)
{
    switch (jail->start.walls) {
    case NOE_JAIL_WRAPPED:
        return 2;
    case NOE_JAIL_NATIVE:
        return 1;
    default:
        return 0;
    }
}

static int limit_pids(const struct noe_jail *jail, int64_t more)
{
    return write_number(pids_group, "pids.max",
                        jail->start.limits.processes +
                            noe_cgroup_our_own(jail) + more);
}

/* In version 2 it is the same group, if there is one already. Another is not
 * made where the program has users of its own: RLIMIT_NPROC counts these alone
 * then, and a group takes longer to make and to remove than the namespaces. */
static void enter_pids(struct noe_jail *jail)
{
    bool shared = jail->start.cgroup_version == 2 && memory_group[0] != '\0';
    bool own_users = jail->start.walls == NOE_JAIL_NATIVE;

    /* (That of a fork server would have its copies in it.) */
    if (jail->start.limits.processes == NOE_JAIL_NO_LIMIT ||
        jail->start.serves || (own_users && !shared))
        return;
    if (shared)
        noe_text_add(pids_group, memory_group);
    else if (make_group(pids_group, jail->pids_parent) != 0)
        return;
    /* One more while the supervisor is in it. */
    if (limit_pids(jail, 1) == 0 && (shared || enter(jail, pids_group) == 0))
        return;
    if (shared)
        pids_group[0] = '\0';
    else
        drop_group(pids_group);
}

/* Version 2 counts in every group, whatever it is for. */
static void enter_cpu(struct noe_jail *jail)
{
    const char *counts = memory_group[0] != '\0' ? memory_group : pids_group;

    if (jail->start.cgroup_version == 2 && counts[0] != '\0')
        noe_text_add(cpu_group, counts);
    else if (jail->start.limits.cpu_us != NOE_JAIL_NO_LIMIT &&
             make_group(cpu_group, jail->cpu_parent) == 0 &&
             enter(jail, cpu_group) != 0)
        drop_group(cpu_group);
}

static bool is_outside;
static struct rusage at_entry;
static struct rusage before; /* what was used in it that is not the program's */

void noe_cgroup_enter(struct noe_jail *jail, struct noe_jail_event *end)
{
    end->memory_cgroup = jail->has_group; /* made by the host */
    if (jail->start.cgroup_version == 0)
        return;
    getrusage(RUSAGE_SELF, &at_entry);
    enter_memory(jail);
    enter_pids(jail);
    enter_cpu(jail);
    end->memory_cgroup = memory_group[0] != '\0';
    end->pids_cgroup = pids_group[0] != '\0';
}

void noe_cgroup_forget(void)
{
    memory_group[0] = pids_group[0] = cpu_group[0] = '\0';
}

bool noe_cgroup_memory_was_short(const struct noe_jail *jail)
{
    if (jail->has_group)
        return number_in(NOE_GROUP_FD + NOE_JAIL_GROUP_EVENTS, "oom_kill ") > 0;
    if (memory_group[0] == '\0')
        return false;
    const char *file = jail->start.cgroup_version == 2 ? "memory.events"
                                                       : "memory.oom_control";
    return read_number(memory_group, file, "oom_kill ") > 0;
}

int64_t noe_cgroup_memory_peak(const struct noe_jail *jail)
{
    if (jail->has_group)
        return number_in(NOE_GROUP_FD + NOE_JAIL_GROUP_PEAK, "");
    if (memory_group[0] == '\0')
        return 0;
    return read_number(memory_group,
                       jail->start.cgroup_version == 2
                           ? "memory.peak"
                           : "memory.max_usage_in_bytes",
                       "");
}

bool noe_cgroup_processes_were_short(void)
{
    return pids_group[0] != '\0' &&
           read_number(pids_group, "pids.events", "max ") > 0;
}

void noe_cgroup_step_out(const struct noe_jail *jail)
{
    const char *home = jail->cgroup_home;
    const char *const groups[][2] = {{memory_group, jail->memory_parent},
                                     {pids_group, jail->pids_parent},
                                     {cpu_group, jail->cpu_parent}};

    if (is_outside)
        return;
    is_outside = true;
    for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
        if (groups[i][0][0] != '\0' &&
            enter(jail, home != NULL ? home : groups[i][1]) != 0)
            is_outside = false;
    getrusage(RUSAGE_SELF, &before);
    timersub(&before.ru_utime, &at_entry.ru_utime, &before.ru_utime);
    timersub(&before.ru_stime, &at_entry.ru_stime, &before.ru_stime);
    if (is_outside && pids_group[0] != '\0')
        (void)limit_pids(jail, 0);
}

static int64_t time_us(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

/* Version 1 has nanoseconds, each in a file of its own. */
static int64_t used_us(const struct noe_jail *jail, const char *key,
                       const char *file, const struct timeval *ours)
{
    int64_t used = jail->start.cgroup_version == 2
                       ? read_number(cpu_group, "cpu.stat", key)
                       : read_number(cpu_group, file, "") / 1000;
    int64_t rest = used - time_us(ours);

    return rest > 0 ? rest : 0;
}

bool noe_cgroup_cpu(const struct noe_jail *jail, int64_t *user_us,
                    int64_t *system_us)
{
    if (cpu_group[0] == '\0' || !is_outside)
        return false;
    *user_us =
        used_us(jail, "user_usec ", "cpuacct.usage_user", &before.ru_utime);
    *system_us =
        used_us(jail, "system_usec ", "cpuacct.usage_sys", &before.ru_stime);
    return *user_us + *system_us > 0;
}

void noe_cgroup_stop(const struct noe_jail *jail)
{
    const char *any = memory_group[0] != '\0' ? memory_group : pids_group;

    if (!is_outside)
        return;
    if (jail->start.cgroup_version == 2 && any[0] != '\0')
        (void)write_in(any, "cgroup.kill", "1");
    if (pids_group[0] != '\0')
        (void)write_in(pids_group, "pids.max", "0");
}

static bool drop_unless_shared(char *group)
{
    bool shared = strcmp(group, memory_group) == 0;

    if (!shared)
        return drop_group(group);
    group[0] = '\0';
    return true;
}

bool noe_cgroup_leave(const struct noe_jail *jail)
{
    bool gone = true;

    noe_cgroup_step_out(jail);
    is_outside = false;
    if (strcmp(cpu_group, pids_group) != 0)
        gone = drop_unless_shared(cpu_group);
    cpu_group[0] = '\0';
    gone = drop_unless_shared(pids_group) && gone;
    return drop_group(memory_group) && gone;
}

/* A host that was killed could not remove what it had made for copies. */
void noe_cgroup_sweep(const struct noe_jail *jail)
{
    char prefix[32];
    struct dirent *entry;
    DIR *groups =
        jail->memory_parent != NULL ? opendir(jail->memory_parent) : NULL;

    noe_text_add(
        noe_text_number(noe_text_add(prefix, "noether-"), (unsigned)getpid()),
        "-");
    while (groups != NULL && (entry = readdir(groups)) != NULL)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            (void)unlinkat(dirfd(groups), entry->d_name, AT_REMOVEDIR);
    if (groups != NULL)
        closedir(groups);
}
