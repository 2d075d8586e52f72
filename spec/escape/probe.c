/* SPDX-License-Identifier: MIT */
/*
 * The attacker: a program that tries what it is told to, and says of each try
 * what came of it.
 *
 *     probe NAME[=ARGUMENT]...
 *
 * writes for each word, in order, "attempting NAME=ARGUMENT" before it is tried
 * and "attempted NAME=ARGUMENT: EPERM" (or "done") after; and "value NAME: ..."
 * for what is looked at. An attempt that replaces the program has no second
 * line; one that counts has both.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <mqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, KEY = 0x6e6f6574 };

extern char **environ;
static const char *const *words; /* argv */

/* errno of a call that returned `value`, or 0. */
static int code(long value)
{
    return value < 0 ? errno : 0;
}

static long number(const char *text)
{
    return text != NULL ? (long)strtoull(text, NULL, 0) : 0;
}

/* The number after the last ':' of "PATH:NUMBER", which is cut off. */
static long cut_number(const char *text, char path[4096])
{
    snprintf(path, 4096, "%s", text);
    char *colon = strrchr(path, ':');
    if (colon == NULL)
        return 0;
    *colon = '\0';
    return number(colon + 1);
}

static void value(const char *name, const char *text)
{
    printf("value %s: %s\n", name, text);
}

static void value_number(const char *name, long long amount)
{
    printf("value %s: %lld\n", name, amount);
}

static int opened(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0644);
    int status = code(fd);

    if (fd >= 0)
        close(fd);
    return status;
}

static int try_read(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    int status = code(read(fd, &byte, 1));
    close(fd);
    return status;
}

static int try_show(const char *path)
{
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    ssize_t len = read(fd, text, sizeof(text) - 1);
    int status = code(len);
    close(fd);
    if (len >= 0)
        printf("value show: %.*s\n", (int)len, text);
    return status;
}

static int try_list(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno;
    errno = 0;
    while (readdir(dir) != NULL)
        continue;
    int status = errno;
    closedir(dir);
    return status;
}

static int try_readlink(const char *path)
{
    char text[4096];
    ssize_t len = readlink(path, text, sizeof(text));

    if (len > 0)
        printf("value readlink: %.*s\n", (int)len, text);
    return code(len);
}

static int try_write(const char *path)
{
    return opened(path, O_WRONLY | O_APPEND);
}

static int try_create(const char *path)
{
    return opened(path, O_WRONLY | O_CREAT);
}

static int try_mkdir(const char *path)
{
    return code(mkdir(path, 0755));
}

static int try_symlink(const char *path)
{
    return code(symlink("/etc/shadow", path));
}

static int try_link(const char *path)
{
    return code(link(path, "/work/hard-link"));
}

static int try_unlink(const char *path)
{
    return code(unlink(path));
}

static int try_rename(const char *path)
{
    char other[4096];

    snprintf(other, sizeof(other), "%s.renamed", path);
    return code(rename(path, other));
}

/* To what it is already, had it not the sticky bit: harmless where it works. */
static int try_chmod(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return errno;
    return code(chmod(path, st.st_mode & 07777));
}

/* A new program that runs with its owner's id, whoever starts it. */
static int try_set_id(const char *path)
{
    int status = opened(path, O_WRONLY | O_CREAT);

    return status != 0 ? status : code(chmod(path, 04755));
}

static int try_born_set_id(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 04755);
    int status = code(fd);

    if (fd >= 0)
        close(fd);
    return status;
}

/* What lies there already, by a mapping. */
static int try_rewrite(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno;
    char *map = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return errno;
    *map = '!';
    return msync(map, 1, MS_SYNC) == 0 ? 0 : errno;
}

static int try_chown(const char *path)
{
    return code(chown(path, getuid(), getgid()));
}

static int try_touch(const char *path)
{
    return code(utimensat(AT_FDCWD, path, NULL, 0));
}

static int try_setxattr(const char *path)
{
    return code(setxattr(path, "user.noether", "x", 1, 0));
}

static int try_mknod(const char *path)
{
    return code(mknod(path, S_IFCHR | 0666, 0x103));
}

static int try_handle(const char *path)
{
    static union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } it;
    int mount_id;

    it.handle.handle_bytes = MAX_HANDLE_SZ;
    int status =
        code(name_to_handle_at(AT_FDCWD, path, &it.handle, &mount_id, 0));
    if (status != 0)
        return status;
    return code(open_by_handle_at(AT_FDCWD, &it.handle, O_PATH));
}

static int try_mount(const char *path)
{
    return code(mount("x", path, "tmpfs", 0, NULL));
}

static int try_remount(const char *path)
{
    return code(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int try_bind(const char *path)
{
    return code(mount("/", path, NULL, MS_BIND | MS_REC, NULL));
}

static int try_move(const char *path)
{
    return code(mount("/work", path, NULL, MS_MOVE, NULL));
}

static int try_propagation(const char *path)
{
    return code(mount(NULL, path, NULL, MS_SHARED | MS_REC, NULL));
}

static int try_umount(const char *path)
{
    return code(umount2(path, MNT_DETACH));
}

static int try_pivot_root(const char *path)
{
    return code(syscall(SYS_pivot_root, path, path));
}

static int try_chroot(const char *path)
{
    return code(chroot(path));
}

static int try_setuid(const char *id)
{
    return code(setresuid((uid_t)number(id), (uid_t)-1, (uid_t)-1));
}

static int try_setgid(const char *id)
{
    return code(setresgid((gid_t)number(id), (gid_t)-1, (gid_t)-1));
}

static int try_setgroups(const char *id)
{
    gid_t group = (gid_t)number(id);

    return code(setgroups(1, &group));
}

/* All capabilities there are, in the layout of linux/capability.h. */
static int try_capset(const char *unused)
{
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    uint32_t all[] = {UINT32_MAX, UINT32_MAX, 0, 0x1ff, 0x1ff, 0};

    (void)unused;
    return code(syscall(SYS_capset, &header, all));
}

static int try_ambient(const char *unused)
{
    (void)unused;
    return code(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
}

static int try_status(const char *unused)
{
    static const char *const names[] = {
        "Uid:",    "Gid:",    "Groups:", "CapInh:",     "CapPrm:",
        "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:"};
    char line[512];
    FILE *file = fopen("/proc/self/status", "re");

    (void)unused;
    if (file == NULL)
        return errno;
    while (fgets(line, sizeof(line), file) != NULL)
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
            if (strncmp(line, names[i], strlen(names[i])) == 0)
                printf("value %s", line);
    fclose(file);
    return 0;
}

static int try_euid(const char *unused)
{
    (void)unused;
    value_number("euid", geteuid());
    return 0;
}

static int try_kill(const char *pid)
{
    return code(kill((pid_t)number(pid), SIGKILL));
}

/* Every signal there is; the error of the last that was refused, if any. */
static int try_signals(const char *pid)
{
    int status = 0;

    for (int sig = 1; sig < NSIG; sig++)
        if (kill((pid_t)number(pid), sig) != 0)
            status = errno;
    return status;
}

static int try_ptrace(const char *pid)
{
    return code(ptrace(PTRACE_SEIZE, (pid_t)number(pid), NULL, NULL));
}

static int try_vm_read(const char *pid)
{
    char byte;
    struct iovec here = {&byte, 1};
    struct iovec there = {(void *)(uintptr_t)&environ, 1};

    return code(process_vm_readv((pid_t)number(pid), &here, 1, &there, 1, 0));
}

static int try_getfd(const char *pid)
{
    int process = (int)syscall(SYS_pidfd_open, (pid_t)number(pid), 0);
    if (process < 0)
        return errno;
    int status = code(syscall(SYS_pidfd_getfd, process, 0, 0));
    close(process);
    return status;
}

static int try_kcmp(const char *pid)
{
    return code(syscall(SYS_kcmp, getpid(), number(pid), 0, 0, 0));
}

static int try_prlimit(const char *pid)
{
    struct rlimit none = {0, 0};

    return code(prlimit((pid_t)number(pid), RLIMIT_NOFILE, &none, NULL));
}

static int try_priority(const char *pid)
{
    return code(setpriority(PRIO_PROCESS, (id_t)number(pid), 19));
}

static int try_user_priority(const char *unused)
{
    (void)unused;
    return code(setpriority(PRIO_USER, getuid(), 19));
}

static int try_affinity(const char *pid)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(0, &one);
    return code(sched_setaffinity((pid_t)number(pid), sizeof(one), &one));
}

static int try_scheduler(const char *pid)
{
    struct sched_param param = {0};

    return code(sched_setscheduler((pid_t)number(pid), SCHED_IDLE, &param));
}

static int try_processes(const char *unused)
{
    char text[4096] = "";
    struct dirent *entry;
    DIR *dir = opendir("/proc");

    (void)unused;
    if (dir == NULL)
        return errno;
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            strlen(text) < sizeof(text) - 64)
            strcat(strcat(text, entry->d_name), " ");
    closedir(dir);
    value("processes", text);
    return 0;
}

static void reap(pid_t pid)
{
    while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        continue;
}

/* In a child, so that the attempts that follow are not changed by it. */
static int try_unshare(const char *flags)
{
    if (unshare((int)number(flags)) != 0)
        return errno;
    return 0;
}

static int try_clone(const char *flags)
{
    pid_t pid = (pid_t)syscall(
        SYS_clone, (unsigned long)number(flags) | SIGCHLD, 0, 0, 0, 0);

    if (pid == 0)
        _exit(0);
    int status = code(pid);
    reap(pid);
    return status;
}

static int try_clone3(const char *flags)
{
    uint64_t args[8] = {(uint64_t)number(flags), 0, 0, 0, SIGCHLD, 0, 0, 0};
    pid_t pid = (pid_t)syscall(SYS_clone3, args, sizeof(args));

    if (pid == 0)
        _exit(0);
    int status = code(pid);
    reap(pid);
    return status;
}

static int try_setns(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int status = code(setns(fd, 0));
    close(fd);
    return status;
}

#define CALL(name, ...)     \
    {                       \
#name, __NR_##name, \
        {                   \
            __VA_ARGS__     \
        }                   \
    }

/* With arguments that do no harm where the call is permitted. */
static const struct {
    const char *name;
    long number;
    long args[5];
} calls[] = {
    CALL(io_uring_setup, 1, 0),
    CALL(io_uring_enter, -1),
    CALL(io_uring_register, -1),
    CALL(userfaultfd, 1),
    CALL(bpf, 0),
    CALL(perf_event_open, 0),
    CALL(keyctl, 0, -3, 0),
    CALL(add_key, 0),
    CALL(request_key, 0),
    CALL(kexec_load, 0, -1),
    CALL(kexec_file_load, -1, -1),
    CALL(init_module, 0),
    CALL(finit_module, -1),
    CALL(delete_module, 0),
    CALL(swapon, 0),
    CALL(swapoff, 0),
    CALL(quotactl, 0),
    CALL(acct, -1),
    CALL(reboot, 0),
    CALL(syslog, 3, 0),
    CALL(settimeofday, -1),
    CALL(clock_settime, 0, -1),
    CALL(clock_adjtime, 0, -1),
    CALL(adjtimex, -1),
    CALL(sethostname, 0, -1),
    CALL(setdomainname, 0, -1),
    CALL(fanotify_init, 0),
    CALL(vhangup, 0),
    CALL(open_tree, -1, 0),
    CALL(move_mount, -1, 0, -1, 0),
    CALL(fsopen, 0),
    CALL(fsmount, -1),
    CALL(fspick, -1, 0),
    CALL(mount_setattr, -1, 0),
    CALL(name_to_handle_at, -1, 0),
    CALL(open_by_handle_at, -1, 0),
    CALL(personality, 0x0040000),
    CALL(mbind, 0),
    CALL(move_pages, 1, 0),
    CALL(lookup_dcookie, 0),
    CALL(memfd_secret, -1),
#ifdef __x86_64__
    CALL(iopl, 3),
    CALL(ioperm, 0, 1, 1),
    CALL(modify_ldt, 0),
    CALL(uselib, 0),
#endif
};

static int try_call(const char *name)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
        if (strcmp(calls[i].name, name) == 0)
            return code(syscall(calls[i].number, calls[i].args[0],
                                calls[i].args[1], calls[i].args[2],
                                calls[i].args[3], calls[i].args[4]));
    return ENXIO;
}

static int try_calls(const char *unused)
{
    char text[4096] = "";

    (void)unused;
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
        strcat(strcat(text, calls[i].name), " ");
    value("calls", text);
    return 0;
}

/* A number that no list knows yet. */
static int try_unknown_call(const char *which)
{
    return code(syscall(number(which), 0, 0, 0));
}

/* The command word as given, its upper half included, to a terminal of its own
 * where there is one, else to standard input. */
static int try_ioctl(const char *command)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    int fd = 0;

    if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)
        fd = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    int status = code(syscall(SYS_ioctl, fd, number(command), "\n"));
    if (fd > 0)
        close(fd);
    if (master >= 0)
        close(master);
    return status;
}

static int try_families(const char *unused)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW,
                                SOCK_SEQPACKET};
    char text[512] = "";

    (void)unused;
    for (int family = 0; family < 64; family++)
        for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
            int fd = socket(family, types[i] | SOCK_CLOEXEC, 0);
            if (fd < 0)
                continue;
            close(fd);
            sprintf(text + strlen(text), "%d/%d ", family, types[i]);
        }
    value("families", text);
    return 0;
}

/* FAMILY, TYPE and PROTOCOL, each as it comes. */
static int try_socket(const char *which)
{
    char *at = (char *)(uintptr_t)which;
    unsigned long family = strtoul(at, &at, 0);
    unsigned long type = strtoul(at + (*at != 0), &at, 0);
    unsigned long protocol = strtoul(at + (*at != 0), &at, 0);
    int fd = (int)syscall(SYS_socket, family, type, protocol);
    int status = code(fd);

    if (fd >= 0)
        close(fd);
    return status;
}

static int connected(const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int status = code(connect(fd, address, len));
    close(fd);
    return status;
}

static struct sockaddr_in loopback(long port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static int try_tcp(const char *port)
{
    struct sockaddr_in address = loopback(number(port));

    return connected((struct sockaddr *)&address, sizeof(address));
}

/* To a documentation address: nobody ever answers there. */
static int try_udp(const char *port)
{
    struct sockaddr_in address = loopback(number(port));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno;
    address.sin_addr.s_addr = htonl(0xc0000201);
    int status = code(
        sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)));
    close(fd);
    return status;
}

static socklen_t unix_address(struct sockaddr_un *address, const char *name,
                              bool abstract)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strncpy(address->sun_path + abstract, name,
            sizeof(address->sun_path) - 1 - abstract);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract +
                       strlen(name));
}

static int try_abstract(const char *name)
{
    struct sockaddr_un address;
    socklen_t len = unix_address(&address, name, true);

    return connected((struct sockaddr *)&address, len);
}

static int try_unix(const char *path)
{
    struct sockaddr_un address;

    unix_address(&address, path, false);
    return connected((struct sockaddr *)&address, sizeof(address));
}

static int try_fork(const char *unused)
{
    (void)unused;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    int status = code(pid);
    reap(pid);
    return status;
}

static int try_raw_fork(const char *unused)
{
#ifdef SYS_fork
    pid_t pid = (pid_t)syscall(SYS_fork);

    (void)unused;
    if (pid == 0)
        _exit(0);
    int status = code(pid);
    reap(pid);
    return status;
#else
    return try_fork(unused);
#endif
}

static int try_vfork(const char *unused)
{
    (void)unused;
    pid_t pid = vfork();
    if (pid == 0)
        _exit(0);
    int status = code(pid);
    reap(pid);
    return status;
}

/* With every upper bit set that the kernel does not look at. */
static int try_wide_clone(const char *unused)
{
    (void)unused;
    pid_t pid =
        (pid_t)syscall(SYS_clone, 0xffffffff00000000UL | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    int status = code(pid);
    reap(pid);
    return status;
}

static char *reached[] = {"probe", "reached", NULL};

static int try_reached(const char *unused)
{
    (void)unused;
    value("reached", "yes");
    return 0;
}

static int try_spawn(const char *path)
{
    pid_t pid;
    int status = posix_spawn(&pid, path, NULL, NULL, reached, environ);

    if (status == 0)
        reap(pid);
    return status;
}

static int try_system(const char *command)
{
    fflush(stdout);
    return system(command) == 0 ? 0 : ECHILD; /* 127: no shell came to be */
}

static int try_popen(const char *command)
{
    FILE *pipe = popen(command, "r");
    if (pipe == NULL)
        return errno;
    pclose(pipe);
    return 0;
}

static int try_exec(const char *path)
{
    return code(execve(path, reached, environ));
}

/* PATH is a program, itself a loader of programs. */
static int try_exec_loader(const char *path)
{
    char *argv[] = {(char *)(uintptr_t)path, (char *)(uintptr_t)words[0],
                    "reached", NULL};

    return code(execve(path, argv, environ));
}

/* With numbers in the registers that execve does not use. */
static int try_exec_registers(const char *path)
{
    for (uint64_t word = 0; word < 3; word++) {
        uint64_t all = word * 0x5555555555555555U;
        (void)syscall(SYS_execve, path, reached, environ, all, all, all);
    }
    return errno;
}

static int memory_copy(void)
{
    char chunk[64 * 1024];
    ssize_t len;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("copy", MFD_CLOEXEC);

    while (from >= 0 && fd >= 0 && (len = read(from, chunk, sizeof(chunk))) > 0)
        if (write(fd, chunk, (size_t)len) != len)
            break;
    close(from);
    return fd;
}

static int try_exec_memory(const char *unused)
{
    int fd = memory_copy();

    (void)unused;
    if (fd < 0)
        return errno;
    return code(syscall(SYS_execveat, fd, "", reached, environ, AT_EMPTY_PATH));
}

static int try_exec_memory_path(const char *unused)
{
    char path[64];
    int fd = memory_copy();

    (void)unused;
    if (fd < 0)
        return errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return code(execve(path, reached, environ));
}

/* A file of its own making. */
static int try_exec_copy(const char *path)
{
    char chunk[64 * 1024];
    ssize_t len;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

    if (fd < 0)
        return errno;
    while ((len = read(from, chunk, sizeof(chunk))) > 0)
        if (write(fd, chunk, (size_t)len) != len)
            break;
    close(from);
    close(fd);
    return code(execve(path, reached, environ));
}

struct in_thread {
    int (*run)(const char *);
    const char *argument;
    int status;
};

static void *thread_main(void *argument)
{
    struct in_thread *work = argument;

    work->status = work->run(work->argument);
    return NULL;
}

static int in_thread(int (*run)(const char *), const char *argument)
{
    struct in_thread work = {run, argument, 0};
    pthread_t thread;
    int status = pthread_create(&thread, NULL, thread_main, &work);

    if (status != 0)
        return status;
    pthread_join(thread, NULL);
    return work.status;
}

static int nothing(const char *unused)
{
    (void)unused;
    return 0;
}

static int try_thread(const char *unused)
{
    return in_thread(nothing, unused);
}

static int try_thread_exec(const char *path)
{
    return in_thread(try_exec, path);
}

static int try_thread_fork(const char *unused)
{
    return in_thread(try_fork, unused);
}

#ifdef __x86_64__
static sigjmp_buf no_door;

/* What a door that is not there does is a fault of the instruction; a fault
 * that is sent, or of an address, is another. */
static void door_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code == SI_KERNEL)
        siglongjmp(no_door, 1);
    struct sigaction fatal = {.sa_handler = SIG_DFL};
    sigaction(signal, &fatal, NULL);
    raise(signal);
}

static long by_door(long call, bool exists)
{
    struct sigaction old;
    struct sigaction on_fault = {.sa_sigaction = door_fault};
    volatile long result = -ENOSYS;
    long answer;

    on_fault.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &on_fault, &old);
    if (sigsetjmp(no_door, 1) != 0) {
        value("door", "none");
    } else {
        if (exists)
            __asm__ volatile("int $0x80" : "=a"(answer) : "a"(call) : "memory");
        else
            __asm__ volatile("int $0x81" : "=a"(answer) : "a"(call) : "memory");
        result = answer;
    }
    sigaction(SIGSEGV, &old, NULL);
    return result;
}
#endif

/* System calls by the 32-bit door, where 2 is fork and 20 is getpid. A kernel
 * without the door (ia32 emulation is off) knows none of them. */
static int try_int80(const char *call)
{
#ifdef __x86_64__
    long result = by_door(number(call), true);

    if (result == 0 && number(call) == 2)
        _exit(0);
    return result < 0 ? (int)-result : 0;
#else
    (void)call;
    return ENOSYS;
#endif
}

/* A door that no kernel has: what int80 says where there is none. */
static int try_int81(const char *call)
{
#ifdef __x86_64__
    return (int)-by_door(number(call), false);
#else
    (void)call;
    value("door", "none");
    return ENOSYS;
#endif
}

/* And by the numbers of x32. */
static int try_x32(const char *call)
{
    pid_t pid = (pid_t)syscall(0x40000000 | number(call), 0, 0, 0, 0, 0);

    if (pid == 0)
        _exit(0);
    return code(pid);
}

/* A filter of its own with a listener of its own, which would answer for ours.
 */
static int try_listener(const char *unused)
{
    struct {
        uint16_t op;
        uint8_t jt;
        uint8_t jf;
        uint32_t k;
    } allow = {0x06, 0, 0, 0x7fff0000};
    struct {
        uint16_t len;
        void *filter;
    } program = {1, &allow};

    (void)unused;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return code(syscall(SYS_seccomp, 1, 8, &program));
}

static int try_shm(const char *create)
{
    return code(shmget(KEY, 4096, number(create) ? IPC_CREAT | 0666 : 0));
}

static int try_sem(const char *create)
{
    return code(semget(KEY, 1, number(create) ? IPC_CREAT | 0666 : 0));
}

static int try_msg(const char *create)
{
    return code(msgget(KEY, number(create) ? IPC_CREAT | 0666 : 0));
}

static int try_mqueue(const char *create)
{
    int flags = number(create) ? O_RDWR | O_CREAT : O_RDWR;
    mqd_t queue = mq_open("/noether-left", flags, 0666, NULL);
    int status = code(queue);

    if (queue >= 0)
        mq_close(queue);
    return status;
}

/* One object of each kind, of nobody's key and for everybody. */
static int try_make_objects(const char *unused)
{
    int shm = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0666);
    int sem = semget(IPC_PRIVATE, 1, IPC_CREAT | 0666);
    int msg = msgget(IPC_PRIVATE, IPC_CREAT | 0666);
    struct {
        long type;
        char text[8];
    } letter = {1, "letter"};

    (void)unused;
    if (shm < 0 || sem < 0 || msg < 0)
        return errno;
    printf("value objects: %d %d %d\n", shm, sem, msg);
    return code(msgsnd(msg, &letter, sizeof(letter.text), IPC_NOWAIT));
}

static int try_shm_use(const char *id)
{
    char *memory = shmat((int)number(id), NULL, 0);

    if (memory == (void *)-1)
        return errno;
    memory[0] = 1;
    return code(shmdt(memory));
}

static int try_shm_list(const char *index)
{
    struct shmid_ds ds;

    return code(shmctl((int)number(index), SHM_STAT, &ds));
}

static int try_shm_remove(const char *id)
{
    return code(shmctl((int)number(id), IPC_RMID, NULL));
}

static int try_sem_use(const char *id)
{
    struct sembuf up = {0, 1, IPC_NOWAIT};

    return code(semop((int)number(id), &up, 1));
}

static int try_sem_use_timed(const char *id)
{
    struct sembuf up = {0, 1, IPC_NOWAIT};

    return code(semtimedop((int)number(id), &up, 1, NULL));
}

static int try_sem_remove(const char *id)
{
    return code(semctl((int)number(id), 0, IPC_RMID));
}

static int try_msg_send(const char *id)
{
    long letter[2] = {2, 0};

    return code(msgsnd((int)number(id), letter, sizeof(long), IPC_NOWAIT));
}

static int try_msg_receive(const char *id)
{
    long letter[16];

    return code(msgrcv((int)number(id), letter, sizeof(long), 1, IPC_NOWAIT));
}

static int try_msg_remove(const char *id)
{
    return code(msgctl((int)number(id), IPC_RMID, NULL));
}

/* One end of a pair of that type, to a socket of the host's by its path. */
static int sent_from_pair(const char *path, int type)
{
    struct sockaddr_un address;
    int fds[2];

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0)
        return errno;
    unix_address(&address, path, false);
    /* The kinds that are connected would send it to their own other end. */
    int status =
        code(connect(fds[0], (struct sockaddr *)&address, sizeof(address)));
    if (status == 0)
        status = code(send(fds[0], "x", 1, 0));
    close(fds[0]);
    close(fds[1]);
    return status;
}

static int try_pair_datagram(const char *path)
{
    return sent_from_pair(path, SOCK_DGRAM);
}

static int try_pair_raw(const char *path)
{
    return sent_from_pair(path, SOCK_RAW);
}

static int try_pair_stream(const char *path)
{
    return sent_from_pair(path, SOCK_STREAM);
}

static int try_pair_seqpacket(const char *path)
{
    return sent_from_pair(path, SOCK_SEQPACKET);
}

static int asked_of_file(const char *path, unsigned long request, void *value)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return errno;
    int status = code(ioctl(fd, request, value));
    close(fd);
    return status;
}

static int try_flags(const char *path)
{
    long flags = 0;

    if (asked_of_file(path, FS_IOC_GETFLAGS, &flags) == 0)
        value_number("flags", flags);
    flags |= FS_NODUMP_FL;
    return asked_of_file(path, FS_IOC_SETFLAGS, &flags);
}

static int try_xflags(const char *path)
{
    struct fsxattr attributes = {0};

    asked_of_file(path, FS_IOC_FSGETXATTR, &attributes);
    attributes.fsx_xflags |= FS_XFLAG_NODUMP;
    return asked_of_file(path, FS_IOC_FSSETXATTR, &attributes);
}

static int try_generation(const char *path)
{
    int generation = 42;

    return asked_of_file(path, FS_IOC_SETVERSION, &generation);
}

static int try_verity(const char *path)
{
    uint32_t arguments[32] = {1, 1, 4096};

    return asked_of_file(path, FS_IOC_ENABLE_VERITY, arguments);
}

/* A file that tells somebody else, by a signal that kills. */
static int try_file_signal(const char *pid)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return errno;
    int status = code(fcntl(fds[0], F_SETOWN, (int)number(pid)));
    if (status == 0)
        status = code(fcntl(fds[0], F_SETSIG, SIGKILL));
    if (status == 0)
        status = code(fcntl(fds[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    if (write(fds[1], "x", 1) != 1)
        return errno;
    close(fds[0]);
    close(fds[1]);
    return status;
}

static int try_file_owner(const char *pid)
{
    int owner = (int)number(pid);
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return errno;
    int status = code(ioctl(fds[0], FIOSETOWN, &owner));
    close(fds[0]);
    close(fds[1]);
    return status;
}

static int try_watch(const char *path)
{
    int fd = inotify_init1(IN_CLOEXEC);

    if (fd < 0)
        return errno;
    int status = code(inotify_add_watch(fd, path, IN_ALL_EVENTS));
    close(fd);
    return status;
}

static int try_io_priority(const char *pid)
{
    return code(syscall(SYS_ioprio_set, 1, number(pid), 3 << 13));
}

static int try_user_io_priority(const char *unused)
{
    (void)unused;
    return code(syscall(SYS_ioprio_set, 3, 0, 3 << 13));
}

static int try_prctl(const char *option)
{
    return code(prctl((int)number(option), 1, 0, 0, 0));
}

static int try_old_aio(const char *events)
{
    void *context = NULL;

    return code(syscall(SYS_io_setup, number(events), &context));
}

static int try_large_pipe(const char *bytes)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        return errno;
    int status = code(fcntl(fds[1], F_SETPIPE_SZ, number(bytes)));
    close(fds[0]);
    close(fds[1]);
    return status;
}

/* A listening socket, for as long as the program lives. */
static int try_abstract_listen(const char *name)
{
    struct sockaddr_un address;
    socklen_t len = unix_address(&address, name, true);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0)
        return errno;
    return code(listen(fd, 8));
}

/* One end of a pair, which then has a name that others see and meet. */
static int named_pair(const char *name, int type)
{
    struct sockaddr_un address;
    socklen_t len = unix_address(&address, name, true);
    int fds[2];

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0)
        return errno;
    return code(bind(fds[0], (struct sockaddr *)&address, len));
}

static int try_named_stream(const char *name)
{
    return named_pair(name, SOCK_STREAM);
}

static int try_named_seqpacket(const char *name)
{
    return named_pair(name, SOCK_SEQPACKET);
}

static int try_named_datagram(const char *name)
{
    return named_pair(name, SOCK_DGRAM);
}

/* The kernel gives it a name, before it says that it is connected already. */
static int try_auto_name(const char *unused)
{
    struct sockaddr_un address;
    struct sockaddr_un own;
    socklen_t len = unix_address(&address, "nobody", true);
    socklen_t own_len = sizeof(own);
    int fds[2];
    int on = 1;

    (void)unused;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0 ||
        setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0)
        return errno;
    int status = code(connect(fds[0], (struct sockaddr *)&address, len));
    if (getsockname(fds[0], (struct sockaddr *)&own, &own_len) == 0 &&
        own_len > offsetof(struct sockaddr_un, sun_path))
        return 0;
    return status != 0 ? status : EISCONN;
}

/* So many sockets, for as long as the program lives. */
static int try_hold_pairs(const char *count)
{
    int fds[2];

    for (long i = number(count); i > 0; i--)
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
            return errno;
    return 0;
}

static void *nap_thread(void *argument)
{
    poll(NULL, 0, (int)(intptr_t)argument);
    _exit(0);
}

/* The first thread ends, another lives on. */
static int try_zombie_leader(const char *ms)
{
    pthread_t thread;
    int status = pthread_create(&thread, NULL, nap_thread, (void *)number(ms));

    if (status != 0)
        return status;
    fflush(stdout);
    pthread_exit(NULL);
}

/* A daemon as it is in the book, that also ignores every signal it can. */
static int try_daemon(const char *word)
{
    char *argv[] = {(char *)(uintptr_t)words[0], "nap=60000",
                    (char *)(uintptr_t)word, NULL};
    pid_t pid = fork();

    if (pid < 0)
        return errno;
    if (pid > 0) {
        reap(pid);
        return 0;
    }
    setsid();
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_IGN);
    if (fork() != 0)
        _exit(0);
    if (word[0] != 'h') /* else it holds the streams */
        for (int fd = 0; fd < 3; fd++)
            close(fd);
    execv("/proc/self/exe", argv);
    _exit(1);
}

static int try_stop(const char *unused)
{
    (void)unused;
    fflush(stdout);
    return code(kill(getpid(), SIGSTOP));
}

static int try_ignore(const char *unused)
{
    (void)unused;
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_IGN);
    return 0;
}

static int try_nap(const char *ms)
{
    fflush(stdout);
    poll(NULL, 0, (int)number(ms));
    return 0;
}

/* Burns that many milliseconds of processor time. */
static int try_spin(const char *ms)
{
    while (clock() / (CLOCKS_PER_SEC / 1000) < number(ms))
        continue;
    return 0;
}

/* At most that many children at once, which do nothing. */
static int try_forks(const char *most)
{
    static pid_t pids[4096];
    long count = 0;
    int status = 0;

    fflush(stdout);
    while (count < number(most) && count < 4096) {
        pids[count] = fork();
        if (pids[count] == 0) {
            pause();
            _exit(0);
        }
        if (pids[count] < 0) {
            status = errno;
            break;
        }
        count++;
    }
    value_number("forks", count);
    fflush(stdout);
    poll(NULL, 0, 200);
    for (long i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    for (long i = 0; i < count; i++)
        reap(pids[i]);
    return status;
}

static void *pause_thread(void *unused)
{
    pause();
    return unused;
}

static int try_threads(const char *most)
{
    pthread_attr_t small;
    pthread_t thread;
    long count = 0;
    int status = 0;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    while (count < number(most) && status == 0) {
        status = pthread_create(&thread, &small, pause_thread, NULL);
        count += status == 0;
    }
    value_number("threads", count);
    return status;
}

static int touched(void *memory, size_t size)
{
    if (memory == MAP_FAILED || memory == NULL)
        return errno;
    for (size_t at = 0; at < size; at += 4096)
        ((volatile char *)memory)[at] = 1;
    return 0;
}

static int try_heap(const char *mib)
{
    size_t size = (size_t)number(mib) * MIB;

    return size == 0 ? 0 : touched(malloc(size), size);
}

static int mapped(const char *mib, int flags)
{
    size_t size = (size_t)number(mib) * MIB;

    return touched(
        mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0),
        size);
}

static int try_private_map(const char *mib)
{
    return mapped(mib, MAP_PRIVATE);
}

static int try_shared_map(const char *mib)
{
    return mapped(mib, MAP_SHARED);
}

/* With nothing behind them: of each, one page is read. */
static int try_page_tables(const char *mib)
{
    size_t tables = (size_t)number(mib) * MIB / 4096;
    size_t reach = 2 * MIB;
    volatile const char *memory =
        mmap(NULL, tables * reach, PROT_READ,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return errno;
    madvise((void *)(uintptr_t)memory, tables * reach, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < tables; i++)
        (void)memory[i * reach];
    return 0;
}

/* One thread keeps the lock of our mappings for as long as it can, without
 * any memory of its own; one waits to change them, so that others wait. */
static void *keep_mappings(void *unused)
{
    enum { POPULATE_READ = 22 };
    size_t size = 524288 * (size_t)MIB;
    void *memory = mmap(NULL, size, PROT_READ,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    (void)unused;
    while (memory != MAP_FAILED && madvise(memory, size, POPULATE_READ) == 0)
        madvise(memory, size, MADV_DONTNEED);
    return NULL;
}

static void *change_mappings(void *unused)
{
    (void)unused;
    for (;;)
        munmap(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
               4096);
    return NULL;
}

static int try_unseen_map(const char *mib)
{
    size_t size = (size_t)number(mib) * MIB;
    pthread_t thread;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (pthread_create(&thread, NULL, keep_mappings, NULL) != 0 ||
        pthread_create(&thread, NULL, change_mappings, NULL) != 0)
        return EAGAIN;
    return touched(memory, size);
}

/* As heap, in a process whose first thread has ended. */
static void *headless_heap(void *mib)
{
    size_t size = (size_t)(intptr_t)mib * MIB;

    poll(NULL, 0, 50);
    touched(malloc(size), size);
    poll(NULL, 0, 5000);
    _exit(0);
}

static int try_headless_heap(const char *mib)
{
    pthread_t thread;
    int status = pthread_create(&thread, NULL, headless_heap,
                                (void *)(intptr_t)number(mib));

    if (status != 0)
        return status;
    fflush(stdout);
    pthread_exit(NULL);
}

/* As a shared mapping, in a process that nobody of its user may look into. */
static int try_hidden_map(const char *mib)
{
    if (prctl(PR_SET_DUMPABLE, 0) != 0)
        return errno;
    return mapped(mib, MAP_SHARED);
}

/* Descriptors that were sent and that nobody takes out, some in each message.
 */
static int try_in_flight(const char *most)
{
    enum { EACH = 200 };
    static union {
        struct cmsghdr header;
        char room[CMSG_SPACE(EACH * sizeof(int))];
    } control;
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    long count = 0;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return errno;
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(EACH * sizeof(int)),
                                      .cmsg_level = SOL_SOCKET,
                                      .cmsg_type = SCM_RIGHTS};
    while (count < number(most) && sendmsg(fds[0], &message, 0) == 1)
        count += EACH; /* each is descriptor 0 */
    value_number("in_flight", count);
    return 0;
}

static int try_limits(const char *unused)
{
    static const struct {
        const char *name;
        int resource;
    } limits[] = {{"sigpending", RLIMIT_SIGPENDING},
                  {"msgqueue", RLIMIT_MSGQUEUE},
                  {"memlock", RLIMIT_MEMLOCK}};
    struct rlimit it;

    (void)unused;
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
        if (getrlimit(limits[i].resource, &it) == 0)
            value_number(limits[i].name, (long long)it.rlim_max);
    return 0;
}

/* Processes that wait, as many as asked for. */
static int try_crowd(const char *most)
{
    for (long count = 0; count < number(most); count++) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
            _exit(0);
        }
        if (pid < 0)
            return errno;
    }
    return 0;
}

/* One process after another, each of so many milliseconds of the processor,
 * that the kernel adds to nobody's account. */
static bool has_used(long ms)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000 >= ms;
}

/* Child after child that nobody waits for, so many at a time. */
static int without_waiting(void (*child)(long ms), long ms, int at_once)
{
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < at_once; i++) {
        pid_t pid = i < at_once - 1 ? fork() : 0;
        if (pid < 0)
            return errno;
        while (pid == 0) {
            pid_t one = fork();
            if (one == 0) {
                child(ms);
                _exit(0);
            }
            waitpid(one, NULL, 0); /* fails when it has ended */
        }
    }
    return 0;
}

static void use(long ms)
{
    while (!has_used(ms))
        ;
}

static int try_uncounted(const char *ms)
{
    return without_waiting(use, number(ms), 1);
}

/* More at once than there are processors for. */
static int try_uncounted_crowd(const char *ms)
{
    return without_waiting(use, number(ms), 40);
}

static void *use_in_thread(void *ms)
{
    use((long)ms);
    return NULL;
}

static void use_beside(long ms)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, use_in_thread, (void *)ms) == 0)
        pthread_join(thread, NULL);
}

/* By a second thread, while the first one sleeps. */
static int try_uncounted_thread(const char *ms)
{
    return without_waiting(use_beside, number(ms), 1);
}

static void use_later(long ms)
{
    usleep(200 * 1000);
    use(ms);
}

/* When they have been there for long. */
static int try_uncounted_later(const char *ms)
{
    return without_waiting(use_later, number(ms), 24);
}

/* Each process begins two in sessions of their own and ends, until so many
 * milliseconds are over. */
static int try_session_bomb(const char *ms)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    long long end = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + number(ms);
    if (fork() != 0)
        return 0;
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_IGN);
    for (;;) {
        setsid();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec * 1000LL + now.tv_nsec / 1000000 > end)
            _exit(0);
        if (fork() > 0 && fork() > 0)
            _exit(0);
    }
}

/* Ends at the first error; how much was written is a value. */
static int filled(int fd, long mib)
{
    static const char chunk[MIB] = {1};
    long long done = 0;
    ssize_t wrote = 0;

    while (done < mib * (long long)MIB &&
           (wrote = write(fd, chunk, sizeof(chunk))) > 0)
        done += wrote;
    int status = code(wrote);
    value_number("written", done);
    return status;
}

/* Neither mapped nor in any directory. */
static int try_memory_file(const char *mib)
{
    return filled(memfd_create("eater", MFD_CLOEXEC), number(mib));
}

static int try_fill(const char *path_and_mib)
{
    char path[4096];
    long mib = cut_number(path_and_mib, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        return errno;
    int status = filled(fd, mib);
    close(fd);
    return status;
}

/* In pieces that are touched and let go at once: kept by their segments alone,
 * and never mapped together. */
static int try_shm_eater(const char *mib)
{
    enum { PIECE = 8 };

    for (long done = 0; done < number(mib); done += PIECE) {
        int id = shmget(IPC_PRIVATE, PIECE * MIB, IPC_CREAT | 0600);
        void *memory = id >= 0 ? shmat(id, NULL, 0) : (void *)-1;
        if (memory == (void *)-1)
            return errno;
        touched(memory, PIECE * MIB);
        shmdt(memory);
    }
    return 0;
}

/* Each as large as it may be, and full. */
static int try_pipes(const char *mib)
{
    static const char chunk[64 * 1024] = {1};
    long long done = 0;
    int fds[2];

    signal(SIGPIPE, SIG_IGN);
    while (done < number(mib) * MIB) {
        if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0)
            break;
        ssize_t wrote;
        fcntl(fds[1], F_SETPIPE_SZ, MIB);
        while ((wrote = write(fds[1], chunk, sizeof(chunk))) > 0)
            done += wrote;
    }
    int status = done < number(mib) * MIB ? errno : 0;
    value_number("written", done);
    return status;
}

static int try_sockets(const char *mib)
{
    static const char chunk[32 * 1024] = {1};
    long long done = 0;
    int fds[2];
    int size = MIB;

    while (done < number(mib) * MIB) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                       fds) != 0)
            break;
        ssize_t wrote;
        setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        while ((wrote = send(fds[1], chunk, sizeof(chunk), MSG_NOSIGNAL)) > 0)
            done += wrote;
    }
    int status = done < number(mib) * MIB ? errno : 0;
    value_number("written", done);
    return status;
}

static int try_inodes(const char *path_and_count)
{
    char path[4096];
    char name[4128];
    long most = cut_number(path_and_count, path);
    long count = 0;
    int status = 0;

    while (count < most && status == 0) {
        snprintf(name, sizeof(name), "%s/%ld", path, count);
        status = opened(name, O_WRONLY | O_CREAT | O_EXCL);
        count += status == 0;
    }
    value_number("inodes", count);
    return status;
}

static int try_sparse(const char *path)
{
    signal(SIGXFSZ, SIG_IGN);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno;
    int status = code(ftruncate(fd, 1LL << 40));
    close(fd);
    return status;
}

static int try_deep(const char *path_and_count)
{
    char path[4096];
    long most = cut_number(path_and_count, path);
    int status = code(chdir(path));

    for (long i = 0; i < most && status == 0; i++) {
        status = code(mkdir("d", 0755));
        if (status == 0)
            status = code(chdir("d"));
    }
    if (chdir("/") != 0)
        return errno;
    return status;
}

static int try_descriptors(const char *most)
{
    long count = 0;
    int status = 0;

    while (count < number(most) && status == 0) {
        status = code(open("/", O_PATH | O_CLOEXEC));
        count += status == 0;
    }
    value_number("descriptors", count);
    return status;
}

static int try_fds(const char *unused)
{
    char text[4096] = "";

    (void)unused;
    for (int fd = 0; fd < 65536 && strlen(text) < 4000; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            sprintf(text + strlen(text), "%d ", fd);
    value("fds", text);
    return 0;
}

static int try_environment(const char *unused)
{
    (void)unused;
    for (char **at = environ; *at != NULL; at++)
        value("variable", *at);
    return 0;
}

static int try_session(const char *unused)
{
    (void)unused;
    value_number("session", getsid(0) == getpid());
    return 0;
}

/* Ignored signals and blocked ones. */
static int try_signal_state(const char *unused)
{
    char line[512];
    FILE *file = fopen("/proc/self/status", "re");

    (void)unused;
    if (file == NULL)
        return errno;
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "SigIgn:", 7) == 0 ||
            strncmp(line, "SigBlk:", 7) == 0)
            printf("value %s", line);
    fclose(file);
    return 0;
}

static int try_exit(const char *status)
{
    fflush(stdout);
    _exit((int)number(status));
}

static int try_abort(const char *unused)
{
    (void)unused;
    fflush(stdout);
    abort();
}

static int told(const char *path, const char *text)
{
    FILE *file = fopen(path, "ae");
    if (file == NULL)
        return errno;
    fputs(text, file);
    return code(fclose(file));
}

/* Creates a file: others may wait for it. */
static int try_tell(const char *path)
{
    return told(path, "told\n");
}

static int try_wait_for(const char *path)
{
    for (int i = 0; i < 2000; i++) {
        if (access(path, F_OK) == 0)
            return 0;
        poll(NULL, 0, 5);
    }
    return ETIMEDOUT;
}

static int try_victim(const char *path)
{
    char text[64];
    snprintf(text, sizeof(text), "%d\n", getpid());
    return told(path, text);
}

/* Notes in a file that it listens, with its port, and each that comes. */
static int answered(int fd, const char *log, long port)
{
    char text[64];

    if (fd < 0 || listen(fd, 8) != 0)
        return errno;
    snprintf(text, sizeof(text), "%ld\n", port);
    told(log, text);
    for (;;) {
        int peer = accept(fd, NULL, NULL);
        told(log, "connected\n");
        close(peer);
    }
}

static int try_serve_tcp(const char *log)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return errno;
    return answered(fd, log, ntohs(address.sin_port));
}

static int try_serve_abstract(const char *log)
{
    struct sockaddr_un address;
    socklen_t len = unix_address(&address, log, true);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&address, len) != 0)
        return errno;
    return answered(fd, log, 0);
}

static int try_serve_unix(const char *log)
{
    struct sockaddr_un address;
    char path[4096];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(path, sizeof(path), "%s.socket", log);
    unix_address(&address, path, false);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return errno;
    chmod(path, 0666);
    return answered(fd, log, 0);
}

static int try_serve_datagram(const char *log)
{
    struct sockaddr_un address;
    char path[4096];
    char byte;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(path, sizeof(path), "%s.socket", log);
    unix_address(&address, path, false);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return errno;
    chmod(path, 0666);
    told(log, "0\n");
    while (recv(fd, &byte, 1, 0) >= 0)
        told(log, "received\n");
    return errno;
}

/* Puts a link and a file in the place of each other, for ever. */
static int try_swap(const char *path)
{
    char other[4096];

    snprintf(other, sizeof(other), "%s.other", path);
    while (syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, other, 2) == 0)
        continue;
    return errno;
}

static int try_mkfifo(const char *path)
{
    return code(mkfifo(path, 0666));
}

/* Leaves descriptors open that exec does not close, above and among the numbers
 * that the supervisor uses, and becomes the rest of the words. */
static int try_with_fds(const char *path)
{
    int file = open(path, O_RDONLY);
    int pair[2];

    if (file < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return errno;
    for (int fd = 3; fd < 40; fd++)
        if (dup2(fd % 2 ? file : pair[0], fd) < 0)
            return errno;
    dup2(pair[1], 900);
    execv(words[2], (char *const *)(uintptr_t)(words + 2));
    return errno;
}

/* Runs the rest of the words in a session with a terminal, and tells what was
 * typed into it meanwhile. */
static int try_with_pty(const char *log)
{
    int master;
    int waiting = 0;
    pid_t pid = forkpty(&master, NULL, NULL, NULL);

    if (pid < 0)
        return errno;
    if (pid == 0) {
        execv(words[2], (char *const *)(uintptr_t)(words + 2));
        _exit(127);
    }
    int slave = open(ptsname(master), O_RDONLY | O_NOCTTY | O_CLOEXEC);
    reap(pid);
    ioctl(slave, FIONREAD, &waiting);
    told(log, waiting > 0 ? "typed\n" : "quiet\n");
    return 0;
}

#define TRY(name)         \
    {                     \
#name, try_##name \
    }

static const struct {
    const char *name;
    int (*run)(const char *argument);
} attempts[] = {
    TRY(read),
    TRY(show),
    TRY(list),
    TRY(readlink),
    TRY(write),
    TRY(create),
    TRY(mkdir),
    TRY(symlink),
    TRY(link),
    TRY(unlink),
    TRY(rename),
    TRY(chmod),
    TRY(chown),
    TRY(set_id),
    TRY(born_set_id),
    TRY(rewrite),
    TRY(touch),
    TRY(setxattr),
    TRY(mknod),
    TRY(handle),
    TRY(mount),
    TRY(remount),
    TRY(bind),
    TRY(move),
    TRY(propagation),
    TRY(umount),
    TRY(pivot_root),
    TRY(chroot),
    TRY(setuid),
    TRY(setgid),
    TRY(setgroups),
    TRY(capset),
    TRY(ambient),
    TRY(status),
    TRY(euid),
    TRY(kill),
    TRY(signals),
    TRY(ptrace),
    TRY(vm_read),
    TRY(getfd),
    TRY(kcmp),
    TRY(prlimit),
    TRY(priority),
    TRY(user_priority),
    TRY(affinity),
    TRY(scheduler),
    TRY(processes),
    TRY(unshare),
    TRY(clone),
    TRY(clone3),
    TRY(setns),
    TRY(call),
    TRY(calls),
    TRY(unknown_call),
    TRY(ioctl),
    TRY(families),
    TRY(socket),
    TRY(tcp),
    TRY(udp),
    TRY(abstract),
    TRY(unix),
    TRY(fork),
    TRY(raw_fork),
    TRY(vfork),
    TRY(wide_clone),
    TRY(reached),
    TRY(spawn),
    TRY(system),
    TRY(popen),
    TRY(exec),
    TRY(exec_loader),
    TRY(exec_registers),
    TRY(exec_memory),
    TRY(exec_memory_path),
    TRY(exec_copy),
    TRY(thread),
    TRY(thread_exec),
    TRY(thread_fork),
    TRY(int80),
    TRY(int81),
    TRY(x32),
    TRY(listener),
    TRY(shm),
    TRY(sem),
    TRY(msg),
    TRY(mqueue),
    TRY(abstract_listen),
    TRY(make_objects),
    TRY(shm_use),
    TRY(shm_list),
    TRY(shm_remove),
    TRY(sem_use),
    TRY(sem_use_timed),
    TRY(sem_remove),
    TRY(msg_send),
    TRY(msg_receive),
    TRY(msg_remove),
    TRY(pair_datagram),
    TRY(pair_raw),
    TRY(pair_stream),
    TRY(pair_seqpacket),
    TRY(named_stream),
    TRY(named_seqpacket),
    TRY(named_datagram),
    TRY(auto_name),
    TRY(hold_pairs),
    TRY(flags),
    TRY(xflags),
    TRY(generation),
    TRY(verity),
    TRY(file_signal),
    TRY(file_owner),
    TRY(watch),
    TRY(io_priority),
    TRY(user_io_priority),
    TRY(prctl),
    TRY(old_aio),
    TRY(large_pipe),
    TRY(zombie_leader),
    TRY(daemon),
    TRY(stop),
    TRY(ignore),
    TRY(nap),
    TRY(spin),
    TRY(forks),
    TRY(threads),
    TRY(heap),
    TRY(private_map),
    TRY(shared_map),
    TRY(page_tables),
    TRY(unseen_map),
    TRY(headless_heap),
    TRY(hidden_map),
    TRY(in_flight),
    TRY(limits),
    TRY(crowd),
    TRY(uncounted),
    TRY(uncounted_crowd),
    TRY(uncounted_thread),
    TRY(uncounted_later),
    TRY(session_bomb),
    TRY(memory_file),
    TRY(fill),
    TRY(shm_eater),
    TRY(pipes),
    TRY(sockets),
    TRY(inodes),
    TRY(sparse),
    TRY(deep),
    TRY(descriptors),
    TRY(fds),
    TRY(environment),
    TRY(session),
    TRY(signal_state),
    TRY(exit),
    TRY(abort),
    TRY(tell),
    TRY(wait_for),
    TRY(victim),
    TRY(serve_tcp),
    TRY(serve_abstract),
    TRY(serve_unix),
    TRY(serve_datagram),
    TRY(swap),
    TRY(mkfifo),
    TRY(with_fds),
    TRY(with_pty),
};

static void attempt(const char *word)
{
    const char *equals = strchr(word, '=');
    size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);

    for (size_t i = 0; i < sizeof(attempts) / sizeof(*attempts); i++) {
        if (strlen(attempts[i].name) != len ||
            strncmp(attempts[i].name, word, len) != 0)
            continue;
        printf("attempting %s\n", word);
        fflush(stdout);
        int status = attempts[i].run(equals != NULL ? equals + 1 : "");
        const char *name = status != 0 ? strerrorname_np(status) : "done";
        printf("attempted %s: %s\n", word, name != NULL ? name : "?");
        fflush(stdout);
        return;
    }
    printf("no attempt %s\n", word);
}

int main(int argc, char **argv)
{
    words = (const char *const *)argv;
    for (int i = 1; i < argc; i++)
        attempt(argv[i]);
    return 0;
}
