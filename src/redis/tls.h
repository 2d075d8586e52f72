/* SPDX-License-Identifier: MIT */
/* TLS over a socket that does not wait, by mbedTLS: the server must show a
 * certificate of an authority that is trusted, for the name that was asked. */
#ifndef REDIS_TLS_H
#define REDIS_TLS_H

#include <stddef.h>
#include <sys/types.h>

struct redis_tls;

struct redis_tls_names {
    const char *host;      /* what the certificate must be for */
    const char *ca_file;   /* authorities, or a bundle of the machine's */
    const char *cert_file; /* our own certificate, or NULL */
    const char *key_file;
};

/* NULL where it cannot be made: *why says what was wrong. */
struct redis_tls *redis_tls_new(const struct redis_tls_names *names,
                                const char **why);
void redis_tls_free(struct redis_tls *tls);

/* The socket under it, which stays its owner's. */
void redis_tls_attach(struct redis_tls *tls, int *fd);

/* 1: hands are shaken; 0: not yet; -1: they will not be, see redis_tls_why. */
int redis_tls_shake(struct redis_tls *tls);

/* As read and write: -1 with EAGAIN where it would wait; 0 at the end; -1 with
 * EPROTO, see redis_tls_why. */
ssize_t redis_tls_read(struct redis_tls *tls, char *bytes, size_t len);
ssize_t redis_tls_write(struct redis_tls *tls, const char *bytes, size_t len);

const char *redis_tls_why(const struct redis_tls *tls);

#endif
