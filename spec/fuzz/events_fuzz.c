/* SPDX-License-Identifier: MIT */
/*
 * What the host hears from the supervisor. They are of one build and trust each
 * other; but where the supervisor's memory or its socket were somebody else's,
 * the host must not be lost with them. The source is included, to make a
 * process of which nothing is real but its socket.
 */
#include <stdint.h>
#include <string.h>

#include "core/process.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_result(const struct noe_process *p)
{
    require(noe_reason_name(p->result.reason) != NULL);
    require(p->result.reason != NOE_REASON_NONE);
    require(p->result.exit_code >= -1 && p->result.exit_code < 256);
    require(p->result.signal >= 0 && p->result.signal < 128);
}

static void check_failure(const struct noe_process *p)
{
    require(memchr(p->failure.message, 0, sizeof(p->failure.message)) != NULL);
    require(memchr(p->failure.operation, 0, sizeof(p->failure.operation)) !=
            NULL);
}

/* The first byte has flags, the next two a status; messages of the right
 * length follow, and one that is short. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct noe_process *p = calloc(1, sizeof(*p));
    int pair[2];

    if (size < 3 || p == NULL || noe_fd_socketpair(pair) != 0) {
        free(p);
        return 0;
    }
    noe_inlet_init(&p->input);
    p->failure = (struct noe_error)NOE_ERROR_INIT;
    noe_outlet_init(&p->output, false, 10);
    noe_outlet_init(&p->errors, true, 10);
    p->control = pair[0];
    p->child.pidfd = p->poller = p->work_dir = p->unread = -1;
    p->standby.seat = p->standby.file = -1;
    if (data[0] & 32) /* there is room for what a relay tells */
        p->report = malloc(NOE_JAIL_MAX_REPORT);
    p->owner = getpid();
    p->owns_poller = true;
    p->supervised = true;
    p->walled = data[0] & 1;
    p->wrapped = data[0] & 2;
    p->native = data[0] & 4;
    if (data[0] & 8)
        p->cause = NOE_REASON_CANCELLED;
    p->status = (data[0] & 16) ? -1 : data[1] << 8 | data[2];
    data += 3;
    size -= 3;
    while (size > 0) {
        size_t len = sizeof(struct noe_jail_event);
        if (data[0] == NOE_JAIL_REPORT && p->report != NULL)
            len += 500; /* and its text */
        if (len > size)
            len = size;
        if (send(pair[1], data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break;
        data += len;
        size -= len;
    }
    close(pair[1]);
    noe_supervisor_hear(p);
    if (noe_result_nothing_ran(p)) {
        noe_result_explain(p);
        check_failure(p);
        noe_process_close(p);
        return 0;
    }
    settle(p);
    check_result(p);
    noe_process_close(p);
    return 0;
}
