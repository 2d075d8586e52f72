/* SPDX-License-Identifier: MIT */
/*
 * Runs of the core, from hosts in every state. This program is also what it
 * runs: called with a role as its first argument it is the program under test
 * (a table at the end of "roles" names them). Whatever alters a host is done in
 * a fork of the test, called a host below, which ends with 0 if all was well.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "noether.h"
#include "tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

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

static _Noreturn void sleep_for_ever(void)
{
    for (;;)
        pause();
}

static int role_exit(char **args)
{
    return atoi(args[0]);
}

/* What it is given may be the host's own, too. */
static int role_unblock(char **args)
{
    (void)args;
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
            return 1;
    return 0;
}

static int role_raise(char **args)
{
    raise(atoi(args[0]));
    return 0;
}

static int role_sleep(char **args)
{
    (void)args;
    sleep_for_ever();
}

static int role_say(char **args)
{
    puts(args[0]);
    return 0;
}

/* A letter for each open descriptor: "012" is a clean start. */
static int role_fds(char **args)
{
    (void)args;
    for (int fd = 0; fd < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            putchar('0' + fd);
    return 0;
}

static int role_signals(char **args)
{
    struct sigaction action;
    sigset_t mask;

    (void)args;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int sig = 1; sig < NSIG; sig++) {
        if (sigismember(&mask, sig) == 1)
            printf("blocked %d\n", sig);
        if (sigaction(sig, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            printf("not default %d\n", sig);
    }
    printf("session %d\n", getsid(0) == getpid());
    return 0;
}

static int role_flood(char **args)
{
    static char block[65536];

    (void)args;
    memset(block, 'x', sizeof(block));
    for (;;)
        if (write(1, block, sizeof(block)) < 0)
            return 1;
}

static int role_cat(char **args)
{
    static char block[65536];
    ssize_t got;

    (void)args;
    while ((got = read(0, block, sizeof(block))) > 0)
        if (write(1, block, (size_t)got) != got)
            return 1;
    return 0;
}

static int role_close_input(char **args)
{
    (void)args;
    close(0);
    pause_ms(20);
    return 3;
}

static _Noreturn void leaf(void (*prepare)(void), int ready)
{
    setsid();
    if (prepare != NULL)
        prepare();
    (void)!write(ready, "r", 1);
    close(ready);
    sleep_for_ever();
}

static void close_streams(void)
{
    close(0);
    close(1);
    close(2);
}

static void ignore_terms(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
}

static void stop_later(void)
{
    pid_t pid = getpid();

    if (fork() != 0)
        return;
    pause_ms(1);
    kill(pid, SIGSTOP);
    _exit(0);
}

static void *live_on(void *ready)
{
    pause_ms(2); /* until the leader is a zombie */
    leaf(NULL, *(int *)ready);
}

static void leave_a_thread(int ready)
{
    static int fd;
    pthread_t thread;

    fd = ready;
    pthread_create(&thread, NULL, live_on, &fd);
    pthread_exit(NULL);
}

static void hide(void (*prepare)(void), bool threaded, int ready)
{
    if (fork() != 0)
        return;
    setsid();
    if (fork() != 0)
        _exit(0);
    if (threaded)
        leave_a_thread(ready);
    leaf(prepare, ready);
}

/* Every way of not being found: then says so, and goes on. */
static int role_zoo(char **args)
{
    int pipe_fds[2];
    char byte;
    int ready = 0;

    (void)args;
    (void)!pipe(pipe_fds);
    hide(close_streams, false, pipe_fds[1]);
    hide(ignore_terms, false, pipe_fds[1]);
    hide(stop_later, false, pipe_fds[1]);
    hide(NULL, true, pipe_fds[1]);
    close(pipe_fds[1]);
    ignore_terms();
    while (ready < 4 && read(pipe_fds[0], &byte, 1) == 1)
        ready++;
    printf("ready %d\n", ready);
    fflush(stdout);
    sleep_for_ever();
}

/* The same, but the program itself ends. */
static int role_leave(char **args)
{
    int pipe_fds[2];
    char byte;

    (void)args;
    (void)!pipe(pipe_fds);
    hide(ignore_terms, false, pipe_fds[1]);
    (void)!read(pipe_fds[0], &byte, 1);
    return 7;
}

/* A process that is never the same for long. */
static int role_chain(char **args)
{
    (void)args;
    puts("ready");
    fflush(stdout);
    for (;;) {
        setsid();
        if (fork() != 0)
            _exit(0);
    }
}

static int role_stop_parent(char **args)
{
    kill(getppid(), SIGSTOP);
    return role_flood(args);
}

static int role_kill_parent(char **args)
{
    kill(getppid(), SIGKILL);
    return role_sleep(args);
}

static int role_crash(char **args)
{
    struct rlimit core;

    (void)args;
    getrlimit(RLIMIT_CORE, &core);
    printf("%llu\n", (unsigned long long)core.rlim_cur);
    fflush(stdout);
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit */
    raise(SIGSEGV);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(char **args);
} roles[] = {{"exit", role_exit},
             {"unblock", role_unblock},
             {"raise", role_raise},
             {"sleep", role_sleep},
             {"say", role_say},
             {"fds", role_fds},
             {"signals", role_signals},
             {"flood", role_flood},
             {"cat", role_cat},
             {"close-input", role_close_input},
             {"zoo", role_zoo},
             {"leave", role_leave},
             {"chain", role_chain},
             {"stop-parent", role_stop_parent},
             {"kill-parent", role_kill_parent},
             {"crash", role_crash}};

static int play(char **argv)
{
    for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
        if (strcmp(roles[i].name, argv[1]) == 0)
            return roles[i].run(argv + 2);
    return 99;
}

static bool kept;        /* the mode under test */
static bool by_launcher; /* of that: whoever serves a run stood by */

static const char *mode_name(void)
{
    if (by_launcher)
        return "by launcher";
    return kept ? "kept" : "bare";
}

static const char *in_mode(const char *text)
{
    static char name[200];

    snprintf(name, sizeof(name), "%s: %s", mode_name(), text);
    return name;
}

struct run {
    struct noe_options options;
    const char *argv[6];
    char mark[48];
    struct noe_launcher *launcher;
    struct noe_process *process;
    struct noe_error err;
};

static int open_fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 2048; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Until a run is served by one that stood by. Where that cannot be, what is
 * tested is that it makes no difference. */
static void warm_up(struct noe_launcher *launcher)
{
    static const char *const argv[] = {"/bin/true", NULL};
    struct noe_options options;
    struct noe_process *process;
    int64_t until = now_us() + 300 * 1000;
    bool served = false;

    noe_options_init(&options);
    options.argv = argv;
    while (!served && now_us() < until &&
           noe_process_start(&process, launcher, &options, NULL) == 0) {
        while (noe_process_wait(process, -1, NULL) == 0)
            continue;
        served = noe_process_by_launcher(process);
        noe_process_close(process);
        pause_ms(1);
    }
}

/* The last argument carries a mark by which what is left can be found. */
static struct run *prepare(const char *role, const char *arg)
{
    static unsigned count;
    struct run *run = calloc(1, sizeof(*run));

    snprintf(run->mark, sizeof(run->mark), "noether-mark-%d-%u", getpid(),
             count++);
    run->argv[0] = self;
    run->argv[1] = role;
    run->argv[2] = arg;
    run->argv[3] = run->mark;
    run->err = (struct noe_error)NOE_ERROR_INIT;
    noe_options_init(&run->options);
    run->options.argv = run->argv;
    run->options.supervise = kept;
    run->options.timeout_ms = 60 * 1000; /* of a machine that is held up */
    run->options.launcher = by_launcher;
    (void)noe_launcher_open(&run->launcher, NULL, NULL);
    if (by_launcher)
        warm_up(run->launcher);
    return run;
}

/* Descriptors that the launcher does not keep from one run to the next. */
static int fds_beside(const struct run *run)
{
    return open_fds() - (int)noe_launcher_descriptors(run->launcher, NULL, 0);
}

static int start(struct run *run)
{
    return noe_process_start(&run->process, run->launcher, &run->options,
                             &run->err);
}

static const struct noe_result *finish(struct run *run)
{
    if (run->process == NULL && start(run) != 0)
        return NULL;
    while (noe_process_wait(run->process, -1, &run->err) == 0)
        continue;
    return noe_process_result(run->process);
}

static void done(struct run *run)
{
    noe_process_close(run->process);
    noe_launcher_close(run->launcher);
    free(run);
}

/* Ended as asked for, with the exit code. */
static bool exited(const struct noe_result *result, int code)
{
    return result != NULL && result->reason == NOE_REASON_EXIT &&
           result->exit_code == code && result->signal == 0;
}

static bool printed(const struct noe_result *result, const char *text)
{
    return result != NULL && result->output_len == strlen(text) &&
           memcmp(result->output, text, result->output_len) == 0;
}

/* Runs one role to its end and compares. */
static bool prints(const char *role, const char *text)
{
    struct run *run = prepare(role, "-");
    const struct noe_result *result = finish(run);
    bool same = exited(result, 0) && printed(result, text);

    if (!same)
        printf("# %s: %.*s\n", run->err.message,
               result != NULL ? (int)result->output_len : 0,
               result != NULL ? result->output : "");
    done(run);
    return same;
}

/* Those that lead to something of that name. */
static int count_descriptors(const char *name)
{
    int count = 0;

    for (int fd = 0; fd < 2048; fd++) {
        char path[40];
        char target[80];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        target[len > 0 ? len : 0] = '\0';
        count += strncmp(target, name, strlen(name)) == 0;
    }
    return count;
}

static bool cmdline_has(const char *pid, const char *mark)
{
    char path[300];
    char text[4096];

    snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, sizeof(text));
    close(fd);
    return len > 0 && memmem(text, (size_t)len, mark, strlen(mark)) != NULL;
}

/* Processes whose arguments hold the mark, zombies left out. */
static int count_marked(const char *mark)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    int count = 0;

    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
                 cmdline_has(entry->d_name, mark);
    closedir(dir);
    return count;
}

/* A zombie leader has no cmdline, but its threads have one. What is killed is
 * gone in a moment, and where the machine is busy in many; by itself none of
 * what is looked for would go. */
static bool vanishes(const char *mark)
{
    int64_t until = now_us() + (int64_t)20 * 1000 * 1000;

    while (count_marked(mark) > 0) {
        if (now_us() > until)
            return false;
        pause_ms(2);
    }
    return true;
}

static bool has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

/* Whoever made a launcher ends by itself, in its own time, and is reaped then.
 */
static bool is_childless(const struct run *run)
{
    int64_t until = now_us() + (int64_t)20 * 1000 * 1000;

    do {
        noe_launcher_reap(run->launcher);
        if (!has_children())
            return true;
        pause_ms(1);
    } while (by_launcher && now_us() < until);
    return false;
}

/* Waits, by steps, until the output holds that many bytes; there is no other
 * way to see it before the end, so the pipe's reader is asked. */
static bool says(struct run *run, int64_t within_ms)
{
    struct pollfd fd = {noe_process_pollfd(run->process), POLLIN, 0};

    return poll(&fd, 1, (int)within_ms) > 0;
}

#define CHECK(expr)                                                       \
    do {                                                                  \
        if (!(expr)) {                                                    \
            printf("# %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #expr, \
                   errno);                                                \
            return 1;                                                     \
        }                                                                 \
    } while (0)

/* A fork of the test that may be altered at will. Its end by the clock is for
 * the orphan that a killed test would leave, not for a machine that is busy. */
static int in_host(int (*host)(void))
{
    int status;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(1800);
        int code = host();
        fflush(stdout);
        _exit(code);
    }
    while (waitpid(pid, &status, 0) < 0)
        continue;
    if (WIFSIGNALED(status))
        printf("# the host died of signal %d\n", WTERMSIG(status));
    return status;
}

static void test_exit_codes(void)
{
    static const int codes[] = {0, 1, 2, 97, 126, 127, 128, 137, 255};
    bool all = true;

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", codes[i]);
        struct run *run = prepare("exit", text);
        all = all && exited(finish(run), codes[i]);
        done(run);
    }
    ok(all, in_mode("gives every exit code as it is"));
}

static bool dies_of(int sig)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", sig);
    struct run *run = prepare("raise", text);
    const struct noe_result *result = finish(run);
    bool told = result != NULL && result->reason == NOE_REASON_SIGNAL &&
                result->signal == sig && result->exit_code == -1;
    done(run);
    return told;
}

static void test_signals(void)
{
    bool all = true;

    for (int sig = 1; sig <= SIGRTMAX; sig++) {
        bool harmless = sig == SIGCHLD || sig == SIGCONT || sig == SIGURG ||
                        sig == SIGWINCH;
        bool stops = sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN ||
                     sig == SIGTTOU;
        bool of_libc = sig == 32 || sig == 33;
        bool of_sanitizer = SANITIZED && (sig == SIGSEGV || sig == SIGBUS ||
                                          sig == SIGFPE || sig == SIGILL);
        if (harmless || stops || of_libc || of_sanitizer || dies_of(sig))
            continue;
        printf("# signal %d\n", sig);
        all = false;
    }
    ok(all, in_mode("tells every signal that ends a program"));
}

/* argv[0], and the errno that must come. */
static bool fails_to_start(const char *path, const char *cwd, int code)
{
    struct run *run = prepare("-", "-");
    int fds = fds_beside(run);
    run->argv[0] = path;
    run->options.cwd = cwd;
    bool told = finish(run) == NULL && run->err.fault == NOE_FAULT_SPAWN &&
                run->err.code == code;
    if (!told)
        printf("# %s: %d %d %s\n", path, run->err.fault, run->err.code,
               run->err.message);
    noe_process_close(run->process);
    run->process = NULL;
    told = told && fds_beside(run) == fds && is_childless(run) &&
           count_marked(run->mark) == 0;
    done(run);
    return told;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    (void)!write(fd, text, strlen(text));
    (void)fchmod(fd, mode);
    close(fd);
}

static void test_exec_failures(void)
{
    char dir[] = "/tmp/noether-process-test.XXXXXX";
    char file[64];

    (void)!mkdtemp(dir);
    snprintf(file, sizeof(file), "%s/program", dir);
    ok(fails_to_start("/no/such/program", NULL, ENOENT), in_mode("ENOENT"));
    ok(fails_to_start(dir, NULL, EACCES), in_mode("a directory: EACCES"));
    write_file(file, "#!/bin/sh\n", 0600);
    ok(fails_to_start(file, NULL, EACCES), in_mode("no x bit: EACCES"));
    write_file(file, "words\n", 0700);
    ok(fails_to_start(file, NULL, ENOEXEC), in_mode("no format: ENOEXEC"));
    write_file(file, "", 0700);
    ok(fails_to_start(file, NULL, ENOEXEC), in_mode("empty: ENOEXEC"));
    write_file(file, "#!/no/such/interpreter\n", 0700);
    ok(fails_to_start(file, NULL, ENOENT), in_mode("no interpreter: ENOENT"));
    ok(fails_to_start("/etc/passwd/x", NULL, ENOTDIR), in_mode("ENOTDIR"));
    ok(fails_to_start("/bin/true", "/no/such/place", ENOENT),
       in_mode("no working directory: ENOENT"));
    unlink(file);
    rmdir(dir);
}

static void test_misuse(void)
{
    struct run *run = prepare("exit", "0");

    run->argv[0] = "bin/true";
    ok(start(run) == -1 && run->err.fault == NOE_FAULT_ARGUMENT,
       in_mode("refuses a relative path"));
    run->argv[0] = "";
    ok(start(run) == -1 && run->err.fault == NOE_FAULT_ARGUMENT,
       in_mode("refuses an empty path"));
    run->argv[0] = NULL;
    ok(start(run) == -1 && run->err.fault == NOE_FAULT_ARGUMENT,
       in_mode("refuses an empty argv"));
    run->argv[0] = self;
    run->options.size = 8;
    ok(start(run) == -1 && run->err.fault == NOE_FAULT_ARGUMENT,
       in_mode("refuses options that were not initialised"));
    ok(is_childless(run), in_mode("starts nothing by mistake"));
    done(run);
    noe_process_close(NULL);
    noe_launcher_close(NULL);
}

static bool ends_at_cap(const char *input, size_t len, size_t cap, bool fits)
{
    struct run *run = prepare("cat", "-");
    run->options.input = input;
    run->options.input_len = len;
    run->options.max_output_bytes = cap;
    const struct noe_result *result = finish(run);
    bool held;
    if (fits)
        held = exited(result, 0) && !result->output_truncated &&
               result->output_len == len && result->output_bytes == len &&
               memcmp(result->output, input, len) == 0;
    else
        held = result != NULL && result->reason == NOE_REASON_OUTPUT_LIMIT &&
               result->exit_code == -1 && result->output_truncated &&
               result->output_len == (cap < 65536 ? cap : 65536) &&
               memcmp(result->output, input, result->output_len) == 0;
    done(run);
    return held;
}

static void test_output_cap(void)
{
    static char text[300 * 1024];
    static const size_t caps[] = {1, 4095, 4096, 4097, 65536, 131072, 200000};
    bool all = true;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
        all = all && ends_at_cap(text, caps[i], caps[i], true);
        all = all && ends_at_cap(text, caps[i] + 1, caps[i], false);
        all = all && ends_at_cap(text, sizeof(text), caps[i], false);
    }
    ok(all, in_mode("the cap is exact, and 64 KiB are kept beyond it"));
}

static long memory_kib(const char *field)
{
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    (void)!read(fd, text, sizeof(text) - 1);
    close(fd);
    char *line = strstr(text, field);
    return line != NULL ? atol(line + strlen(field)) : -1;
}

static int host_of_a_flood(void)
{
    struct run *run = prepare("flood", "-");
    long before = memory_kib("\nVmHWM:");
    const struct noe_result *result = finish(run);

    CHECK(result != NULL && result->reason == NOE_REASON_OUTPUT_LIMIT);
    CHECK(result->output_len == 65536);
    long grown = memory_kib("\nVmHWM:") - before;
    if (!SANITIZED)
        CHECK(grown <= 2 * 10 * 1024 + 2 * 1024);
    CHECK(vanishes(run->mark));
    done(run);
    return 0;
}

static void test_input(void)
{
    size_t much = 100 * 1000 * 1000;
    char *input = mmap(NULL, much, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct run *run = prepare("exit", "5");
    run->options.input = input;
    run->options.input_len = much;
    ok(exited(finish(run), 5), in_mode("input that nobody reads is no harm"));
    done(run);

    run = prepare("close-input", "-");
    run->options.input = input;
    run->options.input_len = much;
    ok(exited(finish(run), 3), in_mode("input may be closed at once"));
    done(run);

    for (size_t i = 0; i < 10 * 1000 * 1000; i++)
        input[i] = (char)(i ^ i >> 9);
    ok(ends_at_cap(input, 10 * 1000 * 1000, 10 * 1000 * 1000, true),
       in_mode("10 MB go in and come out at the same time"));
    munmap(input, much);
}

static void test_zoo(void)
{
    struct run *run = prepare("zoo", "-");
    run->options.timeout_ms = 300;
    int64_t before = now_us();
    const struct noe_result *result = finish(run);
    int64_t took_us = now_us() - before;

    ok(result != NULL && result->reason == NOE_REASON_TIMEOUT &&
           printed(result, "ready 4\n"),
       in_mode("at the deadline the run ends, and what it said is kept"));
    ok(took_us < 300 * 1000 + 100 * 50 * 1000, in_mode("in time"));
    ok(result != NULL && (result->enforced & NOE_ENFORCED_TREE_KILL) &&
           count_marked(run->mark) == 0,
       in_mode("the whole tree is dead, whatever it did to hide"));
    done(run);
}

static void test_leftovers(void)
{
    struct run *run = prepare("leave", "-");
    const struct noe_result *result = finish(run);

    ok(exited(result, 7) && count_marked(run->mark) == 0,
       in_mode("what a program leaves running when it ends is dead, too"));
    done(run);
}

static void test_chain(void)
{
    struct run *run = prepare("chain", "-");
    run->options.timeout_ms = 100;
    const struct noe_result *result = finish(run);

    ok(result != NULL && result->reason == NOE_REASON_EXIT &&
           vanishes(run->mark),
       in_mode("a chain of forks is caught"));
    done(run);
}

static void test_against_the_jail(void)
{
    struct run *run = prepare("kill-parent", "-");
    const struct noe_result *result = finish(run);
    ok(result != NULL && result->reason == NOE_REASON_STATUS_LOST &&
           !(result->enforced & NOE_ENFORCED_TREE_KILL) && vanishes(run->mark),
       in_mode("status_lost if the program kills its supervisor"));
    done(run);

    run = prepare("stop-parent", "-");
    run->options.timeout_ms = -1;
    run->options.max_output_bytes = 1000;
    int64_t before = now_us();
    result = finish(run);
    ok(result != NULL && result->reason == NOE_REASON_OUTPUT_LIMIT &&
           vanishes(run->mark) && now_us() - before < 30 * 1000 * 1000,
       in_mode("a stopped supervisor does not hold up the end"));
    done(run);

    run = prepare("stop-parent", "-");
    (void)start(run);
    (void)says(run, 5000); /* what it floods, it does after stopping it */
    noe_process_close(run->process);
    run->process = NULL;
    ok(vanishes(run->mark), in_mode("nor is the tree of a closed one left"));
    done(run);
}

static bool ends_as_cancelled(int64_t after_us)
{
    struct run *run = prepare("sleep", "-");
    CHECK(start(run) == 0);
    int64_t until = now_us() + after_us;
    while (now_us() < until)
        (void)noe_process_step(run->process, NULL);
    noe_process_cancel(run->process);
    noe_process_cancel(run->process);
    const struct noe_result *result = finish(run);
    bool held = result != NULL && result->reason == NOE_REASON_CANCELLED &&
                result->exit_code == -1 && vanishes(run->mark);
    noe_process_cancel(run->process);
    held = held && result->reason == NOE_REASON_CANCELLED;
    done(run);
    return held;
}

static void test_cancel(void)
{
    bool all = true;

    for (int64_t after = 0; after < 3000; after += 300)
        all = all && ends_as_cancelled(after);
    ok(all, in_mode("cancel ends it, however early"));
}

static void test_kill(void)
{
    struct run *run = prepare("sleep", "-");
    bool asked = start(run) == 0 &&
                 noe_process_wait_started(run->process, 5000, &run->err) == 1;
    ok(asked && noe_process_kill(run->process, SIGUSR1) == 0,
       in_mode("a signal can be sent"));
    const struct noe_result *result = finish(run);
    ok(result != NULL && result->reason == NOE_REASON_SIGNAL &&
           result->signal == SIGUSR1,
       in_mode("and reaches the program itself"));
    errno = 0;
    ok(noe_process_kill(run->process, SIGTERM) == -1 && errno == ESRCH,
       in_mode("ESRCH after the end"));
    done(run);
}

/* A shell that waits for a program of its own group. */
static struct run *prepare_shell(const char *script)
{
    struct run *run = prepare("exit", "0");

    run->argv[0] = "/bin/sh";
    run->argv[1] = "-c";
    run->argv[2] = script;
    return run;
}

/* A directory of the run's own, and a link in it, that is asked for. */
struct place {
    char path[64];
    char link[80];
    struct noe_bind links[1];
    struct noe_sandbox sandbox;
};

static struct run *prepare_held(struct place *place, const char *script)
{
    static unsigned count;
    struct run *run = prepare_shell(script);

    *place = (struct place){.sandbox = {.size = sizeof(place->sandbox)}};
    snprintf(place->path, sizeof(place->path), "/tmp/noether-held-%d-%u",
             getpid(), count++);
    snprintf(place->link, sizeof(place->link), "%s/in/link", place->path);
    place->links[0] = (struct noe_bind){"/etc/passwd", place->link};
    place->sandbox.private_dir = place->path;
    place->sandbox.links = place->links;
    place->sandbox.link_count = 1;
    run->options.sandbox = &place->sandbox;
    run->options.hold_ms = 60 * 1000;
    return run;
}

/* Until there is something to collect, or the end. */
static int wait_held(struct run *run)
{
    int64_t until_us;
    int dir = -1;

    if (start(run) != 0)
        return -1;
    while (dir < 0 && noe_process_wait(run->process, -1, &run->err) == 0)
        dir = noe_process_work_dir(run->process, &until_us);
    return dir;
}

static void test_hold(void)
{
    struct place place;
    struct run *run =
        prepare_held(&place, "test -r in/link || exit 1; echo >left; exit 3");
    int dir = wait_held(run);

    ok(dir >= 0 && faccessat(dir, "left", F_OK, 0) == 0 &&
           access(place.path, F_OK) == 0,
       in_mode("what a program left is kept, and can be had"));
    ok(noe_process_wait(run->process, 50, &run->err) == 0 &&
           noe_process_result(run->process) == NULL,
       in_mode("and it is not over meanwhile"));
    noe_process_release(run->process);
    ok(exited(finish(run), 3) && access(place.path, F_OK) != 0 &&
           noe_process_work_dir(run->process, NULL) == -1,
       in_mode("until it is released, and then it is gone"));
    done(run);

    run = prepare_held(&place, "echo >left");
    run->options.hold_ms = 100;
    dir = wait_held(run);
    while (dir >= 0 && noe_process_wait(run->process, 10, &run->err) == 0)
        continue;
    ok(exited(noe_process_result(run->process), 0) &&
           access(place.path, F_OK) != 0,
       in_mode("it is kept for no longer than was said"));
    done(run);

    run = prepare_held(&place, "echo >left; sleep 60");
    run->options.timeout_ms = 300;
    ok(wait_held(run) == -1 &&
           noe_process_result(run->process)->reason == NOE_REASON_TIMEOUT &&
           access(place.path, F_OK) != 0,
       in_mode("of what was ended for a limit nothing is kept"));
    done(run);

    run = prepare_held(&place, "echo >left");
    dir = wait_held(run);
    noe_process_close(run->process);
    run->process = NULL;
    int64_t until = now_us() + (int64_t)20 * 1000 * 1000;
    while (access(place.path, F_OK) == 0 && now_us() < until)
        pause_ms(2);
    ok(dir >= 0 && access(place.path, F_OK) != 0,
       in_mode("a handle that is closed keeps nothing"));
    done(run);
}

static void test_group(void)
{
    struct run *run = prepare_shell("trap 'exit 7' INT; sleep 60");
    const struct noe_result *result = NULL;
    bool told = start(run) == 0;

    if (told && kept) {
        while (noe_process_wait_started(run->process, -1, NULL) == 0)
            continue;
        pause_ms(200); /* the trap is set, or the shell dies of the signal */
        told = noe_process_kill_group(run->process, SIGINT) == 0;
        result = finish(run);
        ok(told && result != NULL &&
               (result->exit_code == 7 || result->signal == SIGINT),
           in_mode("a signal reaches the whole group"));
        ok(noe_process_kill_group(run->process, 0) == -1 && errno == EINVAL,
           in_mode("no group gets a signal that is none"));
    }
    ok(noe_process_kill_group(run->process, SIGINT) == -1 && errno == ESRCH,
       in_mode("nor one that ended, or has no supervisor"));
    noe_process_cancel(run->process);
    (void)finish(run);
    done(run);
}

static void test_terms(void)
{
    struct run *run = prepare("sleep", "60");
    const struct noe_result *result = NULL;
    bool told = start(run) == 0;

    ok(told && (noe_process_set_terms(run->process, 100, NOE_UNLIMITED) == 0) ==
                   kept,
       in_mode("a supervised run can be given another deadline"));
    if (!kept)
        noe_process_cancel(run->process);
    result = finish(run);
    if (kept)
        ok(result != NULL && result->reason == NOE_REASON_TIMEOUT,
           in_mode("which ends it"));
    done(run);
    if (!kept)
        return;
    run = prepare_shell("while :; do :; done");
    told = start(run) == 0 &&
           noe_process_set_terms(run->process, 60 * 1000, 200) == 0;
    result = finish(run);
    ok(told && result != NULL && result->reason == NOE_REASON_CPU_LIMIT,
       in_mode("and more processor time, which ends it, too"));
    done(run);
}

static struct run *prepare_ahead(const char *role, const char *arg,
                                 int64_t wait_ms)
{
    static const struct noe_stream pieces = {.size = sizeof(pieces),
                                             .kind = NOE_STREAM_PIECES};
    struct run *run = prepare(role, arg);

    run->options.streams[0] = &pieces;
    run->options.wait_ms = wait_ms;
    return run;
}

static int begin(struct run *run, const char *input, int64_t timeout_ms)
{
    struct noe_beginning beginning = {.size = sizeof(beginning),
                                      .input = input,
                                      .input_len = strlen(input),
                                      .timeout_ms = timeout_ms,
                                      .max_output_bytes = 100,
                                      .max_stderr_bytes = 100,
                                      .poller = -1};

    return noe_process_begin(run->process, &beginning, &run->err);
}

static void test_ahead_ended(void)
{
    struct run *run = prepare_ahead("sleep", "-", 100);
    const struct noe_result *result = finish(run);

    ok(result != NULL && result->reason == NOE_REASON_TIMEOUT &&
           !noe_process_has_begun(run->process),
       in_mode("what waits for a request ends when it has waited"));
    done(run);
    run = prepare_ahead("sleep", "-", 60 * 1000);
    bool begun = start(run) == 0 && begin(run, "unread", 100) == 0;
    result = finish(run);
    ok(begun && result != NULL && result->reason == NOE_REASON_TIMEOUT &&
           !noe_process_has_begun(run->process),
       in_mode("what does not read its request has not begun"));
    done(run);
    static const struct noe_stream tapped = {.size = sizeof(tapped),
                                             .tapped = true};
    const char *said;
    run = prepare_ahead("say", "early", 60 * 1000);
    run->options.streams[1] = &tapped;
    bool refused = start(run) == 0;
    while (refused && noe_process_take(run->process, 1, &said) == 0)
        (void)noe_process_wait(run->process, 1000, &run->err);
    refused = refused && begin(run, "late", 1000) != 0;
    ok(refused, in_mode("what has answered before it is asked is not asked"));
    noe_process_cancel(run->process);
    (void)finish(run); /* the tests that follow look for children */
    done(run);
}

static void test_ahead(void)
{
    struct run *run = prepare_ahead("cat", "-", 300);

    if (!kept) {
        ok(start(run) != 0 && run->err.fault == NOE_FAULT_ARGUMENT,
           in_mode("nothing waits for a request without the supervisor"));
        done(run);
        return;
    }
    bool waits = start(run) == 0 &&
                 noe_process_wait_longer(run->process, 60 * 1000) == 0;
    pause_ms(400);
    waits = waits && !noe_process_has_begun(run->process);
    bool begun = waits && begin(run, "its request", 60 * 1000) == 0;
    const struct noe_result *result = finish(run);
    ok(begun && exited(result, 0) && printed(result, "its request") &&
           noe_process_has_begun(run->process),
       in_mode("what waits gets its request, and answers it"));
    ok(result != NULL && result->answer_us >= 0 &&
           result->answer_us <= result->duration_us,
       in_mode("and its time counts from there"));
    ok(begin(run, "again", 1000) != 0 && run->err.fault == NOE_FAULT_ARGUMENT,
       in_mode("it gets one"));
    done(run);
    test_ahead_ended();
}

static void test_close(void)
{
    struct run *run = prepare("sleep", "-");
    char mark[sizeof(run->mark)];
    int fds = fds_beside(run);

    (void)start(run);
    ok(noe_process_result(run->process) == NULL,
       in_mode("there is no result before the end"));
    strcpy(mark, run->mark);
    noe_process_close(run->process);
    run->process = NULL;
    ok(vanishes(mark), in_mode("a closed handle kills"));
    int64_t until = now_us() + 30 * 1000 * 1000;
    while (has_children() && now_us() < until) {
        noe_launcher_reap(run->launcher);
        pause_ms(1);
    }
    ok(!has_children(), in_mode("and is reaped"));
    ok(fds_beside(run) == fds, in_mode("and leaves no descriptor"));
    done(run);
}

static void test_reaped_by_next_start(void)
{
    struct run *run = prepare("exit", "0");
    struct noe_process *closed = NULL;

    (void)start(run);
    closed = run->process;
    pid_t pid = noe_process_pid(closed);
    siginfo_t info;
    run->process = NULL;
    noe_process_close(closed);
    (void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    (void)start(run);
    ok(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 &&
           errno == ECHILD,
       in_mode("the next start reaps what was closed"));
    (void)finish(run);
    done(run);
}

/* One descriptor for an event loop, for several runs one after the other. */
static void test_poller(void)
{
    int poller = epoll_create1(EPOLL_CLOEXEC);
    bool all = true;

    for (int i = 0; i < 5; i++) {
        struct run *run = prepare("say", "word");
        run->options.poller = poller;
        all = all && start(run) == 0 &&
              noe_process_pollfd(run->process) == poller;
        while (all && noe_process_step(run->process, NULL) == 0)
            all = says(run, 5000);
        all = all && noe_process_pollfd(run->process) == poller;
        all = all && printed(noe_process_result(run->process), "word\n");
        done(run);
    }
    ok(all, in_mode("one poller serves successive runs"));
    struct pollfd fd = {poller, POLLIN, 0};
    ok(poll(&fd, 1, 0) == 0, in_mode("and is silent afterwards"));
    close(poller);
}

static void *start_in_thread(void *run)
{
    (void)start(run);
    return NULL;
}

static int host_thread_ends(void)
{
    struct run *run = prepare("say", "still here");
    struct run *sleeper = prepare("sleep", "-");
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, start_in_thread, sleeper) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, start_in_thread, run) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(exited(finish(run), 0));
    CHECK(noe_process_wait(sleeper->process, 100, NULL) == 0);
    CHECK(count_marked(sleeper->mark) >= 1);
    CHECK(noe_process_kill(sleeper->process, SIGTERM) == 0);
    const struct noe_result *result = finish(sleeper);
    CHECK(result != NULL && result->signal == SIGTERM);
    done(run);
    done(sleeper);
    return 0;
}

static int host_ignores_sigchld(void)
{
    signal(SIGCHLD, SIG_IGN);
    struct run *run = prepare("exit", "9");
    const struct noe_result *result = finish(run);

    CHECK(result != NULL);
    if (kept)
        CHECK(exited(result, 9));
    else
        CHECK(result->reason == NOE_REASON_STATUS_LOST &&
              result->exit_code == -1);
    CHECK(signal(SIGCHLD, SIG_DFL) == SIG_IGN);
    done(run);
    return 0;
}

static volatile bool stop_reaping;

static void *reap_all(void *unused)
{
    while (!stop_reaping)
        if (waitpid(-1, NULL, 0) < 0)
            sched_yield();
    return unused;
}

static int host_with_foreign_reaper(void)
{
    pthread_t thread;
    int lost = 0;

    CHECK(pthread_create(&thread, NULL, reap_all, NULL) == 0);
    for (int i = 0; i < 50; i++) {
        struct run *run = prepare("exit", "9");
        const struct noe_result *result = finish(run);
        CHECK(result != NULL);
        if (result->reason == NOE_REASON_STATUS_LOST)
            lost++;
        else
            CHECK(exited(result, 9));
        done(run);
    }
    stop_reaping = true;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(kept ? lost == 0 : lost > 0);
    return 0;
}

static int host_whose_handler_reaps(void)
{
    struct run *run = prepare("exit", "9");

    CHECK(start(run) == 0);
    pid_t pid = waitpid(-1, NULL, 0);
    if (noe_process_by_launcher(run->process))
        CHECK(pid != noe_process_pid(run->process));
    else
        CHECK(pid == noe_process_pid(run->process));
    const struct noe_result *result = finish(run);
    CHECK(result != NULL);
    if (kept)
        CHECK(exited(result, 9));
    else
        CHECK(result->reason == NOE_REASON_STATUS_LOST);
    done(run);
    return 0;
}

/* With nothing of ours among its children but what it started itself. */
static int host_that_waits_for_all(void)
{
    struct run *run = prepare("sleep", "-");

    CHECK(start(run) == 0);
    if (noe_process_by_launcher(run->process)) {
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
            continue;
        CHECK(errno == ECHILD && noe_process_step(run->process, NULL) == 0);
    }
    noe_process_cancel(run->process);
    CHECK(finish(run)->reason == NOE_REASON_CANCELLED);
    done(run);
    return 0;
}

static int host_with_odd_signals(void)
{
    sigset_t some;
    sigset_t after;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGRTMIN);
    sigprocmask(SIG_SETMASK, &some, NULL);
    CHECK(SANITIZED || prints("signals", "session 1\n"));
    sigprocmask(SIG_SETMASK, NULL, &after);
    for (int sig = 1; sig < NSIG; sig++)
        CHECK(sigismember(&some, sig) == sigismember(&after, sig));
    CHECK(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
    return 0;
}

static int host_with_open_fds(void)
{
    int pair[2];

    /* All numbers up to 40 and some beyond, without close-on-exec. */
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    for (int fd = 3; fd < 40; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            CHECK(dup2(fd % 2 ? pair[0] : 2, fd) == fd);
    CHECK(prints("fds", "012"));
    return 0;
}

static int host_with_1000_fds(void)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < 1100)
        return 0;
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int i = 0; i < 1000; i++)
        CHECK(dup(2) >= 0);
    CHECK(prints("fds", "012"));
    return 0;
}

static int host_without_stdio(void)
{
    int report = fcntl(1, F_DUPFD_CLOEXEC, 100);
    bool all = true;

    for (int closed = 0; closed < 8; closed++) {
        for (int fd = 0; fd < 3; fd++)
            if (closed & 1 << fd)
                close(fd);
        struct run *run = prepare("fds", "-");
        all = all && printed(finish(run), "012");
        noe_process_close(run->process);
        run->process = NULL;
        run->argv[1] = "cat";
        run->options.input = "to and fro";
        run->options.input_len = 10;
        all = all && printed(finish(run), "to and fro");
        done(run);
        for (int fd = 0; fd < 3; fd++)
            all = all && (fcntl(fd, F_GETFD) >= 0) == !(closed & 1 << fd);
        for (int fd = 0; fd < 3; fd++)
            dup2(report, fd);
    }
    return all ? 0 : 1;
}

/* With ever more free descriptors, from none, until a run succeeds. */
static int host_at_file_limit(void)
{
    struct rlimit limit = {64, 64};
    char input[100 * 1000] = "";
    int refused = 0;

    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int spare = 0; spare < 20; spare++) {
        struct run *run = prepare("exit", "0");
        run->options.input = input;
        run->options.input_len = sizeof(input);
        int filler[64];
        int count = 0;
        while (count < 64 && (filler[count] = dup(2)) >= 0)
            count++;
        for (int i = 0; i < spare && count > 0; i++)
            close(filler[--count]);
        int before = fds_beside(run);
        const struct noe_result *result = finish(run);
        CHECK(result != NULL ? exited(result, 0)
                             : run->err.fault == NOE_FAULT_SPAWN &&
                                   run->err.code == EMFILE);
        refused += result == NULL;
        noe_process_close(run->process);
        run->process = NULL;
        CHECK(fds_beside(run) == before);
        done(run);
        CHECK(open_fds() == before);
        while (count > 0)
            close(filler[--count]);
        CHECK(!has_children());
    }
    CHECK(refused >= 6 && refused < 19);
    return 0;
}

/* The limit counts the user's processes: as root, be another user first. */
static int host_at_process_limit(void)
{
    bool alone = geteuid() == 0;

    if (alone) {
        uid_t nobody_else = 100000 + (uid_t)getpid();
        CHECK(setgid(nobody_else) == 0 && setuid(nobody_else) == 0);
    }
    for (rlim_t processes = 1; processes <= (alone ? 2 : 1); processes++) {
        struct rlimit limit = {processes, RLIM_INFINITY};
        struct run *run = prepare("-", "-");
        run->argv[0] = "/bin/true";
        int before = fds_beside(run);
        CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0 || errno == EPERM);
        getrlimit(RLIMIT_NPROC, &limit);
        limit.rlim_cur = processes;
        CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
        const struct noe_result *result = finish(run);
        if (processes == 1 || kept)
            CHECK(result == NULL && run->err.fault == NOE_FAULT_SPAWN &&
                  run->err.code == EAGAIN);
        else
            CHECK(exited(result, 0));
        done(run);
        CHECK(open_fds() == before && !has_children());
    }
    return 0;
}

/* The best of some: what else the machine does only ever adds. */
static int64_t spawn_us(void)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 30; i++) {
        struct run *run = prepare("-", "-");
        run->argv[0] = "/bin/true";
        int64_t before = now_us();
        (void)finish(run);
        int64_t took = now_us() - before;
        best = took < best ? took : best;
        done(run);
    }
    return best;
}

static int host_with_big_heap(void)
{
    size_t size = SANITIZED ? (size_t)64 << 20 : (size_t)1 << 30;
    int64_t small = spawn_us();
    char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(heap != MAP_FAILED);
    (void)madvise(heap, size, MADV_NOHUGEPAGE); /* which a fork copies fast */
    memset(heap, 1, size);
    int64_t big = spawn_us();
    struct run *run = prepare("exit", "0");
    const struct noe_result *result = finish(run);
    /* A copying fork of a heap of 1 GiB takes ten milliseconds and more. */
    CHECK(big < small * 10 && exited(result, 0));
    if (kept)
        CHECK(result->max_rss_bytes > 0 &&
              result->max_rss_bytes < (int64_t)size / 4);
    done(run);
    return 0;
}

/* What the child is given has high numbers here, and none may stay open. */
static int host_of_many_descriptors(void)
{
    int count = 0;
    int fillers[600];
    struct run *run = prepare("cat", "-");

    while (count < 600 && (fillers[count] = open("/dev/null", O_RDONLY)) >= 0)
        count++;
    CHECK(count > 200);
    int before = fds_beside(run);
    int pipes = count_descriptors("pipe:");
    run->options.input = "in and out";
    run->options.input_len = 10;
    const struct noe_result *result = finish(run);
    CHECK(exited(result, 0) && printed(result, "in and out"));
    noe_process_close(run->process);
    run->process = NULL;
    CHECK(fds_beside(run) == before);
    CHECK(count_descriptors("pipe:") == pipes);
    while (count > 0)
        close(fillers[--count]);
    done(run);
    return 0;
}

static int host_of_tamperers(void)
{
    struct run *run = prepare("unblock", "-");
    int open = 0;

    for (int i = 0; i < 5; i++) {
        CHECK(exited(finish(run), 0));
        noe_process_close(run->process);
        run->process = NULL;
        if (i == 0)
            open = fds_beside(run);
        CHECK(fds_beside(run) == open);
    }
    done(run);
    return 0;
}

/* What is at a number now: who else knows of it must have left it alone. */
static bool leads_to(int fd, const struct stat *file)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_dev == file->st_dev &&
           st.st_ino == file->st_ino;
}

/* As a daemon does, while a launcher is open: what then has its numbers is the
 * host's own. */
static int host_that_closes_all(void)
{
    enum { FILES = 200 };
    struct run *run = prepare("cat", "-");
    struct stat file;

    CHECK(printed(finish(run), ""));
    noe_process_close(run->process);
    for (int fd = 3; fd < FILES; fd++)
        close(fd);
    CHECK(stat(self, &file) == 0);
    for (int fd = 3; fd < FILES; fd++)
        CHECK(open(self, O_RDONLY) == fd);
    run->process = NULL;
    CHECK(printed(finish(run), "")); /* no file of the host's */
    noe_process_close(run->process);
    run->process = NULL;
    run->options.input = "in and out";
    run->options.input_len = 10;
    CHECK(printed(finish(run), "in and out"));
    done(run);
    for (int fd = 3; fd < FILES; fd++)
        CHECK(leads_to(fd, &file));
    return 0;
}

/* Two calls fail, as in the sandboxes of containers that know nothing of the
 * one and leave the other to root. */
static bool forbid(unsigned one, unsigned other, unsigned code)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, one, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, other, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof(rules) / sizeof(*rules), rules};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int host_that_must_copy(void)
{
    CHECK(forbid(SYS_close_range, SYS_unshare, EPERM));
    CHECK(prints("fds", "012"));
    struct run *run = prepare("-", "-");
    run->argv[0] = "/nowhere";
    CHECK(finish(run) == NULL && run->err.code == ENOENT);
    run->argv[0] = self;
    run->argv[1] = "exit";
    run->argv[2] = "4";
    noe_process_close(run->process);
    run->process = NULL;
    CHECK(exited(finish(run), 4));
    done(run);
    return 0;
}

static int host_unchanged(void)
{
    char before[PATH_MAX];
    char after[PATH_MAX];
    mode_t mask = umask(0137);
    char locale[64];

    snprintf(locale, sizeof(locale), "%s", setlocale(LC_ALL, NULL));
    CHECK(getcwd(before, sizeof(before)) != NULL);
    CHECK(setenv("NOETHER_TEST_SECRET", "seen", 1) == 0);
    struct run *run = prepare("say", "-");
    run->argv[0] = "/usr/bin/env";
    run->argv[1] = NULL;
    run->options.cwd = "/";
    CHECK(printed(finish(run), ""));
    done(run);
    CHECK(getcwd(after, sizeof(after)) != NULL && strcmp(before, after) == 0);
    CHECK(umask(mask) == 0137);
    CHECK(strcmp(locale, setlocale(LC_ALL, NULL)) == 0);
    const char *secret = getenv("NOETHER_TEST_SECRET");
    CHECK(secret != NULL && strcmp(secret, "seen") == 0);
    for (int sig = 1; sig < NSIG; sig++) {
        struct sigaction action;
        if (sigaction(sig, NULL, &action) == 0 && !SANITIZED)
            CHECK(action.sa_handler == SIG_DFL);
    }
    return 0;
}

static int host_that_forks(void)
{
    struct run *run = prepare("sleep", "-");
    int status;

    CHECK(start(run) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        noe_process_cancel(run->process);
        int failed = noe_process_kill(run->process, SIGKILL);
        done(run);
        _exit(failed == -1 ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(noe_process_wait(run->process, 100, NULL) == 0);
    CHECK(noe_process_wait_started(run->process, 1000, NULL) == 1);
    CHECK(noe_process_kill(run->process, SIGUSR2) == 0);
    const struct noe_result *result = finish(run);
    CHECK(result != NULL && result->signal == SIGUSR2);
    done(run);
    return 0;
}

/* The worker's copies keep the socket to the supervisor open. */
static int host_closes_with_worker(void)
{
    struct run *run = prepare("sleep", "-");

    CHECK(start(run) == 0);
    pid_t worker = fork();
    if (worker == 0)
        sleep_for_ever();
    noe_process_close(run->process);
    run->process = NULL;
    bool dies = vanishes(run->mark);
    kill(worker, SIGKILL);
    CHECK(dies && waitpid(worker, NULL, 0) == worker);
    done(run);
    return 0;
}

static int host_default_sigpipe(void)
{
    char *input = calloc(1, 1000 * 1000);

    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 20; i++) {
        struct run *run = prepare("exit", "0");
        run->argv[0] = "/bin/true";
        run->options.input = input;
        run->options.input_len = 1000 * 1000;
        CHECK(exited(finish(run), 0));
        done(run);
    }
    free(input);
    return 0;
}

static void ignore_signal(int sig)
{
    (void)sig;
}

static void *pester(void *thread)
{
    while (!stop_reaping) {
        pthread_kill(*(pthread_t *)thread, SIGALRM);
        sched_yield();
    }
    return NULL;
}

/* No handler may run in the child, which is in this memory; and no call may
 * fail because of a signal. */
static int host_under_signals(void)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    pthread_t self_thread = pthread_self();
    pthread_t thread;

    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, pester, &self_thread) == 0);
    for (int i = 0; i < 30; i++) {
        struct run *run = prepare("exit", "4");
        CHECK(exited(finish(run), 4));
        done(run);
    }
    stop_reaping = true;
    CHECK(pthread_join(thread, NULL) == 0);
    return 0;
}

enum host_end { KILLED, EXECS, KILLED_WITH_WORKER };

/* Never returns: starts the zoo, says so, and stays, with a worker if asked. */
static _Noreturn void doomed_host(struct run *run, int ready, enum host_end end)
{
    run->options.timeout_ms = -1;
    if (start(run) != 0 ||
        noe_process_wait_started(run->process, 5000, &run->err) != 1)
        _exit(1);
    /* The first thing it does is to say that its tree is complete. */
    if (!says(run, 5000))
        _exit(1);
    pid_t worker = end == KILLED_WITH_WORKER ? fork() : -1;
    if (worker == 0)
        sleep_for_ever();
    (void)!write(ready, &worker, sizeof(worker));
    (void)!read(ready, &worker, sizeof(worker)); /* until it is told to go on */
    if (end == EXECS)
        execl("/bin/sleep", "sleep", "30", (char *)NULL);
    sleep_for_ever();
}

static bool tree_dies_with_host(enum host_end end)
{
    struct run *run = prepare("zoo", "-");
    int ready[2];
    pid_t worker = -1;

    fflush(stdout);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ready) != 0)
        return false;
    pid_t host = fork();
    if (host == 0)
        doomed_host(run, ready[1], end);
    close(ready[1]);
    bool told = read(ready[0], &worker, sizeof(worker)) == sizeof(worker);
    bool lived = told && count_marked(run->mark) >= 4;
    if (end == EXECS)
        (void)!write(ready[0], &worker, sizeof(worker));
    else
        kill(host, SIGKILL);
    bool dies = vanishes(run->mark);
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    if (worker > 0)
        kill(worker, SIGKILL);
    close(ready[0]);
    done(run);
    return told && lived && dies;
}

static void test_host_death(void)
{
    ok(tree_dies_with_host(KILLED),
       in_mode("the host is killed, the tree dies"));
    ok(tree_dies_with_host(KILLED_WITH_WORKER),
       in_mode("also if a worker of the host holds all its descriptors"));
    ok(tree_dies_with_host(EXECS), in_mode("the host execs, the tree dies"));
}

/* As where vm.memfd_noexec forbids programs in memory: the copy on disk is
 * taken, and only if it is the very program, and safe. */
static void test_launcher_image(void)
{
    size_t len;
    const char *image = noe_launcher_image(&len);

    ok(len > 1000 && memcmp(image, "\177ELF", 4) == 0,
       "the supervisor can be installed");
}

/* A worker forked after the first run has runs of its own. */
static void test_forked_worker(void)
{
    struct noe_launcher *launcher = NULL;
    const char *const argv[] = {"/bin/true", NULL};
    struct noe_options options;
    struct noe_process *process = NULL;
    struct noe_error error = NOE_ERROR_INIT;
    int status = -1;

    noe_options_init(&options);
    options.argv = argv;
    noe_launcher_open(&launcher, NULL, &error);
    noe_process_start(&process, launcher, &options, &error);
    noe_process_wait(process, -1, &error);
    noe_process_close(process);
    pid_t worker = fork();
    if (worker == 0) {
        static const char *const sleeper[] = {"/bin/sleep", "30", NULL};
        options.argv = sleeper;
        if (noe_process_start(&process, launcher, &options, &error) != 0)
            _exit(1);
        noe_process_cancel(process);
        _exit(noe_process_wait(process, 5000, &error) == 1 ? 0 : 2);
    }
    waitpid(worker, &status, 0);
    ok(status == 0, "a forked worker's own run is its own");
    noe_launcher_close(launcher);
}

/* No cores: they may be big, and they land in the host's directories. */
static void test_no_core(void)
{
    struct rlimit before;
    struct rlimit high;
    getrlimit(RLIMIT_CORE, &before);
    high = before;
    high.rlim_cur = high.rlim_max;
    setrlimit(RLIMIT_CORE, &high);
    struct run *run = prepare("crash", "-");
    const struct noe_result *result = finish(run);

    /* One byte is less than any core, and keeps the kernel from feeding a
     * program that the host's core_pattern names. A sanitizer sets it to 0. */
    bool limited =
        result != NULL && (printed(result, "1\n") || printed(result, "0\n"));
    ok(limited && result->signal == SIGSEGV, in_mode("a crash leaves no core"));
    done(run);
    setrlimit(RLIMIT_CORE, &before);
}

/* Many short runs, each ended in another way at another moment. */
static bool hammer(int rounds)
{
    static const char *const victims[] = {"exit", "flood", "sleep", "cat"};
    char input[100000] = "";

    for (int i = 0; i < rounds; i++) {
        struct run *run = prepare(victims[i % 4], "0");
        run->options.timeout_ms = i % 3 == 0 ? i % 7 : 5000;
        run->options.max_output_bytes = 100000;
        run->options.input = input;
        run->options.input_len = i % 5 == 0 ? sizeof(input) : 10;
        if (start(run) != 0)
            return false;
        for (int step = 0; step < i % 11; step++)
            (void)noe_process_step(run->process, NULL);
        if (i % 4 == 2 || i % 13 == 0)
            noe_process_cancel(run->process);
        bool closes = i % 17 == 0;
        const struct noe_result *result = closes ? NULL : finish(run);
        if (!closes && result == NULL) {
            printf("# round %d: %s\n", i, run->err.message);
            return false;
        }
        if (!closes && result->reason == NOE_REASON_STATUS_LOST) {
            printf("# round %d: status lost\n", i);
            return false;
        }
        noe_process_close(run->process);
        run->process = NULL;
        if (!vanishes(run->mark)) {
            printf("# round %d: %s lives on\n", i, run->mark);
            return false;
        }
        done(run);
    }
    return true;
}

static void test_hammer(int rounds)
{
    int fds = open_fds();

    ok(hammer(rounds), in_mode("runs end cleanly, whatever meets whatever"));
    ok(open_fds() == fds, in_mode("and leave no descriptor"));
    while (waitpid(-1, NULL, 0) > 0) /* of launchers that are closed */
        continue;
}

static const struct {
    const char *name;
    int (*host)(void);
} hosts[] = {
    {"a program outlives the thread that started it", host_thread_ends},
    {"the host ignores SIGCHLD", host_ignores_sigchld},
    {"a thread of the host reaps all children", host_with_foreign_reaper},
    {"the host itself reaped it", host_whose_handler_reaps},
    {"a host that waits until it has no child", host_that_waits_for_all},
    {"default signals, empty mask, own session", host_with_odd_signals},
    {"open descriptors of the host stay there", host_with_open_fds},
    {"a host with 1,000 descriptors", host_with_1000_fds},
    {"a host without standard streams", host_without_stdio},
    {"EMFILE at the limit of open files, nothing leaked", host_at_file_limit},
    {"EAGAIN at the limit of processes", host_at_process_limit},
    {"a host of 1 GiB", host_with_big_heap},
    {"a host of many descriptors", host_of_many_descriptors},
    {"programs that alter what they are given", host_of_tamperers},
    {"a host that closed all descriptors", host_that_closes_all},
    {"a host whose children may not leave its table", host_that_must_copy},
    {"the host is left as it was", host_unchanged},
    {"a fork of the host harms nothing", host_that_forks},
    {"closing kills, whoever holds copies", host_closes_with_worker},
    {"default SIGPIPE in the host", host_default_sigpipe},
    {"signals rain on the host", host_under_signals},
    {"a flood ends, within bounded memory", host_of_a_flood},
};

static void test_mode(int rounds)
{
    test_exit_codes();
    test_signals();
    test_exec_failures();
    test_misuse();
    test_output_cap();
    test_input();
    test_cancel();
    test_kill();
    test_group();
    test_terms();
    test_ahead();
    test_close();
    test_reaped_by_next_start();
    test_poller();
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++)
        ok(in_host(hosts[i].host) == 0, in_mode(hosts[i].name));
    test_hammer(rounds);
}

/* Optional argument: rounds of hammering. */
int main(int argc, char **argv)
{
    (void)!readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (argc > 2)
        return play(argv);
    int rounds = argc == 2 ? atoi(argv[1]) : 60;
    test_mode(rounds);
    for (int mode = 0; mode < 2; mode++) {
        kept = true;
        by_launcher = mode == 1;
        test_mode(rounds);
        test_zoo();
        test_leftovers();
        test_hold();
        test_chain();
        test_against_the_jail();
        test_host_death();
        test_forked_worker();
        test_no_core();
    }
    test_launcher_image();
    return plan_done();
}
