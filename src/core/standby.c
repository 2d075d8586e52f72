/* SPDX-License-Identifier: MIT */
#include "standby.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "argv.h"
#include "base/fd.h"
#include "base/protocol.h"
#include "clock.h"

enum {
    IDLE_MS = 10 * 1000,
    FIRST_RETRY_US = 50 * 1000,
    BLIND_RETRY_US = 60 * 1000 * 1000,
    MOST_FAILURES = 6,
    FEWEST = 256,   /* a host that may have fewer needs them itself */
    FILES_EACH = 32 /* of what it may open, for each that stands by */
};

void noe_standbys_init(struct noe_standbys *standbys)
{
    *standbys = (struct noe_standbys){.socket = -1, .pid = -1};
    noe_inherited_init(&standbys->source);
}

void noe_standby_let_go(struct noe_standby *standby)
{
    /* What became of the seat's number became of the other one, too. */
    if (noe_kept_check(&standby->seat, &standby->id))
        noe_fd_close(&standby->child.pidfd);
    noe_fd_close(&standby->seat);
    noe_fd_close(&standby->file);
    standby->child.pidfd = -1;
}

/* Of a failure to send: whoever was there is not. */
static bool is_gone(int code)
{
    return code == EPIPE || code == ECONNRESET;
}

/* Also in a fork of the host, where it closes copies. */
static void end_service(struct noe_standbys *s)
{
    while (s->idle_count > 0)
        noe_standby_let_go(&s->idle[--s->idle_count]);
    while (s->coming_count > 0)
        noe_standby_let_go(&s->coming[--s->coming_count]);
    noe_kept_close(&s->socket, &s->id);
    s->pid = -1;
    s->saw_witness = false;
    s->busy_count = 0;
    s->service++;
}

bool noe_standbys_rest(struct noe_standbys *s)
{
    bool held = s->idle_count + s->coming_count > 0;

    if (s->owner == getpid())
        end_service(s);
    return held;
}

void noe_standbys_close(struct noe_standbys *s)
{
    end_service(s);
    noe_inherited_close(&s->source);
    free(s->born);
    free(s->now);
    s->born = s->now = NULL;
    s->known = false;
}

/* It can be tried again, but not at once: what makes it fail may last. */
static void note_failure(struct noe_standbys *s)
{
    if (s->failures < MOST_FAILURES)
        s->failures++;
    s->retry_us = noe_clock_us() + (FIRST_RETRY_US << s->failures);
}

int noe_standby_hear(struct noe_standby *standby, struct noe_jail_standby *said)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr header;
    } room;
    struct iovec part = {said, sizeof(*said)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen = sizeof(room)};
    ssize_t len =
        recvmsg(standby->seat, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    const struct cmsghdr *header =
        len == (ssize_t)sizeof(*said) ? CMSG_FIRSTHDR(&message) : NULL;
    if (header == NULL || header->cmsg_type != SCM_RIGHTS) {
        errno = ECONNRESET;
        return -1;
    }
    memcpy(&standby->child.pidfd, CMSG_DATA(header), sizeof(int));
    if (header->cmsg_len >= CMSG_LEN(2 * sizeof(int)))
        memcpy(&standby->file, CMSG_DATA(header) + sizeof(int), sizeof(int));
    standby->child.pid = said->pid;
    return 0;
}

static int hear_standby(struct noe_standby *standby, struct noe_standbys *s)
{
    struct noe_jail_standby said = {0};

    if (noe_standby_hear(standby, &said) != 0)
        return -1;
    s->pid = said.launcher;
    s->witness = said.witness;
    return 0;
}

/* Those that have come since the last time. */
static void welcome(struct noe_standbys *s)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < s->coming_count; i++) {
        struct noe_standby *one = &s->coming[i];
        errno = ECONNRESET;
        if (noe_kept_check(&one->seat, &one->id) && hear_standby(one, s) == 0) {
            s->idle[s->idle_count++] = *one;
            s->failures = 0;
        } else if (errno == ECONNRESET) {
            noe_standby_let_go(one);
            note_failure(s);
        } else {
            s->coming[kept++] = *one;
        }
    }
    s->coming_count = kept;
}

/* As a run that is started, but that it has no program: it ends by itself. */
static int start_launcher(struct noe_launcher *launcher, int theirs)
{
    static const char *const argv[] = {"noether-jail", "launcher", NULL};
    int null = noe_launcher_null(launcher);
    struct noe_launch launch = {.stdio = {null, null, null},
                                .control = theirs,
                                .channel = -1,
                                .argv = argv,
                                .envp = argv + 2};
    struct noe_child child;
    struct noe_error err;

    if (null < 0 || noe_launch(launcher, &launch, &child, &err) != 0)
        return -1;
    noe_launcher_adopt(launcher, &child);
    return 0;
}

static int open_service(struct noe_launcher *launcher, struct noe_standbys *s)
{
    uint32_t idle_ms = noe_launcher_pretence(launcher)->idle_ms;
    struct noe_jail_start start = {.version = NOE_JAIL_VERSION,
                                   .role = NOE_JAIL_LAUNCHER,
                                   .host_pid = s->owner,
                                   .idle_ms = idle_ms > 0 ? idle_ms : IDLE_MS};
    int pair[2];

    if (noe_fd_socketpair(pair) != 0)
        return -1;
    if (send(pair[0], &start, sizeof(start), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ||
        noe_kept_look(pair[0], &s->id) != 0 ||
        start_launcher(launcher, pair[1]) != 0)
        noe_fd_close(&pair[0]);
    noe_fd_close(&pair[1]);
    s->socket = pair[0];
    return s->socket >= 0 ? 0 : -1;
}

/* A message of `len` bytes with descriptors, at once or not at all. */
static int pass(int socket, const struct iovec *parts, size_t part_count,
                const int *given, size_t count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * NOE_JAIL_MAX_GIVEN)];
        struct cmsghdr header;
    } room = {.bytes = {0}};
    struct msghdr message = {.msg_iov = (struct iovec *)parts,
                             .msg_iovlen = part_count,
                             .msg_control = &room,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * count)};

    room.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * count),
                                   .cmsg_level = SOL_SOCKET,
                                   .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&room.header), given, sizeof(int) * count);
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

int noe_standby_ask(int socket, struct noe_standby *one)
{
    char byte = 0;
    struct iovec part = {&byte, 1};
    int pair[2];

    *one = (struct noe_standby){.seat = -1, .child = {-1, -1}, .file = -1};
    if (noe_fd_socketpair(pair) != 0)
        return 0; /* no failure of theirs */
    one->seat = pair[0];
    int status = noe_kept_look(one->seat, &one->id);
    if (status == 0)
        status = pass(socket, &part, 1, &pair[1], 1);
    noe_fd_close(&pair[1]);
    if (status != 0)
        noe_fd_close(&one->seat);
    return status;
}

/* Asks the launcher for one that will stand by at some later run. */
static int ask_for_another(struct noe_standbys *s)
{
    struct noe_standby *one = &s->coming[s->coming_count];

    if (noe_standby_ask(s->socket, one) != 0)
        return -1;
    one->service = s->service;
    s->coming_count += one->seat >= 0;
    return 0;
}

static void grow(struct noe_launcher *launcher, struct noe_standbys *s,
                 unsigned most)
{
    if (s->idle_count + s->coming_count + s->busy_count >= most ||
        noe_clock_us() < s->retry_us)
        return;
    if (!noe_kept_check(&s->socket, &s->id) && open_service(launcher, s) != 0) {
        note_failure(s);
        return;
    }
    if (ask_for_another(s) == 0 || !is_gone(errno))
        return;
    noe_fd_close(&s->socket);
    s->pid = -1;
    /* One that had nothing to do ends; that is no failure. */
    if (open_service(launcher, s) != 0 || ask_for_another(s) != 0)
        note_failure(s);
}

static int add_strings(struct noe_argv *list, const char *const *strings)
{
    size_t before = list->count;

    for (; *strings != NULL; strings++)
        noe_argv_add(list, *strings);
    return (int)(list->count - before);
}

int noe_standby_hand_over(const struct noe_launch *launch, int cwd,
                          const struct noe_argv *strings, unsigned arguments,
                          const struct noe_standby *standby)
{
    struct noe_jail_request request = {
        .version = NOE_JAIL_VERSION,
        .argument_count = arguments,
        .variable_count = (uint32_t)strings->count - arguments,
        .strings_len = (uint32_t)strings->bytes.len,
        .has_channel = launch->channel >= 0,
        .has_cwd = cwd >= 0,
        .has_group = launch->group != NULL};
    struct iovec parts[] = {{&request, sizeof(request)},
                            {strings->bytes.data, strings->bytes.len}};
    int given[NOE_JAIL_MAX_GIVEN] = {launch->control, launch->stdio[0],
                                     launch->stdio[1], launch->stdio[2]};
    size_t count = NOE_JAIL_MIN_GIVEN;

    if (launch->channel >= 0)
        given[count++] = launch->channel;
    if (cwd >= 0)
        given[count++] = cwd;
    for (int i = 0; launch->group != NULL && i < NOE_JAIL_GROUP_FDS; i++)
        given[count++] = launch->group[i];
    if (pass(standby->seat, parts, 2, given, count) != 0)
        return -1;
    /* A program of the same user may have stopped it. */
    (void)syscall(SYS_pidfd_send_signal, standby->child.pidfd, SIGCONT, NULL,
                  0);
    return 0;
}

static int hand_to_first(struct noe_standbys *s,
                         const struct noe_launch *launch, int cwd,
                         const struct noe_argv *strings, unsigned arguments,
                         struct noe_standby *standby)
{
    while (s->idle_count > 0) {
        struct noe_standby *last = &s->idle[s->idle_count - 1];
        errno = EPIPE;
        if (noe_kept_check(&last->seat, &last->id) &&
            noe_standby_hand_over(launch, cwd, strings, arguments, last) == 0) {
            *standby = *last;
            s->idle_count--;
            s->busy_count++;
            return 0;
        }
        if (!is_gone(errno))
            return -1;
        noe_standby_let_go(last);
        s->idle_count--;
    }
    return -1;
}

/* Of the host's own descriptors and processes; 0: it has none to spare. And
 * where processor time is limited, one that serves many runs would use it up.
 */
static unsigned most_for(void)
{
    struct rlimit files;
    struct rlimit processes;
    struct rlimit cpu;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < FEWEST ||
        getrlimit(RLIMIT_NPROC, &processes) != 0 ||
        processes.rlim_cur < FEWEST || getrlimit(RLIMIT_CPU, &cpu) != 0 ||
        cpu.rlim_cur != RLIM_INFINITY)
        return 0;
    if (files.rlim_cur / FILES_EACH >= NOE_STANDBY_MAX)
        return NOE_STANDBY_MAX;
    return (unsigned)(files.rlim_cur / FILES_EACH);
}

/* Who takes over orphans would have the launcher among its children. */
static bool takes_orphans(void)
{
    int subreaper = 0;

    return getpid() == 1 ||
           prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0) != 0 ||
           subreaper != 0;
}

/* Whether what stands by is as a child of ours would be now. If not, it goes;
 * and what is to come is made when the next run finds nothing changed. */
static bool is_as_we_are(struct noe_standbys *s)
{
    if (s->now == NULL)
        s->now = malloc(sizeof(*s->now));
    if (s->born == NULL)
        s->born = malloc(sizeof(*s->born));
    if (s->now == NULL || s->born == NULL || takes_orphans() ||
        noe_inherited_read(&s->source, s->now) != 0) {
        s->known = false;
        end_service(s);
        return false;
    }
    if (s->known && s->born->len == s->now->len &&
        memcmp(s->born->data, s->now->data, s->now->len) == 0)
        return true;
    end_service(s);
    struct noe_inherited *other = s->born;
    s->born = s->now;
    s->now = other;
    s->known = true;
    return false;
}

/* What the launcher left to be looked into (src/jail/launcher.c). */
static bool may_see_witness(const struct noe_standbys *s)
{
    char path[48];
    char text[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)s->witness);
    return readlink(path, text, sizeof(text)) > 0;
}

/* Where it could not be seen from the beginning, it will tell nothing here:
 * then there is no launcher. (Or that was killed just now, so it is tried
 * again.) */
static void check_witness(struct noe_standbys *s)
{
    if (may_see_witness(s)) {
        s->saw_witness = true;
        return;
    }
    if (!s->saw_witness)
        s->retry_us = noe_clock_us() + BLIND_RETRY_US;
    end_service(s);
}

static void remember_owner(struct noe_standbys *s)
{
    if (s->owner == getpid())
        return;
    end_service(s);
    s->owner = getpid();
    s->known = false;
    s->failures = 0;
    s->retry_us = 0;
}

/* The program's own words, and where it starts. */
static int start_with(struct noe_standbys *s, const struct noe_launch *launch,
                      bool inherits_cwd, struct noe_standby *standby)
{
    struct noe_argv strings = {.count = 0};
    unsigned arguments = (unsigned)add_strings(&strings, launch->argv);
    int cwd = -1;
    int status = -1;

    (void)add_strings(&strings, launch->envp);
    /* A directory that we may not enter any more cannot be handed on. */
    if (inherits_cwd && faccessat(AT_FDCWD, ".", X_OK, AT_EACCESS) == 0)
        cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!strings.failed && strings.bytes.len <= NOE_JAIL_MAX_REQUEST &&
        (!inherits_cwd || cwd >= 0))
        status = hand_to_first(s, launch, cwd, &strings, arguments, standby);
    noe_fd_close(&cwd);
    noe_argv_free(&strings);
    return status;
}

int noe_standby_start(struct noe_launcher *launcher,
                      const struct noe_launch *launch, bool inherits_cwd,
                      struct noe_standby *standby)
{
    struct noe_standbys *s = noe_launcher_standbys(launcher);
    unsigned most = most_for();

    remember_owner(s);
    if (most == 0 || noe_launcher_pretence(launcher)->no_launcher) {
        end_service(s);
        return -1;
    }
    if (!is_as_we_are(s))
        return -1;
    welcome(s);
    if (s->idle_count > 0)
        check_witness(s);
    if (s->idle_count > 0 && start_with(s, launch, inherits_cwd, standby) == 0)
        return 0;
    grow(launcher, s, most);
    return -1;
}

void noe_standby_return(struct noe_launcher *launcher,
                        struct noe_standby *standby, bool fit)
{
    struct noe_standbys *s = noe_launcher_standbys(launcher);

    if (s->owner != getpid() || s->service != standby->service) {
        noe_standby_let_go(standby);
        return;
    }
    s->busy_count--;
    if (!fit) {
        noe_standby_let_go(standby);
        return;
    }
    s->idle[s->idle_count++] = *standby;
    *standby = (struct noe_standby){.seat = -1, .child = {-1, -1}, .file = -1};
}
