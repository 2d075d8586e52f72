/* SPDX-License-Identifier: MIT */
/*
 * The tree below this process, seen through /proc. What a process leaves behind
 * when it ends becomes a child of this one, the subreaper, so that killing all
 * children again and again ends everything, however it detached itself.
 */
#include "jail.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/text.h"

enum {
    MAX_TREE = 4096,      /* processes looked at in one sample */
    MAX_PID = 4194304,    /* PID_MAX_LIMIT of a 64-bit kernel */
    RECHECK_MS = 5,       /* between two rounds of killing */
    LOOK_US = 250 * 1000, /* for an exact look at the whole tree */
    TICKS_PER_SEC = 100   /* USER_HZ, fixed by the kernel's interface */
};

/* Reads a small file of /proc whole. Its length, or -1. */
static ssize_t slurp(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t len = 0;
    ssize_t got;
    while (len < size - 1 && (got = read(fd, text + len, size - 1 - len)) > 0)
        len += (size_t)got;
    close(fd);
    text[len] = '\0';
    return (ssize_t)len;
}

/* "/proc/PID" and a rest. */
static void proc_path(char *path, pid_t pid, const char *rest)
{
    noe_text_add(
        noe_text_number(noe_text_add(path, "/proc/"), (unsigned long long)pid),
        rest);
}

struct round {
    unsigned killed;
    unsigned refused;
};

static void kill_one(pid_t pid, struct round *round)
{
    if (kill(pid, SIGKILL) == 0)
        round->killed++;
    else if (errno == EPERM)
        round->refused++;
}

/* The list of our own children: we have one thread. */
static void own_children_path(char *path)
{
    pid_t self = getpid();

    proc_path(path, self, "/task/");
    noe_text_add(noe_text_number(path + strlen(path), (unsigned)self),
                 "/children");
}

bool tree_can_be_seen(void)
{
    char path[64];

    own_children_path(path);
    return access(path, R_OK) == 0;
}

/* Our children by /proc. False where it cannot tell. */
static bool kill_children_listed(struct round *round)
{
    static char text[64 * 1024];
    char path[64];

    own_children_path(path);
    if (slurp(path, text, sizeof(text)) < 0)
        return false;
    for (char *at = text; *at != '\0';) {
        pid_t pid = (pid_t)strtol(at, &at, 10);
        if (*at != ' ') /* cut off: a part of a number is a stranger's */
            break;
        kill_one(pid, round);
        while (*at == ' ')
            at++;
    }
    return true;
}

/* Our children without /proc: waitid knows which numbers are ours. Slow (some
 * tenths of a second), and only for a host that has no /proc at all. */
static void kill_children_probed(struct round *round)
{
    for (pid_t pid = 2; pid < MAX_PID; pid++) {
        siginfo_t info;
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
            kill_one(pid, round);
    }
}

/* 1 while there are children, 0 when there is none left. */
static int reap(void)
{
    pid_t pid;

    do
        pid = waitpid(-1, NULL, WNOHANG);
    while (pid > 0);
    return pid == 0;
}

unsigned tree_end(int children_fd)
{
    while (reap()) {
        struct round round = {0, 0};
        if (!kill_children_listed(&round))
            kill_children_probed(&round);
        if (round.killed == 0 && round.refused > 0 && reap())
            return round.refused; /* another user's: nothing more to be done */
        struct pollfd changed = {children_fd, POLLIN, 0};
        if (poll(&changed, 1, RECHECK_MS) > 0) {
            char drain[1024];
            (void)!read(children_fd, drain, sizeof(drain));
        }
    }
    return 0;
}

static pid_t tree[MAX_TREE];
static unsigned tree_count;

static void note_children(const char *path)
{
    static char text[32 * 1024];

    if (slurp(path, text, sizeof(text)) < 0)
        return;
    for (char *at = text; *at != '\0' && tree_count < MAX_TREE;) {
        pid_t pid = (pid_t)strtol(at, &at, 10);
        if (*at != ' ') /* cut off */
            break;
        tree[tree_count++] = pid;
        while (*at == ' ')
            at++;
    }
}

struct entry { /* struct linux_dirent64 */
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* Every thread has a list of children of its own. */
static void note_children_of(pid_t pid)
{
    static char entries[16 * 1024] __attribute__((aligned(8)));
    char path[80];
    long len;

    proc_path(path, pid, "/task");
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return;
    while ((len = syscall(SYS_getdents64, dir, entries, sizeof(entries))) > 0) {
        for (long at = 0; at < len;) {
            const struct entry *entry = (const void *)(entries + at);
            at += entry->length;
            if (!isdigit((unsigned char)entry->name[0]))
                continue;
            proc_path(path, pid, "/task/");
            noe_text_add(noe_text_add(path + strlen(path), entry->name),
                         "/children");
            note_children(path);
        }
    }
    close(dir);
}

/* Fills `tree` with all descendants, parents first. */
static void note_tree(void)
{
    tree_count = 0;
    note_children_of(getpid());
    for (unsigned i = 0; i < tree_count; i++)
        note_children_of(tree[i]);
}

/* The nth number (from 0) of a line of numbers. */
static int64_t field(const char *text, int nth)
{
    char *at = (char *)text;
    long long value = 0;

    for (int i = 0; i <= nth; i++)
        value = strtoll(at, &at, 10);
    return value;
}

/* A line of /proc in kB, such as "\nPss:"; 0 if there is none. */
static int64_t line_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);

    return line != NULL ? field(line + strlen(name), 0) * 1024 : 0;
}

struct resident {
    int64_t own;      /* in no file */
    int64_t shared;   /* in files that are in memory only */
    int64_t of_files; /* in all others */
    int64_t tables;   /* of pages: no page has to be behind them */
};

/* In full, whoever else has it too. To read this takes no lock. */
static struct resident resident(pid_t pid)
{
    struct resident found = {0, 0, 0, 0};
    char path[64];
    char text[4096];

    proc_path(path, pid, "/status");
    if (slurp(path, text, sizeof(text)) <= 0)
        return found;
    found.own = line_of(text, "\nRssAnon:");
    found.shared = line_of(text, "\nRssShmem:");
    found.of_files = line_of(text, "\nRssFile:");
    found.tables = line_of(text, "\nVmPTE:");
    return found;
}

/* With each shared page counted in parts. A process that may not be looked into
 * counts with what is its own. */
static int64_t proportional(pid_t pid)
{
    struct resident known = resident(pid);
    char path[64];
    char text[2048];

    proc_path(path, pid, "/smaps_rollup");
    if (slurp(path, text, sizeof(text)) > 0)
        return line_of(text, "\nPss:") + known.tables;
    return known.own + known.tables;
}

/* To read a process's smaps_rollup takes its lock of mappings, and it can hold
 * that for as long as it likes: then whoever reads cannot watch anything. So it
 * is a child that reads, and is killed if it takes too long. Its pid, or -1; it
 * writes a number for each process of the tree. */
static pid_t start_looker(int *answers)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid_t self = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (unsigned i = 0; i < tree_count && getppid() == self; i++) {
            int64_t bytes = proportional(tree[i]);
            if (write(ends[1], &bytes, sizeof(bytes)) != sizeof(bytes))
                break;
        }
        _exit(0);
    }
    close(ends[1]);
    *answers = ends[0];
    if (pid < 0)
        close(ends[0]);
    return pid;
}

/* What the looker used is none of the program's. */
static int64_t lookers_cpu_us;

static void end_looker(pid_t pid, int answers)
{
    struct rusage usage;

    close(answers);
    kill(pid, SIGKILL);
    if (wait4(pid, NULL, 0, &usage) == pid)
        lookers_cpu_us +=
            (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
            usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* Who hides from the looker counts in full. */
static int64_t exact_memory_of_tree(void)
{
    int64_t until_us = jail_clock_us() + LOOK_US;
    int64_t bytes = 0;
    unsigned known = 0;
    int answers = -1;
    pid_t looker = start_looker(&answers);

    while (looker > 0 && known < tree_count) {
        int64_t left_us = until_us - jail_clock_us();
        struct pollfd ready = {answers, POLLIN, 0};
        int64_t answer;
        if (left_us <= 0 || poll(&ready, 1, (int)(left_us / 1000) + 1) <= 0 ||
            read(answers, &answer, sizeof(answer)) != sizeof(answer))
            break;
        bytes += answer;
        known++;
    }
    if (looker > 0)
        end_looker(looker, answers);
    for (; known < tree_count; known++) {
        struct resident hidden = resident(tree[known]);
        bytes += hidden.own + hidden.shared + hidden.tables;
    }
    return bytes;
}

static int64_t memory_of_tree(int64_t limit)
{
    int64_t bound = 0;
    int64_t largest = 0; /* nobody but this process has a part in it */

    for (unsigned i = 0; i < tree_count; i++) {
        struct resident found = resident(tree[i]);
        int64_t part = found.own + found.tables;
        bound += part + found.shared + found.of_files;
        if (part > largest)
            largest = part;
    }
    if (limit == NOE_JAIL_NO_LIMIT || bound <= limit)
        return bound;
    return largest > limit ? largest : exact_memory_of_tree();
}

int64_t tree_lookers_cpu_us(void)
{
    return lookers_cpu_us;
}

/* proc(5): after the name in parentheses, utime, stime, cutime and cstime are
 * the fields 14 to 17; the state is field 3. */
static int64_t cpu_of(pid_t pid)
{
    char path[64];
    char text[1024];

    proc_path(path, pid, "/stat");
    char *name_end =
        slurp(path, text, sizeof(text)) > 0 ? strrchr(text, ')') : NULL;
    if (name_end == NULL || strlen(name_end) < 4)
        return 0;
    const char *after_state = name_end + 3;
    int64_t ticks = 0;
    for (int nth = 10; nth <= 13; nth++)
        ticks += field(after_state, nth);
    return ticks * (1000000 / TICKS_PER_SEC);
}

void tree_sample(int64_t limit, struct tree_usage *usage)
{
    note_tree();
    usage->memory_bytes = memory_of_tree(limit);
    usage->cpu_us = 0;
    for (unsigned i = 0; i < tree_count; i++)
        usage->cpu_us += cpu_of(tree[i]);
}
