/* SPDX-License-Identifier: MIT */
#include "proc.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"

ssize_t noe_proc_read(const char *path, char *text, size_t size)
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

/* "/proc/PID/task/TID" and a rest. */
static void thread_path(char *path, pid_t pid, const char *tid,
                        const char *rest)
{
    proc_path(path, pid, "/task/");
    noe_text_add(noe_text_add(path + strlen(path), tid), rest);
}

void noe_proc_own_children(char path[64])
{
    pid_t self = getpid();

    proc_path(path, self, "/task/");
    noe_text_add(noe_text_number(path + strlen(path), (unsigned)self),
                 "/children");
}

bool noe_tree_can_be_seen(void)
{
    char path[64];

    noe_proc_own_children(path);
    return access(path, R_OK) == 0;
}

int64_t noe_proc_field(const char *text, int nth)
{
    char *at = (char *)text;
    long long value = 0;

    for (int i = 0; i <= nth; i++)
        value = strtoll(at, &at, 10);
    return value;
}

struct entry { /* struct linux_dirent64 */
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* Calls `visit` with each thread of a process, until one returns true. */
static void each_thread(pid_t pid,
                        bool (*visit)(pid_t pid, const char *tid, void *data),
                        void *data)
{
    char entries[8 * 1024] __attribute__((aligned(8)));
    char path[80];
    bool done = false;
    long len;

    proc_path(path, pid, "/task");
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return;
    while (!done &&
           (len = syscall(SYS_getdents64, dir, entries, sizeof(entries))) > 0) {
        for (long at = 0; at < len && !done;) {
            const struct entry *entry = (const void *)(entries + at);
            at += entry->length;
            if (isdigit((unsigned char)entry->name[0]))
                done = visit(pid, entry->name, data);
        }
    }
    close(dir);
}

ssize_t noe_proc_of(pid_t pid, const char *file, char *text, size_t size)
{
    char path[80];

    proc_path(path, pid, file);
    return noe_proc_read(path, text, size);
}

struct reading {
    const char *file;
    char *text;
    size_t size;
    ssize_t len;
};

/* What has memory has threads, of which any tells what all have. */
static bool read_of_living(pid_t pid, const char *tid, void *data)
{
    struct reading *reading = data;
    char path[96];
    char status[4096];

    thread_path(path, pid, tid, "/status");
    if (noe_proc_read(path, status, sizeof(status)) <= 0 ||
        strstr(status, "\nVmRSS:") == NULL)
        return false;
    thread_path(path, pid, tid, reading->file);
    reading->len = noe_proc_read(path, reading->text, reading->size);
    return true;
}

ssize_t noe_proc_of_living(pid_t pid, const char *file, char *text, size_t size)
{
    struct reading reading = {file, text, size, -1};

    each_thread(pid, read_of_living, &reading);
    return reading.len;
}

static pid_t left_out = -1;

void noe_tree_leave_out(pid_t pid)
{
    left_out = pid;
}

static pid_t leader = -1;

void noe_tree_leave_out_group_of(pid_t pid)
{
    leader = pid;
}

static void add(struct noe_tree *tree, pid_t parent, pid_t pid)
{
    if (pid == left_out ||
        (parent == leader && getpgid(pid) == getpgid(leader)))
        return;
    if (tree->count < NOE_TREE_MAX)
        tree->pids[tree->count++] = pid;
    else
        tree->whole = false;
}

/* Each number is followed by a blank. */
static void add_numbers(struct noe_tree *tree, pid_t parent, int fd)
{
    char piece[4096];
    pid_t pid = 0;
    ssize_t len;

    while (tree->whole && (len = read(fd, piece, sizeof(piece))) > 0)
        for (ssize_t i = 0; i < len; i++) {
            if (isdigit((unsigned char)piece[i])) {
                pid = pid * 10 + (piece[i] - '0');
                continue;
            }
            if (pid > 0)
                add(tree, parent, pid);
            pid = 0;
        }
}

/* Every thread has a list of children of its own. */
static bool add_children(pid_t pid, const char *tid, void *data)
{
    char path[96];

    thread_path(path, pid, tid, "/children");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    add_numbers(data, pid, fd);
    close(fd);
    return false;
}

void noe_tree_note(struct noe_tree *tree)
{
    tree->count = 0;
    tree->whole = true;
    each_thread(getpid(), add_children, tree);
    for (unsigned i = 0; i < tree->count && tree->whole; i++)
        each_thread(tree->pids[i], add_children, tree);
}

/* The state of a process or thread, of the text of its stat; 0 if it has none.
 */
static char state_of(const char *text)
{
    const char *name_end = strrchr(text, ')');

    return name_end != NULL && name_end[1] == ' ' ? name_end[2] : '\0';
}

static bool is_zombie(pid_t pid)
{
    char text[512];

    return noe_proc_of(pid, "/stat", text, sizeof(text)) > 0 &&
           state_of(text) == 'Z';
}

unsigned noe_tree_zombies_of(pid_t pid)
{
    static struct noe_tree children;
    unsigned zombies = 0;

    children.count = 0;
    children.whole = true;
    each_thread(pid, add_children, &children);
    for (unsigned i = 0; i < children.count; i++)
        zombies += is_zombie(children.pids[i]);
    return zombies;
}

static bool count_if_running(pid_t pid, const char *tid, void *data)
{
    char path[96];
    char text[512];

    thread_path(path, pid, tid, "/stat");
    if (noe_proc_read(path, text, sizeof(text)) > 0 && state_of(text) == 'R')
        ++*(unsigned *)data;
    return false;
}

unsigned noe_proc_running(pid_t pid)
{
    unsigned count = 0;

    each_thread(pid, count_if_running, &count);
    return count;
}

/* How many numbers there are in "0-3,5"; 0 in what is no such list. */
static unsigned count_listed(const char *at)
{
    unsigned count = 0;

    while (isdigit((unsigned char)*at)) {
        char *end;
        long first = strtol(at, &end, 10);
        long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (last < first || last > USHRT_MAX)
            return 0;
        count += (unsigned)(last - first) + 1;
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}

static unsigned processors(void)
{
    char text[1024];

    if (noe_proc_read("/sys/devices/system/cpu/online", text, sizeof(text)) < 0)
        return 0;
    return count_listed(text);
}

/* "0.20 0.18 0.12 3/815 4321": the fourth word. */
static unsigned running_everywhere(void)
{
    char text[128];
    const char *at = text;

    if (noe_proc_read("/proc/loadavg", text, sizeof(text)) < 0)
        return 0;
    for (int blanks = 0; blanks < 3 && at != NULL; blanks++)
        at = strchr(at + (blanks > 0), ' ');
    return at != NULL ? (unsigned)strtoul(at, NULL, 10) : 0;
}

unsigned noe_proc_on_processors(unsigned running, unsigned scale)
{
    cpu_set_t allowed;
    unsigned everywhere = running_everywhere();
    unsigned all = processors();
    unsigned most = scale * running;

    if (all > 0 && everywhere > all)
        most = (unsigned)((uint64_t)most * all / everywhere);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0 &&
        most > scale * (unsigned)CPU_COUNT(&allowed))
        most = scale * (unsigned)CPU_COUNT(&allowed);
    return most;
}

static bool count_thread(pid_t pid, const char *tid, void *data)
{
    (void)pid;
    (void)tid;
    ++*(unsigned *)data;
    return false;
}

unsigned noe_tree_threads(void)
{
    static struct noe_tree tree;
    unsigned count = 0;

    noe_tree_note(&tree);
    for (unsigned i = 0; i < tree.count; i++)
        each_thread(tree.pids[i], count_thread, &count);
    return count;
}
