/* SPDX-License-Identifier: MIT */
/*
 * Who resolves names for the relay: a process apart, since this machine's own
 * resolver reads files and loads libraries, and the relay may do neither. For
 * each name there is a child that runs `getent ahosts NAME`, with no
 * environment, for ten seconds at most.
 */
#include "lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail.h"

enum { PATIENCE_US = 10 * 1000 * 1000, NOT_THERE = 127 };

static void add(struct noe_lookup_answer *answer, const char *text, bool v6)
{
    struct noe_lookup_address found = {.v6 = v6};

    if (answer->count == NOE_LOOKUP_MAX ||
        inet_pton(v6 ? AF_INET6 : AF_INET, text, found.bytes) != 1)
        return;
    for (uint32_t i = 0; i < answer->count; i++)
        if (memcmp(&answer->addresses[i], &found, sizeof(found)) == 0)
            return;
    answer->addresses[answer->count++] = found;
}

uint32_t noe_lookup_read(const char *text, struct noe_lookup_answer *answer)
{
    uint32_t before = answer->count;
    char word[INET6_ADDRSTRLEN];

    while (*text != '\0') {
        size_t len = strcspn(text, " \t\n");
        if (len < sizeof(word)) {
            memcpy(word, text, len);
            word[len] = '\0';
            add(answer, word, strchr(word, ':') != NULL);
        }
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return answer->count - before;
}

_Noreturn static void run_getent(char *name, int out)
{
    static const char *const places[] = {"/usr/bin/getent", "/bin/getent",
                                         "/run/current-system/sw/bin/getent"};
    char program[] = "getent";
    char database[] = "ahosts";
    char *const argv[] = {program, database, name, NULL};
    char *const envp[] = {NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(out, 1) < 0 || dup2(null >= 0 ? null : out, 0) < 0 ||
        dup2(null >= 0 ? null : out, 2) < 0)
        _exit(NOT_THERE);
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
        execve(places[i], argv, envp);
    _exit(NOT_THERE);
}

/* What it prints until it closes its end. False: it took too long. */
static bool read_all(int fd, char *text, size_t size)
{
    int64_t until_us = noe_jail_clock_us() + PATIENCE_US;
    size_t len = 0;
    ssize_t got = 1;

    while (got > 0) {
        struct pollfd ready = {fd, POLLIN, 0};
        int64_t left_us = until_us - noe_jail_clock_us();
        if (left_us <= 0 || poll(&ready, 1, (int)(left_us / 1000) + 1) == 0)
            return false;
        got = read(fd, text + len, size - 1 - len);
        len += got > 0 ? (size_t)got : 0;
        if (len == size - 1)
            break;
    }
    text[len] = '\0';
    return true;
}

static void resolve(char *name, struct noe_lookup_answer *answer)
{
    static char text[16 * 1024];
    int status = 0;
    int ends[2];

    answer->status = NOE_LOOKUP_NO_RESOLVER;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        run_getent(name, ends[1]);
    close(ends[1]);
    bool in_time = pid > 0 && read_all(ends[0], text, sizeof(text));
    close(ends[0]);
    if (pid < 0)
        return;
    if (!in_time)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!in_time)
        answer->status = NOE_LOOKUP_TIMED_OUT;
    else if (noe_lookup_read(text, answer) > 0)
        answer->status = NOE_LOOKUP_FOUND;
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != NOT_THERE)
        answer->status = NOE_LOOKUP_ABSENT;
}

_Noreturn static void serve_one(int own, struct noe_lookup_question *question)
{
    struct noe_lookup_answer answer = {.id = question->id};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_DFL);
    resolve(question->name, &answer);
    (void)send(own, &answer, sizeof(answer), MSG_NOSIGNAL);
    _exit(0);
}

void noe_lookup_serve(int own)
{
    struct noe_lookup_question question;

    signal(SIGCHLD, SIG_IGN); /* who has answered is reaped by the kernel */
    for (;;) {
        ssize_t len = recv(own, &question, sizeof(question), 0);
        if (len < 0 && errno == EINTR)
            continue;
        if (len != sizeof(question))
            _exit(0);
        question.name[sizeof(question.name) - 1] = '\0';
        if (!noe_host_is_name(question.name, strlen(question.name)))
            continue;
        pid_t pid = fork();
        if (pid == 0)
            serve_one(own, &question);
        if (pid < 0) {
            struct noe_lookup_answer answer = {
                .id = question.id, .status = NOE_LOOKUP_NO_RESOLVER};
            (void)send(own, &answer, sizeof(answer), MSG_NOSIGNAL);
        }
    }
}
