/* SPDX-License-Identifier: MIT */
#include "inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

static bool add(struct noe_inherited *to, const void *data, size_t len)
{
    if (len > sizeof(to->data) - to->len)
        return false;
    memcpy(to->data + to->len, data, len);
    to->len += len;
    return true;
}

static bool add_number(struct noe_inherited *to, long number)
{
    return add(to, &number, sizeof(number));
}

/* The length of what a file holds, ended by NUL; or -1, also if it is longer.
 */
static ssize_t slurp(int dir, const char *name, char *text, size_t size)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t len = read(fd, text, size);
    noe_fd_close(&fd);
    if (len >= 0 && (size_t)len == size)
        errno = EFBIG;
    if (len < 0 || (size_t)len == size)
        return -1;
    text[len] = '\0';
    return len;
}

/* From one line on to before another. */
static bool add_lines(struct noe_inherited *to, const char *text,
                      const char *first, const char *end)
{
    const char *from = strstr(text, first);
    const char *stop = from != NULL ? strstr(from + 1, end) : NULL;

    return stop != NULL && add(to, from, (size_t)(stop - from));
}

/* proc_pid_status(5). What lies between these lines changes all the time. */
static bool add_status(struct noe_inherited *to, int dir)
{
    char text[8192];

    return slurp(dir, "status", text, sizeof(text)) > 0 &&
           add_lines(to, text, "\nUmask:", "\nState:") &&
           add_lines(to, text, "\nUid:", "\nFDSize:") &&
           add_lines(to, text, "\nGroups:", "\n") &&
           add_lines(to, text, "\nCapInh:", "\nvoluntary_ctxt_switches:");
}

static bool add_cgroups(struct noe_inherited *to, int dir)
{
    char text[8192];
    ssize_t len = slurp(dir, "cgroup", text, sizeof(text));

    if (len < 0) /* a kernel without groups */
        return errno == ENOENT;
    return add(to, text, (size_t)len);
}

static bool add_oom_score(struct noe_inherited *to, int dir)
{
    char text[32];
    ssize_t len = slurp(dir, "oom_score_adj", text, sizeof(text));

    return len >= 0 && add(to, text, (size_t)len);
}

/* Of AppArmor, SELinux and the like; without them there is none to be read. */
static bool add_label(struct noe_inherited *to, struct noe_inherited_source *of)
{
    char text[4096];
    if (of->no_label)
        return true;
    ssize_t len = slurp(of->dir, "attr/current", text, sizeof(text));
    of->no_label = len < 0 && (errno == EINVAL || errno == ENOENT);
    return of->no_label || (len >= 0 && add(to, text, (size_t)len));
}

/* The text of such a link, "uts:[4026531838]", is had for half of what it costs
 * to follow it. */
static bool add_namespace(struct noe_inherited *to, int dir, const char *name)
{
    char text[64];
    ssize_t len = readlinkat(dir, name, text, sizeof(text));

    if (len < 0)
        return errno == ENOENT;
    return (size_t)len < sizeof(text) && add(to, text, (size_t)len);
}

static bool add_namespaces(struct noe_inherited *to, int dir)
{
    static const char *const names[] = {"ns/cgroup",
                                        "ns/ipc",
                                        "ns/mnt",
                                        "ns/net",
                                        "ns/pid_for_children",
                                        "ns/time_for_children",
                                        "ns/user",
                                        "ns/uts"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!add_namespace(to, dir, names[i]))
            return false;
    return true;
}

static bool add_root(struct noe_inherited *to)
{
    struct stat st;

    return stat("/", &st) == 0 && add(to, &st.st_dev, sizeof(st.st_dev)) &&
           add(to, &st.st_ino, sizeof(st.st_ino));
}

static bool add_limits(struct noe_inherited *to)
{
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)i, &limit) != 0 ||
            !add(to, &limit, sizeof(limit)))
            return false;
    }
    return true;
}

static bool add_priorities(struct noe_inherited *to)
{
    enum { PROCESS = 1 }; /* IOPRIO_WHO_PROCESS */
    struct sched_param param = {0};

    return sched_getparam(0, &param) == 0 &&
           add_number(to, param.sched_priority) &&
           add_number(to, sched_getscheduler(0)) &&
           add_number(to, getpriority(PRIO_PROCESS, 0)) &&
           add_number(to, syscall(SYS_ioprio_get, PROCESS, 0)) &&
           add_number(to, prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)) &&
           add_number(to, prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
}

void noe_inherited_init(struct noe_inherited_source *source)
{
    *source = (struct noe_inherited_source){.dir = -1};
}

void noe_inherited_close(struct noe_inherited_source *source)
{
    noe_kept_close(&source->dir, &source->id);
}

/* Of the calling thread: its ids, priorities and processors are its own. */
static int open_source(struct noe_inherited_source *source)
{
    pid_t thread = (pid_t)syscall(SYS_gettid);

    if (source->thread == thread && noe_kept_check(&source->dir, &source->id))
        return source->dir;
    noe_kept_close(&source->dir, &source->id);
    source->thread = thread;
    source->dir = open("/proc/thread-self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (source->dir >= 0 && noe_kept_look(source->dir, &source->id) != 0)
        noe_fd_close(&source->dir);
    return source->dir;
}

int noe_inherited_read(struct noe_inherited_source *source,
                       struct noe_inherited *inherited)
{
    int dir = open_source(source);

    inherited->len = 0;
    if (dir >= 0 && add_status(inherited, dir) && add_cgroups(inherited, dir) &&
        add_oom_score(inherited, dir) && add_label(inherited, source) &&
        add_namespaces(inherited, dir) && add_root(inherited) &&
        add_limits(inherited) && add_priorities(inherited))
        return 0;
    return -1;
}
