/* SPDX-License-Identifier: MIT */
/*
 * What the host and the jail say to each other. They come from one build, so
 * the structs need no stable layout; `version` guards against a stale copy on
 * disk, and rises with every change of what is here, of the order of the
 * strings, and of what a filter asks of who loads it (core/seccomp.h). The
 * start message is written by core/message.c and read by jail/main.c, the
 * filter is built by core/seccomp.c and loaded by jail/confine.c, and by nobody
 * else.
 *
 * The jail starts with the program's standard streams as 0 to 2, one end of a
 * SOCK_SEQPACKET pair as NOE_JAIL_CONTROL_FD, and, for a sandbox in which it
 * must start itself again, its own image as NOE_JAIL_IMAGE_FD; and where the
 * program is to have a channel, its end as NOE_JAIL_CHANNEL_FD. Its arguments
 * after argv[0] are the program's, its environment is the program's.
 *
 * host -> jail: one noe_jail_start with its strings; later noe_jail_command.
 *               The end of file means: end the tree, nobody is listening.
 *               To a program that was started ahead of its request comes one
 *               NOE_JAIL_BEGIN: deadline and usage count from there.
 * jail -> host: NOE_JAIL_STARTED or NOE_JAIL_FAILED, then NOE_JAIL_ENDED.
 *
 * Where an entry of the list of hosts is such that the host is asked, between
 * those comes NOE_JAIL_ASK, with a noe_jail_question behind it, to which
 * NOE_JAIL_LEAVE is the answer.
 *
 * If hold_ms is not 0, between a program that ended by itself, with its tree,
 * and NOE_JAIL_ENDED comes NOE_JAIL_HOLDING, with a descriptor of the directory
 * in which it had started: what is there is kept until the host sends anything
 * (NOE_JAIL_RELEASE), is gone, or hold_ms or the deadline are over.
 *
 * In the role NOE_JAIL_LAUNCHER it makes supervisors that stand by, each with a
 * socket of its own to the host, its seat:
 *
 * host -> launcher: one byte, and with it the other end of a new seat.
 * supervisor -> host, by its seat: one noe_jail_standby, and a pidfd of itself;
 *               a cradle (src/jail/cradle.c) sends the file, too, that is to be
 *               its copy's own, if there is such a one: open for writing.
 * host -> supervisor, by its seat: one noe_jail_request, and descriptors: a
 *               control socket, in which the start waits; the program's
 *               streams; and as it says the channel, the working directory and
 *               the group.
 *
 * From then on it is as above. The supervisor closes the control socket at the
 * end of the run, and stands by again, unless it said otherwise.
 */
#ifndef NOE_JAIL_PROTOCOL_H
#define NOE_JAIL_PROTOCOL_H

#include <stdint.h>

enum {
    NOE_JAIL_CONTROL_FD = 3,
    NOE_JAIL_IMAGE_FD = 4,
    NOE_JAIL_CHANNEL_FD = 5, /* the program's NOE_CHANNEL_FD */
    NOE_JAIL_FIRST_FREE_FD
};

enum { NOE_JAIL_VERSION = 13, NOE_JAIL_MAX_MESSAGE = 192 * 1024 };

/* Before every variable of a program that a wrapper stands in front of. */
#define NOE_JAIL_ENV_MARK '_'

enum noe_jail_role {
    NOE_JAIL_SUPERVISOR = 1, /* the host's child: owns the tree */
    NOE_JAIL_INIT,           /* inside a sandbox that another program made */
    NOE_JAIL_LAUNCHER        /* nobody's child: makes supervisors */
};

struct noe_jail_identity { /* of a file */
    uint64_t device;
    uint64_t inode;
};

enum { NOE_JAIL_NO_LIMIT = -1 };

struct noe_jail_limits { /* each NOE_JAIL_NO_LIMIT, or at least 0 */
    int64_t memory_bytes;
    int64_t cpu_us;
    int64_t processes;
    int64_t open_files;
    int64_t file_bytes;
    int64_t data_bytes; /* of one process: the supervisor's to set */
};

/* Who makes the walls. */
enum noe_jail_walls {
    NOE_JAIL_NO_WALLS = 0,
    NOE_JAIL_WRAPPED,  /* another program: the wrapping command (bwrap) */
    NOE_JAIL_NATIVE,   /* the jail itself */
    NOE_JAIL_LANDLOCK, /* none that hide anything: rules alone */
    NOE_JAIL_FORKED    /* the jail itself, within those of a fork server; the
                          program is a copy of that */
};

struct noe_jail_start {
    uint32_t version;
    uint32_t role;
    uint32_t walls;
    int32_t host_pid;
    uint32_t idle_ms; /* LAUNCHER, and what serves: how long it stays unasked;
                         0: for ever */
    int64_t deadline_us; /* CLOCK_MONOTONIC; NOE_JAIL_NO_LIMIT: none */
    int64_t hold_ms;     /* for how long what the program left is kept; below
                            0: it is not, and who may look has the work
                            directory from the start (NOE_JAIL_WORK_DIR) */
    uint32_t ahead;      /* it waits for a request, until the deadline */
    struct noe_jail_limits limits;
    int64_t private_bytes; /* of the private directories together */
    int64_t private_files;
    int64_t connections;   /* at a time, through the relay */
    int64_t network_bytes; /* to and fro, of all of them */
    uint64_t password[3];  /* for the one execve that the filter lets pass */
    uint32_t host_network;
    uint32_t no_ip;          /* its filter lets no socket be made but pairs */
    uint32_t shares_network; /* and by that it may have the network namespace of
                                others: with the start come its descriptors, or
                                none, where this is the first one */
    uint32_t max_landlock;   /* use no higher version, for tests */
    uint32_t reports_denied; /* the filter asks before it refuses */
    uint32_t filter_len;     /* bytes of seccomp filter, a multiple of 8 */
    uint32_t has_channel;    /* the program gets NOE_JAIL_CHANNEL_FD */
    uint32_t serves;         /* it is a fork server: the channel is its init's,
                                and carries requests for cradles */
    uint32_t has_cwd;
    uint32_t has_private;
    uint32_t has_start_dir;
    uint32_t has_place;      /* of a fork server */
    uint32_t cgroup_version; /* 0: no group can be made */
    uint32_t wrapper_count;  /* strings of the wrapping command */
    uint32_t bind_count;
    uint32_t link_count;
    uint32_t has_doors;  /* there is a list of hosts, perhaps an empty one */
    uint32_t host_count; /* entries of it (base/hosts.h) */
    uint32_t asks;       /* some of them ask the host */
    uint32_t learns;     /* what the program lacks is noted */
    uint32_t strings_len;
    /* The filter follows, and after it strings_len bytes of strings, each ended
     * by NUL: the working directory, if has_cwd; a directory of this run's own
     * that is made, and removed at its end, if has_private; if cgroup_version
     * is not 0, where to make a group for memory, for processes, for processor
     * time, and the group to go back to, each perhaps empty; the wrapping
     * command; if has_start_dir, a directory to be made for the program alone;
     * if has_place, a file inside that is each copy's own;
     * for each bind "r" or "w" and the source, then the target, parents before
     * what is below them; for each link what it says, then where it is (of a
     * program that has no walls those are made that lie in its own directory);
     * the entries of the list of hosts. To an init follows a noe_jail_identity
     * for each bind. */
};

/* The program's arguments and variables follow, each ended by NUL. */
struct noe_jail_request {
    uint32_t version;
    uint32_t argument_count;
    uint32_t variable_count;
    uint32_t strings_len;
    uint32_t has_channel;
    uint32_t has_cwd;
    uint32_t has_group; /* of a copy: a group that holds its memory */
};

enum noe_jail_group { /* descriptors of a control group */
                      NOE_JAIL_GROUP_TASKS,
                      NOE_JAIL_GROUP_EVENTS, /* whether memory was short */
                      NOE_JAIL_GROUP_PEAK,
                      NOE_JAIL_GROUP_FDS
};

enum {
    NOE_JAIL_MAX_REQUEST = 128 * 1024,
    NOE_JAIL_MIN_GIVEN = 4, /* the control socket and three streams */
    NOE_JAIL_MAX_GIVEN = NOE_JAIL_MIN_GIVEN + 2 + NOE_JAIL_GROUP_FDS
};

struct noe_jail_standby {
    uint32_t version;
    int32_t pid;
    int32_t launcher;
    int32_t witness; /* a zombie of the launcher's */
};

enum noe_jail_command_type {
    NOE_JAIL_CANCEL = 1,
    NOE_JAIL_SIGNAL,       /* to the program itself */
    NOE_JAIL_SIGNAL_GROUP, /* and to all of its group, as a terminal does */
    NOE_JAIL_TERMS,        /* what holds from now on */
    NOE_JAIL_RELEASE,      /* what is held is needed no more */
    NOE_JAIL_WAIT,         /* of what was started ahead: for longer */
    NOE_JAIL_BEGIN,        /* of it: its request comes now */
    NOE_JAIL_LEAVE,        /* an answer to a question of the relay's */
    NOE_JAIL_GO            /* supervisor to init: the relay has the doors */
};

struct noe_jail_answer {
    uint32_t id; /* the question's */
    uint32_t yes;
};

struct noe_jail_command {
    uint32_t type;
    int32_t signal;
    struct noe_jail_answer answer; /* LEAVE */
    int64_t deadline_us;           /* TERMS, WAIT, BEGIN: as of a start */
    int64_t cpu_us;                /* TERMS: beyond what was used by now */
};

enum noe_jail_event_type {
    NOE_JAIL_STARTED = 1, /* the program runs */
    NOE_JAIL_FAILED,      /* it does not: step, code, fault */
    NOE_JAIL_STARTING,    /* init to supervisor: one of these will follow */
    NOE_JAIL_WORK_DIR,    /* init to supervisor: with a descriptor of it */
    NOE_JAIL_HOLDING,     /* the tree is gone, what it left is still there */
    NOE_JAIL_STATUS,      /* init to supervisor: the program has ended */
    NOE_JAIL_DOORS,       /* init to supervisor, and on to the relay, with
                             descriptors; code: these are the last */
    NOE_JAIL_REPORT,      /* the relay's: lines of text follow */
    NOE_JAIL_ASK,         /* the relay's, and on to the host: a
                             noe_jail_question follows */
    NOE_JAIL_ANSWER,      /* supervisor to relay: `answer` */
    NOE_JAIL_TRIED,     /* init to supervisor, and on to the relay: in `path` a
                           noe_jail_tried */
    NOE_JAIL_WANTED,    /* init to supervisor: a line of text follows */
    NOE_JAIL_SIGNALLED, /* a signal for the group is on its way to it */
    NOE_JAIL_NETWORK,   /* with descriptors of a user namespace and of its
                           network namespace: for later runs that share it */
    NOE_JAIL_ENDED      /* the tree is gone */
};

enum {
    NOE_JAIL_MAX_DOORS = 250,        /* in one message: the kernel takes 253 */
    NOE_JAIL_MAX_QUESTIONS = 1024,   /* of one relay */
    NOE_JAIL_MAX_REPORT = 32 * 1024, /* in one message */
    NOE_JAIL_MAX_REPORTS = 2, /* the relay's; and what was WANTED, in a line */
    NOE_JAIL_MAX_LINE = 4096 + 16
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

struct noe_jail_tried {  /* a connection that no door is for */
    uint8_t address[16]; /* the first four of it in version 4 */
    uint16_t port;
    uint8_t v6;
};

/* May a connection be made? No answer is no. */
struct noe_jail_question {
    uint32_t id;
    uint32_t port;
    char host[256];
};

struct noe_jail_event {
    uint32_t type;
    struct noe_jail_answer answer; /* ANSWER */
    uint32_t fault;                /* FAILED */
    int32_t code;                  /* FAILED: errno */
    uint32_t first_open;   /* DOORS, the last: those at which somebody may be */
    uint32_t open_count;   /* who has not asked the name server */
    char step[28];         /* FAILED: what was tried */
    char path[200];        /* FAILED: on what; may be empty */
    uint32_t cause;        /* ENDED */
    uint32_t has_status;   /* ENDED: `status` is the program's */
    int32_t status;        /* STATUS, ENDED: as from wait */
    uint32_t may_have_run; /* ENDED: init was STARTING, and then silent */
    uint32_t survivors;    /* ENDED: processes that could not be killed */
    uint32_t late;         /* ENDED: it took so long that it may have ended */
    uint32_t retires;      /* ENDED: it does not stand by any more */
    uint32_t step_us[NOE_JAIL_STEP_COUNT]; /* STARTED, native */
    uint32_t watches_host;   /* STARTED: by descriptor, not only by socket */
    uint32_t stub_proc;      /* STARTED: the kernel refused a fresh /proc */
    uint32_t host_name_seen; /* STARTED: it refused another host name */
    uint32_t landlock;       /* STARTED: its version; 0: none */
    uint32_t denied_process; /* STATUS, ENDED: attempts to start one */
    int32_t denied_network;  /* likewise: connections that failed in a network
                                with nothing in it; -1: nobody looked */
    uint32_t memory_sampled; /* ENDED: the limit was watched */
    uint32_t cpu_sampled;
    uint32_t memory_cgroup; /* ENDED: a control group held the limit */
    uint32_t pids_cgroup;
    uint32_t at_process_limit; /* ENDED: no more could be started */
    int64_t until_us;          /* HOLDING: CLOCK_MONOTONIC */
    int64_t cpu_user_us;       /* STATUS, ENDED: of the whole tree */
    int64_t cpu_system_us;
    int64_t max_rss_bytes;
};

#endif
