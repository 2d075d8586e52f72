/* SPDX-License-Identifier: MIT */
/* The other end of the seccomp filter: what it asks about. To start a process
 * the answer is always no; asking is how we know that there was an attempt. A
 * connection goes on, and so does a look at a file, and neither is the filter's
 * to hold. */
#include "jail.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 5.5 */
#ifndef SECCOMP_USER_NOTIF_FLAG_CONTINUE
#define SECCOMP_USER_NOTIF_FLAG_CONTINUE 1
#endif

/* Linux 6.6 */
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1UL
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#endif

/* Who asks does nothing until there is an answer, so both may as well be on one
 * processor: to wake another takes longer than all the rest. Kernels that do
 * not know how go on as before. */
void noe_listener_begin(int listener)
{
    if (listener >= 0)
        (void)ioctl(listener, (int)SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                    SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

/* Where the address is among the arguments of a call that is let go on; -1: it
 * is not. */
static int address_of(int call)
{
    if (call == SYS_connect)
        return 1;
    return call == SYS_sendto ? 4 : -1;
}

/* Whether a call is one that we are only told of. */
static bool is_watched(const struct noe_jail *jail,
                       const struct seccomp_notif *question)
{
    const uint64_t *args = (const uint64_t *)question->data.args;
    pid_t pid = (pid_t)question->pid;
    int at = address_of(question->data.nr);

    if (at < 0)
        return jail->start.learns && noe_want_note(jail, pid, &question->data);
    noe_attempt_note(jail, pid, (int)args[0], args[at], args[at + 1]);
    if (jail->start.learns)
        noe_want_note_socket(pid, args[at], args[at + 1]);
    return true;
}

/* The buffers are larger than the structs, for kernels that know larger ones.
 * True: an attempt to start something was refused. */
static bool answer_one(const struct noe_jail *jail, int listener)
{
    static union {
        struct seccomp_notif it;
        char room[512];
    } question;
    static union {
        struct seccomp_notif_resp it;
        char room[512];
    } answer;

    memset(&question, 0, sizeof(question)); /* the kernel insists */
    if (ioctl(listener, (int)SECCOMP_IOCTL_NOTIF_RECV, &question) != 0)
        return false; /* the asker was killed meanwhile */
    memset(&answer, 0, sizeof(answer));
    answer.it.id = question.it.id;
    bool goes_on = is_watched(jail, &question.it);
    if (goes_on)
        answer.it.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else
        answer.it.error = -EPERM;
    (void)ioctl(listener, (int)SECCOMP_IOCTL_NOTIF_SEND, &answer);
    return !goes_on;
}

unsigned noe_listener_answer(const struct noe_jail *jail, int *listener)
{
    struct pollfd waiting = {*listener, POLLIN, 0};

    if (poll(&waiting, 1, 0) <= 0)
        return 0;
    if (waiting.revents & POLLIN)
        return answer_one(jail, *listener);
    close(*listener); /* nobody is left under the filter */
    *listener = -1;
    return 0;
}
