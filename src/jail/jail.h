/* SPDX-License-Identifier: MIT */
#ifndef NOE_JAIL_H
#define NOE_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/protocol.h"

/* A tree can end as many as we can reap, for ever. */
enum {
    NOE_JAIL_REAPED_IN_A_ROW = 1024,
    NOE_JAIL_AHEAD_CPU_SECS = 30 /* for a program to be ready in */
};

struct noe_jail_bind {
    bool writable;
    const char *source;
    const char *target;
    int tree; /* a detached copy of the mount that root opened, or -1 */
    struct noe_jail_identity identity; /* for a wrapper's work to be checked */
};

struct noe_jail_link {
    const char *text;
    const char *path;
};

/* The start message, unpacked. */
struct noe_jail {
    struct noe_jail_start start;
    const void *filter;    /* seccomp: start.filter_len bytes */
    const char *cwd;       /* or NULL */
    const char *own;       /* a directory to be removed at the end, or NULL */
    const char *start_dir; /* one more private directory, or NULL */
    const char *place;     /* a file that is each copy's own, or NULL */
    const char *memory_parent; /* where a control group can be made, or NULL */
    const char *pids_parent;
    const char *cpu_parent;
    const char *cgroup_home; /* version 2: where to go back to */
    char **argv;             /* the program's */
    char **envp;             /* the program's */
    char **wrapper;          /* the wrapping command, NULL-terminated */
    struct noe_jail_bind *binds;
    struct noe_jail_link *links;
    const char *const *hosts; /* start.host_count entries of a list */
    const char *places;       /* the strings of what is inside, as they came */
    size_t places_len;
    int host;        /* a pidfd of the host, or -1: to be opened */
    int seat;        /* who stands by again after the run, or -1 */
    int host_inside; /* a pidfd of the host for the init of a fork server */
    int proc;        /* and the host's /proc, by which ids are mapped */
    bool in_cradle;  /* whose private file is to be made, too */
    bool has_group;  /* NOE_GROUP_FD and what follows */
    int shared[2];   /* the user and network namespaces that runs without IP
                        share, or -1 */
    bool in_shared;  /* init is in it */
    bool spoilt;     /* it cannot, as it turned out */
    bool by_root;    /* the host has user id 0 */
    int64_t step_began_us;
    uint32_t step_us[NOE_JAIL_STEP_COUNT];
    bool stub_proc;      /* the kernel refused a fresh /proc */
    bool host_name_seen; /* it refused another name for the host */
};

/* Sends one event. A peer that is gone is no error: the next read tells. */
void noe_jail_send(int fd, const struct noe_jail_event *event);

/* Makes the directories above the last component of a relative path. 0, or -1
 * with errno. */
int noe_make_parents(int dir, const char *path, mode_t mode);

/* If what the program leaves is to be held: opens the directory in which it
 * will start. 0, or -1 with `event` filled. */
int noe_work_open(const struct noe_jail *jail, int *dir,
                  struct noe_jail_event *event);

/* As above, in an init: and sends it to the supervisor. */
int noe_work_hand_over(const struct noe_jail *jail,
                       struct noe_jail_event *event);

/* The links of a program without walls, in its own directory. 0, or -1 with
 * errno and *path. */
int noe_work_make_links(const struct noe_jail *jail, const char **path);

/* Gives the host that directory, which is closed here, when all in it have
 * ended, and keeps what is there until the host has no use for it. `host` is a
 * pidfd of it, or -1. */
void noe_work_hold(const struct noe_jail *jail, int dir, int host);

/* Sends it to a group, and tells who reads the control socket that it did. */
void noe_jail_signal_group(pid_t leader, int signal);

/* An event that says what failed, on what (or NULL), with errno. */
void noe_jail_failure(struct noe_jail_event *event, enum noe_jail_fault fault,
                      const char *step, const char *path);

/* CLOCK_MONOTONIC in microseconds. */
int64_t noe_jail_clock_us(void);

/* Has the kernel schedule a process (0: this one) by a policy of sched(7). 0,
 * or -1. */
int noe_jail_schedule(pid_t pid, int policy, int priority);

/* Notes what a step of NOE_JAIL_STEPS took. The next one begins. */
void noe_jail_step_done(struct noe_jail *jail, int step);

struct noe_program {
    char **argv;
    char **envp;
    const char *cwd;                      /* or NULL */
    const struct noe_jail_limits *limits; /* or NULL */
    int control;               /* becomes its NOE_JAIL_CONTROL_FD, or -1 */
    bool ahead;                /* it may take time before it has a request */
    const struct noe_jail *in; /* to be confined as this one says, or NULL */
};

/* Starts it in a session of its own, with default signals and an empty mask.
 * Its pid, or -1 with `event` filled as NOE_JAIL_FAILED. */
pid_t noe_program_start(const struct noe_program *program,
                        struct noe_jail_event *event);

/* The channel is the program's from here on: with another copy open nobody
 * would hear that it closed its own. */
void noe_program_keep_channel(const struct noe_jail *jail);

/* As noe_program_start, for a confined program: *listener becomes what to poll
 * for the filter's questions, if it has any. */
pid_t noe_program_start_reporting(const struct noe_program *program,
                                  int *listener, struct noe_jail_event *event);

/* What is done before exec, by a process that is the program already and has a
 * memory of its own: *listener becomes the filter's, if it has one. 0, or -1
 * with `event` filled. */
int noe_program_confine(const struct noe_program *program, int *listener,
                        struct noe_jail_event *event);

/* Makes a new one ready to be answered by; -1: there is none. */
void noe_listener_begin(int listener);

/* Answers one question: to what would start something with no, and how many
 * attempts that was: 0 or 1. */
unsigned noe_listener_answer(const struct noe_jail *jail, int *listener);

/* How many connections failed for want of a network, in a namespace that has
 * none; -1 if that cannot be known. */
int32_t noe_network_refusals(void);

/* Gives up all capabilities, and the ways to get any. 0, or -1 with errno. */
int noe_confine_privileges(void);

/* All but what cradles are made with: of the init of a fork server. */
int noe_confine_to_cradles(void);

/* All but what namespaces are entered with: of the server, and over exec. */
int noe_confine_to_entering(void);

/* The Landlock version to use; 0: none. */
int noe_landlock_version(const struct noe_jail *jail);

/* What the program's process does to itself, just before exec. Each returns
 * NULL, or the name of the step that failed. *listener becomes the filter's, if
 * it has one. */

const char *noe_confine_files(const struct noe_jail *jail);
const char *noe_confine_calls(const struct noe_jail *jail, int *listener);

/* execve, with what the filter asks for. Returns only if it failed. */
void noe_confine_exec(const struct noe_jail *jail, char **argv, char **envp);

/* Starts the first process of a new set of namespaces, which builds the sandbox
 * and goes on as `noe_init`; of the pair `control` the second is its end. Its
 * pid, or -1 with `event` filled. */
pid_t noe_native_start(struct noe_jail *jail, const int control[2],
                       struct noe_jail_event *event);

int noe_mount_root(struct noe_jail *jail, const char **path);
int noe_mount_places(struct noe_jail *jail, const char **path);
int noe_mount_binds(struct noe_jail *jail, const char **path);
int noe_mount_proc(struct noe_jail *jail, const char **path);
int noe_mount_devices(struct noe_jail *jail, const char **path);
int noe_mount_private(struct noe_jail *jail, const char **path);
int noe_mount_leave_old_root(struct noe_jail *jail, const char **path);

/* For root: makes sure that it may mount. 0: it may; 1: it may from now on, for
 * we are in a user namespace; -1 with errno. */
int noe_admin_become(void);

/* Has init cloned in the network namespace that runs without IP share. Its pid,
 * or -1: nothing has happened, and it has to have one of its own. */
pid_t noe_shared_clone(struct noe_jail *jail, const int control[2],
                       unsigned long flags,
                       pid_t (*clone_init)(struct noe_jail *jail,
                                           const int control[2],
                                           unsigned long flags));

/* Closes what that is had by. */
void noe_shared_leave(struct noe_jail *jail);

/* A network of its own: begun beside the other steps, entered after them. */
int noe_loopback_begin(struct noe_jail *jail, const char **path);
int noe_loopback_enter(struct noe_jail *jail, const char **path);

/* An event, and the descriptors and the text that came with it. */
struct noe_jail_given {
    struct noe_jail_event event;
    unsigned count;
    int fds[NOE_JAIL_MAX_DOORS];
    size_t text_len;
    char text[NOE_JAIL_MAX_LINE];
};

/* Receives one: what recvmsg gives, the text left aside. */
ssize_t noe_jail_recv_given(int fd, struct noe_jail_given *given, int flags);

/* Sends one. 0, or -1 with errno. */
int noe_jail_send_given(int fd, const struct noe_jail_given *given);

/* Likewise; the descriptors are closed here in any case. */
int noe_jail_pass_given(int fd, struct noe_jail_given *given);

/* The doors of a list of hosts: planned; made in this process's network
 * namespace, of which `any` is a socket; and all of them sent to the
 * supervisor, and closed here. 0, or -1 with errno. */
int noe_doors_prepare(const struct noe_jail *jail);
int noe_doors_make(int any);
int noe_doors_hand_over(int control);

/* An address for an alias of the loopback device. */
int noe_doors_set_address(int socket, unsigned alias, const uint8_t address[4],
                          uint32_t mask);

/* Whether one of them is a name's, or an address's of the list. */
bool noe_doors_have(const uint8_t *address, bool v6, uint16_t port);

/* A program is about to connect a socket to an address in its own memory, or to
 * send to it: where no door is, that is told, each place once. */
void noe_attempt_note(const struct noe_jail *jail, pid_t pid, int fd,
                      uint64_t address, uint64_t len);

struct seccomp_data;

/* A program is about to make a call that names a file. What is not there, or
 * may not be changed, is told, each once. False: it is no such call. */
bool noe_want_note(const struct noe_jail *jail, pid_t pid,
                   const struct seccomp_data *call);

/* Likewise a socket's name, of `len` bytes. */
void noe_want_note_socket(pid_t pid, uint64_t address, uint64_t len);

/* Inside a wrapper's namespace: its doors, while we may make them. */
int noe_loopback_furnish(const struct noe_jail *jail);

/* The relay of a run, a child of the supervisor's: *socket becomes what it is
 * spoken to by. Its pid, or -1 with errno. */
pid_t noe_relay_start(const struct noe_jail *jail, int *own);

/* Takes from the relay all that it needs no more: files, programs, and every
 * system call that is not about its sockets. 0, or -1 with errno. */
int noe_relay_confine(void);

/* No file, by any name, and no signals to others, where the kernel has
 * Landlock. 0, or -1. */
int noe_confine_to_nothing(void);

/* Who resolves names for the relay; does not return. */
_Noreturn void noe_lookup_serve(int own);

/* What no namespace changes: whether we are root of the host. */
bool noe_is_root_of_host(void);

/* Who a wrapper's binds are, before it looks them up by name; and whether what
 * is inside are these. 0, or -1 with errno. */
int noe_identity_note(struct noe_jail *jail, const char **path);
int noe_identity_check(const struct noe_jail *jail, const char **path);

int noe_mount_cover_devices(
    const char **path); /* the supervisor's, for a wrapper */

/* Root's part, while it still is root: what only root may reach. */
int noe_mount_open_binds(struct noe_jail *jail, const char **path);

/* Enters a control group made for this run, and notes in `end` what it holds.
 */
void noe_cgroup_enter(struct noe_jail *jail, struct noe_jail_event *end);

/* Whether something was killed because the group had no memory left. */
bool noe_cgroup_memory_was_short(const struct noe_jail *jail);

/* Whether something could not be started because there were too many. */
bool noe_cgroup_processes_were_short(void);

/* The most memory that the group ever had; 0 if that is not known. */
int64_t noe_cgroup_memory_peak(const struct noe_jail *jail);

/* Whether a copy of a fork server is in the group that came with its run, if
 * there is one, and nobody else. */
bool noe_cgroup_has_only(const struct noe_jail *jail, pid_t pid);

/* In a cradle: the groups of its fork server are no concern of its run's. */
void noe_cgroup_forget(void);

/* Of a fork server: removes what was made for its copies, and is left. */
void noe_cgroup_sweep(const struct noe_jail *jail);

/* Leaves the groups to what was started in them: the kernel would end us, too,
 * where it needs more than one victim; and what we are and start from now on is
 * none of the program's processes and time. (Page tables stay charged until
 * their owner is gone.) */
void noe_cgroup_step_out(const struct noe_jail *jail);

/* The processor time of all that ever was in the group. False where nothing
 * tells. */
bool noe_cgroup_cpu(const struct noe_jail *jail, int64_t *user_us,
                    int64_t *system_us);

/* How many of what runs are ours: behind walls init, and the wrapping command.
 * (The supervisor is beside them.) */
int64_t noe_cgroup_our_own(const struct noe_jail *jail);

/* Ends all in the group, or at least the beginning of more. */
void noe_cgroup_stop(const struct noe_jail *jail);

/* Goes back and removes the group, which must hold nobody else by now. False if
 * it is still there. */
bool noe_cgroup_leave(const struct noe_jail *jail);

/* Root's part, too: maps the owner of a bind's tree to the stage's id, if that
 * is needed to use it. 0, or -1 with errno (EACCES: it cannot be used). */
int noe_idmap_bind(const struct noe_jail_bind *bind);

/* Kills and reaps every descendant. The number of those that would not die,
 * because they run as another user. */
unsigned noe_tree_end(int children_fd);

/* Begins to count a run. */
void noe_usage_begin(void);

/* waitpid, and a note of what the child used. */
pid_t noe_usage_reap(pid_t pid, int *status, int flags);

/* Of the biggest that was reaped. */
int64_t noe_usage_max_rss(void);

struct noe_time { /* of processors */
    int64_t user_us;
    int64_t system_us;
};

#define NOE_USAGE_UNBOUNDED INT64_MAX

/*
 * Looks at all descendants, at their times too if these are wanted, and returns
 * the memory that they have now; NOE_USAGE_UNBOUNDED if they are too many to be
 * looked at. `limit` is the memory that matters: shared pages are shared out
 * only where the cheap upper bound exceeds it.
 */
int64_t noe_usage_sample(int64_t limit, bool times);

/* The processor time of all descendants so far, as of the last sample; and when
 * none of them is left. */
struct noe_time noe_usage_time(void);

/* Of what came and went between two looks until now nothing is counted. */
void noe_usage_guess_nothing(void);
struct noe_time noe_usage_time_at_end(void);

/* Nobody has looked for long: the next sample guesses nothing. */
void noe_usage_look_afresh(void);

/* Reads the start that waits in the control socket. 0, or -1. */
int noe_jail_receive(struct noe_jail *jail);

int noe_supervise(struct noe_jail *jail);

/* The launcher. Returns when it is not needed any more. */
int noe_launch_on_request(struct noe_jail *jail);

/* A supervisor that stands by: serves one run after the other. Its seat is
 * NOE_SEAT_FD; after idle_ms without a run it ends. */
int noe_stand_by(int idle_ms, pid_t witness);

/* What the init of a fork server has for a cradle. */
struct noe_cradle {
    int seat;
    int host;
    int proc;
    int orders; /* to the server */
};

/* Makes one. What fails is told to who asked for it, by the seat. */
void noe_cradle_make(struct noe_jail *jail, const struct noe_cradle *cradle);

/* In it: fetches the copy for its run. Its pid, or -1 with `event` filled, and
 * nothing was given to it. *listener becomes the filter's, if it has one. */
pid_t noe_cradle_start(const struct noe_jail *jail, int *listener,
                       struct noe_jail_event *event);

/* A supervisor that stands by for one run only, in a cradle. */
int noe_stand_by_once(bool has_place);

/* One byte, and with it perhaps a descriptor: as recv. */
ssize_t noe_seat_hear(int socket, int *given);

/* Maps one id of each kind outside, by the /proc that is open as `proc` or lies
 * at its place (-1). 0, or -1 with errno. */
int noe_native_map(int proc, unsigned uid, unsigned gid, const char **path);

/* Opens a file as this number. The number, or -1 with errno. */
int noe_keep_open(const char *path, int flags, int number);

/* Whether we are still as the launcher made us: a program without walls may
 * change some of it. */
bool noe_standby_is_clean(void);

/* Descriptors of a launcher and of who stands by. Below them are the program's
 * streams and channel, the control socket and the image; what comes with a run
 * is above. */
enum {
    NOE_SEAT_FD = NOE_JAIL_FIRST_FREE_FD,
    NOE_HOST_FD,
    NOE_NULL_FD,
    NOE_OWN_CGROUP_FD,
    NOE_OWN_OOM_FD,
    NOE_FIRST_OF_RUN_FD
};

/* In a cradle all of these are open, too, and what comes with a run is above.
 */
enum {
    NOE_PROC_FD = NOE_FIRST_OF_RUN_FD,
    NOE_ORDERS_FD,
    NOE_FIRST_NAMESPACE_FD,
    NOE_PLACE_FD = NOE_FIRST_NAMESPACE_FD + 7,
    NOE_GROUP_FD,
    NOE_CRADLE_END_FD = NOE_GROUP_FD + NOE_JAIL_GROUP_FDS
};
int noe_init(struct noe_jail *jail);

#endif
