/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    HEADER = 4,
    READ_AT_ONCE = 256 * 1024,   /* so that one stage is not all we do */
    UNREAD_AT_MOST = 1024 * 1024 /* of ours, before no more is read */
};

void noe_channel_init(struct noe_channel_end *channel, size_t max_frame)
{
    *channel = (struct noe_channel_end){.end = {-1, 0}, .max_frame = max_frame};
}

static size_t unread(const struct noe_channel_end *channel)
{
    return channel->out.len - channel->out_at;
}

static size_t kept(const struct noe_channel_end *channel)
{
    return channel->in.len - channel->in_at;
}

/* Of the frame that is next, once its header is there. */
static size_t frame_len(const struct noe_channel_end *channel)
{
    const unsigned char *at =
        (const unsigned char *)channel->in.data + channel->in_at;

    return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 |
           (size_t)at[3] << 24;
}

bool noe_channel_has_frame(const struct noe_channel_end *channel)
{
    return !channel->broken && kept(channel) >= HEADER &&
           kept(channel) - HEADER >= frame_len(channel);
}

static bool wants_more(const struct noe_channel_end *channel)
{
    return !channel->broken && !channel->closed &&
           !noe_channel_has_frame(channel) && unread(channel) <= UNREAD_AT_MOST;
}

static void fail(struct noe_channel_end *channel, int code)
{
    if (channel->failure == 0)
        channel->failure = code;
    channel->closed = true;
    channel->out.len = channel->out_at = 0;
}

void noe_channel_watch(struct noe_channel_end *channel, int poller)
{
    uint32_t events = (wants_more(channel) ? (uint32_t)EPOLLIN : 0) |
                      (unread(channel) > 0 ? (uint32_t)EPOLLOUT : 0);

    /* With no events at all the end of the other side would still wake us. */
    if (noe_watch(poller, &channel->end, events) != 0)
        fail(channel, errno);
}

static void check_next(struct noe_channel_end *channel)
{
    if (kept(channel) >= HEADER && frame_len(channel) > channel->max_frame)
        channel->broken = true;
}

/* Room for one read: what was taken goes first. */
static size_t make_room(struct noe_channel_end *channel, char **space)
{
    struct noe_buffer *in = &channel->in;

    if (channel->in_at > 0) {
        memmove(in->data, in->data + channel->in_at, kept(channel));
        in->len -= channel->in_at;
        channel->in_at = 0;
    }
    return noe_buffer_space(in, channel->max_frame + HEADER + READ_AT_ONCE,
                            space);
}

/* True if there may be more at once. */
static bool read_some(struct noe_channel_end *channel)
{
    char *space;
    size_t room = make_room(channel, &space);

    if (room == 0) {
        fail(channel, ENOMEM);
        return false;
    }
    ssize_t got = recv(channel->end.fd, space, room, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got < 0 && errno != ECONNRESET)
        fail(channel, errno);
    if (got <= 0) {
        channel->closed = true;
        return false;
    }
    channel->in.len += (size_t)got;
    check_next(channel);
    return true;
}

static void send_some(struct noe_channel_end *channel)
{
    while (unread(channel) > 0) {
        ssize_t sent =
            send(channel->end.fd, channel->out.data + channel->out_at,
                 unread(channel), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) /* nobody will read it */
            channel->out.len = channel->out_at = 0;
        if (sent < 0)
            return;
        channel->out_at += (size_t)sent;
    }
    noe_buffer_truncate(&channel->out, 0);
    channel->out_at = 0;
}

void noe_channel_move(struct noe_channel_end *channel, int poller)
{
    size_t most = kept(channel) + READ_AT_ONCE;
    bool wanted = wants_more(channel);

    if (channel->end.fd < 0)
        return;
    send_some(channel);
    while (wants_more(channel) && kept(channel) < most && read_some(channel))
        continue;
    /* Mostly what has come is taken at once: only who is not heard in time is
     * no longer listened to. */
    if (!wanted || channel->closed || channel->broken || unread(channel) > 0)
        noe_channel_watch(channel, poller);
}

const char *noe_channel_take(struct noe_channel_end *channel, size_t *len)
{
    if (!noe_channel_has_frame(channel))
        return NULL;
    const char *frame = channel->in.data + channel->in_at + HEADER;
    *len = frame_len(channel);
    channel->in_at += HEADER + *len;
    check_next(channel);
    return frame;
}

static int add(struct noe_buffer *buffer, const void *data, size_t len)
{
    const char *from = data;

    while (len > 0) {
        char *space;
        size_t room = noe_buffer_space(buffer, SIZE_MAX / 2, &space);
        if (room == 0)
            return -1;
        if (room > len)
            room = len;
        memcpy(space, from, room);
        buffer->len += room;
        from += room;
        len -= room;
    }
    return 0;
}

int noe_channel_put(struct noe_channel_end *channel, const void *data,
                    size_t len, int poller)
{
    const unsigned char header[HEADER] = {
        (unsigned char)len, (unsigned char)(len >> 8),
        (unsigned char)(len >> 16), (unsigned char)(len >> 24)};
    size_t before = channel->out.len;

    errno = len > UINT32_MAX ? EMSGSIZE : EPIPE;
    if (len > UINT32_MAX || channel->end.fd < 0 || channel->closed)
        return -1;
    if (add(&channel->out, header, HEADER) != 0 ||
        add(&channel->out, data, len) != 0) {
        channel->out.len =
            before; /* half a frame would spoil all that follow */
        errno = ENOMEM;
        return -1;
    }
    send_some(channel);
    noe_channel_watch(channel, poller);
    return 0;
}

void noe_channel_close(struct noe_channel_end *channel, int poller)
{
    noe_watch_end(poller, &channel->end);
    channel->closed = true;
}

void noe_channel_free(struct noe_channel_end *channel)
{
    noe_buffer_free(&channel->in);
    noe_buffer_free(&channel->out);
}
