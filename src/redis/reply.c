/* SPDX-License-Identifier: MIT */
#include "reply.h"

#ifdef HAS_HIREDIS
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>
#include <hiredis/read.h>

/* A line is scanned from its beginning each time that more of it comes. */
enum { LINE_BYTES = 65536 };

struct redis_inbox {
    redisReader *reader;
    struct redis_bounds bounds;
    size_t values; /* in the reply that is being read */
    size_t bytes;  /* fed since the last whole reply */
    const char *why;
};

void redis_reply_free(struct redis_reply *reply)
{
    if (reply == NULL)
        return;
    for (size_t i = 0; reply->items != NULL && i < reply->len; i++)
        redis_reply_free(reply->items[i]);
    free(reply->items);
    free(reply->text);
    free(reply);
}

/* A new reply in its place, which is counted. NULL makes the reader give up. */
static struct redis_reply *place(const redisReadTask *task,
                                 enum redis_kind kind)
{
    struct redis_inbox *inbox = task->privdata;

    if (++inbox->values > inbox->bounds.values) {
        inbox->why = "a reply has too many values";
        return NULL;
    }
    struct redis_reply *reply = calloc(1, sizeof(*reply));
    if (reply == NULL)
        return NULL;
    reply->kind = kind;
    if (task->parent != NULL) {
        struct redis_reply *parent = task->parent->obj;
        parent->items[task->idx] = reply;
    }
    return reply;
}

static void *unknown(const redisReadTask *task)
{
    struct redis_inbox *inbox = task->privdata;

    inbox->why = "a reply of a type that was not asked for";
    return NULL;
}

static void *make_text(const redisReadTask *task, char *text, size_t len)
{
    enum redis_kind kind = task->type == REDIS_REPLY_ERROR    ? REDIS_FAILURE
                           : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                              : REDIS_TEXT;

    if (kind == REDIS_TEXT && task->type != REDIS_REPLY_STRING)
        return unknown(task);
    char *copy = malloc(len + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    struct redis_reply *reply = place(task, kind);
    if (reply == NULL) {
        free(copy);
        return NULL;
    }
    reply->text = copy;
    reply->len = len;
    return reply;
}

static void *make_list_of(const redisReadTask *task, size_t count)
{
    struct redis_inbox *inbox = task->privdata;

    if (task->type != REDIS_REPLY_ARRAY)
        return unknown(task);
    if (count > inbox->bounds.values) {
        inbox->why = "a reply has too many values";
        return NULL;
    }
    struct redis_reply **items =
        calloc(count + 1, sizeof(struct redis_reply *));
    struct redis_reply *reply = items != NULL ? place(task, REDIS_LIST) : NULL;
    if (reply == NULL) {
        free(items);
        return NULL;
    }
    reply->items = items;
    reply->len = count;
    return reply;
}

static void *make_number(const redisReadTask *task, long long number)
{
    struct redis_reply *reply = place(task, REDIS_NUMBER);

    if (reply != NULL)
        reply->number = number;
    return reply;
}

static void *make_nothing(const redisReadTask *task)
{
    return place(task, REDIS_NOTHING);
}

static void drop(void *reply)
{
    redis_reply_free(reply);
}

/* Structs and types are those of the hiredis that this is compiled for. */
#if HIREDIS_MAJOR >= 1
static void *make_list(const redisReadTask *task, size_t count)
{
    return make_list_of(task, count);
}

static void *make_double(const redisReadTask *task, double value, char *text,
                         size_t len)
{
    (void)value;
    (void)text;
    (void)len;
    return unknown(task);
}

static void *make_boolean(const redisReadTask *task, int value)
{
    (void)value;
    return unknown(task);
}
#else
static void *make_list(const redisReadTask *task, int count)
{
    return make_list_of(task, count > 0 ? (size_t)count : 0);
}
#endif

static redisReplyObjectFunctions makers = {
    .createString = make_text,
    .createArray = make_list,
    .createInteger = make_number,
    .createNil = make_nothing,
    .freeObject = drop,
#if HIREDIS_MAJOR >= 1
    .createDouble = make_double,
    .createBool = make_boolean,
#endif
};

struct redis_inbox *redis_inbox_new(struct redis_bounds bounds)
{
    struct redis_inbox *inbox = calloc(1, sizeof(*inbox));

    if (inbox == NULL)
        return NULL;
    inbox->bounds = bounds;
    inbox->reader = redisReaderCreateWithFunctions(&makers);
    if (inbox->reader == NULL) {
        free(inbox);
        return NULL;
    }
    inbox->reader->privdata = inbox;
    return inbox;
}

void redis_inbox_free(struct redis_inbox *inbox)
{
    if (inbox == NULL)
        return;
    redisReaderFree(inbox->reader);
    free(inbox);
}

const char *redis_inbox_why(const struct redis_inbox *inbox)
{
    return inbox->why;
}

int redis_inbox_feed(struct redis_inbox *inbox, const char *bytes, size_t len)
{
    if (redisReaderFeed(inbox->reader, bytes, len) == REDIS_OK) {
        inbox->bytes += len;
        return 0;
    }
    inbox->why = inbox->reader->errstr;
    return -1;
}

/* Whether what is left begins with a line that has grown too long. */
static bool has_endless_line(const redisReader *reader)
{
    size_t left = reader->len - reader->pos;

    return left >= LINE_BYTES &&
           memchr(reader->buf + reader->pos, '\n', LINE_BYTES) == NULL;
}

static int refuse(struct redis_inbox *inbox, const char *why)
{
    inbox->why = why;
    return -1;
}

int redis_inbox_next(struct redis_inbox *inbox, struct redis_reply **reply)
{
    void *found = NULL;

    *reply = NULL;
    if (redisReaderGetReply(inbox->reader, &found) != REDIS_OK)
        return refuse(inbox,
                      inbox->why != NULL ? inbox->why : inbox->reader->errstr);
    if (found != NULL) {
        inbox->values = 0;
        inbox->bytes = inbox->reader->len - inbox->reader->pos;
        *reply = found;
        return 0;
    }
    if (inbox->bytes > inbox->bounds.bytes)
        return refuse(inbox, "a reply is too long");
    if (has_endless_line(inbox->reader))
        return refuse(inbox, "a line of a reply has no end");
    return 0;
}
#endif
