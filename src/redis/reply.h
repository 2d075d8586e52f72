/* SPDX-License-Identifier: MIT */
/* What a server answers: hiredis' reader with bounds of ours, since what a
 * reply takes is otherwise for the peer to choose. */
#ifndef REDIS_REPLY_H
#define REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>

enum redis_kind {
    REDIS_TEXT,
    REDIS_STATUS,
    REDIS_FAILURE,
    REDIS_NUMBER,
    REDIS_NOTHING,
    REDIS_LIST
};

struct redis_reply {
    enum redis_kind kind;
    long long number;
    size_t len; /* of the text, or of the list */
    char *text;
    struct redis_reply **items;
};

/* Frees a reply and all in it; NULL is allowed. */
void redis_reply_free(struct redis_reply *reply);

struct redis_inbox;

/* What one reply may be: values in it, and bytes. */
struct redis_bounds {
    size_t values;
    size_t bytes;
};

/* NULL where memory has run out. */
struct redis_inbox *redis_inbox_new(struct redis_bounds bounds);
void redis_inbox_free(struct redis_inbox *inbox);

/* Takes bytes of the server's. 0, or -1: see redis_inbox_why. */
int redis_inbox_feed(struct redis_inbox *inbox, const char *bytes, size_t len);

/* The next whole reply, the caller's to free; NULL where there is none yet. 0,
 * or -1 where what came is no reply, or too much: nothing follows. */
int redis_inbox_next(struct redis_inbox *inbox, struct redis_reply **reply);

/* What was wrong. */
const char *redis_inbox_why(const struct redis_inbox *inbox);

#endif
