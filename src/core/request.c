/* SPDX-License-Identifier: MIT */
#include "request.h"

#include "error.h"
#include "process.h"
#include "sandbox.h"
#include "sized.h"

/* A later member would lie in what an older program left undefined there. */
#define NO_PADDING_AFTER(type, member)                                       \
    _Static_assert(sizeof(type) ==                                           \
                       offsetof(type, member) + sizeof(((type *)0)->member), \
                   #type " ends in padding")

NO_PADDING_AFTER(struct noe_error, message);
NO_PADDING_AFTER(struct noe_limits, network_bytes);
NO_PADDING_AFTER(struct noe_sandbox, learn);
NO_PADDING_AFTER(struct noe_stream, path);
NO_PADDING_AFTER(struct noe_options, fork);
NO_PADDING_AFTER(struct noe_beginning, taps_stderr);
NO_PADDING_AFTER(struct noe_fork, place);
NO_PADDING_AFTER(struct noe_channel, max_frame_bytes);
NO_PADDING_AFTER(struct noe_result, network_len);

static const struct noe_options OPTIONS = {.size = sizeof(OPTIONS),
                                           .timeout_ms = -1,
                                           .max_output_bytes = 10 * 1024 * 1024,
                                           .max_stderr_bytes = 64 * 1024,
                                           .supervise = true,
                                           .launcher = true,
                                           .poller = -1};

static const struct noe_limits LIMITS = {.size = sizeof(LIMITS),
                                         .memory_bytes = NOE_UNLIMITED,
                                         .cpu_ms = NOE_UNLIMITED,
                                         .processes = NOE_UNLIMITED,
                                         .open_files = NOE_UNLIMITED,
                                         .file_bytes = NOE_UNLIMITED,
                                         .private_bytes = NOE_UNLIMITED,
                                         .private_files = NOE_UNLIMITED,
                                         .connections = NOE_UNLIMITED,
                                         .network_bytes = NOE_UNLIMITED};

void noe_options_init_sized(struct noe_options *options, size_t size)
{
    noe_sized_write(options, size, &OPTIONS, sizeof(OPTIONS));
}

void noe_limits_init_sized(struct noe_limits *limits, size_t size)
{
    noe_sized_write(limits, size, &LIMITS, sizeof(LIMITS));
}

bool noe_request_has_sandbox(const struct noe_options *options)
{
    return options->sandbox != NULL &&
           options->sandbox->backend != NOE_BACKEND_NONE;
}

bool noe_request_has_directory(const struct noe_options *options)
{
    return options->sandbox != NULL && options->sandbox->private_dir != NULL;
}

static int misuse(struct noe_error *err, const char *sentence)
{
    return noe_error_set(err, NOE_FAULT_ARGUMENT, 0, "spawn", "%s", sentence);
}

static int check_stream(const struct noe_stream *stream, int which,
                        struct noe_error *err)
{
    bool shared = stream->kind == NOE_STREAM_SHARED;

    if (stream->kind == NOE_STREAM_PATH && stream->path == NULL)
        return misuse(err, "a stream has no path");
    if (stream->kind == NOE_STREAM_PIECES && which != NOE_STDIN)
        return misuse(err, "only input comes in pieces");
    if (stream->tapped && (shared || which == NOE_STDIN))
        return misuse(err, "only an output that is not shared can be tapped");
    return 0;
}

/* What a copy cannot be given its server must have. */
static int check_fork(const struct noe_options *options, struct noe_error *err)
{
    const struct noe_sandbox *sandbox = options->sandbox;
    bool copy = options->fork->server != NULL;

    if (sandbox == NULL || sandbox->backend != NOE_BACKEND_NATIVE)
        return misuse(err, "a fork server needs a native sandbox");
    if (sandbox->network != NOE_NETWORK_NONE &&
        sandbox->network != NOE_NETWORK_NO_IP)
        return misuse(err, "a fork server has no network");
    if (!copy && (options->channel != NULL || sandbox->rw_bind_count > 0))
        return misuse(err, "a fork server has neither channel nor files");
    if (options->hold_ms != 0)
        return misuse(err, "of a fork server's copies nothing is collected");
    if (copy && !noe_process_serves(options->fork->server))
        return misuse(err, "that process is no fork server");
    return 0;
}

static int check(const struct noe_options *options, struct noe_error *err)
{
    if (options->argv == NULL || options->argv[0] == NULL)
        return misuse(err, "argv is empty");
    if (options->argv[0][0] != '/')
        return misuse(err, "argv[0] must be an absolute path");
    for (int i = NOE_STDIN; i <= NOE_STDERR; i++)
        if (check_stream(options->streams[i], i, err) != 0)
            return -1;
    if (options->channel != NULL && !options->supervise)
        return misuse(err, "a channel needs the supervisor");
    if (options->wait_ms > 0 && !options->supervise)
        return misuse(err, "what waits for a request needs the supervisor");
    if (options->hold_ms != 0 && !options->supervise)
        return misuse(err, "a working directory is held by the supervisor");
    if (options->fork != NULL && check_fork(options, err) != 0)
        return -1;
    if (!noe_request_has_sandbox(options) &&
        !noe_request_has_directory(options))
        return 0;
    if (!options->supervise)
        return misuse(err, "a sandbox needs the supervisor");
    return noe_sandbox_check(options->sandbox, err);
}

static int read_streams(struct noe_request *request, struct noe_error *err)
{
    for (int i = NOE_STDIN; i <= NOE_STDERR; i++) {
        const struct noe_stream *theirs = request->options.streams[i];
        struct noe_stream *ours = &request->streams[i];
        *ours = (struct noe_stream){.size = sizeof(*ours)};
        if (theirs != NULL &&
            noe_sized_read(ours, sizeof(*ours), theirs, "streams", err) != 0)
            return -1;
        request->options.streams[i] = ours;
    }
    return 0;
}

static int read_channel(struct noe_request *request, struct noe_error *err)
{
    const struct noe_channel *theirs = request->options.channel;

    request->channel = (struct noe_channel){.size = sizeof(request->channel)};
    if (theirs == NULL)
        return 0;
    request->options.channel = &request->channel;
    return noe_sized_read(&request->channel, sizeof(request->channel), theirs,
                          "channel", err);
}

static int read_fork(struct noe_request *request, struct noe_error *err)
{
    const struct noe_fork *theirs = request->options.fork;

    request->fork = (struct noe_fork){.size = sizeof(request->fork)};
    if (theirs == NULL)
        return 0;
    request->options.fork = &request->fork;
    return noe_sized_read(&request->fork, sizeof(request->fork), theirs, "fork",
                          err);
}

int noe_request_read_sandbox(struct noe_request *request,
                             const struct noe_sandbox *sandbox,
                             const struct noe_limits *limits,
                             struct noe_error *err)
{
    request->limits = LIMITS;
    request->sandbox = (struct noe_sandbox){.size = sizeof(request->sandbox)};
    if (limits != NULL &&
        noe_sized_read(&request->limits, sizeof(request->limits), limits,
                       "limits", err) != 0)
        return -1;
    if (sandbox != NULL &&
        noe_sized_read(&request->sandbox, sizeof(request->sandbox), sandbox,
                       "properties of the sandbox", err) != 0)
        return -1;
    return 0;
}

int noe_request_read(struct noe_request *request,
                     const struct noe_options *options, struct noe_error *err)
{
    struct noe_options *ours = &request->options;

    *ours = OPTIONS;
    if (noe_sized_read(ours, sizeof(*ours), options, "options", err) != 0 ||
        read_streams(request, err) != 0 || read_channel(request, err) != 0 ||
        read_fork(request, err) != 0 ||
        noe_request_read_sandbox(request, ours->sandbox, ours->limits, err) !=
            0)
        return -1;
    if (ours->limits != NULL)
        ours->limits = &request->limits;
    if (ours->sandbox != NULL)
        ours->sandbox = &request->sandbox;
    return check(ours, err);
}
