/* SPDX-License-Identifier: MIT */
/*
 * The relay: between a sandbox that may reach the hosts of a list, and these.
 *
 *   program --- door (a listener inside) --- relay --- host
 *   program --- name server's sockets --- relay
 *   relay --- lookup (getent, in a process apart)
 *   relay --- supervisor --- host, which may be asked for leave
 *
 * It is a process of the host's network with nothing in its hands but sockets:
 * no capability, no file, no program to start, none of its user's signals to
 * send. It reads what the stage wrote: questions about names, of which a listed
 * one is answered with the address of its door; and bytes, which it copies. No
 * question of the stage's goes out; a name is resolved when a connection to its
 * door was accepted, each address that comes is judged, and what was judged is
 * connected to.
 *
 * It lives as long as the run. At its end it says what was reached and what was
 * refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/dns.h"
#include "base/inside.h"
#include "base/text.h"
#include "base/uapi.h"
#include "carry.h"
#include "doors.h"
#include "jail.h"
#include "lookup.h"

enum {
    SOCKET_FD = 3, /* to the supervisor */
    LOOKUP_FD = 4,
    FIRST_DOOR_FD,
    MAX_NAMES = NOE_HOSTS_MAX + NOE_SPARE_NAMES,
    MAX_REFUSALS = 64,
    MAX_QUESTIONERS = 16,   /* name server's connections at a time */
    ACCEPTED_IN_A_ROW = 32, /* then others have their turn */
    DATAGRAMS_IN_A_ROW = 64,
    LEAVE_US = 10 * 1000 * 1000, /* how long the host has to give leave */
    FRESH_US = 60 * 1000 * 1000  /* how long an answer is good for */
};

struct name {
    char text[NOE_HOST_NAME_MAX + 1];
    bool open; /* its doors are */
    bool asked;
    int64_t known_until_us;
    struct noe_lookup_answer answer;
};

struct door {
    struct noe_source source;
    int fd;
    struct noe_target to;
    enum noe_leave leave;
    enum noe_refusal refusal; /* if there is none */
    int64_t asked_until_us;   /* 0: the host was not asked */
};

struct refused {
    char host[NOE_HOST_NAME_MAX + 1];
    uint16_t port;
    enum noe_refusal why;
};

struct questioner { /* over a stream: a length, and as many bytes */
    struct noe_source source;
    int fd;
    size_t len;
    uint8_t bytes[2 + NOE_DNS_MAX_QUERY];
};

static struct noe_doors plan;
static struct door doors[NOE_DOOR_FIRST + NOE_DOORS_MAX];
static unsigned door_count; /* that have come */
static struct name names[MAX_NAMES];
static char literals[NOE_HOSTS_MAX][64]; /* "[" address "]" and NUL */
static unsigned name_count;
static struct refused refusals[MAX_REFUSALS];
static unsigned refusal_count;
static struct questioner questioners[MAX_QUESTIONERS];
static struct noe_lookup_answer numbers[NOE_HOSTS_MAX]; /* of literals */
static struct noe_carrier carrier;
static unsigned asked_count; /* doors for which there is no answer yet */
static struct noe_source from_supervisor;
static struct noe_source from_lookup;

static const char *const REASONS[NOE_REFUSALS] = {
    [NOE_REFUSED_UNLISTED] = "unlisted",
    [NOE_REFUSED_PRIVATE] = "private_address",
    [NOE_REFUSED_ABSENT] = "not_found",
    [NOE_REFUSED_NO_RESOLVER] = "no_resolver",
    [NOE_REFUSED_LOOKUP_TIME] = "lookup_timed_out",
    [NOE_REFUSED_CONNECT_TIME] = "connect_timed_out",
    [NOE_REFUSED_BY_HOST] = "connection_refused",
    [NOE_REFUSED_UNREACHABLE] = "unreachable",
    [NOE_REFUSED_CONNECTIONS] = "connections",
    [NOE_REFUSED_BYTES] = "network_bytes",
    [NOE_REFUSED_NAMES] = "names",
    [NOE_REFUSED_IDLE] = "idle",
    [NOE_REFUSED_DENIED] = "denied",
    [NOE_REFUSED_UNANSWERED] = "unanswered",
};

/* Each once, and only so many: what a stage invents has no end. */
static void note_refusal(const char *host, uint16_t port, enum noe_refusal why)
{
    for (unsigned i = 0; i < refusal_count; i++)
        if (refusals[i].port == port && refusals[i].why == why &&
            strcmp(refusals[i].host, host) == 0)
            return;
    if (refusal_count == MAX_REFUSALS)
        return;
    struct refused *refused = &refusals[refusal_count++];
    strncpy(refused->host, host, sizeof(refused->host) - 1);
    refused->port = port;
    refused->why = why;
}

static int wait_for(int fd, struct noe_source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = source}};

    return epoll_ctl(carrier.epoll, EPOLL_CTL_ADD, fd, &event);
}

static enum noe_refusal why_unknown(const struct noe_lookup_answer *answer)
{
    switch (answer->status) {
    case NOE_LOOKUP_TIMED_OUT:
        return NOE_REFUSED_LOOKUP_TIME;
    case NOE_LOOKUP_NO_RESOLVER:
        return NOE_REFUSED_NO_RESOLVER;
    default:
        return NOE_REFUSED_ABSENT;
    }
}

static void connect_known(struct noe_carried *c, const struct name *name)
{
    if (name->answer.status == NOE_LOOKUP_FOUND)
        noe_carry_connect(c, &name->answer);
    else
        noe_carry_refuse(c, why_unknown(&name->answer));
}

static void ask(struct name *name)
{
    struct noe_lookup_question question = {.id = (uint32_t)(name - names)};

    if (name->asked)
        return;
    memcpy(question.name, name->text, sizeof(question.name));
    if (send(LOOKUP_FD, &question, sizeof(question),
             MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(question)) {
        name->asked = true;
        return;
    }
    name->answer = (struct noe_lookup_answer){.status = NOE_LOOKUP_NO_RESOLVER};
    name->known_until_us = INT64_MAX;
}

/* Connects what came to a door. */
static void lead_on(struct noe_carried *c, struct noe_target *to)
{
    if (to->literal) {
        noe_carry_connect(c, &numbers[to->name]);
        return;
    }
    struct name *name = &names[to->name];
    c->looking = true;
    if (noe_jail_clock_us() >= name->known_until_us)
        ask(name);
    if (!name->asked)
        connect_known(c, name);
}

static void hear_lookup(struct noe_source *source, uint32_t events)
{
    struct noe_lookup_answer answer;
    struct noe_carried *next;
    ssize_t len = recv(LOOKUP_FD, &answer, sizeof(answer), MSG_DONTWAIT);

    (void)source;
    (void)events;
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len != sizeof(answer) || answer.id >= name_count ||
        answer.count > NOE_LOOKUP_MAX)
        _exit(1);
    struct name *name = &names[answer.id];
    name->answer = answer;
    name->asked = false;
    name->known_until_us = noe_jail_clock_us() + FRESH_US;
    for (struct noe_carried *c = carrier.first; c != NULL; c = next) {
        next = c->next;
        if (c->looking && c->to->name == answer.id)
            connect_known(c, name);
    }
}

/* What cannot be sent is not answered. */
static void ask_for_leave(struct door *door)
{
    struct noe_jail_event event = {.type = NOE_JAIL_ASK};
    struct noe_jail_question question = {.id = (uint32_t)(door - doors),
                                         .port = door->to.port};
    struct iovec parts[] = {{&event, sizeof(event)},
                            {&question, sizeof(question)}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    if (door->asked_until_us != 0)
        return;
    strncpy(question.host, door->to.host, sizeof(question.host) - 1);
    door->asked_until_us = noe_jail_clock_us() + LEAVE_US;
    asked_count++;
    (void)sendmsg(SOCKET_FD, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Of a door at which somebody stands. */
static void let_in(struct noe_carried *c, struct door *door)
{
    c->waiting = door->leave == NOE_LEAVE_ASK;
    if (c->waiting)
        ask_for_leave(door);
    else if (door->leave == NOE_LEAVE_GIVEN)
        lead_on(c, &door->to);
    else
        noe_carry_refuse(c, door->refusal);
}

/* The one answer to whoever stands there, and to who will. */
static void decide(struct door *door, enum noe_leave leave,
                   enum noe_refusal refusal)
{
    struct noe_carried *next;

    door->leave = leave;
    door->refusal = refusal;
    asked_count--;
    for (struct noe_carried *c = carrier.first; c != NULL; c = next) {
        next = c->next;
        if (c->waiting && c->to == &door->to)
            let_in(c, door);
    }
}

static void hear_leave(const struct noe_jail_event *event)
{
    if (event->answer.id >= door_count)
        return;
    struct door *door = &doors[event->answer.id];
    if (door->asked_until_us == 0 || door->leave != NOE_LEAVE_ASK)
        return;
    decide(door, event->answer.yes ? NOE_LEAVE_GIVEN : NOE_LEAVE_NONE,
           NOE_REFUSED_DENIED);
}

/* No answer is no. */
static void check_leave(int64_t now)
{
    for (unsigned i = 0; i < door_count && asked_count > 0; i++)
        if (doors[i].leave == NOE_LEAVE_ASK && doors[i].asked_until_us != 0 &&
            now >= doors[i].asked_until_us)
            decide(&doors[i], NOE_LEAVE_NONE, NOE_REFUSED_UNANSWERED);
}

static void open_door(struct noe_source *source, uint32_t events)
{
    struct door *door = (struct door *)source;

    (void)events;
    for (int i = 0; i < ACCEPTED_IN_A_ROW; i++) {
        int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        struct noe_carried *c = noe_carry_accept(&carrier, fd, &door->to);
        if (c != NULL)
            let_in(c, door);
    }
}

/* A name's is shut until that is asked for, and so is a door of version 6 where
 * there is none. */
static bool is_open(unsigned index)
{
    int value = 0;
    socklen_t len = sizeof(value);

    if (index < NOE_DOOR_FIRST)
        return true;
    const struct noe_door *door = &plan.doors[index - NOE_DOOR_FIRST];
    if (door->kind != NOE_DOOR_OF_ADDRESS || !door->v6)
        return door->kind == NOE_DOOR_OF_ADDRESS;
    return getsockopt(doors[index].fd, SOL_SOCKET, SO_ACCEPTCONN, &value,
                      &len) == 0 &&
           value != 0;
}

static unsigned add_name(const char *text, size_t len)
{
    struct name *name = &names[name_count];

    memcpy(name->text, text, len);
    name->text[len] = '\0';
    return name_count++;
}

static int begin_listening(struct door *door)
{
    enum { BACKLOG = 1024 };

    return listen(door->fd, BACKLOG) != 0 ? -1
                                          : wait_for(door->fd, &door->source);
}

/* Opens a spare's doors on each port that an entry has for the name. All, or
 * none: what is not listened to is refused as by a host. */
static int give_spare(unsigned spare, unsigned name)
{
    const char *text = names[name].text;

    for (unsigned i = 0; i < plan.count; i++) {
        const struct noe_door *planned = &plan.doors[i];
        struct door *door = &doors[NOE_DOOR_FIRST + i];
        bool private = false;
        if (planned->kind != NOE_DOOR_SPARE || planned->of != spare)
            continue;
        door->leave =
            noe_doors_allow(&plan, text, strlen(text), planned->port, &private);
        if (door->leave == NOE_LEAVE_NONE)
            continue;
        door->to.host = text;
        door->to.port = planned->port;
        door->to.private = private;
        door->to.name = name;
        if (begin_listening(door) != 0)
            return -1;
    }
    return 0;
}

/* Of a name of the list, the first time that it is asked for. */
static int open_doors_of(unsigned name)
{
    if (names[name].open)
        return 0;
    for (unsigned i = 0; i < plan.count; i++)
        if (plan.doors[i].kind == NOE_DOOR_OF_NAME &&
            plan.doors[i].of == name &&
            begin_listening(&doors[NOE_DOOR_FIRST + i]) != 0)
            return -1;
    names[name].open = true;
    return 0;
}

/* Of the names that stand for addresses only those that an entry means. */
static bool is_covered(const char *name, size_t len, bool of_address)
{
    for (unsigned i = 0; i < plan.host_count; i++) {
        bool means_any = plan.hosts[i].kind == NOE_HOST_ASKED;
        if (!(means_any && of_address) &&
            noe_host_covers(&plan.hosts[i], name, len))
            return true;
    }
    return false;
}

static bool is_named(unsigned index, const char *text, size_t len)
{
    return strlen(names[index].text) == len &&
           memcmp(names[index].text, text, len) == 0;
}

/* Names of the list come first, then those that were given a spare. To learn on
 * which port a name is wanted that is not listed, it is given one, too, at
 * which nothing listens. */
static enum noe_dns_found find_name(const char *text, size_t len,
                                    uint8_t address[4], void *unused)
{
    char copy[NOE_HOST_NAME_MAX + 1] = "";
    unsigned listed = plan.name_count;

    (void)unused;
    for (unsigned i = 0; i < name_count; i++) {
        if (!is_named(i, text, len))
            continue;
        if (i < listed)
            noe_doors_address(i, address);
        else
            noe_doors_spare_address(i - listed, address);
        return i >= listed || open_doors_of(i) == 0 ? NOE_DNS_ADDRESS
                                                    : NOE_DNS_FAILED;
    }
    memcpy(copy, text, len);
    bool is_name = noe_host_is_name(text, len);
    bool of_address = len > 5 && memcmp(text + len - 5, ".arpa", 5) == 0;
    if (!is_name || !is_covered(text, len, of_address)) {
        if (!of_address)
            note_refusal(copy, 0, NOE_REFUSED_UNLISTED);
        if (!is_name || of_address || !plan.learns)
            return NOE_DNS_ABSENT;
    }
    unsigned spare = name_count - listed;
    if (spare >= plan.spare_names) {
        note_refusal(copy, 0, NOE_REFUSED_NAMES);
        return NOE_DNS_FAILED;
    }
    noe_doors_spare_address(spare, address);
    return give_spare(spare, add_name(text, len)) == 0 ? NOE_DNS_ADDRESS
                                                       : NOE_DNS_FAILED;
}

static void answer_datagrams(struct noe_source *source, uint32_t events)
{
    static uint8_t query[NOE_DNS_MAX_QUERY];
    uint8_t reply[NOE_DNS_MAX_REPLY];
    int fd = ((struct door *)source)->fd;

    (void)events;
    for (int i = 0; i < DATAGRAMS_IN_A_ROW; i++) {
        struct sockaddr_storage from;
        socklen_t from_len = sizeof(from);
        ssize_t len = recvfrom(fd, query, sizeof(query), 0,
                               (struct sockaddr *)&from, &from_len);
        if (len < 0)
            return;
        size_t out = noe_dns_reply(query, (size_t)len, reply, find_name, NULL);
        if (out > 0)
            (void)sendto(fd, reply, out, MSG_NOSIGNAL, (struct sockaddr *)&from,
                         from_len);
    }
}

static void dismiss(struct questioner *q)
{
    close(q->fd);
    q->fd = -1;
}

/* Where a whole question has come, its answer: the answers are short, and who
 * does not read them is dismissed. */
static bool answer_next(struct questioner *q)
{
    uint8_t reply[2 + NOE_DNS_MAX_REPLY];
    size_t wanted = q->len >= 2 ? (size_t)q->bytes[0] << 8 | q->bytes[1] : 0;

    if (q->len < 2 || wanted > NOE_DNS_MAX_QUERY || q->len < 2 + wanted)
        return q->len < 2 || wanted <= NOE_DNS_MAX_QUERY;
    size_t out =
        noe_dns_reply(q->bytes + 2, wanted, reply + 2, find_name, NULL);
    q->len -= 2 + wanted;
    memmove(q->bytes, q->bytes + 2 + wanted, q->len);
    if (out == 0)
        return false;
    reply[0] = (uint8_t)(out >> 8);
    reply[1] = (uint8_t)out;
    if (send(q->fd, reply, 2 + out, MSG_NOSIGNAL) != (ssize_t)(2 + out))
        return false;
    return answer_next(q);
}

static void hear_questioner(struct noe_source *source, uint32_t events)
{
    struct questioner *q = (struct questioner *)source;

    (void)events;
    if (q->fd < 0)
        return;
    ssize_t len = recv(q->fd, q->bytes + q->len, sizeof(q->bytes) - q->len, 0);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    q->len += len > 0 ? (size_t)len : 0;
    if (len <= 0 || !answer_next(q))
        dismiss(q);
}

/* The one that has been there longest goes, where there are too many. */
static void accept_questioner(struct noe_source *source, uint32_t events)
{
    static unsigned next;
    struct questioner *q = &questioners[next];
    int fd = accept4(((struct door *)source)->fd, NULL, NULL,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    next = (next + 1) % MAX_QUESTIONERS;
    if (q->fd > 0)
        dismiss(q);
    q->source.ready = hear_questioner;
    q->fd = fd;
    q->len = 0;
    if (wait_for(fd, &q->source) != 0)
        dismiss(q);
}

static char *add_line(char *at, const char *word, const char *host,
                      uint16_t port)
{
    at = noe_text_add(noe_text_add(at, word), " ");
    at = noe_text_add(noe_text_add(at, host), " ");
    return noe_text_number(at, port);
}

static void say_all(void)
{
    static struct {
        struct noe_jail_event event;
        char text[NOE_JAIL_MAX_REPORT];
    } report;
    enum { LINE = NOE_HOST_NAME_MAX + 128 };
    char *at = report.text;
    char *end = report.text + sizeof(report.text) - LINE;

    report.event.type = NOE_JAIL_REPORT;
    for (unsigned i = 0; i < refusal_count && at < end; i++) {
        at = add_line(at, "refused", refusals[i].host, refusals[i].port);
        at = noe_text_add(noe_text_add(at, " "), REASONS[refusals[i].why]);
        at = noe_text_add(at, "\n");
    }
    for (unsigned i = 0; i < plan.count && at < end; i++) {
        const struct noe_target *to = &doors[NOE_DOOR_FIRST + i].to;
        if (to->connected == 0)
            continue;
        at = add_line(at, "reached", to->host, to->port);
        at = noe_text_number(noe_text_add(at, " "), to->bytes_in);
        at = noe_text_number(noe_text_add(at, " "), to->bytes_out);
        at = noe_text_add(at, "\n");
    }
    (void)send(SOCKET_FD, &report,
               sizeof(report.event) + (size_t)(at - report.text),
               MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The name that an address inside stands for; NULL: none. */
static const char *name_at(const uint8_t *address)
{
    uint8_t own[4];

    for (unsigned i = 0; i < name_count; i++) {
        if (i < plan.name_count)
            noe_doors_address(i, own);
        else
            noe_doors_spare_address(i - plan.name_count, own);
        if (memcmp(address, own, sizeof(own)) == 0)
            return names[i].text;
    }
    return NULL;
}

/* Of what was tried that has no door: a port of a name, or an address. What is
 * the sandbox's own is nobody's concern. */
static void note_tried(const struct noe_jail_tried *tried)
{
    char text[INET6_ADDRSTRLEN + 2] = "[";
    bool private;
    const char *name = tried->v6 ? NULL : name_at(tried->address);
    bool own = !tried->v6 && tried->address[0] == 198 &&
               (tried->address[1] & 0xfe) == 18;

    if (name != NULL) {
        if (noe_doors_allow(&plan, name, strlen(name), tried->port, &private) ==
            NOE_LEAVE_NONE)
            note_refusal(name, tried->port, NOE_REFUSED_UNLISTED);
        return;
    }
    if (own || inet_ntop(tried->v6 ? AF_INET6 : AF_INET, tried->address,
                         text + 1, INET6_ADDRSTRLEN) == NULL)
        return;
    if (tried->v6)
        strcat(text, "]");
    note_refusal(tried->v6 ? text : text + 1, tried->port,
                 NOE_REFUSED_UNLISTED);
}

/* Its end is ours. */
static void hear_supervisor(struct noe_source *source, uint32_t events)
{
    struct noe_jail_event event;
    struct noe_jail_tried tried;
    ssize_t len = recv(SOCKET_FD, &event, sizeof(event), MSG_DONTWAIT);

    (void)source;
    (void)events;
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len == sizeof(event) && event.type == NOE_JAIL_TRIED) {
        memcpy(&tried, event.path, sizeof(tried));
        note_tried(&tried);
        return;
    }
    if (len == sizeof(event) && event.type == NOE_JAIL_ANSWER) {
        hear_leave(&event);
        return;
    }
    say_all();
    _exit(0);
}

static void add_number(struct noe_lookup_answer *answer,
                       const struct noe_door *door)
{
    struct noe_lookup_address *address = &answer->addresses[answer->count++];

    address->v6 = door->v6;
    memcpy(address->bytes, door->address, door->v6 ? 16 : 4);
}

/* Where the list has both, as "localhost" is written: a server of this machine
 * mostly listens on one, and a program that was let in by the wrong door would
 * not try the other. */
static void add_other_loopback(struct noe_lookup_answer *answer,
                               const struct noe_door *door)
{
    for (unsigned i = 0; i < plan.count; i++) {
        const struct noe_door *other = &plan.doors[i];
        if (other->kind == NOE_DOOR_OF_ADDRESS && other->port == door->port &&
            other->v6 != door->v6 && noe_door_is_loopback(other) &&
            answer->count < 2)
            add_number(answer, other);
    }
}

static void furnish_door(unsigned index)
{
    const struct noe_door *planned = &plan.doors[index];
    struct door *door = &doors[NOE_DOOR_FIRST + index];

    door->source.ready = open_door;
    door->leave = planned->leave;
    door->to = (struct noe_target){.port = planned->port,
                                   .private = planned->private,
                                   .name = planned->of};
    if (planned->kind == NOE_DOOR_OF_NAME)
        door->to.host = names[planned->of].text;
    if (planned->kind != NOE_DOOR_OF_ADDRESS)
        return;
    door->to.literal = true;
    door->to.name = planned->of;
    add_number(&numbers[planned->of], planned);
    if (noe_door_is_loopback(planned))
        add_other_loopback(&numbers[planned->of], planned);
    const struct noe_host *host = &plan.hosts[planned->of];
    memcpy(literals[planned->of], host->name, host->name_len);
    door->to.host = literals[planned->of];
}

static int furnish(void)
{
    doors[NOE_DOOR_UDP].source.ready = answer_datagrams;
    doors[NOE_DOOR_TCP].source.ready = accept_questioner;
    for (unsigned i = 0; i < plan.name_count; i++)
        (void)add_name(plan.names[i], plan.name_lens[i]);
    for (unsigned i = 0; i < plan.count; i++)
        furnish_door(i);
    for (unsigned i = 0; i < door_count; i++)
        if (is_open(i) && wait_for(doors[i].fd, &doors[i].source) != 0)
            return -1;
    from_supervisor.ready = hear_supervisor;
    from_lookup.ready = hear_lookup;
    if (wait_for(SOCKET_FD, &from_supervisor) != 0)
        return -1;
    return wait_for(LOOKUP_FD, &from_lookup);
}

/* All of them, in the order of the plan. */
static int receive_doors(void)
{
    struct noe_jail_given given = {.event = {.code = 0}};

    while (!given.event.code) {
        ssize_t len = noe_jail_recv_given(SOCKET_FD, &given, 0);
        if (len < 0 && errno == EINTR)
            continue;
        if (len != sizeof(given.event) || given.event.type != NOE_JAIL_DOORS ||
            given.count > NOE_DOOR_FIRST + plan.count - door_count)
            return -1;
        for (unsigned i = 0; i < given.count; i++)
            doors[door_count++].fd = given.fds[i];
    }
    return door_count == NOE_DOOR_FIRST + plan.count ? 0 : -1;
}

/* As many connections as there are descriptors for, two for each. */
static void limit_connections(const struct noe_jail *jail)
{
    enum { OTHERS = 64 };
    struct rlimit files;
    uint64_t most = 1;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        (void)getrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_cur > door_count + OTHERS)
            most = (files.rlim_cur - door_count - OTHERS) / 2;
    }
    carrier.limit = (uint64_t)jail->start.connections;
    if (carrier.limit > most)
        carrier.limit = most;
    carrier.bytes_limit = (uint64_t)jail->start.network_bytes;
}

static int timeout_ms(void)
{
    enum { LOOK_MS = 500 };

    return carrier.first != NULL ? LOOK_MS : -1;
}

static void serve(void)
{
    enum { EVENTS = 64 };
    struct epoll_event events[EVENTS];
    int64_t look_us = 0;

    for (;;) {
        int count = epoll_wait(carrier.epoll, events, EVENTS, timeout_ms());
        for (int i = 0; i < count; i++) {
            struct noe_source *source = events[i].data.ptr;
            source->ready(source, events[i].events);
        }
        int64_t now = noe_jail_clock_us();
        if (now >= look_us) {
            noe_carry_check_clock();
            check_leave(now);
            look_us = now + 100 * 1000;
        }
        noe_carry_sweep();
    }
}

_Noreturn static void relay(const struct noe_jail *jail)
{
    signal(SIGPIPE, SIG_IGN); /* to be told by errno */
    carrier.refused = note_refusal;
    carrier.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (carrier.epoll < 0 || receive_doors() != 0)
        _exit(1);
    limit_connections(jail);
    if (furnish() != 0 || noe_relay_confine() != 0)
        _exit(1);
    serve();
    _exit(0);
}

/* Root of the host becomes nobody, as programs in its sandboxes are. Root of a
 * user namespace that maps no other id is somebody else outside it. */
static int leave_root(void)
{
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) == 0 &&
        setresgid(NOE_INSIDE_ID, NOE_INSIDE_ID, NOE_INSIDE_ID) == 0 &&
        setresuid(NOE_INSIDE_ID, NOE_INSIDE_ID, NOE_INSIDE_ID) == 0)
        return 0;
    return noe_is_root_of_host() ? -1 : 0;
}

/* What was the supervisor's is closed, and what is kept has its number. The
 * way to who resolves names is `lookup`. */
static int settle(int own, int lookup)
{
    if (dup3(own, SOCKET_FD + 64, O_CLOEXEC) < 0 ||
        dup3(lookup, LOOKUP_FD + 64, O_CLOEXEC) < 0)
        return -1;
    /* No connection may have the number of a standard stream. */
    for (int fd = 0; fd < SOCKET_FD; fd++)
        if (dup3(own, fd, O_CLOEXEC) < 0)
            return -1;
    if (dup3(SOCKET_FD + 64, SOCKET_FD, O_CLOEXEC) < 0 ||
        dup3(LOOKUP_FD + 64, LOOKUP_FD, O_CLOEXEC) < 0)
        return -1;
    return (int)syscall(SYS_close_range, FIRST_DOOR_FD, ~0U, 0);
}

_Noreturn static void begin(const struct noe_jail *jail, int own,
                            pid_t supervisor)
{
    int pair[2];

    prctl(PR_SET_NAME, "noether-relay");
    if (leave_root() != 0 || noe_confine_privileges() != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != supervisor ||
        prctl(PR_SET_DUMPABLE, 0) != 0 || noe_doors_plan(&plan, jail) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        _exit(1);
    pid_t self = getpid();
    pid_t resolver = fork();
    if (resolver == 0) {
        prctl(PR_SET_NAME, "noether-lookup");
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != self ||
            settle(pair[1], pair[1]) != 0)
            _exit(1);
        close(SOCKET_FD);
        noe_lookup_serve(LOOKUP_FD);
    }
    if (resolver < 0 || settle(own, pair[0]) != 0)
        _exit(1);
    relay(jail);
}

pid_t noe_relay_start(const struct noe_jail *jail, int *own)
{
    pid_t supervisor = getpid();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        begin(jail, pair[1], supervisor);
    int code = errno;
    close(pair[1]);
    *own = pair[0];
    if (pid < 0) {
        close(pair[0]);
        *own = -1;
    }
    errno = code;
    return pid;
}
