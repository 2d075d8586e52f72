/* SPDX-License-Identifier: MIT */
/*
 * What the host and the jail say to each other. They come from one build, so
 * the structs need no stable layout; `version` guards against a stale copy on
 * disk.
 *
 * The jail starts with the program's standard streams as 0 to 2, one end of a
 * SOCK_SEQPACKET pair as NOE_JAIL_CONTROL_FD, and, for a sandbox in which it
 * must start itself again, its own image as NOE_JAIL_IMAGE_FD. Its arguments
 * after argv[0] are the program's, its environment is the program's.
 *
 * host -> jail: one noe_jail_start with its strings; later noe_jail_command.
 *               The end of file means: end the tree, nobody is listening.
 * jail -> host: NOE_JAIL_STARTED or NOE_JAIL_FAILED, then NOE_JAIL_ENDED.
 */
#ifndef NOE_JAIL_PROTOCOL_H
#define NOE_JAIL_PROTOCOL_H

#include <stdint.h>

enum { NOE_JAIL_CONTROL_FD = 3, NOE_JAIL_IMAGE_FD = 4, NOE_JAIL_FIRST_FREE_FD };

enum { NOE_JAIL_VERSION = 1, NOE_JAIL_MAX_MESSAGE = 192 * 1024 };

/* Before every variable of a program that a wrapper stands in front of. */
#define NOE_JAIL_ENV_MARK '_'

enum noe_jail_role {
    NOE_JAIL_SUPERVISOR = 1, /* the host's child: owns the tree */
    NOE_JAIL_INIT            /* inside a sandbox that another program made */
};

enum { NOE_JAIL_NO_LIMIT = -1 };

struct noe_jail_limits { /* each NOE_JAIL_NO_LIMIT, or at least 0 */
    int64_t memory_bytes;
    int64_t cpu_us;
    int64_t processes;
    int64_t open_files;
    int64_t file_bytes;
};

/* Who makes the walls. */
enum noe_jail_walls {
    NOE_JAIL_NO_WALLS = 0,
    NOE_JAIL_WRAPPED, /* another program: the wrapping command (bwrap) */
    NOE_JAIL_NATIVE,  /* the jail itself */
    NOE_JAIL_LANDLOCK /* none that hide anything: rules alone */
};

/* Inside, the program has this id; so it has on the host, if root started it.
 * Not 65534: what belongs to somebody else looks like 65534 inside, and would
 * look like the program's own. */
enum { NOE_JAIL_ID = 65533 };

struct noe_jail_start {
    uint32_t version;
    uint32_t role;
    uint32_t walls;
    int32_t host_pid;
    int64_t deadline_us; /* CLOCK_MONOTONIC; NOE_JAIL_NO_LIMIT: none */
    struct noe_jail_limits limits;
    int64_t private_bytes; /* of the private directories together */
    int64_t private_files;
    uint64_t password[3]; /* for the one execve that the filter lets pass */
    uint32_t host_network;
    uint32_t max_landlock;   /* use no higher version, for tests */
    uint32_t reports_denied; /* the filter asks before it refuses */
    uint32_t filter_len;     /* bytes of seccomp filter, a multiple of 8 */
    uint32_t has_cwd;
    uint32_t has_private;
    uint32_t cgroup_version; /* 0: no group can be made */
    uint32_t wrapper_count;  /* strings of the wrapping command */
    uint32_t bind_count;
    uint32_t link_count;
    uint32_t strings_len;
    /* The filter follows, and after it strings_len bytes of strings, each ended
     * by NUL: the working directory, if has_cwd; a directory of this run's own
     * that is made, and removed at its end, if has_private; if cgroup_version
     * is not 0, where to make a group for memory, where for processes, and the
     * group to go back to, each perhaps empty; the wrapping command; for each
     * bind "r" or "w" and the source, then the target, parents before what is
     * below them; for each link what it says, then where it is. */
};

enum noe_jail_command_type { NOE_JAIL_CANCEL = 1, NOE_JAIL_SIGNAL };

struct noe_jail_command {
    uint32_t type;
    int32_t signal;
};

enum noe_jail_event_type {
    NOE_JAIL_STARTED = 1, /* the program runs */
    NOE_JAIL_FAILED,      /* it does not: step, code, fault */
    NOE_JAIL_STARTING,    /* init to supervisor: one of these will follow */
    NOE_JAIL_STATUS,      /* init to supervisor: the program has ended */
    NOE_JAIL_ENDED        /* the tree is gone */
};

enum noe_jail_cause { /* why the supervisor ended the tree */
                      NOE_JAIL_CAUSE_NONE = 0,
                      NOE_JAIL_CAUSE_TIMEOUT,
                      NOE_JAIL_CAUSE_MEMORY,
                      NOE_JAIL_CAUSE_CPU,
                      NOE_JAIL_CAUSE_CANCELLED
};

enum noe_jail_fault { NOE_JAIL_FAULT_SPAWN = 1, NOE_JAIL_FAULT_SANDBOX };

/* What is done on the way to a program in a native sandbox, in this order. What
 * each step took is told when the program runs. */
#define NOE_JAIL_STEPS                                                        \
    {                                                                         \
        "make namespaces", "begin network", "map ids", "parent-death signal", \
            "mount root", "mount private directory", "make mount points",     \
            "bind", "mount /proc", "make /dev", "leave old root",             \
            "set host name", "enter network", "drop capabilities",            \
            "start program"                                                   \
    }

enum { NOE_JAIL_STEP_COUNT = 15 };

struct noe_jail_event {
    uint32_t type;
    uint32_t fault;        /* FAILED */
    int32_t code;          /* FAILED: errno */
    char step[28];         /* FAILED: what was tried */
    char path[200];        /* FAILED: on what; may be empty */
    uint32_t cause;        /* ENDED */
    uint32_t has_status;   /* ENDED: `status` is the program's */
    int32_t status;        /* STATUS, ENDED: as from wait */
    uint32_t may_have_run; /* ENDED: init was STARTING, and then silent */
    uint32_t survivors;    /* ENDED: processes that could not be killed */
    uint32_t step_us[NOE_JAIL_STEP_COUNT]; /* STARTED, native */
    uint32_t watches_host;   /* STARTED: by descriptor, not only by socket */
    uint32_t stub_proc;      /* STARTED: the kernel refused a fresh /proc */
    uint32_t landlock;       /* STARTED: its version; 0: none */
    uint32_t denied_process; /* STATUS, ENDED: attempts to start one */
    uint32_t memory_sampled; /* ENDED: the limit was watched */
    uint32_t cpu_sampled;
    uint32_t memory_cgroup; /* ENDED: a control group held the limit */
    uint32_t pids_cgroup;
    int64_t cpu_user_us; /* STATUS, ENDED: of the whole tree */
    int64_t cpu_system_us;
    int64_t max_rss_bytes;
};

#endif
