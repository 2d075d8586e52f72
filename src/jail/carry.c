/* SPDX-License-Identifier: MIT */
#include "carry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jail.h"

enum {
    PIECE = 128 * 1024,
    PIECES_IN_A_ROW = 8, /* then others have their turn */
    CONNECT_US = 10 * 1000 * 1000
};

#define IDLE_US (15 * 60 * (int64_t)1000000)

static struct noe_carrier *carrier;
static char piece[PIECE];

void noe_carry_reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
}

static struct noe_end *other_of(struct noe_end *end)
{
    struct noe_carried *c = end->of;

    return end == &c->inner ? &c->outer : &c->inner;
}

static void unlink_carried(struct noe_carried *c)
{
    if (c->before != NULL)
        c->before->next = c->next;
    else
        carrier->first = c->next;
    if (c->next != NULL)
        c->next->before = c->before;
    carrier->count--;
    c->dead = true;
    c->next = carrier->dead;
    carrier->dead = c;
}

static void close_end(struct noe_end *end, bool reset)
{
    if (end->fd < 0)
        return;
    end->in_set = false;
    if (end->pipe != NULL)
        noe_pipe_drop(end->pipe);
    end->pipe = NULL;
    if (reset)
        noe_carry_reset(end->fd);
    else
        close(end->fd);
    end->fd = -1;
}

static void end_both(struct noe_carried *c, bool reset)
{
    if (c->dead)
        return;
    close_end(&c->inner, reset);
    close_end(&c->outer, reset);
    unlink_carried(c);
}

void noe_carry_refuse(struct noe_carried *c, enum noe_refusal why)
{
    if (c->dead)
        return;
    carrier->refused(c->to->host, c->to->port, why);
    end_both(c, true);
}

/* With nothing to wait for an end is not in the set at all: the kernel would
 * not stop to say that it is gone. */
static int watch(struct noe_end *end, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = end}};
    int change = end->in_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    if (events == 0)
        change = EPOLL_CTL_DEL;
    if (end->in_set ? end->watched == events && events != 0 : events == 0)
        return 0;
    end->watched = events;
    end->in_set = events != 0;
    return epoll_ctl(carrier->epoll, change, end->fd, &event);
}

static int begin_watching(struct noe_end *end, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = end}};

    end->watched = events;
    end->in_set = true;
    return epoll_ctl(carrier->epoll, EPOLL_CTL_ADD, end->fd, &event);
}

/* An end is read while the other takes what it sends. */
static int watch_both(struct noe_carried *c)
{
    uint32_t inner = (c->inner.full ? EPOLLOUT : 0) |
                     (c->inner.over || c->outer.full ? 0 : EPOLLIN);
    uint32_t outer = (c->outer.full ? EPOLLOUT : 0) |
                     (c->outer.over || c->inner.full ? 0 : EPOLLIN);

    return watch(&c->inner, inner) != 0 || watch(&c->outer, outer) != 0 ? -1
                                                                        : 0;
}

static void count(struct noe_end *from, uint64_t bytes)
{
    struct noe_carried *c = from->of;

    if (from == &c->outer)
        c->to->bytes_in += bytes;
    else
        c->to->bytes_out += bytes;
    carrier->bytes += bytes;
    c->until_us = noe_jail_clock_us() + IDLE_US;
}

enum moved { MOVED, NO_MORE, BROKEN };

/* Nothing came: not yet, or never again. */
static enum moved judge_silence(struct noe_end *from, struct noe_end *to,
                                ssize_t there, int code)
{
    if (there < 0)
        return code == EAGAIN || code == EINTR ? NO_MORE : BROKEN;
    from->over = true;
    return shutdown(to->fd, SHUT_WR) == 0 ? NO_MORE : BROKEN;
}

/* What the other end does not take now stays where it is: nothing is read that
 * has no place to go. */
static enum moved copy_piece(struct noe_end *from, struct noe_end *to)
{
    ssize_t there = recv(from->fd, piece, sizeof(piece), MSG_PEEK);

    if (there <= 0)
        return judge_silence(from, to, there, errno);
    ssize_t sent = send(to->fd, piece, (size_t)there, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return BROKEN;
    to->full = sent < there;
    if (sent > 0) {
        /* Of TCP this throws away as many, without a copy. */
        if (recv(from->fd, piece, (size_t)sent, MSG_TRUNC) != sent)
            return BROKEN;
        count(from, (uint64_t)sent);
    }
    return to->full ? NO_MORE : MOVED;
}

/* What is in its pipe goes to an end, as far as that takes it. */
static enum moved drain(struct noe_end *to)
{
    struct noe_pipe *pipe = to->pipe;
    ssize_t sent = 1;

    while (pipe->left > 0 && sent > 0) {
        sent = splice(pipe->out, NULL, to->fd, NULL, pipe->left,
                      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (sent <= 0)
            break;
        pipe->left -= (size_t)sent;
        count(other_of(to), (uint64_t)sent);
    }
    to->full = pipe->left > 0;
    if (to->full)
        return errno == EAGAIN || errno == EINTR ? NO_MORE : BROKEN;
    to->pipe = NULL;
    noe_pipe_give(pipe);
    return MOVED;
}

/* How much may be taken at once: no more than a little beyond the limit. */
static size_t room_for_flow(void)
{
    uint64_t left = carrier->bytes < carrier->bytes_limit
                        ? carrier->bytes_limit - carrier->bytes
                        : 0;

    return left < NOE_PIPE_BYTES ? (size_t)left + 1 : NOE_PIPE_BYTES;
}

/* A kernel that moves nothing between sockets says EINVAL. */
static enum moved move_piece(struct noe_end *from, struct noe_end *to)
{
    struct noe_pipe *pipe = noe_pipe_take();

    if (pipe == NULL)
        return copy_piece(from, to);
    ssize_t there = splice(from->fd, NULL, pipe->in, NULL, room_for_flow(),
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    int code = errno;
    if (there > 0) {
        pipe->left = (size_t)there;
        to->pipe = pipe;
        return drain(to);
    }
    noe_pipe_give(pipe);
    if (there == 0 || code != EINVAL)
        return judge_silence(from, to, there, code);
    noe_pipes_do_without();
    return copy_piece(from, to);
}

static enum moved move(struct noe_end *from, struct noe_end *to)
{
    enum moved moved = to->pipe != NULL ? drain(to) : MOVED;

    for (int i = 0; i < PIECES_IN_A_ROW && moved == MOVED; i++) {
        if (from->over || to->full)
            return NO_MORE;
        moved = move_piece(from, to);
        if (carrier->bytes > carrier->bytes_limit)
            return BROKEN;
    }
    return moved;
}

static void carry(struct noe_end *end, uint32_t events)
{
    struct noe_carried *c = end->of;
    struct noe_end *other = other_of(end);
    bool broken = false;

    /* Reset; or it was read to its end, and is no more. */
    if ((events & EPOLLERR) || ((events & EPOLLHUP) && end->over))
        broken = true;
    if (events & EPOLLOUT) {
        end->full = false;
        broken = broken || move(other, end) == BROKEN;
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        broken = broken || move(end, other) == BROKEN;
    if (carrier->bytes > carrier->bytes_limit)
        noe_carry_refuse(c, NOE_REFUSED_BYTES);
    else if (broken)
        end_both(c, true);
    else if (c->inner.over && c->outer.over)
        end_both(c, false);
    else if (watch_both(c) != 0)
        end_both(c, true);
}

static socklen_t name_of(struct sockaddr_storage *name,
                         const struct noe_lookup_address *address,
                         uint16_t port)
{
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)name;
    struct sockaddr_in *four = (struct sockaddr_in *)name;

    memset(name, 0, sizeof(*name));
    if (address->v6) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        memcpy(&six->sin6_addr, address->bytes, 16);
        return sizeof(*six);
    }
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    memcpy(&four->sin_addr, address->bytes, 4);
    return sizeof(*four);
}

/* Who speaks to an address of his own speaks from it. Nothing is sent. */
static bool is_our_own(const struct noe_lookup_address *address)
{
    struct sockaddr_storage name;
    struct sockaddr_storage from;
    struct noe_lookup_address own = {.v6 = address->v6};
    socklen_t len = name_of(&name, address, 1);
    int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool known = fd >= 0 && connect(fd, (struct sockaddr *)&name, len) == 0 &&
                 getsockname(fd, (struct sockaddr *)&from, &len) == 0;

    if (fd >= 0)
        close(fd);
    if (!known)
        return false; /* there is no way to it at all */
    if (address->v6)
        memcpy(own.bytes, &((struct sockaddr_in6 *)&from)->sin6_addr, 16);
    else
        memcpy(own.bytes, &((struct sockaddr_in *)&from)->sin_addr, 4);
    return memcmp(&own, address, sizeof(own)) == 0;
}

static bool may_be_reached(const struct noe_target *to,
                           const struct noe_lookup_address *address)
{
    enum noe_reach reach = noe_address_reach(address->bytes, address->v6);

    if (to->literal)
        return true;
    if (to->private || reach == NOE_REACH_NEVER)
        return reach != NOE_REACH_NEVER;
    return reach == NOE_REACH_PUBLIC && !is_our_own(address);
}

/* What is written goes out at once. Within a machine there is no way to share
 * with others either, and a congestion control that spreads in time what is
 * sent, as BBR does, costs half of a transfer: every kernel has this one, and
 * for everybody. */
static void send_at_once(int fd, bool within_machine)
{
    static const char plain[] = "reno";

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (within_machine)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, plain,
                         sizeof(plain) - 1);
}

static bool is_loopback(const struct noe_lookup_address *address)
{
    static const uint8_t v6[16] = {[15] = 1};

    return address->v6 ? memcmp(address->bytes, v6, sizeof(v6)) == 0
                       : address->bytes[0] == 127;
}

static enum noe_refusal why_not(int code)
{
    if (code == ECONNREFUSED || code == ECONNRESET)
        return NOE_REFUSED_BY_HOST;
    return code == ETIMEDOUT ? NOE_REFUSED_CONNECT_TIME
                             : NOE_REFUSED_UNREACHABLE;
}

/* 0: under way; else errno. */
static int begin_connect(struct noe_carried *c,
                         const struct noe_lookup_address *address)
{
    struct sockaddr_storage name;
    socklen_t len = name_of(&name, address, c->to->port);
    struct noe_end *end = &c->outer;
    int code = 0;

    end->fd =
        socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (end->fd < 0)
        return errno;
    send_at_once(end->fd, is_loopback(address));
    if (connect(end->fd, (struct sockaddr *)&name, len) != 0 &&
        errno != EINPROGRESS)
        code = errno;
    else if (begin_watching(end, EPOLLOUT) != 0)
        code = errno;
    if (code != 0)
        close_end(end, false);
    c->until_us = noe_jail_clock_us() + CONNECT_US;
    return code;
}

/* The next address that may be tried; `code` is why the last one failed. */
static void connect_next(struct noe_carried *c, enum noe_refusal why)
{
    while (c->tried < c->found->count) {
        const struct noe_lookup_address *address =
            &c->found->addresses[c->tried++];
        if (!may_be_reached(c->to, address)) {
            if (why == NOE_REFUSED_NOT)
                why = NOE_REFUSED_PRIVATE;
            continue;
        }
        int code = begin_connect(c, address);
        if (code == 0)
            return;
        why = why_not(code);
    }
    noe_carry_refuse(c, why != NOE_REFUSED_NOT ? why : NOE_REFUSED_ABSENT);
}

void noe_carry_connect(struct noe_carried *c,
                       const struct noe_lookup_answer *found)
{
    c->looking = false;
    c->found = found;
    c->tried = 0;
    connect_next(c, NOE_REFUSED_NOT);
}

static void hear_connect(struct noe_carried *c)
{
    int code = 0;
    socklen_t len = sizeof(code);

    if (getsockopt(c->outer.fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        code = errno;
    if (code != 0) {
        close_end(&c->outer, false);
        connect_next(c, why_not(code));
        return;
    }
    c->connected = true;
    c->to->connected++;
    c->until_us = noe_jail_clock_us() + IDLE_US;
    if (watch_both(c) != 0)
        end_both(c, true);
}

/* Until there is a connection outside, one that is gone inside is ended. */
static void end_ready(struct noe_source *source, uint32_t events)
{
    struct noe_end *end = (struct noe_end *)source;
    struct noe_carried *c = end->of;

    if (c->dead || end->fd < 0)
        return;
    if (c->connected)
        carry(end, events);
    else if (end == &c->outer)
        hear_connect(c);
    else if (events & (EPOLLERR | EPOLLHUP))
        end_both(c, true);
}

struct noe_carried *noe_carry_accept(struct noe_carrier *of, int fd,
                                     struct noe_target *to)
{
    enum noe_refusal why = NOE_REFUSED_NOT;
    struct noe_carried *c = NULL;

    carrier = of;
    if (carrier->bytes > carrier->bytes_limit)
        why = NOE_REFUSED_BYTES;
    else if (carrier->count >= carrier->limit)
        why = NOE_REFUSED_CONNECTIONS;
    else if ((c = calloc(1, sizeof(*c))) == NULL)
        why = NOE_REFUSED_CONNECTIONS;
    if (c == NULL) {
        carrier->refused(to->host, to->port, why);
        noe_carry_reset(fd);
        return NULL;
    }
    c->inner = (struct noe_end){.source = {end_ready}, .of = c, .fd = fd};
    c->outer = (struct noe_end){.source = {end_ready}, .of = c, .fd = -1};
    c->to = to;
    c->until_us = INT64_MAX;
    c->next = carrier->first;
    if (c->next != NULL)
        c->next->before = c;
    carrier->first = c;
    carrier->count++;
    send_at_once(fd, true);
    if (begin_watching(&c->inner, 0) == 0)
        return c;
    end_both(c, true);
    return NULL;
}

void noe_carry_check_clock(void)
{
    int64_t now = noe_jail_clock_us();
    struct noe_carried *next;

    for (struct noe_carried *c = carrier != NULL ? carrier->first : NULL;
         c != NULL; c = next) {
        next = c->next;
        if (now < c->until_us)
            continue;
        if (c->connected) {
            noe_carry_refuse(c, NOE_REFUSED_IDLE);
        } else {
            close_end(&c->outer, false);
            connect_next(c, NOE_REFUSED_CONNECT_TIME);
        }
    }
}

void noe_carry_sweep(void)
{
    while (carrier != NULL && carrier->dead != NULL) {
        struct noe_carried *c = carrier->dead;
        carrier->dead = c->next;
        free(c);
    }
}
