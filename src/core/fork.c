/* SPDX-License-Identifier: MIT */
#include "fork.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "argv.h"
#include "base/fd.h"
#include "base/protocol.h"
#include "error.h"

int noe_forks_open(struct noe_forks **forks, size_t ahead, int *theirs)
{
    struct noe_forks *f = calloc(1, sizeof(*f));
    int pair[2];

    if (f == NULL)
        return -1;
    f->failure.size = sizeof(f->failure);
    f->owner = getpid();
    f->ahead = ahead < NOE_FORK_MAX ? (unsigned)ahead : NOE_FORK_MAX;
    f->witness = f->service = -1;
    noe_inherited_init(&f->source);
    f->born = malloc(sizeof(*f->born));
    f->now = malloc(sizeof(*f->now));
    if (f->born == NULL || f->now == NULL ||
        noe_inherited_read(&f->source, f->born) != 0 ||
        noe_fd_socketpair(pair) != 0) {
        noe_forks_free(f);
        return -1;
    }
    f->service = pair[0];
    *theirs = pair[1];
    if (noe_kept_look(f->service, &f->id) != 0) {
        noe_fd_close(theirs);
        noe_forks_free(f);
        return -1;
    }
    *forks = f;
    return 0;
}

/* The number that a text of the kernel's begins with, or -1. */
static pid_t number_in(const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);

    return end != text && number > 0 && number <= INT_MAX ? (pid_t)number : -1;
}

/* The only child, or -1: where the kernel does not tell, too. */
static pid_t child_of(pid_t pid)
{
    char path[64];
    char line[128];
    pid_t child = -1;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid,
             (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fgets(line, sizeof(line), file) != NULL)
        child = number_in(line);
    fclose(file);
    return child;
}

/*
 * A host may put itself under Landlock's rules when the server is there
 * already, and its copies would not be under them. Who is under rules may not
 * look into one that is not (standby.c has the same of its launcher). Init's
 * first child is the server.
 */
static bool may_see(pid_t pid)
{
    char path[48];
    char text[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
    return readlink(path, text, sizeof(text)) > 0;
}

static void find_witness(struct noe_forks *f, pid_t supervisor)
{
    pid_t init = child_of(supervisor);
    pid_t server = init > 0 ? child_of(init) : -1;

    if (server > 0 && may_see(server))
        f->witness = server;
}

/* What a cradle that could not be made has said of it. */
static void hear_failure(struct noe_forks *f, const struct noe_standby *one)
{
    struct noe_jail_event event;
    ssize_t len =
        recv(one->seat, &event, sizeof(event), MSG_DONTWAIT | MSG_PEEK);

    if (len != (ssize_t)sizeof(event) || event.type != NOE_JAIL_FAILED)
        return;
    event.step[sizeof(event.step) - 1] = '\0';
    event.path[sizeof(event.path) - 1] = '\0';
    noe_error_set(&f->failure, NOE_FAULT_SANDBOX, event.code, event.step, "%s",
                  event.path);
}

/* Its number here: to itself it is number 1. -1 where that is not told. */
static pid_t number_of(int pidfd)
{
    char path[64];
    char line[128];
    pid_t pid = -1;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    FILE *file = fopen(path, "re");
    while (file != NULL && pid < 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "Pid:", 4) == 0)
            pid = number_in(line + 4);
    if (file != NULL)
        fclose(file);
    return pid;
}

static void welcome(struct noe_forks *f)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < f->coming_count; i++) {
        struct noe_standby *one = &f->coming[i];
        struct noe_jail_standby said = {0};
        errno = ECONNRESET;
        bool ours = noe_kept_check(&one->seat, &one->id);
        if (ours)
            hear_failure(f, one);
        errno = ECONNRESET;
        if (ours && noe_standby_hear(one, &said) == 0) {
            one->child.pid = number_of(one->child.pidfd);
            f->idle[f->idle_count++] = *one;
        } else if (errno == ECONNRESET) {
            noe_standby_let_go(one);
        } else {
            f->coming[kept++] = *one;
        }
    }
    f->coming_count = kept;
}

void noe_forks_tend(struct noe_forks *f, pid_t supervisor)
{
    if (f->owner != getpid() || !noe_kept_check(&f->service, &f->id))
        return;
    welcome(f);
    if (f->witness < 0 && f->idle_count > 0) /* the server was there before */
        find_witness(f, supervisor);
    if (2 * (f->idle_count + f->coming_count) <= f->ahead)
        f->filling = true;
    while (f->failure.fault == NOE_FAULT_NONE && f->filling) {
        struct noe_standby *one = &f->coming[f->coming_count];
        if (noe_standby_ask(f->service, one) != 0 || one->seat < 0)
            return;
        f->coming_count++;
        f->filling = f->idle_count + f->coming_count < f->ahead;
    }
}

static int refuse(struct noe_error *err, int code, const char *why)
{
    return noe_error_set(err, NOE_FAULT_SPAWN, code, "fork", "%s", why);
}

/* Whether a copy of it is as a child of ours would be now. */
static const char *check_likeness(struct noe_forks *f)
{
    if (f->owner != getpid())
        return "the server belongs to the parent of this process";
    if (!noe_kept_check(&f->service, &f->id))
        return "the server has ended";
    if (noe_inherited_read(&f->source, f->now) != 0 ||
        f->now->len != f->born->len ||
        memcmp(f->now->data, f->born->data, f->now->len) != 0)
        return "this process has changed since the server was started";
    if (f->witness < 0 || !may_see(f->witness))
        return "the server cannot be seen from here";
    return NULL;
}

static int hand_to_first(struct noe_forks *f, const struct noe_launch *launch,
                         const struct noe_argv *strings, unsigned arguments,
                         struct noe_standby *cradle)
{
    while (f->idle_count > 0) {
        struct noe_standby *last = &f->idle[--f->idle_count];
        if (noe_kept_check(&last->seat, &last->id) &&
            noe_standby_hand_over(launch, -1, strings, arguments, last) == 0) {
            *cradle = *last;
            return 0;
        }
        noe_standby_let_go(last);
    }
    return -1;
}

int noe_forks_start(struct noe_forks *f, const struct noe_launch *launch,
                    struct noe_standby *cradle, struct noe_error *err)
{
    const char *why = check_likeness(f);
    struct noe_argv strings = {.count = 0};
    const char *const *variable = launch->envp;

    if (why != NULL)
        return refuse(err, ESTALE, why);
    welcome(f);
    if (f->idle_count == 0 && f->failure.fault != NOE_FAULT_NONE) {
        noe_error_copy(err, &f->failure);
        return -1;
    }
    noe_argv_add(&strings, launch->argv[0]);
    for (; *variable != NULL; variable++)
        noe_argv_add(&strings, *variable);
    int status = -1;
    if (!strings.failed && strings.bytes.len <= NOE_JAIL_MAX_REQUEST)
        status = hand_to_first(f, launch, &strings, 1, cradle);
    noe_argv_free(&strings);
    return status == 0 ? 0
                       : refuse(err, EAGAIN, "no place is ready for a copy");
}

void noe_forks_close(struct noe_forks *f)
{
    if (f == NULL)
        return;
    while (f->idle_count > 0)
        noe_standby_let_go(&f->idle[--f->idle_count]);
    while (f->coming_count > 0)
        noe_standby_let_go(&f->coming[--f->coming_count]);
    noe_kept_close(&f->service, &f->id);
    f->service = -1;
}

void noe_forks_free(struct noe_forks *f)
{
    if (f == NULL)
        return;
    noe_forks_close(f);
    noe_inherited_close(&f->source);
    free(f->born);
    free(f->now);
    free(f);
}
