/* SPDX-License-Identifier: MIT */
#include "result.h"

#include <sys/wait.h>

#include "clock.h"
#include "error.h"

static uint32_t enforced(const struct noe_process *p)
{
    uint32_t bits = p->would_enforce;

    if (p->supervised && p->ended && p->end.survivors == 0 && !p->end.late)
        bits |= NOE_ENFORCED_TREE_KILL;
    if (p->ended && p->end.memory_cgroup)
        bits |= NOE_ENFORCED_MEMORY_CGROUP;
    if (p->ended && p->end.pids_cgroup)
        bits |= NOE_ENFORCED_PIDS_CGROUP;
    if (p->ended && p->end.cpu_sampled)
        bits |= NOE_ENFORCED_CPU_SAMPLED;
    if (p->ended && p->end.memory_sampled)
        bits |= NOE_ENFORCED_MEMORY_SAMPLED;
    return bits;
}

static enum noe_reason jail_reason(uint32_t cause)
{
    switch (cause) {
    case NOE_JAIL_CAUSE_TIMEOUT:
        return NOE_REASON_TIMEOUT;
    case NOE_JAIL_CAUSE_MEMORY:
        return NOE_REASON_MEMORY_LIMIT;
    case NOE_JAIL_CAUSE_CPU:
        return NOE_REASON_CPU_LIMIT;
    default: /* cancelled, and not by us: it could not go on */
        return NOE_REASON_STATUS_LOST;
    }
}

/* A program that had ended by the time it was cancelled ended by itself; one
 * that had written too much by then did not succeed all the same. */
static enum noe_reason reason_of(const struct noe_process *p, bool has_status,
                                 int status)
{
    bool too_late =
        p->cause == NOE_REASON_CANCELLED && has_status && p->supervised;

    if (p->cause != NOE_REASON_NONE && !too_late)
        return p->cause;
    if (p->ended && p->end.cause != NOE_JAIL_CAUSE_NONE &&
        !(too_late && p->end.cause == NOE_JAIL_CAUSE_CANCELLED))
        return jail_reason(p->end.cause);
    if (!has_status)
        return NOE_REASON_STATUS_LOST;
    return WIFSIGNALED(status) ? NOE_REASON_SIGNAL : NOE_REASON_EXIT;
}

void noe_result_fill(struct noe_process *p, bool has_status, int status)
{
    struct noe_result *result = &p->result;

    result->size = sizeof(*result);
    result->reason = reason_of(p, has_status, status);
    result->exit_code = -1;
    if (result->reason == NOE_REASON_EXIT)
        result->exit_code = WEXITSTATUS(status);
    if (result->reason == NOE_REASON_SIGNAL)
        result->signal = WTERMSIG(status);
    if (noe_ends_join(&p->errors.ends) != 0)
        p->errors.cut = true;
    result->output = p->output.kept.data;
    result->output_len = p->output.kept.len;
    result->output_bytes = p->output.total;
    result->output_truncated = p->output.cut;
    result->errors = p->errors.ends.head.data;
    result->errors_len = p->errors.ends.head.len;
    result->errors_bytes = p->errors.total;
    result->errors_truncated =
        p->errors.cut || p->errors.total > p->errors.limit;
    result->duration_us = noe_clock_us() - p->started_us;
    result->answer_us = -1;
    if (p->output.last_us > 0)
        result->answer_us = p->output.last_us - p->started_us;
    result->cpu_user_us = p->ended ? p->end.cpu_user_us : -1;
    result->cpu_system_us = p->ended ? p->end.cpu_system_us : -1;
    result->max_rss_bytes = p->ended ? p->end.max_rss_bytes : -1;
    result->enforced = enforced(p);
    result->denied_processes = p->ended ? p->end.denied_process : 0;
    result->at_process_limit = p->ended && p->end.at_process_limit;
    result->denied_connections = p->ended ? p->end.denied_network : -1;
    result->network = p->report;
    result->network_len = p->report_len;
}

/* Where the program never ran, all that came on stderr is the wrapper's. */
void noe_result_explain(struct noe_process *p)
{
    if (p->failure.fault != NOE_FAULT_NONE)
        return;
    const struct noe_buffer *said = &p->errors.ends.head;
    int len = (int)(said->len < 400 ? said->len : 400);
    while (len > 0 && said->data[len - 1] == '\n')
        len--;
    if (p->wrapped && p->cause == NOE_REASON_NONE)
        noe_error_set(&p->failure, NOE_FAULT_SANDBOX, 0, "bwrap", "%.*s", len,
                      len > 0 ? said->data : "");
    else
        noe_error_set(&p->failure, NOE_FAULT_SPAWN, 0, "spawn",
                      "ended before the program could start");
}

/* A program may kill the jail before that has said that it started it. */
static bool may_have_run(const struct noe_process *p, int jail_status)
{
    if (p->ended)
        return p->end.may_have_run;
    return jail_status < 0 || WIFSIGNALED(jail_status);
}

/* By us or by the jail. */
bool noe_result_was_ended(const struct noe_process *p)
{
    return p->cause != NOE_REASON_NONE ||
           (p->ended && p->end.cause != NOE_JAIL_CAUSE_NONE);
}

bool noe_result_nothing_ran(const struct noe_process *p)
{
    if (!p->supervised)
        return false;
    return p->failure.fault != NOE_FAULT_NONE ||
           (!p->started && !noe_result_was_ended(p) &&
            !may_have_run(p, p->status));
}

const char *noe_reason_name(enum noe_reason reason)
{
    static const char *const names[] = {
        [NOE_REASON_NONE] = "none",
        [NOE_REASON_EXIT] = "exit",
        [NOE_REASON_SIGNAL] = "signal",
        [NOE_REASON_TIMEOUT] = "timeout",
        [NOE_REASON_OUTPUT_LIMIT] = "output_limit",
        [NOE_REASON_MEMORY_LIMIT] = "memory_limit",
        [NOE_REASON_CPU_LIMIT] = "cpu_limit",
        [NOE_REASON_CANCELLED] = "cancelled",
        [NOE_REASON_STATUS_LOST] = "status_lost",
        [NOE_REASON_STREAM_FAILED] = "stream_failed"};

    return names[reason];
}

const char *noe_enforced_name(uint32_t bit)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{NOE_ENFORCED_USER_NS, "user_ns"},
                 {NOE_ENFORCED_MOUNT_NS, "mount_ns"},
                 {NOE_ENFORCED_PID_NS, "pid_ns"},
                 {NOE_ENFORCED_NET_NS, "net_ns"},
                 {NOE_ENFORCED_IPC_NS, "ipc_ns"},
                 {NOE_ENFORCED_UTS_NS, "uts_ns"},
                 {NOE_ENFORCED_CGROUP_NS, "cgroup_ns"},
                 {NOE_ENFORCED_HOST_UID, "host_uid"},
                 {NOE_ENFORCED_LANDLOCK, "landlock"},
                 {NOE_ENFORCED_SECCOMP, "seccomp"},
                 {NOE_ENFORCED_NO_NEW_PRIVS, "no_new_privs"},
                 {NOE_ENFORCED_CAPS, "caps"},
                 {NOE_ENFORCED_NO_PROCESS, "no_process"},
                 {NOE_ENFORCED_TREE_KILL, "tree_kill"},
                 {NOE_ENFORCED_HOST_DEATH, "host_death"},
                 {NOE_ENFORCED_MEMORY_CGROUP, "memory_cgroup"},
                 {NOE_ENFORCED_MEMORY_SAMPLED, "memory_sampled"},
                 {NOE_ENFORCED_CPU_SAMPLED, "cpu_sampled"},
                 {NOE_ENFORCED_PIDS_CGROUP, "pids_cgroup"},
                 {NOE_ENFORCED_PIDS_RLIMIT, "pids_rlimit"},
                 {NOE_ENFORCED_TMPFS_LIMITS, "tmpfs_limits"},
                 {NOE_ENFORCED_FRESH_PROC, "fresh_proc"},
                 {NOE_ENFORCED_HOST_LIST, "host_list"}};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (names[i].bit == bit)
            return names[i].name;
    return NULL;
}
