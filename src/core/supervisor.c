/* SPDX-License-Identifier: MIT */
#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hosts.h"
#include "clock.h"
#include "error.h"
#include "launch.h"
#include "shared.h"

enum {
    JAIL_END_US = 10 * 1000 * 1000, /* to end the tree when told to */
    MOST_PASSED = NOE_SHARED_FDS
};

static int tell(const struct noe_process *p,
                const struct noe_jail_command *command)
{
    if (send(p->control, command, sizeof(*command),
             MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return 0;
    if (errno == EPIPE || errno == ECONNRESET)
        errno = ESRCH;
    return -1;
}

int noe_supervisor_command(const struct noe_process *p, uint32_t type, int sig)
{
    struct noe_jail_command command = {.type = type, .signal = sig};

    return tell(p, &command);
}

int noe_supervisor_terms(const struct noe_process *p, uint64_t cpu_ms)
{
    struct noe_jail_command command = {.type = NOE_JAIL_TERMS,
                                       .deadline_us = p->deadline_us,
                                       .cpu_us = NOE_JAIL_NO_LIMIT};

    if (p->deadline_us == INT64_MAX)
        command.deadline_us = NOE_JAIL_NO_LIMIT;
    if (cpu_ms < INT64_MAX / 2000)
        command.cpu_us = (int64_t)cpu_ms * 1000;
    return tell(p, &command);
}

int noe_supervisor_tell_deadline(const struct noe_process *p, uint32_t type)
{
    struct noe_jail_command command = {.type = type,
                                       .deadline_us = NOE_JAIL_NO_LIMIT};

    if (p->deadline_us != INT64_MAX)
        command.deadline_us = p->deadline_us;
    return tell(p, &command);
}

int noe_supervisor_answer(const struct noe_process *p, uint32_t id, bool yes)
{
    const struct noe_jail_command command = {.type = NOE_JAIL_LEAVE,
                                             .answer = {id, yes}};

    return tell(p, &command);
}

void noe_supervisor_wake(const struct noe_process *p)
{
    (void)syscall(SYS_pidfd_send_signal, p->child.pidfd, SIGCONT, NULL, 0);
}

/* The end of all commands is one, too, and takes no memory to send. */
void noe_supervisor_end(struct noe_process *p)
{
    if (noe_supervisor_command(p, NOE_JAIL_CANCEL, 0) != 0)
        shutdown(p->control, SHUT_WR);
    noe_supervisor_wake(p);
    p->patience_us = noe_clock_us() + JAIL_END_US;
}

static void note_failure(struct noe_process *p, struct noe_jail_event *event)
{
    enum noe_fault fault = event->fault == NOE_JAIL_FAULT_SANDBOX
                               ? NOE_FAULT_SANDBOX
                               : NOE_FAULT_SPAWN;

    event->step[sizeof(event->step) - 1] = '\0';
    event->path[sizeof(event->path) - 1] = '\0';
    noe_error_set(&p->failure, fault, event->code, event->step, "%s",
                  event->path);
}

/* Descriptors that come with one are taken by who needs them. */
static void note_event(struct noe_process *p, struct noe_jail_event *event,
                       int *passed)
{
    if (event->type == NOE_JAIL_NETWORK && passed[1] >= 0) {
        noe_shared_keep(noe_launcher_shared(p->launcher), passed);
    } else if (event->type == NOE_JAIL_STARTED) {
        p->started = true;
        memcpy(p->step_us, event->step_us, sizeof(p->step_us));
        if (event->watches_host)
            p->would_enforce |= NOE_ENFORCED_HOST_DEATH;
        if (p->walled && !event->stub_proc)
            p->would_enforce |= NOE_ENFORCED_FRESH_PROC;
        if (event->host_name_seen)
            p->would_enforce &= ~(uint32_t)NOE_ENFORCED_UTS_NS;
        if (event->landlock > 0)
            p->would_enforce |= NOE_ENFORCED_LANDLOCK;
    } else if (event->type == NOE_JAIL_SIGNALLED) {
        p->signalled += 1;
    } else if (event->type == NOE_JAIL_ENDED) {
        p->ended = true;
        p->end = *event;
    } else if (event->type == NOE_JAIL_FAILED && !p->started) {
        note_failure(p, event);
    } else if (event->type == NOE_JAIL_WORK_DIR && *passed >= 0 &&
               p->work_dir < 0) {
        p->work_dir = *passed;
        *passed = -1;
    } else if (event->type == NOE_JAIL_HOLDING && *passed >= 0) {
        p->holding = true;
        p->held_until_us = event->until_us;
        p->work_dir = *passed;
        *passed = -1;
    }
}

static bool has_room_for_question(struct noe_process *p)
{
    size_t room = p->question_room > 0 ? 2 * p->question_room : 8;

    if (p->question_count < p->question_room)
        return true;
    if (room > NOE_QUESTIONS_MAX)
        room = NOE_QUESTIONS_MAX;
    if (room <= p->question_count)
        return false;
    struct noe_jail_question *list =
        realloc(p->questions, room * sizeof(*list));
    if (list == NULL)
        return false;
    p->questions = list;
    p->question_room = room;
    return true;
}

/* It comes from a process that a stage has spoken to. What is not kept is not
 * answered, which is a no. */
static void note_question(struct noe_process *p,
                          const struct noe_jail_question *question)
{
    size_t len = strnlen(question->host, sizeof(question->host));

    if (len < sizeof(question->host) && noe_host_is_name(question->host, len) &&
        question->port > 0 && question->port <= UINT16_MAX &&
        has_room_for_question(p))
        p->questions[p->question_count++] = *question;
}

/* A report has its text behind it, of which there may be a second one, and a
 * question what it asks. */
static void note_message(struct noe_process *p, struct noe_jail_event *event,
                         size_t len, int *passed)
{
    bool spoken = event->type == NOE_JAIL_REPORT || event->type == NOE_JAIL_ASK;
    size_t rest = len - sizeof(*event);

    if (!spoken && rest == 0)
        note_event(p, event, passed);
    else if (event->type == NOE_JAIL_REPORT)
        p->report_len += rest;
    else if (p->report_len == 0 && spoken &&
             rest == sizeof(struct noe_jail_question))
        note_question(p, (const struct noe_jail_question *)p->report);
}

static size_t room_for_report(const struct noe_process *p)
{
    enum { MOST = NOE_JAIL_MAX_REPORTS * NOE_JAIL_MAX_REPORT };

    return p->report != NULL ? MOST - p->report_len : 0;
}

/* Room for as many descriptors as ever come. And for what is behind an event,
 * until that is a report. */
static ssize_t receive(struct noe_process *p, struct noe_jail_event *event,
                       int passed[MOST_PASSED])
{
    union {
        char bytes[CMSG_SPACE(MOST_PASSED * sizeof(int))];
        struct cmsghdr header;
    } room;
    size_t room_left = room_for_report(p);
    char *next = room_left > 0 ? p->report + p->report_len : NULL;
    struct iovec parts[] = {{event, sizeof(*event)}, {next, room_left}};
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = 2,
                             .msg_control = &room,
                             .msg_controllen = sizeof(room)};
    ssize_t len =
        recvmsg(p->control, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    passed[0] = passed[1] = -1;
    const struct cmsghdr *header = len > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_level == SOL_SOCKET &&
        header->cmsg_type == SCM_RIGHTS)
        memcpy(passed, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return len;
}

/* A command that the jail did not read before it ended comes back as one
 * ECONNRESET, in front of its last words. */
void noe_supervisor_hear(struct noe_process *p)
{
    struct noe_jail_event event = {0};
    int passed[MOST_PASSED];
    ssize_t len;

    do {
        len = receive(p, &event, passed);
        if (len >= (ssize_t)sizeof(event))
            note_message(p, &event, (size_t)len, passed);
        for (int i = 0; i < MOST_PASSED; i++)
            noe_fd_close(&passed[i]);
    } while (!p->ended &&
             (len > 0 || (len < 0 && (errno == ECONNRESET || errno == EINTR))));
}
