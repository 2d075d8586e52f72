/* SPDX-License-Identifier: MIT */
#include "socket.h"

#ifdef HAS_HIREDIS
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

enum {
    PIECE = 65536,
    PIECES_AT_ONCE = 16,    /* so that others have their turn */
    KEPT_ROOM = 1024 * 1024 /* of a buffer that is empty again */
};

static int fail(struct redis_socket *socket, int code, const char *why)
{
    socket->code = code;
    socket->why = why;
    return -1;
}

int redis_socket_init(struct redis_socket *socket)
{
    *socket = (struct redis_socket){.poller = -1, .fd = -1};
    socket->poller = epoll_create1(EPOLL_CLOEXEC);
    return socket->poller >= 0 ? 0 : -1;
}

void redis_socket_shut(struct redis_socket *socket)
{
    if (socket->fd >= 0) {
        (void)epoll_ctl(socket->poller, EPOLL_CTL_DEL, socket->fd, NULL);
        close(socket->fd);
    }
    redis_tls_free(socket->tls);
    redis_inbox_free(socket->inbox);
    free(socket->out);
    *socket = (struct redis_socket){.poller = socket->poller,
                                    .fd = -1,
                                    .code = socket->code,
                                    .why = socket->why};
}

void redis_socket_end(struct redis_socket *socket)
{
    redis_socket_shut(socket);
    if (socket->poller >= 0)
        close(socket->poller);
    socket->poller = -1;
}

size_t redis_socket_unsent(const struct redis_socket *socket)
{
    return socket->len - socket->sent;
}

/* What the poller reports: always what comes; room, while it is waited for. */
static int watch(struct redis_socket *socket, int operation, bool room)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP |
                                          (room ? (uint32_t)EPOLLOUT : 0)};

    if (epoll_ctl(socket->poller, operation, socket->fd, &event) != 0)
        return -1;
    socket->waits_for_room = room;
    return 0;
}

static int begin(struct redis_socket *own, const struct sockaddr *address,
                 socklen_t len)
{
    int on = 1;
    int flags = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

    own->fd = socket(address->sa_family, flags, 0);
    if (own->fd < 0)
        return fail(own, errno, NULL);
    if (address->sa_family != AF_UNIX) {
        (void)setsockopt(own->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(own->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    /* EAGAIN is a Unix socket's: its queue is full. */
    if (connect(own->fd, address, len) != 0 && errno != EINPROGRESS)
        return fail(own, errno, NULL);
    if (watch(own, EPOLL_CTL_ADD, true) != 0)
        return fail(own, errno, NULL);
    return 0;
}

static int begin_unix(struct redis_socket *socket, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return fail(socket, ENAMETOOLONG, NULL);
    strcpy(address.sun_path, path);
    return begin(socket, (struct sockaddr *)&address, sizeof(address));
}

static int begin_tcp(struct redis_socket *socket, const char *address,
                     const char *port)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (getaddrinfo(address, port, &hints, &found) != 0)
        return fail(socket, EINVAL, "that is no numeric address and port");
    int status = begin(socket, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return status;
}

int redis_socket_open(struct redis_socket *socket, const char *address,
                      const char *port, struct redis_tls *tls,
                      struct redis_bounds bounds)
{
    redis_socket_shut(socket);
    socket->tls = tls;
    socket->code = 0;
    socket->why = NULL;
    socket->inbox = redis_inbox_new(bounds);
    if (socket->inbox == NULL)
        return fail(socket, ENOMEM, NULL);
    if (port == NULL)
        return begin_unix(socket, address);
    return begin_tcp(socket, address, port);
}

/* Room for so many bytes more; what has gone makes place first. */
static int make_room(struct redis_socket *socket, size_t more)
{
    if (socket->sent > 0 && socket->sent >= socket->len / 2) {
        memmove(socket->out, socket->out + socket->sent,
                socket->len - socket->sent);
        socket->len -= socket->sent;
        socket->sent = 0;
    }
    if (socket->room - socket->len >= more)
        return 0;
    size_t room = socket->len + more + socket->len / 2;
    char *out = realloc(socket->out, room);
    if (out == NULL)
        return -1;
    socket->out = out;
    socket->room = room;
    return 0;
}

int redis_socket_add(struct redis_socket *socket, int count, const char **words,
                     const size_t *lens)
{
    char *text = NULL;
    int len = redisFormatCommandArgv(&text, count, words, lens);

    if (len < 0)
        return fail(socket, ENOMEM, NULL);
    int status = make_room(socket, (size_t)len);
    if (status == 0) {
        memcpy(socket->out + socket->len, text, (size_t)len);
        socket->len += (size_t)len;
    } else {
        (void)fail(socket, ENOMEM, NULL);
    }
    redisFreeCommand(text);
    return status;
}

static int finish_connecting(struct redis_socket *socket)
{
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof(peer), len = sizeof(int);
    int code = 0;

    if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        code = errno;
    if (code != 0)
        return fail(socket, code, NULL);
    if (getpeername(socket->fd, (struct sockaddr *)&peer, &peer_len) != 0)
        return errno == ENOTCONN ? 0 : fail(socket, errno, NULL);
    if (socket->tls != NULL) {
        redis_tls_attach(socket->tls, &socket->fd);
        int shaken = redis_tls_shake(socket->tls);
        if (shaken < 0)
            return fail(socket, EPROTO, redis_tls_why(socket->tls));
        if (shaken == 0)
            return watch(socket, EPOLL_CTL_MOD, false);
    }
    socket->connected = true;
    return 0;
}

static ssize_t push(struct redis_socket *socket)
{
    const char *from = socket->out + socket->sent;
    size_t left = redis_socket_unsent(socket);

    if (socket->tls != NULL)
        return redis_tls_write(socket->tls, from, left);
    return send(socket->fd, from, left, MSG_NOSIGNAL);
}

static int failed_to_move(struct redis_socket *socket)
{
    int code = errno;
    const char *why = socket->tls != NULL && code == EPROTO
                          ? redis_tls_why(socket->tls)
                          : NULL;

    return fail(socket, code, why);
}

static bool would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static int transmit(struct redis_socket *socket)
{
    while (redis_socket_unsent(socket) > 0) {
        ssize_t wrote = push(socket);
        if (wrote < 0 && !would_wait())
            return failed_to_move(socket);
        if (wrote < 0)
            break;
        socket->sent += (size_t)wrote;
        socket->moved += (unsigned long long)wrote;
    }
    if (socket->sent == socket->len) {
        socket->sent = socket->len = 0;
        if (socket->room > KEPT_ROOM) {
            free(socket->out);
            socket->out = NULL;
            socket->room = 0;
        }
    }
    bool room = redis_socket_unsent(socket) > 0;
    if (room != socket->waits_for_room &&
        watch(socket, EPOLL_CTL_MOD, room) != 0)
        return fail(socket, errno, NULL);
    return 0;
}

static ssize_t pull(struct redis_socket *socket, char *bytes, size_t len)
{
    if (socket->tls != NULL)
        return redis_tls_read(socket->tls, bytes, len);
    return recv(socket->fd, bytes, len, 0);
}

/* With TLS to the end of what there is: what mbedTLS has read already makes no
 * descriptor readable. */
static int receive(struct redis_socket *socket)
{
    char bytes[PIECE];

    for (int i = 0; i < PIECES_AT_ONCE || socket->tls != NULL; i++) {
        ssize_t got = pull(socket, bytes, sizeof(bytes));
        if (got < 0)
            return would_wait() ? 0 : failed_to_move(socket);
        if (got == 0)
            return fail(socket, 0, "the server has closed the connection");
        socket->moved += (unsigned long long)got;
        if (redis_inbox_feed(socket->inbox, bytes, (size_t)got) != 0)
            return fail(socket, EPROTO, redis_inbox_why(socket->inbox));
        if (socket->tls == NULL && (size_t)got < sizeof(bytes))
            return 0;
    }
    return 0;
}

int redis_socket_flush(struct redis_socket *socket)
{
    if (socket->fd < 0)
        return fail(socket, ENOTCONN, NULL);
    return socket->connected ? transmit(socket) : 0;
}

int redis_socket_step(struct redis_socket *socket)
{
    if (socket->fd < 0)
        return fail(socket, ENOTCONN, NULL);
    if (!socket->connected && finish_connecting(socket) != 0)
        return -1;
    if (!socket->connected)
        return 0;
    if (transmit(socket) != 0)
        return -1;
    return receive(socket);
}
#endif
