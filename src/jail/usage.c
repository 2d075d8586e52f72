/* SPDX-License-Identifier: MIT */
/*
 * What a tree uses, by looking at all its processes; and what it has used. This
 * is the one place that counts, where no control group does.
 *
 * Nothing that a program does to itself may make it count for less. A process
 * whose first thread has ended is asked by way of another. One that may not be
 * looked into counts what it shares in full. A tree too large to be looked at
 * has no bound.
 *
 * The kernel adds a process's time to its parent's when the parent waits for
 * it, and not at all for one that ignores SIGCHLD. So there are two accounts,
 * of which the larger holds: the kernel's, which knows of every process,
 * however short, that was waited for; and what was last seen of each. A guess
 * is added to the second at what a process used after that: each thread that
 * ran when it was seen last stands for all that ran since the look before. For
 * what nobody saw end this would be right on the average, whatever it did
 * between two looks, since nobody can know when those are; half of it is taken,
 * and where that is far more than is known.
 */
#include "jail.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"

enum {
    LOOK_US = 250 * 1000,       /* for an exact look at the whole tree */
    CHANCE_US = 100 * 1000,     /* a guess may be off by */
    TICK_US = 1000 * 1000 / 100 /* USER_HZ, fixed by the kernel's interface */
};

static struct noe_tree tree;

/* A line of /proc in kB, such as "\nPss:"; 0 if there is none. */
static int64_t line_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);

    return line != NULL ? noe_proc_field(line + strlen(name), 0) : 0;
}

static int64_t bytes_of(const char *text, const char *name)
{
    return line_of(text, name) * 1024;
}

struct resident {
    int64_t own;      /* in no file: swapped out, or in huge pages, too */
    int64_t shared;   /* in files that are in memory only */
    int64_t of_files; /* in all others */
    int64_t tables;   /* of pages: no page has to be behind them */
};

/* In full, whoever else has it too. To read this takes no lock. */
static struct resident resident(pid_t pid)
{
    struct resident found = {0, 0, 0, 0};
    char text[4096];

    if (noe_proc_of(pid, "/status", text, sizeof(text)) <= 0)
        return found;
    if (strstr(text, "\nVmRSS:") == NULL && line_of(text, "\nThreads:") > 1 &&
        noe_proc_of_living(pid, "/status", text, sizeof(text)) <= 0)
        return found;
    found.own = bytes_of(text, "\nRssAnon:") + bytes_of(text, "\nVmSwap:") +
                bytes_of(text, "\nHugetlbPages:");
    found.shared = bytes_of(text, "\nRssShmem:");
    found.of_files = bytes_of(text, "\nRssFile:");
    found.tables = bytes_of(text, "\nVmPTE:");
    return found;
}

/* With each shared page counted in parts. */
static int64_t proportional(pid_t pid)
{
    struct resident known = resident(pid);
    char text[2048];

    if (noe_proc_of(pid, "/smaps_rollup", text, sizeof(text)) > 0 ||
        noe_proc_of_living(pid, "/smaps_rollup", text, sizeof(text)) > 0)
        return bytes_of(text, "\nPss:") + bytes_of(text, "\nSwapPss:") +
               bytes_of(text, "\nPrivate_Hugetlb:") +
               bytes_of(text, "\nShared_Hugetlb:") + known.tables;
    return known.own + known.shared + known.tables;
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
        for (unsigned i = 0; i < tree.count && getppid() == self; i++) {
            int64_t bytes = proportional(tree.pids[i]);
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

/* What it used is none of the program's. */
static void end_looker(pid_t pid, int answers)
{
    close(answers);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Who hides from the looker counts in full. */
static int64_t exact_memory(void)
{
    int64_t until_us = noe_jail_clock_us() + LOOK_US;
    int64_t bytes = 0;
    unsigned known = 0;
    int answers = -1;
    pid_t looker = start_looker(&answers);

    while (looker > 0 && known < tree.count) {
        int64_t left_us = until_us - noe_jail_clock_us();
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
    for (; known < tree.count; known++) {
        struct resident hidden = resident(tree.pids[known]);
        bytes += hidden.own + hidden.shared + hidden.tables;
    }
    return bytes;
}

static int64_t memory_of_tree(int64_t limit)
{
    int64_t bound = 0;
    int64_t largest = 0; /* nobody but this process has a part in it */

    for (unsigned i = 0; i < tree.count; i++) {
        struct resident found = resident(tree.pids[i]);
        int64_t part = found.own + found.tables;
        bound += part + found.shared + found.of_files;
        if (part > largest)
            largest = part;
    }
    if (limit == NOE_JAIL_NO_LIMIT || bound <= limit)
        return bound;
    return largest > limit ? largest : exact_memory();
}

/* A process that was seen, by its number and start. */
struct seen {
    pid_t pid;
    unsigned running; /* threads */
    int64_t start;
    struct noe_time own;
    struct noe_time waited; /* of children that it waited for */
};

/* The last two samples, and where each number is found in one of them. */
static struct seen samples[2][NOE_TREE_MAX];
static unsigned counts[2];
static int now; /* the newer one */

enum { SLOTS = 2 * NOE_TREE_MAX, EMPTY = UINT16_MAX };
_Static_assert((int)NOE_TREE_MAX < (int)EMPTY, "an index fits into a slot");
static uint16_t slots[SLOTS];

static struct noe_time gone; /* what was last seen of those that have */
static int64_t guessed_us;   /* what these used when they were not seen */
static int64_t guess_us;     /* for each thread that ran at the last look */
static int64_t last_look_us;

static int64_t sum(const struct noe_time *time)
{
    return time->user_us + time->system_us;
}

static void add_time(struct noe_time *time, const struct noe_time *more)
{
    time->user_us += more->user_us;
    time->system_us += more->system_us;
}

/* Of all threads, ended ones too, to the nanosecond: ticks are nothing to a
 * short life. */
static int64_t run_us(pid_t pid)
{
    struct timespec time;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 ||
        clock_gettime(clock, &time) != 0)
        return 0;
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* proc(5): after the name in parentheses the state is field 3; utime, stime,
 * cutime, cstime, the number of threads and starttime are the fields 14 to 17,
 * 20, 22.
 */
static bool look_at(pid_t pid, struct seen *seen)
{
    char text[1024];
    ssize_t len = noe_proc_of(pid, "/stat", text, sizeof(text));
    char *name_end = len > 0 ? strrchr(text, ')') : NULL;

    if (name_end == NULL || strlen(name_end) < 4)
        return false;
    const char *rest = name_end + 3;
    *seen = (struct seen){.pid = pid,
                          .running = name_end[2] == 'R',
                          .start = noe_proc_field(rest, 18),
                          .own = {noe_proc_field(rest, 10) * TICK_US,
                                  noe_proc_field(rest, 11) * TICK_US},
                          .waited = {noe_proc_field(rest, 12) * TICK_US,
                                     noe_proc_field(rest, 13) * TICK_US}};
    if (noe_proc_field(rest, 16) > 1)
        seen->running = noe_proc_running(pid);
    int64_t missing_us = run_us(pid) - sum(&seen->own);
    if (missing_us > 0)
        seen->own.user_us += missing_us;
    return true;
}

static void index_sample(int which)
{
    memset(slots, 0xff, sizeof(slots));
    for (unsigned i = 0; i < counts[which]; i++) {
        unsigned slot = (unsigned)samples[which][i].pid % SLOTS;
        while (slots[slot] != EMPTY)
            slot = (slot + 1) % SLOTS;
        slots[slot] = (uint16_t)i;
    }
}

/* In the sample that was indexed last. */
static bool is_in(int which, const struct seen *seen)
{
    unsigned slot = (unsigned)seen->pid % SLOTS;

    for (; slots[slot] != EMPTY; slot = (slot + 1) % SLOTS) {
        const struct seen *other = &samples[which][slots[slot]];
        if (other->pid == seen->pid)
            return other->start == seen->start;
    }
    return false;
}

/* Those of a sample that are in no newer one have ended since. */
static void take_leave(const struct seen *seen)
{
    add_time(&gone, &seen->own);
    guessed_us += seen->running * guess_us;
}

/* For each thread of the newest sample that would run. */
static int64_t time_since(int64_t before_us, int64_t look_us)
{
    enum { SCALE = 1024 };
    unsigned running = 0;

    for (unsigned i = 0; i < counts[now]; i++)
        running += samples[now][i].running;
    if (running == 0 || before_us == 0)
        return 0;
    return (look_us - before_us) * noe_proc_on_processors(running, SCALE) /
           ((int64_t)SCALE * running);
}

static void note_times(void)
{
    int64_t look_us = noe_jail_clock_us();
    int before = now;

    now = 1 - now;
    counts[now] = 0;
    for (unsigned i = 0; i < tree.count; i++)
        counts[now] += look_at(tree.pids[i], &samples[now][counts[now]]);
    index_sample(now);
    for (unsigned i = 0; i < counts[before]; i++)
        if (!is_in(now, &samples[before][i]))
            take_leave(&samples[before][i]);
    guess_us = time_since(last_look_us, look_us);
    last_look_us = look_us;
}

static int64_t microseconds(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

/* What our own children that we have reaped used, and theirs. Added up here:
 * the kernel's own sum has our helpers in it, and what other runs had. */
static struct noe_time waited_for;
static int64_t max_rss_bytes;

pid_t noe_usage_reap(pid_t pid, int *status, int flags)
{
    struct rusage usage;
    pid_t reaped = wait4(pid, status, flags, &usage);

    if (reaped <= 0)
        return reaped;
    waited_for.user_us += microseconds(&usage.ru_utime);
    waited_for.system_us += microseconds(&usage.ru_stime);
    if (max_rss_bytes < (int64_t)usage.ru_maxrss * 1024)
        max_rss_bytes = (int64_t)usage.ru_maxrss * 1024;
    return reaped;
}

int64_t noe_usage_max_rss(void)
{
    return max_rss_bytes;
}

void noe_usage_begin(void)
{
    waited_for = gone = (struct noe_time){0, 0};
    counts[0] = counts[1] = 0;
    max_rss_bytes = guessed_us = guess_us = last_look_us = 0;
}

void noe_usage_look_afresh(void)
{
    last_look_us = 0;
}

void noe_usage_guess_nothing(void)
{
    guessed_us = guess_us = 0;
}

struct noe_time noe_usage_time(void)
{
    struct noe_time known = waited_for;
    struct noe_time seen = gone;

    for (unsigned i = 0; i < counts[now]; i++) {
        add_time(&seen, &samples[now][i].own);
        add_time(&known, &samples[now][i].own);
        add_time(&known, &samples[now][i].waited);
    }
    if (sum(&seen) > sum(&known))
        known = seen;
    seen.user_us += guessed_us / 2;
    return sum(&seen) > sum(&known) * 3 / 2 + CHANCE_US ? seen : known;
}

struct noe_time noe_usage_time_at_end(void)
{
    for (unsigned i = 0; i < counts[now]; i++)
        take_leave(&samples[now][i]);
    counts[now] = 0;
    return noe_usage_time();
}

int64_t noe_usage_sample(int64_t limit, bool times)
{
    noe_tree_note(&tree);
    if (!tree.whole)
        return NOE_USAGE_UNBOUNDED;
    if (times)
        note_times();
    return memory_of_tree(limit);
}
