/* SPDX-License-Identifier: MIT */
/*
 * Runs that a supervisor serves which stood by: that they are as those that
 * start their own, whatever the host does before, and whatever becomes of the
 * launcher and of those that stand by. Called with a role this program is what
 * it runs. Whatever alters a host is done in a fork of the test.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/uapi.h"
#include "core/inherited.h"
#include "core/launch.h"
#include "noether.h"
#include "tap.h"

static char self[PATH_MAX];

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

/* Roles: what is run. */

static void print_lines(const char *path, const char *const *wanted)
{
    char line[512];
    FILE *file = fopen(path, "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        for (size_t i = 0; wanted[i] != NULL; i++)
            if (strncmp(line, wanted[i], strlen(wanted[i])) == 0)
                fputs(line, stdout);
    if (file != NULL)
        fclose(file);
}

static void print_descriptors(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        char path[40];
        char target[80];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t len = readlink(path, target, sizeof(target));
        if (len > 0) /* "pipe:", of which each has a number of its own */
            printf("%d %.5s\n", fd, target);
    }
}

/* All that a program can see of how it was started. */
static int role_view(void)
{
    static const char *const of_status[] = {"SigBlk", "SigIgn", "SigCgt",
                                            "Threads", NULL};
    static struct noe_inherited inherited;
    struct noe_inherited_source source;
    char cwd[PATH_MAX] = "?";

    print_descriptors();
    noe_inherited_init(&source);
    if (noe_inherited_read(&source, &inherited) == 0)
        (void)!fwrite(inherited.data, 1, inherited.len, stdout);
    print_lines("/proc/self/status", of_status);
    printf("cwd %s\n", getcwd(cwd, sizeof(cwd)));
    printf("leads its session %d, its group %d\n", getsid(0) == getpid(),
           getpgid(0) == getpid());
    printf("may dump %d, dies with %d\n", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0),
           prctl(PR_GET_PDEATHSIG, 0, 0, 0, 0));
    printf("variable %s\n", getenv("OF_THE_TEST"));
    return 0;
}

static int role_secret(const char *path)
{
    return open(path, O_RDONLY) >= 0 ? 0 : errno;
}

/* As a careless program might. */
static int role_spoil(void)
{
    struct rlimit files = {100, 100};

    setpriority(PRIO_PROCESS, (id_t)getppid(), 7);
    return prlimit(getppid(), RLIMIT_NOFILE, &files, NULL) == 0 ? 0 : 1;
}

static int play(int argc, char **argv)
{
    if (strcmp(argv[1], "view") == 0)
        return role_view();
    if (strcmp(argv[1], "exit") == 0)
        return atoi(argv[2]);
    if (strcmp(argv[1], "secret") == 0 && argc > 2)
        return role_secret(argv[2]);
    if (strcmp(argv[1], "spoil") == 0)
        return role_spoil() + (argc > 2 ? atoi(argv[2]) : 0);
    for (;;)
        pause();
}

/* Hosts */

static struct noe_launcher *launcher;

static struct noe_process *begin(const char *role, const char *arg, bool direct)
{
    const char *argv[] = {self, role, arg, NULL};
    static const char *const envp[] = {"OF_THE_TEST=here", NULL};
    struct noe_error err = NOE_ERROR_INIT;
    struct noe_process *process = NULL;
    struct noe_options options;

    noe_options_init(&options);
    options.argv = argv;
    options.envp = envp;
    options.launcher = !direct;
    options.timeout_ms = 60 * 1000;
    if (noe_process_start(&process, launcher, &options, &err) != 0)
        printf("# %s: %s\n", role, err.message);
    return process;
}

static const struct noe_result *end(struct noe_process *process)
{
    struct noe_error err = NOE_ERROR_INIT;
    int over = 0;

    while (process != NULL && over == 0)
        over = noe_process_wait(process, -1, &err);
    if (over < 0)
        printf("# %s: %s\n", err.operation, err.message);
    return process != NULL ? noe_process_result(process) : NULL;
}

/* The exit code, or -1. */
static int run(const char *role, const char *arg, bool *by_launcher)
{
    struct noe_process *process = begin(role, arg, false);
    const struct noe_result *result = end(process);
    int code = result != NULL ? result->exit_code : -1;

    if (by_launcher != NULL)
        *by_launcher = process != NULL && noe_process_by_launcher(process);
    noe_process_close(process);
    return code;
}

/* Until a run is served by one that stood by. */
static bool warm(void)
{
    int64_t until = now_us() + 20 * 1000 * 1000;
    bool served = false;

    while (!served && now_us() < until) {
        if (run("exit", "0", &served) != 0)
            return false;
        pause_ms(1);
    }
    return served;
}

static char *view(bool direct, bool *by_launcher)
{
    struct noe_process *process = begin("view", NULL, direct);
    const struct noe_result *result = end(process);
    char *text = NULL;

    if (result != NULL && result->exit_code == 0) {
        text = calloc(1, result->output_len + 1);
        memcpy(text, result->output, result->output_len);
        for (size_t i = 0; i < result->output_len; i++)
            if (text[i] == '\0')
                text[i] = '.';
    }
    if (by_launcher != NULL)
        *by_launcher = process != NULL && noe_process_by_launcher(process);
    noe_process_close(process);
    return text;
}

/* What a program sees must not tell how it was started. */
static bool looks_the_same(bool *by_launcher)
{
    char *one = view(false, by_launcher);
    char *other = view(true, NULL);
    bool same = one != NULL && other != NULL && strcmp(one, other) == 0;

    if (!same)
        printf("# by launcher:\n%s\n# direct:\n%s\n", one != NULL ? one : "-",
               other != NULL ? other : "-");
    free(one);
    free(other);
    return same;
}

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            printf("# %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, \
                   errno);                                                     \
            return 1;                                                          \
        }                                                                      \
    } while (0)

/* Runs `host` in a fork, with a launcher of its own. */
static bool in_host(int (*host)(void))
{
    int status;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(120);
        (void)noe_launcher_open(&launcher, NULL, NULL);
        int code = warm() ? host() : 2;
        noe_launcher_close(launcher);
        fflush(stdout);
        _exit(code);
    }
    while (waitpid(pid, &status, 0) < 0)
        continue;
    if (status != 0)
        printf("# the host ended with status %x\n", (unsigned)status);
    return status == 0;
}

static bool exists(pid_t pid)
{
    char path[64];
    char text[256] = "";

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    (void)!read(fd, text, sizeof(text) - 1);
    close(fd);
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[2] != 'Z';
}

static bool ends(pid_t pid)
{
    int64_t until = now_us() + 20 * 1000 * 1000;

    while (exists(pid) && now_us() < until)
        pause_ms(1);
    return !exists(pid);
}

/* Of one that stands by now. */
static pid_t supervisor(void)
{
    struct noe_process *process = begin("exit", "0", false);
    bool served = end(process) != NULL && noe_process_by_launcher(process);
    pid_t pid = process != NULL ? noe_process_pid(process) : -1;

    noe_process_close(process);
    return served ? pid : -1;
}

static int host_as_it_is(void)
{
    bool by_launcher;

    CHECK(looks_the_same(&by_launcher) && by_launcher);
    CHECK(run("exit", "42", &by_launcher) == 42 && by_launcher);
    return 0;
}

/* States of a host: each changes something that a child inherits. */

static bool change_umask(void)
{
    umask(0137);
    return true;
}

static bool change_priority(void)
{
    return setpriority(PRIO_PROCESS, 0, 3) == 0;
}

static bool change_policy(void)
{
    struct sched_param param = {0};

    return sched_setscheduler(0, SCHED_BATCH, &param) == 0;
}

static bool change_processors(void)
{
    cpu_set_t all;
    cpu_set_t one;

    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) < 2)
        return false;
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET((size_t)cpu, &all))
            CPU_SET((size_t)cpu, &one);
    return sched_setaffinity(0, sizeof(one), &one) == 0;
}

static bool change_limit(void)
{
    struct rlimit files = {300, 300};

    return setrlimit(RLIMIT_NOFILE, &files) == 0;
}

static bool change_directory(void)
{
    return chdir("/usr") == 0;
}

static bool change_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, "500", 3) == 3;

    close(fd);
    return done;
}

static bool change_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

static bool change_filter(void)
{
    struct sock_filter rules[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, rules};

    return change_privileges() &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool change_slack(void)
{
    return prctl(PR_SET_TIMERSLACK, 70000, 0, 0, 0) == 0;
}

static bool change_user(void)
{
    return setgid(12345) == 0 && setuid(12345) == 0;
}

static bool change_groups(void)
{
    static const gid_t groups[] = {4321, 1234};

    return setgroups(2, groups) == 0;
}

static bool change_securebits(void)
{
    return prctl(PR_SET_SECUREBITS, 1 << 2, 0, 0, 0) == 0; /* NO_SETUID_FIXUP */
}

static bool change_bounds(void)
{
    return prctl(PR_CAPBSET_DROP, 25, 0, 0, 0) == 0; /* CAP_SYS_TIME */
}

static bool change_host_name(void)
{
    return unshare(CLONE_NEWUTS) == 0;
}

static bool change_network(void)
{
    return unshare(CLONE_NEWNET) == 0;
}

static bool change_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0;
}

static bool change_users(void)
{
    return unshare(CLONE_NEWUSER) == 0;
}

static const struct {
    const char *name;
    bool (*change)(void);
    bool by_root;
    bool goes_on; /* what stood by can serve it */
} changes[] = {
    {"umask", change_umask, false, false},
    {"priority", change_priority, false, false},
    {"scheduling policy", change_policy, false, false},
    {"processors", change_processors, false, false},
    {"limits", change_limit, false, false},
    {"working directory", change_directory, false, true},
    {"score for want of memory", change_oom_score, false, false},
    {"no_new_privs", change_privileges, false, false},
    {"seccomp filter", change_filter, false, false},
    {"timer slack", change_slack, false, false},
    {"users", change_users, false, false},
    {"ids", change_user, true, false},
    {"groups", change_groups, true, false},
    {"securebits", change_securebits, true, false},
    {"bounding set", change_bounds, true, false},
    {"host name", change_host_name, true, false},
    {"network", change_network, true, false},
    {"mounts", change_mounts, true, false},
};

static size_t change_index;

static int host_that_changes(void)
{
    bool by_launcher;

    if (!changes[change_index].change())
        return 0; /* not on this machine */
    CHECK(looks_the_same(&by_launcher));
    CHECK(by_launcher == changes[change_index].goes_on);
    /* What is made from now on is made so, where it can be had at all. */
    int64_t until = now_us() + 2000 * 1000;
    while (!by_launcher && now_us() < until)
        CHECK(looks_the_same(&by_launcher));
    return 0;
}

/* The kernel tells nobody of these rules: a program that nevertheless was not
 * under them could open the file. */
static int host_under_landlock(void)
{
    struct noe_landlock_ruleset rules = {.handled_access_fs = 1 << 2};
    struct noe_landlock_path rule = {.allowed_access = 1 << 2};
    char path[] = "/tmp/noether-launcher-XXXXXX";

    int file = mkstemp(path);
    rule.parent_fd = open("/usr", O_PATH | O_CLOEXEC);
    CHECK(file >= 0 && run("secret", path, NULL) == 0);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules,
                               sizeof(rules.handled_access_fs), 0);
    if (ruleset < 0) {
        unlink(path);
        return 0; /* there is no Landlock */
    }
    /* What the host needs itself, and the program to be loaded. */
    static const char *const open_to_it[] = {"/usr", "/lib", "/lib64", "/proc",
                                             "/dev", "/etc", "/work",  "/home"};
    for (size_t i = 0; i < sizeof(open_to_it) / sizeof(*open_to_it); i++) {
        rule.parent_fd = open(open_to_it[i], O_PATH | O_CLOEXEC);
        if (rule.parent_fd >= 0)
            (void)syscall(SYS_landlock_add_rule, ruleset,
                          NOE_LANDLOCK_PATH_BENEATH, &rule, 0);
    }
    rule.parent_fd = open(self, O_PATH | O_CLOEXEC);
    (void)syscall(SYS_landlock_add_rule, ruleset, NOE_LANDLOCK_PATH_BENEATH,
                  &rule, 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && warm());
    CHECK(run("secret", path, NULL) == 0);
    CHECK(syscall(SYS_landlock_restrict_self, ruleset, 0) == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(run("secret", path, NULL) == EACCES);
        pause_ms(1);
    }
    return 0;
}

static int host_with_a_new_root(void)
{
    bool by_launcher;

    /* The same files by another name: /proc must be there. */
    if (geteuid() != 0 || chroot("/proc/self/root") != 0)
        return 0;
    CHECK(looks_the_same(&by_launcher));
    if (mkdir("/tmp/noether-root", 0700) != 0 && errno != EEXIST)
        return 1;
    CHECK(chroot("/tmp/noether-root") == 0);
    struct noe_process *process = begin("exit", "0", false);
    bool ran = end(process) != NULL;
    noe_process_close(process);
    CHECK(!ran); /* the program is not there */
    return 0;
}

static int host_that_takes_orphans(void)
{
    bool by_launcher;

    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    for (int i = 0; i < 5; i++)
        CHECK(run("exit", "0", &by_launcher) == 0 && !by_launcher);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    CHECK(errno == ECHILD);
    return 0;
}

static int host_that_forks(void)
{
    bool by_launcher;
    int status;

    pid_t pid = fork();
    if (pid == 0) {
        bool all = run("exit", "3", &by_launcher) == 3 && !by_launcher;
        all = all && warm() && looks_the_same(&by_launcher) && by_launcher;
        noe_launcher_close(launcher);
        _exit(all ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(run("exit", "4", &by_launcher) == 4 && by_launcher);
    return 0;
}

static int host_whose_launcher_dies(void)
{
    pid_t first = noe_launcher_pid(launcher);
    bool by_launcher;

    CHECK(first > 0 && kill(first, SIGKILL) == 0 && ends(first));
    /* Those that stand by are not enough for two, so another is made. */
    int64_t until = now_us() + 20 * 1000 * 1000;
    while (noe_launcher_pid(launcher) == first && now_us() < until) {
        struct noe_process *running[2] = {begin("exit", "5", false),
                                          begin("exit", "6", false)};
        for (int k = 0; k < 2; k++) {
            const struct noe_result *result = end(running[k]);
            CHECK(result != NULL && result->exit_code == 5 + k);
            noe_process_close(running[k]);
        }
    }
    CHECK(warm() && noe_launcher_pid(launcher) != first);
    CHECK(looks_the_same(&by_launcher));
    return 0;
}

static int host_whose_launcher_stopped(void)
{
    pid_t first = noe_launcher_pid(launcher);

    CHECK(kill(first, SIGSTOP) == 0);
    for (int i = 0; i < 40; i++) {
        struct noe_process *running[2] = {begin("exit", "6", false),
                                          begin("exit", "7", false)};
        for (int k = 0; k < 2; k++) {
            const struct noe_result *result = end(running[k]);
            CHECK(result != NULL && result->exit_code == 6 + k);
            noe_process_close(running[k]);
        }
    }
    CHECK(kill(first, SIGCONT) == 0);
    return 0;
}

static int host_whose_supervisor_dies(void)
{
    pid_t pid = supervisor();

    CHECK(pid > 0 && kill(pid, SIGKILL) == 0 && ends(pid));
    CHECK(run("exit", "7", NULL) == 7);
    return 0;
}

static int host_whose_supervisor_stopped(void)
{
    pid_t pid = supervisor();
    bool by_launcher;

    CHECK(pid > 0 && kill(pid, SIGSTOP) == 0);
    CHECK(run("exit", "8", &by_launcher) == 8 && by_launcher);
    return 0;
}

/* One that was altered serves nobody any more. */
static int host_with_careless_program(void)
{
    pid_t before = supervisor();
    bool by_launcher;

    CHECK(before > 0 && run("spoil", NULL, &by_launcher) == 0 && by_launcher);
    CHECK(ends(before));
    CHECK(looks_the_same(NULL) && warm() && looks_the_same(&by_launcher));
    return 0;
}

/* What stands by has descriptors that the host needs itself. */
static int host_short_of_descriptors(void)
{
    struct noe_process *running[4];
    int last = -1;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 4; i++)
            running[i] = begin("exit", "0", false);
        for (int i = 0; i < 4; i++) {
            CHECK(end(running[i]) != NULL);
            noe_process_close(running[i]);
        }
    }
    CHECK(noe_launcher_descriptors(launcher, NULL, 0) >= 6 + 2 * 4);
    for (int fd = 0; fd >= 0; fd = open("/dev/null", O_RDONLY))
        last = fd;
    CHECK(last > 0 && errno == EMFILE);
    for (int i = 0; i < 6; i++)
        close(last - i);
    CHECK(run("exit", "11", NULL) == 11);
    return 0;
}

static int host_that_rests(void)
{
    struct noe_pretence soon = {.landlock = UINT32_MAX, .idle_ms = 400};

    noe_launcher_pretend(launcher, &soon);
    CHECK(warm());
    for (int i = 0; i < 3; i++) {
        pid_t first = noe_launcher_pid(launcher);
        pid_t pid = supervisor();
        CHECK(ends(first) && (pid < 0 || ends(pid)));
        CHECK(run("exit", "9", NULL) == 9 && warm());
    }
    /* Always about to go as it is asked. */
    soon.idle_ms = 50;
    noe_launcher_pretend(launcher, &soon);
    for (int i = 0; i < 60; i++) {
        pause_ms(45 + i % 10);
        CHECK(run("exit", "9", NULL) == 9);
    }
    return 0;
}

static int host_that_closes(void)
{
    pid_t first = noe_launcher_pid(launcher);
    pid_t pid = supervisor();

    noe_launcher_close(launcher);
    CHECK(ends(first) && ends(pid));
    return noe_launcher_open(&launcher, NULL, NULL) != 0;
}

/* Any more than its socket, /dev/null, and what tells of itself and the host.
 */
static bool holds_more(pid_t pid)
{
    static const char *const known[] = {
        "socket:", "anon_inode:", "pidfd:", "/dev/null", "/proc/"};
    char path[64];
    bool more = false;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char target[256];
        bool is_known = entry->d_name[0] == '.';
        ssize_t len =
            readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        target[len > 0 ? len : 0] = '\0';
        for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
            is_known =
                is_known || strncmp(target, known[i], strlen(known[i])) == 0;
        if (!is_known)
            printf("# %s\n", target);
        more = more || !is_known;
    }
    if (dir == NULL)
        return geteuid() == 0; /* nobody else may look */
    closedir(dir);
    return more;
}

static int host_with_secrets(void)
{
    pid_t made[] = {noe_launcher_pid(launcher), supervisor()};
    char path[64];

    CHECK(open("/etc/passwd", O_RDONLY) >= 0);
    noe_launcher_close(launcher);
    (void)noe_launcher_open(&launcher, NULL, NULL);
    CHECK(open("/etc/group", O_RDONLY) >= 0 && warm());
    made[0] = noe_launcher_pid(launcher);
    made[1] = supervisor();
    for (int i = 0; i < 2; i++) {
        CHECK(made[i] > 0 && !holds_more(made[i]));
        CHECK(getsid(made[i]) != getsid(0) && getpgid(made[i]) != getpgid(0));
        snprintf(path, sizeof(path), "/proc/%d/mem", (int)made[i]);
        CHECK(geteuid() == 0 || open(path, O_RDONLY) < 0);
        CHECK(waitpid(made[i], NULL, WNOHANG) < 0 && errno == ECHILD);
    }
    return 0;
}

/* Waits for all its children, of which there are none, at whatever moment. */
static int host_that_waits_for_all(void)
{
    for (int i = 0; i < 20; i++) {
        struct noe_process *process = begin("exit", "6", false);
        CHECK(process != NULL);
        if (noe_process_by_launcher(process))
            while (waitpid(-1, NULL, 0) > 0)
                continue;
        const struct noe_result *result = end(process);
        CHECK(result != NULL && result->exit_code == 6);
        noe_process_close(process);
    }
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    CHECK(errno == ECHILD && kill(noe_launcher_pid(launcher), 0) == 0);
    return 0;
}

/* As servers do, which take any child for one of their workers. */
static int host_that_waits_between_steps(void)
{
    int taken = 0;
    int served = 0;

    for (int i = 0; i < 20; i++) {
        struct noe_process *process = begin("exit", "9", false);
        CHECK(process != NULL);
        bool by_launcher = noe_process_by_launcher(process);
        while (noe_process_step(process, NULL) == 0) {
            taken += by_launcher && waitpid(-1, NULL, WNOHANG) > 0;
            pause_ms(1);
        }
        const struct noe_result *result = end(process);
        CHECK(result != NULL && result->exit_code == 9);
        served += by_launcher;
        noe_process_close(process);
    }
    CHECK(served > 0 && taken == 0);
    return 0;
}

static void reap_any(int sig)
{
    int saved = errno;

    (void)sig;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    errno = saved;
}

static int host_that_minds_no_children(void)
{
    void (*const ways[])(int) = {SIG_IGN, reap_any, SIG_DFL};

    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        signal(SIGCHLD, ways[i]);
        CHECK(run("exit", "3", NULL) == 3 && warm());
    }
    return 0;
}

static int host_that_becomes_a_daemon(void)
{
    int told[2];
    char word = 0;

    CHECK(pipe(told) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        if (fork() == 0) {
            bool by_launcher = false;
            word = run("exit", "5", NULL) == 5 && warm() &&
                           run("exit", "6", &by_launcher) == 6 && by_launcher
                       ? 'y'
                       : 'n';
            noe_launcher_close(launcher);
            (void)!write(told[1], &word, 1);
        }
        _exit(0);
    }
    close(told[1]);
    CHECK(waitpid(pid, NULL, 0) == pid);
    CHECK(read(told[0], &word, 1) == 1 && word == 'y');
    return 0;
}

/* And goes on, again and again, at whatever moment. */
static int host_that_is_stopped(void)
{
    pid_t host = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        for (int i = 0; i < 20; i++) {
            kill(host, SIGSTOP);
            pause_ms(5);
            kill(host, SIGCONT);
            pause_ms(1 + i % 7);
        }
        _exit(0);
    }
    for (int i = 0; i < 40; i++)
        CHECK(run("exit", "8", NULL) == 8);
    CHECK(waitpid(pid, NULL, 0) == pid && warm());
    return 0;
}

/* What has the numbers of ours then is its own. */
static int host_that_closes_descriptors(void)
{
    struct stat st[16];
    struct stat now;
    int fds[16];

    CHECK(syscall(SYS_close_range, 3, ~0U, 0) == 0);
    for (int i = 0; i < 16; i++) {
        fds[i] = memfd_create("own", MFD_CLOEXEC);
        CHECK(fds[i] >= 0 && fstat(fds[i], &st[i]) == 0);
    }
    CHECK(run("exit", "2", NULL) == 2 && warm());
    noe_launcher_close(launcher);
    (void)noe_launcher_open(&launcher, NULL, NULL);
    for (int i = 0; i < 16; i++)
        CHECK(fstat(fds[i], &now) == 0 && now.st_ino == st[i].st_ino);
    return 0;
}

/* More than a message takes. */
static int host_with_long_words(void)
{
    enum { LEN = 131070 };
    char *text = malloc(LEN + 1);
    bool by_launcher;

    CHECK(text != NULL);
    memset(text, ' ', LEN);
    text[0] = '7';
    text[LEN] = '\0';
    CHECK(run("exit", text, &by_launcher) == 7 && !by_launcher);
    text[LEN / 2] = '\0';
    CHECK(run("exit", text, &by_launcher) == 7 && by_launcher);
    free(text);
    return 0;
}

/* The host is gone in the way of `how`; what served it must be, too. */
enum way { KILLED, KILLED_WITH_FORKS, EXECS, LEAVES };

static bool nothing_stays(enum way how)
{
    int told[2];
    pid_t pids[2] = {-1, -1};
    int status;

    if (pipe(told) != 0)
        return false;
    pid_t host = fork();
    if (host == 0) {
        (void)noe_launcher_open(&launcher, NULL, NULL);
        pids[0] = warm() ? noe_launcher_pid(launcher) : -1;
        pids[1] = supervisor();
        (void)begin("for ever", NULL, false);
        if (how == KILLED_WITH_FORKS && fork() == 0) {
            close(told[1]);
            pause_ms(2000);
            _exit(0);
        }
        (void)!write(told[1], pids, sizeof(pids));
        if (how == EXECS)
            execl("/bin/sleep", "sleep", "3", (char *)NULL);
        if (how == LEAVES)
            _exit(0);
        for (;;)
            pause();
    }
    close(told[1]);
    bool said = read(told[0], pids, sizeof(pids)) == sizeof(pids);
    close(told[0]);
    if (how == KILLED || how == KILLED_WITH_FORKS)
        kill(host, SIGKILL);
    bool gone =
        said && pids[0] > 0 && pids[1] > 0 && ends(pids[0]) && ends(pids[1]);
    while (waitpid(host, &status, 0) < 0 && errno == EINTR)
        continue;
    return gone;
}

enum { AT_ONCE = 8, MOST_RUNS_A_KILL = 1000 };

/* A killer, which is told whom. */
static pid_t start_killer(volatile pid_t *victim)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    for (unsigned i = 0; getppid() == parent; i++) {
        pid_t it = *victim;
        if (it > 0)
            kill(it, SIGKILL);
        pause_ms(1 + (long)(i * 7 % 23));
    }
    _exit(0);
}

struct tally {
    int runs;
    int served; /* by a launcher's */
    int killed; /* launchers */
};

/* Until so many launchers were killed. Every other run ends its supervisor, so
 * that there is always something to ask of a launcher. */
static bool all_end_well(int kills, volatile pid_t *victim, struct tally *tally)
{
    struct noe_process *running[AT_ONCE] = {NULL};
    pid_t killed = -1;

    for (int i = 0, last = AT_ONCE; last > 0; i++) {
        int at = i % AT_ONCE;
        if (running[at] != NULL) {
            const struct noe_result *result = end(running[at]);
            int code = (i - AT_ONCE) % 100;
            bool well = result != NULL && result->reason == NOE_REASON_EXIT &&
                        result->exit_code == code;
            tally->served += noe_process_by_launcher(running[at]);
            noe_process_close(running[at]);
            running[at] = NULL;
            if (!well)
                return false;
        }
        if (tally->killed >= kills) {
            last--;
            continue;
        }
        char code[8];
        snprintf(code, sizeof(code), "%d", i % 100);
        if (++tally->runs > MOST_RUNS_A_KILL * kills ||
            (running[at] = begin(i % 2 ? "spoil" : "exit", code, false)) ==
                NULL)
            return false;
        pid_t now = noe_launcher_pid(launcher);
        tally->killed += now != killed && killed > 0;
        if (now != killed)
            *victim = killed = now;
    }
    return true;
}

static int kills = 30;

/* Eight runs at once, and again and again the launcher dies. */
static int host_of_a_killer(void)
{
    static volatile pid_t *victim;
    struct tally tally = {0};

    victim = mmap(NULL, sizeof(*victim), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    alarm(120 + (unsigned)kills);
    pid_t killer = start_killer(victim);
    bool well = all_end_well(kills, victim, &tally);
    kill(killer, SIGKILL);
    waitpid(killer, NULL, 0);
    printf("# %d of %d by launchers, of which %d were killed\n", tally.served,
           tally.runs, tally.killed);
    CHECK(well && tally.served > 0);
    return 0;
}

static const struct {
    const char *name;
    int (*host)(void);
} hosts[] = {
    {"a run is as one that starts its own supervisor", host_as_it_is},
    {"a host that puts itself under Landlock's rules", host_under_landlock},
    {"a host that changes its root", host_with_a_new_root},
    {"a host that takes over orphans has none of ours",
     host_that_takes_orphans},
    {"a fork of the host has its own, and the host keeps its", host_that_forks},
    {"a launcher that was killed", host_whose_launcher_dies},
    {"a launcher that was stopped", host_whose_launcher_stopped},
    {"a supervisor that was killed as it stood by", host_whose_supervisor_dies},
    {"a supervisor that was stopped as it stood by",
     host_whose_supervisor_stopped},
    {"a supervisor that a program altered", host_with_careless_program},
    {"a host that is short of descriptors", host_short_of_descriptors},
    {"what has nothing to do ends, and comes again", host_that_rests},
    {"what is closed ends", host_that_closes},
    {"nothing of the host is in them, and nobody looks into them",
     host_with_secrets},
    {"a host that waits for all its children has none of ours",
     host_that_waits_for_all},
    {"a host that waits for any child takes none of ours",
     host_that_waits_between_steps},
    {"a host that ignores its children, or reaps them all",
     host_that_minds_no_children},
    {"a host that becomes a daemon", host_that_becomes_a_daemon},
    {"a host that is stopped and goes on", host_that_is_stopped},
    {"a host that closes all descriptors", host_that_closes_descriptors},
    {"words that are too long", host_with_long_words},
    {"eight at once, and a launcher that is killed again and again",
     host_of_a_killer},
};

/* Optional argument: how many launchers the killer kills. */
int main(int argc, char **argv)
{
    (void)!readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (argc > 1 && atoi(argv[1]) == 0)
        return play(argc, argv);
    if (argc > 1)
        kills = atoi(argv[1]);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++)
        ok(in_host(hosts[i].host), hosts[i].name);
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        char name[100];
        change_index = i;
        if (changes[i].by_root && geteuid() != 0)
            continue;
        snprintf(name, sizeof(name), "a host that changes its %s",
                 changes[i].name);
        ok(in_host(host_that_changes), name);
    }
    ok(nothing_stays(KILLED), "the host is killed: nothing stays");
    ok(nothing_stays(KILLED_WITH_FORKS), "also where a fork holds its sockets");
    ok(nothing_stays(EXECS), "the host execs: nothing stays");
    ok(nothing_stays(LEAVES), "the host ends: nothing stays");
    return plan_done();
}
