/* SPDX-License-Identifier: MIT */
/*
 * noether.h - run a program under a deadline, with its output captured, its
 * whole process tree accounted for and, where asked, inside a sandbox.
 *
 * This is the one installed header. It follows Semantic Versioning: within one
 * major version, functions are only added and structs only grow at their end.
 *
 * Every struct that can grow begins with its `size`, which says how much of it
 * the program knows. The macros that end in _init set it; where there is none,
 * `{.size = sizeof(x)}` does, and zero is the default of all else. So a program
 * built against an older header keeps working, and never is anything written
 * beyond what it has. A program built against a newer one works as long as what
 * this library does not know is zero; else it is refused (NOE_FAULT_ARGUMENT).
 * What the library gives may also be older: NOE_HAS says what is in it.
 *
 * The library never prints, exits, aborts, installs signal handlers, reads the
 * environment, or changes the working directory, umask or locale. Handles may
 * be used by one thread at a time; different handles by different threads.
 */
#ifndef NOETHER_H
#define NOETHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NOE_VERSION "0.1.0"

#if defined(__GNUC__)
#define NOE_API __attribute__((visibility("default")))
#else
#define NOE_API
#endif

/* The version of the library that is linked, which may differ from the header.
 */
NOE_API const char *noe_version(void);

/* Whose fault a failure to run is. */
enum noe_fault {
    NOE_FAULT_NONE = 0,
    NOE_FAULT_ARGUMENT, /* the caller passed something that cannot be used */
    NOE_FAULT_SPAWN,    /* no process, or its program cannot be executed */
    NOE_FAULT_SANDBOX,  /* the sandbox could not be set up */
    NOE_FAULT_SYSTEM    /* any other operation on the system failed */
};

/* Whether the object, which begins with its size, has a member at all. */
#define NOE_HAS(object, member)               \
    ((const char *)(&(object)->member + 1) <= \
     (const char *)(object) + (object)->size)

/* Set on failure only, and then complete. `code` is an errno, or 0. A struct
 * whose size was not set is left as it is: begin with NOE_ERROR_INIT. */
struct noe_error {
    size_t size;
    enum noe_fault fault;
    int code;
    char operation[48];
    char message[464];
};

#define NOE_ERROR_INIT                                      \
    {                                                       \
        sizeof(struct noe_error), NOE_FAULT_NONE, 0, "", "" \
    }

/* "ENOENT" for 2; NULL for a number that is no errno. */
NOE_API const char *noe_errno_name(int code);

/* Why a run ended: the first cause, never a later symptom. */
enum noe_reason {
    NOE_REASON_NONE = 0, /* still running */
    NOE_REASON_EXIT,
    NOE_REASON_SIGNAL,
    NOE_REASON_TIMEOUT,
    NOE_REASON_OUTPUT_LIMIT,
    NOE_REASON_MEMORY_LIMIT,
    NOE_REASON_CPU_LIMIT,
    NOE_REASON_CANCELLED,
    NOE_REASON_STATUS_LOST,
    NOE_REASON_STREAM_FAILED
};

NOE_API const char *noe_reason_name(enum noe_reason reason);

/* What held during the run, as it was really set up. */
enum noe_enforced {
    NOE_ENFORCED_USER_NS = 1 << 0,
    NOE_ENFORCED_MOUNT_NS = 1 << 1,
    NOE_ENFORCED_PID_NS = 1 << 2,
    NOE_ENFORCED_NET_NS = 1 << 3,
    NOE_ENFORCED_IPC_NS = 1 << 4,
    NOE_ENFORCED_UTS_NS = 1 << 5,
    NOE_ENFORCED_CGROUP_NS = 1 << 6,
    NOE_ENFORCED_HOST_UID = 1 << 7,
    NOE_ENFORCED_LANDLOCK = 1 << 8,
    NOE_ENFORCED_SECCOMP = 1 << 9,
    NOE_ENFORCED_NO_NEW_PRIVS = 1 << 10,
    NOE_ENFORCED_CAPS = 1 << 11,
    NOE_ENFORCED_NO_PROCESS = 1 << 12,
    NOE_ENFORCED_TREE_KILL = 1 << 13,
    NOE_ENFORCED_HOST_DEATH = 1 << 14,
    NOE_ENFORCED_MEMORY_CGROUP = 1 << 15,
    NOE_ENFORCED_MEMORY_SAMPLED = 1 << 16,
    NOE_ENFORCED_CPU_SAMPLED = 1 << 17,
    NOE_ENFORCED_PIDS_CGROUP = 1 << 18,
    NOE_ENFORCED_PIDS_RLIMIT = 1 << 19,
    NOE_ENFORCED_TMPFS_LIMITS = 1 << 20,
    NOE_ENFORCED_FRESH_PROC = 1 << 21,
    NOE_ENFORCED_HOST_LIST = 1 << 22
};

/* The word for one bit ("pid_ns"), or NULL. */
NOE_API const char *noe_enforced_name(uint32_t bit);

/* In every limit below, NOE_UNLIMITED means none. */
#define NOE_UNLIMITED UINT64_MAX

/* What the tree may use. */
struct noe_limits {
    size_t size;
    uint64_t memory_bytes;  /* of the whole tree */
    uint64_t cpu_ms;        /* of the whole tree, user and system */
    uint64_t processes;     /* of the whole tree */
    uint64_t open_files;    /* of each process */
    uint64_t file_bytes;    /* of each file written */
    uint64_t private_bytes; /* of the private directories together; with
                             NOE_BACKEND_BWRAP of each */
    uint64_t private_files; /* in them together */
    uint64_t connections;   /* with NOE_NETWORK_LIST: at a time */
    uint64_t network_bytes; /* likewise: to and fro, altogether */
};

/* Everything unlimited. */
#define noe_limits_init(limits) \
    noe_limits_init_sized((limits), sizeof(*(limits)))

NOE_API void noe_limits_init_sized(struct noe_limits *limits, size_t size);

enum noe_backend {
    NOE_BACKEND_NONE = 0,
    NOE_BACKEND_BWRAP,
    NOE_BACKEND_NATIVE,
    NOE_BACKEND_LANDLOCK
};

enum noe_network {
    NOE_NETWORK_NONE = 0,
    NOE_NETWORK_HOST,
    NOE_NETWORK_LIST, /* the hosts of a list, by every program inside; for
                         NOE_BACKEND_NATIVE and NOE_BACKEND_BWRAP */
    NOE_NETWORK_NO_IP /* as NONE, and without a loopback: no sockets but
                         connected pairs. Runs of one launcher may share the
                         empty network namespace that this leaves */
};

/* Both absolute and free of "." and "..". This one never changes: another kind
 * of bind would have a list of its own. */
struct noe_bind {
    const char *source;
    const char *target;
};

/* A sandbox described: what is not named is not there. */
struct noe_sandbox {
    size_t size;
    enum noe_backend backend;
    enum noe_network network;
    bool processes;         /* may start other processes and programs */
    bool resolved;          /* sources are what they are named: a link that is
                               found in one is refused, not followed */
    const char *bwrap_path; /* absolute; for NOE_BACKEND_BWRAP */
    const struct noe_bind *ro_binds;
    size_t ro_bind_count;
    const struct noe_bind *rw_binds; /* applied before ro_binds, which win */
    size_t rw_bind_count;
    const struct noe_bind *links; /* symbolic links: target -> source text */
    size_t link_count;
    const char *work_dir;    /* where the program starts; NULL: /work, or
                                private_dir. Where nothing is bound there, it
                                is one more private directory */
    const char *private_dir; /* for NOE_BACKEND_LANDLOCK: a directory of this
                                run's own, not there yet: made by the
                                supervisor, and removed at its end; `links` in
                                it are made. For NOE_BACKEND_NONE likewise, and
                                NULL: none */
    /* With NOE_NETWORK_LIST, "NAME:PORT", "*.NAME:PORT", "1.2.3.4:PORT",
     * "[2001:db8::1]:PORT"; in front of a name that may lead to this machine or
     * its neighbours "private:". "?:PORT": any name that the caller says yes to
     * (noe_process_question). Lower case, at most 256. */
    const char *const *hosts;
    size_t host_count;
    /* Not 0: what the program tries that it is not let, is noted in
     * `network` of the result. It goes with NOE_NETWORK_LIST, whose list may be
     * empty then: every name has an address inside, and no way out. */
    uint64_t learn;
};

enum noe_stream_kind {
    NOE_STREAM_MEMORY = 0, /* `input`; the result's output and errors */
    NOE_STREAM_PATH,       /* a file, opened by noe_process_start: read; or made
                              (mode 0600) or emptied, and written */
    NOE_STREAM_FD,         /* a descriptor of the caller's, read or written by
                              the host; its flags are not touched */
    NOE_STREAM_SHARED,     /* a descriptor of the caller's that the program gets
                              itself, with all that it allows: the host sees
                              nothing, counts nothing, limits nothing */
    NOE_STREAM_PIECES      /* of input: see noe_process_feed */
};

/*
 * Where one of the standard streams comes from or goes to. What goes to a path
 * or descriptor has the same limits: output beyond max_output_bytes ends the
 * run, and of stderr max_stderr_bytes go there (its first and last part are in
 * the result all the same). A run whose stream cannot be read or written is
 * ended (NOE_REASON_STREAM_FAILED); it is also not over before all is written.
 */
struct noe_stream {
    size_t size;
    enum noe_stream_kind kind;
    int fd;      /* not closed; may be closed after noe_process_start */
    bool tapped; /* of an output that is not shared: see noe_process_take */
    const char *path;
};

/*
 * A channel beside the standard streams: the program gets one end of a stream
 * socket as descriptor NOE_CHANNEL_FD. Both sides send frames: four bytes of
 * length, the lowest first, then as many bytes. It needs the supervisor.
 */
struct noe_channel {
    size_t size;
    size_t max_frame_bytes; /* of one that comes; a longer one breaks it */
};

enum { NOE_CHANNEL_FD = 5 };

/* What to run. Strings and tables are copied or used up by noe_process_start,
 * but for `input`, which must stay valid until the process is closed. */
struct noe_process;

/*
 * A fork server: a program in a native sandbox that loads the helper
 * (noe_fork_helper) and makes copies of itself for later runs, each behind
 * walls of its own, as if it had been started for it (docs/warm.md). Places for
 * copies are made ahead; noe_process_step of the server sees to them.
 */
struct noe_fork {
    size_t size;
    struct noe_process *server; /* the run is a copy of it; NULL: it serves */
    size_t ahead;               /* of a server: so many places kept ready */
    int64_t idle_ms;   /* of a server: it ends when it made no copy for so long;
                          0: never */
    const char *place; /* of a server: a file inside, below what is bound there,
                          that is another one in each copy; NULL: none */
};

struct noe_options {
    size_t size;
    const char *const *argv; /* argv[0] an absolute path; NULL-terminated */
    const char *const *envp; /* "NAME=value", NULL-terminated; NULL: empty */
    const char *cwd;         /* without a sandbox; NULL: the caller's */
    const void *input;       /* the program's standard input, then its end */
    size_t input_len;
    int64_t timeout_ms; /* -1: none */
    size_t max_output_bytes;
    size_t max_stderr_bytes;
    bool supervise; /* false: "bare", without the supervisor's promises */
    bool launcher;  /* false: the supervisor is started for this run alone */
    int poller;     /* an epoll descriptor of the caller's to use, or -1 */
    const struct noe_limits *limits;   /* NULL: none */
    const struct noe_sandbox *sandbox; /* NULL: none */
    /* stdin, stdout, stderr; each NULL: NOE_STREAM_MEMORY */
    const struct noe_stream *streams[3];
    const struct noe_channel *channel; /* NULL: none */
    int64_t hold_ms; /* for how long at most what the program left in its
                        working directory is kept for noe_process_work_dir; 0:
                        not at all; below 0: it is not, and that directory can
                        be had while the program runs, which may change at any
                        time what is there. It needs the supervisor */
    /* More than 0: started ahead of its request, for which it waits as long. It
     * needs the supervisor. Deadline and limits of output are the request's,
     * as is the rest of NOE_STREAM_PIECES: see noe_process_begin. */
    int64_t wait_ms;
    const struct noe_fork *fork; /* NULL: it neither serves nor is a copy */
};

/*
 * The request of a process that was started ahead, as if it had been started
 * with it: deadline, limits of output, time and usage count from now on. What
 * it has printed on stderr before is forgotten.
 */
struct noe_beginning {
    size_t size;
    const void *input; /* of NOE_STREAM_PIECES: all of it, valid until close */
    size_t input_len;
    const void *frame; /* for the channel, or NULL; a copy is kept */
    size_t frame_len;
    int64_t timeout_ms; /* -1: none */
    size_t max_output_bytes;
    size_t max_stderr_bytes;
    int poller;      /* to be used from now on; -1: as before */
    int taps_stderr; /* 1: see noe_process_take */
};

/* No deadline, 10 MiB of output, 64 KiB of stderr, supervised. */
#define noe_options_init(options) \
    noe_options_init_sized((options), sizeof(*(options)))

NOE_API void noe_options_init_sized(struct noe_options *options, size_t size);

/* How it ended. Times in microseconds; -1 where a number cannot be known. */
struct noe_result {
    size_t size;
    enum noe_reason reason;
    int exit_code; /* -1 unless the reason is NOE_REASON_EXIT */
    int signal;    /* 0 unless the reason is NOE_REASON_SIGNAL */
    const char *output;
    size_t output_len;
    const char *errors; /* stderr; first and last part, if truncated */
    size_t errors_len;
    uint64_t output_bytes; /* as many as were written and read */
    uint64_t errors_bytes;
    bool output_truncated;
    bool errors_truncated;
    int64_t duration_us;
    int64_t cpu_user_us;
    int64_t cpu_system_us;
    int64_t max_rss_bytes;
    uint32_t enforced;         /* enum noe_enforced, or-ed */
    uint32_t denied_processes; /* attempts to start one that were refused */
    int failed_stream;         /* 0 to 2: the one that failed first; -1: none */
    int stream_code;           /* why: an errno */
    /* Those that failed in a network with nothing in it; -1: nobody looked, as
     * none was shut off that way, or the program ended well. */
    int denied_connections;
    int at_process_limit; /* 1: the tree could start nothing more; else 0 */
    int64_t answer_us;    /* until the last of the output came; -1: none did */
    /* With NOE_NETWORK_LIST what was reached and what was refused, a line each:
     * "reached HOST PORT BYTES_IN BYTES_OUT" and "refused HOST PORT REASON" (a
     * port of 0: it is not known). NULL: nothing is known. */
    const char *network;
    size_t network_len;
};

/*
 * What all runs of one owner (a thread, a Lua state) share: the supervisor's
 * program, and the processes of closed handles that are still to be reaped.
 */
struct noe_launcher;

/*
 * `jail_path` names a copy of the supervisor on disk, for kernels that refuse
 * to run a program from memory (vm.memfd_noexec=2); NULL: there is none. It is
 * used only where needed, and only if it is the very program built into the
 * library and nobody but its owner can write to it. 0, or -1 with `err` set.
 */
NOE_API int noe_launcher_open(struct noe_launcher **launcher,
                              const char *jail_path, struct noe_error *err);

/* Reaps processes of closed handles that have ended by now. Never blocks. */
NOE_API void noe_launcher_reap(struct noe_launcher *launcher);

/* All its processes must be closed. Waits for those that are ending, at most a
 * tenth of a second. NULL is allowed. */
NOE_API void noe_launcher_close(struct noe_launcher *launcher);

/*
 * The process that makes supervisors ahead of need, from the second run on: no
 * child of this one, in a session of its own. Its id; -1 while there is none.
 */
NOE_API int noe_launcher_pid(const struct noe_launcher *launcher);

/* Which descriptors the launcher keeps open between runs: their number, and the
 * first `max` of them in `fds`. */
NOE_API size_t noe_launcher_descriptors(const struct noe_launcher *launcher,
                                        int *fds, size_t max);

/* The supervisor's program, to be written to a file for `jail_path`. */
NOE_API const void *noe_launcher_image(size_t *len);

/* The shared object that a fork server loads, to be written to a file. */
NOE_API const void *noe_fork_helper(size_t *len);

/* Writes what a copy finds in its server's `place`, once, before the copy reads
 * it. 0, or -1 with errno. */
NOE_API int noe_process_put_file(struct noe_process *process, const void *data,
                                 size_t len);

/* How many places for copies a server has ready now. */
NOE_API size_t noe_process_places(const struct noe_process *process);

/* The server makes no more copies, and ends when the last one has. */
NOE_API void noe_process_retire(struct noe_process *process);

/*
 * Starts a program and returns without waiting for it. 0, or -1 with `err` set
 * and nothing left behind. With supervision a program that cannot be executed
 * is learnt of a moment later: noe_process_step then says so.
 */
NOE_API int noe_process_start(struct noe_process **process,
                              struct noe_launcher *launcher,
                              const struct noe_options *options,
                              struct noe_error *err);

/* Gives a process that waits its request. 0; or -1 with `err`, and it can only
 * be closed: it does not wait, or has printed something on stdout. */
NOE_API int noe_process_begin(struct noe_process *process,
                              const struct noe_beginning *beginning,
                              struct noe_error *err);

/* Has it wait as long as this, from now. 0, or -1 with errno. */
NOE_API int noe_process_wait_longer(struct noe_process *process,
                                    int64_t wait_ms);

/* Whether its program has read anything of its request. True where that cannot
 * be known. */
NOE_API bool noe_process_has_begun(const struct noe_process *process);

/*
 * Does what can be done now: moves input and output, notices the end. Never
 * blocks. 1 when the run is over, 0 while it goes on, -1 if nothing ran (`err`
 * says why; nothing is left but the handle).
 */
NOE_API int noe_process_step(struct noe_process *process,
                             struct noe_error *err);

/* Like step, but waits up to `timeout_ms` (-1: for ever) for the end. Returns 0
 * early if a signal handler of the caller's ran, and if there is something to
 * take or to feed. */
NOE_API int noe_process_wait(struct noe_process *process, int timeout_ms,
                             struct noe_error *err);

/* Like wait, but ends as soon as the program itself runs (then 1). */
NOE_API int noe_process_wait_started(struct noe_process *process,
                                     int timeout_ms, struct noe_error *err);

/* For event loops: poll this descriptor for reading, for at most the timeout
 * (milliseconds, -1 for ever), then step. It stays the same until close. */
NOE_API int noe_process_pollfd(const struct noe_process *process);
NOE_API int noe_process_timeout_ms(const struct noe_process *process);

/*
 * Of a tapped output (1: stdout, 2: stderr) what came since the last call: its
 * length, and in *data where it is until the next step. To be called after each
 * step and wait, for while some 256 KiB are waiting no more is read.
 */
NOE_API size_t noe_process_take(struct noe_process *process, int stream,
                                const char **data);

/* Whether there is room for the next piece of NOE_STREAM_PIECES. */
NOE_API bool noe_process_hungry(const struct noe_process *process);

/* The next piece, if the process is hungry; a length of 0 is the end. It must
 * stay valid until the process is hungry again, or closed. */
NOE_API void noe_process_feed(struct noe_process *process, const void *data,
                              size_t len);

/* There is no next piece yet: until the process is fed again, room for one is
 * no news to its pollfd or to noe_process_wait. It stays hungry. */
NOE_API void noe_process_rest(struct noe_process *process);

enum noe_channel_state {
    NOE_CHANNEL_NONE = 0,
    NOE_CHANNEL_OPEN,
    NOE_CHANNEL_CLOSED, /* by the program, or with it; what came is kept */
    NOE_CHANNEL_BROKEN  /* what came is no frame */
};

NOE_API enum noe_channel_state
noe_process_channel_state(const struct noe_process *process);

/*
 * The next frame that the program sent: its length in *len, and its bytes until
 * the next step; NULL: there is none yet. To be called until it gives NULL
 * after each step and wait, for while a frame waits no more is read.
 */
NOE_API const char *noe_process_channel_take(struct noe_process *process,
                                             size_t *len);

/* Sends a frame, of which a copy is kept until the program reads it. While more
 * than 1 MiB of these wait, nothing that it sends is read. 0, or -1 with errno:
 * EPIPE where nobody will read it, ENOMEM, EMSGSIZE. */
NOE_API int noe_process_channel_put(struct noe_process *process,
                                    const void *data, size_t len);

/*
 * Where `hosts` has a "?:PORT": a name to which the program wants to connect,
 * with *port, and *id by which that is answered; the name's bytes stay until
 * the next call. NULL: there is none. Each pair comes once, and without a yes
 * within ten seconds the answer is no.
 */
NOE_API const char *noe_process_question(struct noe_process *process,
                                         uint32_t *id, uint16_t *port);

/* 0, or -1 with errno: it has ended. */
NOE_API int noe_process_answer(struct noe_process *process, uint32_t id,
                               bool yes);

/*
 * Of a process with `hold_ms` that has ended by itself, with all it started: a
 * descriptor (O_PATH) of the directory in which it had started, until release
 * or close; and in *until_us until when (CLOCK_MONOTONIC) what is there is
 * surely what the program left. -1 before, after, and where it was ended for a
 * limit. What lies there is a stranger's: see openat2(2).
 */
NOE_API int noe_process_work_dir(struct noe_process *process,
                                 int64_t *until_us);

/* It is needed no more: only then is the run over. */
NOE_API void noe_process_release(struct noe_process *process);

/* Valid until close; NULL while the process runs. */
NOE_API const struct noe_result *
noe_process_result(const struct noe_process *process);

/*
 * What the steps to a native sandbox took, once its program runs: the name and
 * the microseconds of step `index` from 0. 0, or -1 if there is no such step.
 */
NOE_API int noe_process_setup_step(const struct noe_process *process,
                                   size_t index, const char **name,
                                   uint32_t *us);

/* The supervisor, or the program if bare: a child of this process, unless a
 * supervisor that stood by serves the run. */
NOE_API int noe_process_pid(const struct noe_process *process);

/* Whether it is served by a supervisor that stood by, made by the launcher. */
NOE_API bool noe_process_by_launcher(const struct noe_process *process);

/* Sends a signal to the program; 0, or -1 with errno (ESRCH once it ended). */
NOE_API int noe_process_kill(struct noe_process *process, int signal);

/* Likewise, to all of the program's process group, as a terminal does. */
NOE_API int noe_process_kill_group(struct noe_process *process, int signal);

/* How many of those were sent by now: it is done beside the caller, and told
 * as any other news, by what is polled. */
NOE_API uint64_t noe_process_signalled(const struct noe_process *process);

/*
 * What holds for a supervised run from now on, in place of what it was started
 * with: how long it may still take (-1: as long as it likes), and how much more
 * processor time (NOE_UNLIMITED: any amount). 0, or -1 with errno: ESRCH if
 * nobody is there to be told, EAGAIN if it was told too much at once.
 */
NOE_API int noe_process_set_terms(struct noe_process *process,
                                  int64_t timeout_ms, uint64_t cpu_ms);

/* Ends the whole tree; the result's reason will be `cancelled`. */
NOE_API void noe_process_cancel(struct noe_process *process);

/* Ends what still runs and frees the handle. Never blocks. NULL is allowed. */
NOE_API void noe_process_close(struct noe_process *process);

/*
 * The argv with which bubblewrap would be started for this sandbox and these
 * limits, NULL-terminated, in one block for free(). NULL with `err` set.
 */
NOE_API char **noe_sandbox_bwrap_argv(const struct noe_sandbox *sandbox,
                                      const struct noe_limits *limits,
                                      const char *const *program,
                                      struct noe_error *err);

#ifdef __cplusplus
}
#endif

#endif
