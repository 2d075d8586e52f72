/* SPDX-License-Identifier: MIT */
/* The other end of the seccomp filter: what it asks about before it refuses.
 * The answer is always no; asking is how we know that there was an attempt. */
#include "jail.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The listener that the program's process sent before exec, or -1. */
static int receive_listener(int socket)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int listener = -1;

    if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
        return -1;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(&listener, CMSG_DATA(header), sizeof(listener));
    return listener;
}

pid_t program_start_reporting(struct program *program, int *listener,
                              struct noe_jail_event *event)
{
    int pair[2];

    if (!program->in->start.reports_denied)
        return program_start(program, event);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        jail_failure(event, NOE_JAIL_FAULT_SANDBOX, "socketpair", NULL);
        return -1;
    }
    program->report = pair[1];
    pid_t pid = program_start(program, event);
    *listener = receive_listener(pair[0]);
    close(pair[0]);
    close(pair[1]);
    return pid;
}

/* The buffers are larger than the structs, for kernels that know larger ones.
 */
static bool answer_one(int listener)
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
    answer.it.error = -EPERM;
    (void)ioctl(listener, (int)SECCOMP_IOCTL_NOTIF_SEND, &answer);
    return true;
}

unsigned listener_answer(int *listener)
{
    struct pollfd waiting = {*listener, POLLIN, 0};

    if (poll(&waiting, 1, 0) <= 0)
        return 0;
    if (waiting.revents & POLLIN)
        return answer_one(*listener);
    close(*listener); /* nobody is left under the filter */
    *listener = -1;
    return 0;
}
