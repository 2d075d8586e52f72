/* SPDX-License-Identifier: MIT */
/*
 * Starting a child costs the same whatever the host's size: it runs in the
 * host's memory, as after vfork, until exec. That is also the danger. While it
 * lasts every signal is blocked, so that no handler of the host runs in the
 * child; the child makes nothing but system calls and works on a stack of its
 * own; and what it has to say about a failure it writes where the host, which
 * is stopped meanwhile, looks next.
 *
 * Nor does it matter how many descriptors the host has. A copy of all of them,
 * and closing each, would: so the child begins with the host's own table, and
 * its first call leaves that for a copy of the low end, where what it needs is.
 * Where that is forbidden it begins with a copy.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/protocol.h"
#include "clock.h"
#include "error.h"
#include "base/fd.h"
#include "kept.h"
#include "shared.h"
#include "standby.h"
#include "base/uapi.h"

extern const unsigned char noe_jail_image[];
extern const size_t noe_jail_image_len;

enum { POLICIES = 1 << 11 }; /* one for each set of a policy's switches */

/* What a child is given: its standard streams, the control socket, the image,
 * the channel. */
enum { GIVEN = 6, SLOTS = 4, NEAR = 128 };

enum { LAST_US = 100 * 1000 }; /* that closing waits for who is ending */

struct noe_launcher {
    int image; /* made when it is first needed */
    int null;  /* what a program without input reads: cheaper than a pipe */
    int slots[SLOTS]; /* low numbers, for what is given from beyond NEAR; they
                         lead to null else */
    struct noe_kept image_file;
    struct noe_kept null_file;
    bool copies_table; /* a child may not leave the host's */
    char *jail_path;
    struct noe_filter filters[POLICIES];
    struct noe_cgroups cgroups;
    bool looked_for_cgroups;
    struct noe_pretence pretence;
    struct noe_standbys standbys;
    struct noe_shared shared;
    struct noe_child *unreaped;
    size_t unreaped_count;
    size_t unreaped_capacity;
};

const void *noe_launcher_image(size_t *len)
{
    *len = noe_jail_image_len;
    return noe_jail_image;
}

extern const unsigned char noe_fork_image[];
extern const size_t noe_fork_image_len;

const void *noe_fork_helper(size_t *len)
{
    *len = noe_fork_image_len;
    return noe_fork_image;
}

static int write_image(int fd)
{
    size_t done = 0;

    while (done < noe_jail_image_len) {
        ssize_t wrote =
            write(fd, noe_jail_image + done, noe_jail_image_len - done);
        if (wrote < 0 && errno != EINTR)
            return -1;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

/* An executable file that no one can change, with no name on any disk. -1 with
 * errno: EACCES where vm.memfd_noexec forbids it. */
static int image_in_memory(void)
{
    int fd = memfd_create("noether-jail",
                          MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create("noether-jail", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    if (write_image(fd) == 0 && fchmod(fd, 0555) == 0 &&
        fcntl(fd, F_ADD_SEALS, seals) == 0)
        return fd;
    noe_fd_close(&fd);
    return -1;
}

static bool holds_image(int fd)
{
    void *data = mmap(NULL, noe_jail_image_len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return false;
    bool same = memcmp(data, noe_jail_image, noe_jail_image_len) == 0;
    munmap(data, noe_jail_image_len);
    return same;
}

/* Compared byte by byte, and of an owner whom we trust anyway, so that what was
 * compared is what runs. */
static int image_on_disk(const char *path, struct noe_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 || fstat(fd, &st) != 0) {
        noe_error_set(err, NOE_FAULT_SPAWN, errno, "open the supervisor", "%s",
                      path);
    } else if ((st.st_uid != 0 && st.st_uid != geteuid()) ||
               (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        noe_error_set(err, NOE_FAULT_SPAWN, EPERM, "open the supervisor",
                      "%s: others can write to it", path);
    } else if ((size_t)st.st_size != noe_jail_image_len || !holds_image(fd)) {
        noe_error_set(err, NOE_FAULT_SPAWN, 0, "open the supervisor",
                      "%s: not the program of this version", path);
    } else {
        return fd;
    }
    noe_fd_close(&fd);
    return -1;
}

static int open_image(const struct noe_launcher *launcher,
                      struct noe_error *err)
{
    int fd = -1;

    errno = EACCES;
    if (!launcher->pretence.no_memory_programs)
        fd = image_in_memory();
    if (fd >= 0)
        return fd;
    if (launcher->jail_path == NULL || errno == EMFILE || errno == ENFILE)
        return noe_error_set(err, NOE_FAULT_SPAWN, errno, "memfd_create",
                             "no program can be run from memory");
    return image_on_disk(launcher->jail_path, err);
}

static int need_image(struct noe_launcher *launcher, struct noe_error *err)
{
    if (noe_kept_check(&launcher->image, &launcher->image_file))
        return 0;
    int fd = open_image(launcher, err);
    if (fd >= 0 && noe_kept_look(fd, &launcher->image_file) != 0) {
        noe_error_set(err, NOE_FAULT_SPAWN, errno, "fstat", "the supervisor");
        noe_fd_close(&fd);
    }
    launcher->image = fd;
    return fd >= 0 ? 0 : -1;
}

/* While few descriptors are open the low ones are free. One that cannot be had
 * makes some later launch slower, and nothing else. */
static bool need_slot(struct noe_launcher *launcher, int index)
{
    int *slot = &launcher->slots[index];

    if (noe_kept_check(slot, &launcher->null_file))
        return true;
    *slot = fcntl(noe_launcher_null(launcher), F_DUPFD_CLOEXEC, 3);
    if (*slot >= NEAR)
        noe_fd_close(slot);
    return *slot >= 0;
}

int noe_launcher_null(struct noe_launcher *launcher)
{
    if (noe_kept_check(&launcher->null, &launcher->null_file))
        return launcher->null;
    launcher->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (launcher->null >= 0 &&
        noe_kept_look(launcher->null, &launcher->null_file) != 0)
        noe_fd_close(&launcher->null);
    return launcher->null;
}

int noe_launcher_open(struct noe_launcher **launcher, const char *jail_path,
                      struct noe_error *err)
{
    struct noe_launcher *made = calloc(1, sizeof(*made));

    if (made != NULL && jail_path != NULL) {
        made->jail_path = strdup(jail_path);
        if (made->jail_path == NULL) {
            free(made);
            made = NULL;
        }
    }
    if (made == NULL)
        return noe_error_set(err, NOE_FAULT_SYSTEM, ENOMEM, "open a launcher",
                             "%s", "");
    made->image = made->null = -1;
    for (int i = 0; i < SLOTS; i++)
        made->slots[i] = -1;
    for (int i = 0; i < SLOTS; i++)
        (void)need_slot(made, i);
    made->pretence.landlock = UINT32_MAX;
    noe_standbys_init(&made->standbys);
    noe_shared_init(&made->shared);
    *launcher = made;
    return 0;
}

int noe_launcher_use_copy(struct noe_launcher *launcher, const char *path,
                          struct noe_error *err)
{
    char *copy = strdup(path);

    if (copy == NULL)
        return noe_error_set(err, NOE_FAULT_SYSTEM, ENOMEM,
                             "open the supervisor", "%s", path);
    free(launcher->jail_path);
    launcher->jail_path = copy;
    return 0;
}

static size_t policy_index(const struct noe_seccomp_policy *policy)
{
    return (size_t)policy->network | (size_t)policy->private_network << 1 |
           (size_t)policy->walls << 2 | (size_t)policy->processes << 3 |
           (size_t)policy->report << 4 | (size_t)policy->signals << 5 |
           (size_t)policy->enters << 6 | (size_t)policy->running << 7 |
           (size_t)policy->watch << 8 | (size_t)policy->pairs << 9 |
           (size_t)policy->learn << 10;
}

const struct noe_filter *
noe_launcher_filter(struct noe_launcher *launcher,
                    const struct noe_seccomp_policy *policy,
                    struct noe_error *err)
{
    struct noe_filter *filter = &launcher->filters[policy_index(policy)];

    if (filter->code == NULL && noe_seccomp_build(policy, filter, err) != 0)
        return NULL;
    return filter;
}

void noe_launcher_pretend(struct noe_launcher *launcher,
                          const struct noe_pretence *pretence)
{
    launcher->pretence = *pretence;
    launcher->looked_for_cgroups = false;
    noe_cgroups_free(&launcher->cgroups);
    noe_standbys_close(&launcher->standbys);
    noe_shared_close(&launcher->shared);
    noe_kept_close(&launcher->image, &launcher->image_file);
}

const struct noe_pretence *
noe_launcher_pretence(const struct noe_launcher *launcher)
{
    return &launcher->pretence;
}

struct noe_standbys *noe_launcher_standbys(struct noe_launcher *launcher)
{
    return &launcher->standbys;
}

struct noe_shared *noe_launcher_shared(struct noe_launcher *launcher)
{
    return &launcher->shared;
}

int noe_launcher_pid(const struct noe_launcher *launcher)
{
    return launcher->standbys.pid;
}

size_t noe_launcher_descriptors(const struct noe_launcher *launcher, int *fds,
                                size_t max)
{
    const struct noe_standbys *s = &launcher->standbys;
    int kept[SLOTS + 4 + NOE_SHARED_FDS + 4 * NOE_STANDBY_MAX];
    size_t count = 0;

    kept[count++] = launcher->image;
    kept[count++] = launcher->null;
    kept[count++] = s->socket;
    kept[count++] = s->source.dir;
    for (int i = 0; i < SLOTS; i++)
        kept[count++] = launcher->slots[i];
    for (int i = 0; i < NOE_SHARED_FDS; i++)
        kept[count++] = launcher->shared.fds[i];
    for (unsigned i = 0; i < s->idle_count; i++) {
        kept[count++] = s->idle[i].seat;
        kept[count++] = s->idle[i].child.pidfd;
    }
    for (unsigned i = 0; i < s->coming_count; i++)
        kept[count++] = s->coming[i].seat;
    size_t open = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept[i] >= 0 && open < max)
            fds[open] = kept[i];
        open += kept[i] >= 0;
    }
    return open;
}

const struct noe_cgroups *noe_launcher_cgroups(struct noe_launcher *launcher)
{
    if (!launcher->looked_for_cgroups && !launcher->pretence.no_cgroups)
        noe_cgroups_find(&launcher->cgroups);
    launcher->looked_for_cgroups = true;
    return &launcher->cgroups;
}

/* The child's frames are never left, so what AddressSanitizer notes about them
 * would stay, and be believed of the host's own frames in that place. */
#if defined(__has_attribute)
#if __has_attribute(no_sanitize_address)
#define IN_CHILD __attribute__((no_sanitize_address))
#endif
#endif
#ifndef IN_CHILD
#define IN_CHILD
#endif

struct child_task {
    const struct noe_launch *launch;
    int given[GIVEN];
    bool moved[SLOTS]; /* what is given, to a slot */
    int image;
    bool shares;      /* the host's table, at first */
    const char *step; /* what failed, or NULL */
    int code;
};

/* From here on the child has a table of its own. */
IN_CHILD static int leave_the_table(const struct child_task *task)
{
    int last = task->image;

    for (int i = 0; i < GIVEN; i++)
        if (task->given[i] > last)
            last = task->given[i];
    if (syscall(SYS_close_range, last + 1, ~0U, CLOSE_RANGE_UNSHARE) == 0)
        return 0;
    return unshare(CLONE_FILES);
}

/* Above the numbers that are about to be given out. */
IN_CHILD static int out_of_the_way(int fd)
{
    if (fd < 0 || fd >= NOE_JAIL_FIRST_FREE_FD)
        return fd;
    return fcntl(fd, F_DUPFD_CLOEXEC, NOE_JAIL_FIRST_FREE_FD);
}

/* All are moved away first: the host may run with 0 to 2 closed, and our own
 * pipes may have got these numbers. */
IN_CHILD static int place_descriptors(struct child_task *task)
{
    int from[GIVEN];

    task->image = out_of_the_way(task->image);
    for (int i = 0; i < GIVEN; i++) {
        from[i] = out_of_the_way(task->given[i]);
        if (from[i] < 0 && task->given[i] >= 0)
            return -1;
    }
    for (int i = 0; i < GIVEN; i++)
        if (from[i] >= 0 && dup2(from[i], i) < 0)
            return -1;
    return 0;
}

/* For kernels before 5.11, and sandboxes that know no close_range. */
IN_CHILD static void mark_one_by_one(int first)
{
    long end = sysconf(_SC_OPEN_MAX);

    for (int fd = first; fd < end; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* By the system call: C libraries keep some numbers for themselves, and what
 * posix_spawn starts has these ignored. */
IN_CHILD static void default_signals(void)
{
    static const unsigned long
        by_default[8]; /* the kernel's struct sigaction */
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        syscall(SYS_rt_sigaction, sig, by_default, NULL, (size_t)(NSIG / 8));
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

IN_CHILD static const char *become_program(const struct noe_launch *launch)
{
    if (setsid() < 0)
        return "setsid";
    if (launch->cwd != NULL && chdir(launch->cwd) != 0)
        return "chdir";
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
        mark_one_by_one(3);
    default_signals();
    execve(launch->argv[0], (char *const *)launch->argv,
           (char *const *)launch->envp);
    return "execve";
}

/* The jail resets signals and closes the rest by itself. */
IN_CHILD static const char *become_jail(const struct child_task *task)
{
    const struct noe_launch *launch = task->launch;

    execveat(task->image, "", (char *const *)launch->argv,
             (char *const *)launch->envp, AT_EMPTY_PATH);
    return "execve of the supervisor";
}

/* From here on we are the child, in the host's memory. */
IN_CHILD static int child_main(void *argument)
{
    struct child_task *task = argument;
    /* The copy that stays open for exec must not be one that dup2 replaces. */
    struct child_task own = *task;

    if (own.shares && leave_the_table(&own) != 0)
        own.step = "unshare";
    else if (place_descriptors(&own) != 0)
        own.step = "dup2";
    else if (own.launch->control >= 0)
        own.step = become_jail(&own);
    else
        own.step = become_program(own.launch);
    task->code = errno;
    task->step = own.step;
    _exit(127);
}

static pid_t clone_child(struct child_task *task, int *pidfd)
{
    enum { STACK_SIZE = 32 * 1024 };
    char stack[STACK_SIZE] __attribute__((aligned(64)));
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;

    if (task->shares)
        flags |= CLONE_FILES;
    return clone(child_main, stack + STACK_SIZE, flags, task, pidfd);
}

/* 0, or -1; why is in the task. */
static int start_child(struct child_task *task, struct noe_child *child)
{
    sigset_t all;
    sigset_t before;
    int cancel_state;
    int status;

    task->step = NULL;
    *child = (struct noe_child){.pidfd = -1};
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    child->pid = clone_child(task, &child->pidfd);
    if (child->pid < 0) {
        task->code = errno;
        task->step = "clone";
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setcancelstate(cancel_state, NULL);
    if (task->step == NULL)
        return 0;
    while (child->pid >= 0 && waitpid(child->pid, &status, 0) < 0 &&
           errno == EINTR)
        continue;
    noe_fd_close(&child->pidfd);
    return -1;
}

/* There are sandboxes that know no close_range and refuse every unshare, and
 * emulators that refuse to share a table. */
static bool cannot_share(const struct child_task *task)
{
    return task->shares &&
           (strcmp(task->step, "unshare") == 0 ||
            (strcmp(task->step, "clone") == 0 && task->code == EINVAL));
}

static void give(struct noe_launcher *launcher, const struct noe_launch *launch,
                 struct child_task *task)
{
    const int given[GIVEN] = {launch->stdio[0],
                              launch->stdio[1],
                              launch->stdio[2],
                              launch->control,
                              launch->pass_image ? launcher->image : -1,
                              launch->channel};

    memcpy(task->given, given, sizeof(given));
    for (int i = 0; i < SLOTS; i++) {
        task->moved[i] = given[i] >= NEAR && need_slot(launcher, i) &&
                         dup3(given[i], launcher->slots[i], O_CLOEXEC) >= 0;
        if (task->moved[i])
            task->given[i] = launcher->slots[i];
    }
}

/* What is the child's must not stay open here. */
static void empty_slots(struct noe_launcher *launcher,
                        const struct child_task *task)
{
    for (int i = 0; i < SLOTS; i++)
        if (task->moved[i] && dup3(noe_launcher_null(launcher),
                                   launcher->slots[i], O_CLOEXEC) < 0)
            noe_fd_close(&launcher->slots[i]);
}

int noe_launch(struct noe_launcher *launcher, const struct noe_launch *launch,
               struct noe_child *child, struct noe_error *err)
{
    if (launch->control >= 0 && need_image(launcher, err) != 0)
        return -1;
    struct child_task task = {.launch = launch,
                              .image =
                                  launch->control >= 0 ? launcher->image : -1,
                              .shares = !launcher->copies_table};

    give(launcher, launch, &task);
    int status = start_child(&task, child);
    if (status != 0 && cannot_share(&task)) {
        launcher->copies_table = task.code != ENOMEM;
        task.shares = false;
        status = start_child(&task, child);
    }
    empty_slots(launcher, &task);
    if (status == 0)
        return 0;
    if (child->pid < 0)
        return noe_error_set(err, NOE_FAULT_SPAWN, task.code, task.step,
                             "no process could be made");
    const char *path =
        strcmp(task.step, "chdir") == 0 ? launch->cwd : launch->argv[0];
    return noe_error_set(err, NOE_FAULT_SPAWN, task.code, task.step, "%.400s",
                         path);
}

int noe_child_reap(const struct noe_child *child, int *status)
{
    siginfo_t info = {.si_pid = 0};

    /* __WALL: a host that set another exit signal. By descriptor: the number
     * may belong to a stranger if somebody else reaped the child. */
    if (waitid((idtype_t)P_PIDFD, (id_t)child->pidfd, &info,
               WEXITED | WNOHANG | __WALL) != 0) {
        *status = -1;
        return errno == ECHILD || errno == EINVAL || errno == EBADF;
    }
    if (info.si_pid == 0)
        return 0;
    *status = info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0)
                                         : W_EXITCODE(0, info.si_status);
    return 1;
}

void noe_launcher_reap(struct noe_launcher *launcher)
{
    size_t kept = 0;
    int status;

    for (size_t i = 0; i < launcher->unreaped_count; i++) {
        struct noe_child *child = &launcher->unreaped[i];
        if (!noe_child_reap(child, &status))
            launcher->unreaped[kept++] = *child;
        else if (status >= 0 || errno != EBADF) /* else it is the host's now */
            noe_fd_close(&child->pidfd);
    }
    launcher->unreaped_count = kept;
}

void noe_launcher_adopt(struct noe_launcher *launcher, struct noe_child *child)
{
    noe_launcher_reap(launcher);
    if (launcher->unreaped_count == launcher->unreaped_capacity) {
        size_t capacity = launcher->unreaped_capacity * 2 + 8;
        struct noe_child *grown =
            realloc(launcher->unreaped, capacity * sizeof(*grown));
        if (grown == NULL) { /* it stays a zombie until the host ends */
            noe_fd_close(&child->pidfd);
            return;
        }
        launcher->unreaped = grown;
        launcher->unreaped_capacity = capacity;
    }
    launcher->unreaped[launcher->unreaped_count++] = *child;
}

/* What was told to end does so in a moment, and what is not reaped by then
 * stays a zombie for as long as the host lives. */
static void reap_the_last(struct noe_launcher *launcher)
{
    int64_t until = noe_clock_us() + LAST_US;

    for (size_t i = 0; i < launcher->unreaped_count; i++) {
        struct pollfd child = {launcher->unreaped[i].pidfd, POLLIN, 0};
        int64_t left = until - noe_clock_us();
        (void)poll(&child, 1, left > 0 ? (int)(left / 1000) : 0);
    }
    noe_launcher_reap(launcher);
}

void noe_launcher_close(struct noe_launcher *launcher)
{
    if (launcher == NULL)
        return;
    noe_standbys_close(&launcher->standbys);
    noe_shared_close(&launcher->shared);
    for (int i = 0; i < SLOTS; i++)
        noe_kept_close(&launcher->slots[i], &launcher->null_file);
    noe_kept_close(&launcher->null, &launcher->null_file);
    reap_the_last(launcher);
    for (size_t i = 0; i < launcher->unreaped_count; i++)
        noe_fd_close(&launcher->unreaped[i].pidfd);
    free(launcher->unreaped);
    noe_kept_close(&launcher->image, &launcher->image_file);
    for (size_t i = 0; i < POLICIES; i++)
        noe_filter_free(&launcher->filters[i]);
    noe_cgroups_free(&launcher->cgroups);
    free(launcher->jail_path);
    free(launcher);
}
