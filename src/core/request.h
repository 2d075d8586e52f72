/* SPDX-License-Identifier: MIT */
/*
 * What a caller asks for, in the library's own shape: the one place that reads
 * the caller's structs. From here on everybody reads the request.
 */
#ifndef NOE_REQUEST_H
#define NOE_REQUEST_H

#include "noether.h"

/* It points into itself, so it is not copied. */
struct noe_request {
    struct noe_options options; /* its streams are all there */
    struct noe_limits limits;
    struct noe_sandbox sandbox;
    struct noe_stream streams[3];
    struct noe_channel channel;
    struct noe_fork fork;
};

/* Copies and checks the caller's options. 0, or -1 with `err`. Strings and
 * lists remain the caller's. */
int noe_request_read(struct noe_request *request,
                     const struct noe_options *options, struct noe_error *err);

/* The same for a sandbox and its limits alone, each of which may be NULL. */
int noe_request_read_sandbox(struct noe_request *request,
                             const struct noe_sandbox *sandbox,
                             const struct noe_limits *limits,
                             struct noe_error *err);

bool noe_request_has_sandbox(const struct noe_options *options);

/* Whether the program gets a directory of its own on the host. */
bool noe_request_has_directory(const struct noe_options *options);

#endif
