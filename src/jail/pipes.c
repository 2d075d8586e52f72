/* SPDX-License-Identifier: MIT */
#include "pipes.h"

#include <fcntl.h>
#include <unistd.h>

enum { PIPES = 16 };

static struct noe_pipe pipes[PIPES];
static struct noe_pipe *idle; /* open, and empty */
static struct noe_pipe *shut;
static unsigned made;
static bool without;

struct noe_pipe *noe_pipe_take(void)
{
    struct noe_pipe *pipe = idle;
    int ends[2];

    if (pipe != NULL) {
        idle = pipe->next;
        return pipe;
    }
    if (without || (shut == NULL && made == PIPES) ||
        pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return NULL;
    /* A page of what came is a place, and sixteen are soon full. Who has too
     * many pipes already gets small ones. */
    (void)fcntl(ends[1], F_SETPIPE_SZ, NOE_PIPE_BYTES);
    pipe = shut;
    if (pipe != NULL)
        shut = pipe->next;
    else
        pipe = &pipes[made++];
    *pipe = (struct noe_pipe){.in = ends[1], .out = ends[0]};
    return pipe;
}

void noe_pipe_give(struct noe_pipe *pipe)
{
    pipe->next = idle;
    idle = pipe;
}

void noe_pipe_drop(struct noe_pipe *pipe)
{
    close(pipe->in);
    close(pipe->out);
    pipe->next = shut;
    shut = pipe;
}

void noe_pipes_do_without(void)
{
    struct noe_pipe *pipe;

    without = true;
    while ((pipe = idle) != NULL) {
        idle = pipe->next;
        noe_pipe_drop(pipe);
    }
}
