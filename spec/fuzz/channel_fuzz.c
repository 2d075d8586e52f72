/* SPDX-License-Identifier: MIT */
/*
 * Frames that a stranger sends in pieces of any length: those that come are
 * those that a plain reading of the bytes finds, up to the first that is too
 * long, which breaks the channel.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FRAME = 300, MAX_SIZE = 16 * 1024 };

static void require(int holds)
{
    if (!holds)
        abort();
}

/* A plain reading: where the next frame is, or 0 if there is none. */
static size_t plain_frame(const uint8_t *data, size_t size, int *too_long)
{
    if (size < 4)
        return 0;
    size_t len = (size_t)data[0] | (size_t)data[1] << 8 |
                 (size_t)data[2] << 16 | (size_t)data[3] << 24;
    *too_long = len > MAX_FRAME;
    return *too_long || size - 4 < len ? 0 : len + 4;
}

static void take_all(struct noe_channel_end *channel, int poller,
                     const uint8_t *data, size_t arrived, size_t *at)
{
    size_t len;
    const char *frame;
    int too_long = 0;

    noe_channel_move(channel, poller);
    while ((frame = noe_channel_take(channel, &len)) != NULL) {
        size_t plain = plain_frame(data + *at, arrived - *at, &too_long);
        require(plain == len + 4);
        require(memcmp(frame, data + *at + 4, len) == 0);
        *at += plain;
        noe_channel_move(channel, poller);
    }
    require(plain_frame(data + *at, arrived - *at, &too_long) == 0);
    require(channel->broken == (too_long != 0));
}

/* The first byte says how long the pieces are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct noe_channel_end channel;
    size_t at = 0;
    int pair[2];

    if (size < 2 || size > MAX_SIZE)
        return 0;
    unsigned step = data[0];
    data++;
    size--;
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    noe_channel_init(&channel, MAX_FRAME);
    channel.end.fd = pair[0];
    noe_channel_watch(&channel, poller);
    for (size_t sent = 0; sent < size && !channel.broken;) {
        size_t len = step % 97 + 1;
        if (len > size - sent)
            len = size - sent;
        require(write(pair[1], data + sent, len) == (ssize_t)len);
        sent += len;
        step = step * 7 + 3;
        take_all(&channel, poller, data, sent, &at);
    }
    close(pair[1]);
    noe_channel_close(&channel, poller);
    noe_channel_free(&channel);
    close(poller);
    return 0;
}
