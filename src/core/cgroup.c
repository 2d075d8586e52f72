/* SPDX-License-Identifier: MIT */
/*
 * Version 1: a group of our own below the one we are in, which takes root.
 *
 * Version 2: a group that has processes in it may have no children with limits,
 * so ours must be made beside the one we are in, or below it where it is empty;
 * either takes a parent whose memory and pids controllers are switched on for
 * its children, and which was made over to us (systemd calls that delegation).
 */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

enum { MAX_LINE = 4096 };

static bool has_word(const char *list, const char *word, char separator)
{
    size_t len = strlen(word);

    for (const char *at = list; at != NULL; at = strchr(at, separator)) {
        if (*at == separator)
            at++;
        if (strncmp(at, word, len) == 0 &&
            (at[len] == separator || at[len] == '\0' || at[len] == '\n'))
            return true;
    }
    return false;
}

/* "NUMBER:CONTROLLERS:PATH"; version 2 has no controllers. Our path, or NULL.
 */
static char *own_path(const char *controller)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[MAX_LINE];
    char *found = NULL;

    while (file != NULL && found == NULL &&
           fgets(line, sizeof(line), file) != NULL) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        controllers++;
        if (controller == NULL ? *controllers == '\0'
                               : has_word(controllers, controller, ','))
            found = strdup(path);
    }
    if (file != NULL)
        fclose(file);
    return found;
}

/* The fields of proc_pid_mountinfo(5) that matter. */
struct mounted {
    char root[MAX_LINE];
    char point[MAX_LINE];
    char type[64];
    char options[MAX_LINE];
};

static bool parse_mount(const char *line, struct mounted *mounted)
{
    const char *rest = strstr(line, " - ");

    return rest != NULL &&
           sscanf(line, "%*s %*s %*s %4095s %4095s", mounted->root,
                  mounted->point) == 2 &&
           sscanf(rest, " - %63s %*s %4095s", mounted->type,
                  mounted->options) == 2;
}

static bool is_hierarchy(const struct mounted *mounted, const char *controller)
{
    if (controller == NULL)
        return strcmp(mounted->type, "cgroup2") == 0;
    return strcmp(mounted->type, "cgroup") == 0 &&
           has_word(mounted->options, controller, ',');
}

/* Where `path` of a hierarchy lies in the file system. In a container the mount
 * may show only what is below the container's own group. */
static char *join(const struct mounted *mounted, const char *path)
{
    size_t len = strlen(mounted->root);
    char *joined = NULL;

    if (strcmp(mounted->root, "/") != 0) {
        if (strncmp(path, mounted->root, len) != 0)
            return NULL;
        path += len;
    }
    if (strcmp(path, "/") == 0)
        path = "";
    if (asprintf(&joined, "%s%s", mounted->point, path) < 0)
        return NULL;
    return joined;
}

/* The directory of the group that we are in, or NULL. */
static char *own_directory(const char *controller)
{
    char *path = own_path(controller);
    FILE *file = path != NULL ? fopen("/proc/self/mountinfo", "re") : NULL;
    struct mounted *mounted = malloc(sizeof(*mounted));
    char *directory = NULL;
    char line[3 * MAX_LINE];

    while (file != NULL && mounted != NULL && directory == NULL &&
           fgets(line, sizeof(line), file) != NULL)
        if (parse_mount(line, mounted) && is_hierarchy(mounted, controller))
            directory = join(mounted, path);
    if (file != NULL)
        fclose(file);
    free(mounted);
    free(path);
    return directory;
}

static char *writable(char *directory)
{
    if (directory != NULL && access(directory, W_OK) == 0)
        return directory;
    free(directory);
    return NULL;
}

static void find_version_1(struct noe_cgroups *cgroups)
{
    cgroups->memory = writable(own_directory("memory"));
    cgroups->pids = writable(own_directory("pids"));
    cgroups->cpu = writable(own_directory("cpuacct"));
    if (cgroups->memory != NULL || cgroups->pids != NULL ||
        cgroups->cpu != NULL)
        cgroups->version = 1;
}

static bool passes_limits_on(const char *directory)
{
    char *path = NULL;
    char line[MAX_LINE] = "";

    if (asprintf(&path, "%s/cgroup.subtree_control", directory) < 0)
        return false;
    FILE *file = fopen(path, "re");
    free(path);
    bool read = file != NULL && fgets(line, sizeof(line), file) != NULL;
    if (file != NULL)
        fclose(file);
    return read && has_word(line, "memory", ' ') && has_word(line, "pids", ' ');
}

/* To move a process from one group to another takes the right to write to the
 * list of processes of the group that holds both. */
static bool may_be_parent(const char *directory)
{
    char *list = NULL;

    if (access(directory, W_OK) != 0 || !passes_limits_on(directory))
        return false;
    if (asprintf(&list, "%s/cgroup.procs", directory) < 0)
        return false;
    bool allowed = access(list, W_OK) == 0;
    free(list);
    return allowed;
}

static void find_version_2(struct noe_cgroups *cgroups)
{
    char *home = own_directory(NULL);
    char *parent = home != NULL ? strdup(home) : NULL;
    char *slash = parent != NULL ? strrchr(parent, '/') : NULL;

    if (slash != NULL && !may_be_parent(parent))
        *slash = '\0'; /* beside us, then */
    if (slash == NULL || slash == parent || !may_be_parent(parent)) {
        free(home);
        free(parent);
        return;
    }
    *cgroups =
        (struct noe_cgroups){2, parent, strdup(parent), strdup(parent), home};
}

void noe_cgroups_find(struct noe_cgroups *cgroups)
{
    *cgroups = (struct noe_cgroups){.version = 0};
    find_version_2(cgroups);
    if (cgroups->version == 0)
        find_version_1(cgroups);
}

void noe_cgroups_free(struct noe_cgroups *cgroups)
{
    free(cgroups->memory);
    free(cgroups->pids);
    free(cgroups->cpu);
    free(cgroups->home);
    *cgroups = (struct noe_cgroups){.version = 0};
}

void noe_group_init(struct noe_group *group)
{
    group->path = NULL;
    for (int i = 0; i < NOE_JAIL_GROUP_FDS; i++)
        group->fds[i] = -1;
}

static int open_in(const char *directory, const char *name, int flags)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", directory, name) < 0)
        return -1;
    int fd = open(path, flags | O_CLOEXEC);
    int code = errno;
    free(path);
    errno = code;
    return fd;
}

static int write_in(const char *directory, const char *name, const char *text)
{
    int fd = open_in(directory, name, O_WRONLY);
    if (fd < 0)
        return -1;
    ssize_t wrote = write(fd, text, strlen(text));
    noe_fd_close(&fd);
    return wrote == (ssize_t)strlen(text) ? 0 : -1;
}

/* As the supervisor does for a run of its own (src/jail/cgroup.c). */
static int limit_memory(const char *path, int version, uint64_t bytes)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
    if (version == 2) {
        (void)write_in(path, "memory.swap.max", "0");
        (void)write_in(path, "memory.oom.group", "1");
        return write_in(path, "memory.max", text);
    }
    if (write_in(path, "memory.limit_in_bytes", text) != 0)
        return -1;
    (void)write_in(path, "memory.memsw.limit_in_bytes", text);
    return 0;
}

static int open_files(struct noe_group *group, int version)
{
    static const struct {
        const char *names[2]; /* of version 1 and 2 */
        int flags;
    } files[NOE_JAIL_GROUP_FDS] = {
        [NOE_JAIL_GROUP_TASKS] = {{"tasks", "cgroup.procs"}, O_RDWR},
        [NOE_JAIL_GROUP_EVENTS] = {{"memory.oom_control", "memory.events"},
                                   O_RDONLY},
        [NOE_JAIL_GROUP_PEAK] = {{"memory.max_usage_in_bytes", "memory.peak"},
                                 O_RDONLY}};

    for (int i = 0; i < NOE_JAIL_GROUP_FDS; i++) {
        group->fds[i] =
            open_in(group->path, files[i].names[version - 1], files[i].flags);
        if (group->fds[i] < 0 && i == NOE_JAIL_GROUP_PEAK) /* before 5.19 */
            group->fds[i] =
                fcntl(group->fds[NOE_JAIL_GROUP_EVENTS], F_DUPFD_CLOEXEC, 0);
        if (group->fds[i] < 0)
            return -1;
    }
    return 0;
}

int noe_group_make(struct noe_group *group, const struct noe_cgroups *cgroups,
                   int server, unsigned number, uint64_t memory_bytes)
{
    noe_group_init(group);
    if (asprintf(&group->path, "%s/noether-%d-%u", cgroups->memory, server,
                 number) < 0) {
        group->path = NULL;
        return -1;
    }
    if (mkdir(group->path, 0755) != 0) {
        free(group->path);
        group->path = NULL;
        return -1;
    }
    if (limit_memory(group->path, cgroups->version, memory_bytes) == 0 &&
        open_files(group, cgroups->version) == 0)
        return 0;
    int code = errno;
    noe_group_drop(group);
    errno = code;
    return -1;
}

void noe_group_drop(struct noe_group *group)
{
    for (int i = 0; i < NOE_JAIL_GROUP_FDS; i++)
        noe_fd_close(&group->fds[i]);
    if (group->path != NULL)
        (void)rmdir(group->path);
    free(group->path);
    group->path = NULL;
}
