/* SPDX-License-Identifier: MIT */
#include "tls.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <mbedtls/net_sockets.h>
#include <psa/crypto.h>
#endif

struct redis_tls {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt authorities;
    mbedtls_x509_crt own;
    mbedtls_pk_context own_key;
    mbedtls_ssl_config config;
    mbedtls_ssl_context session;
    size_t again; /* a write that waits is repeated with the same length */
    char why[256];
};

static int fail(struct redis_tls *tls, const char *what, int code)
{
    char text[160];

    mbedtls_strerror(code, text, sizeof(text));
    snprintf(tls->why, sizeof(tls->why), "%s: %s", what, text);
    return -1;
}

/* A bundle may hold what this library cannot read: the others count. */
static int read_authorities(struct redis_tls *tls, const char *path)
{
    int code = mbedtls_x509_crt_parse_file(&tls->authorities, path);

    if (code < 0)
        return fail(tls, "the file of authorities", code);
    return 0;
}

static int read_key(struct redis_tls *tls, const char *path)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    return mbedtls_pk_parse_keyfile(&tls->own_key, path, NULL,
                                    mbedtls_ctr_drbg_random, &tls->random);
#else
    return mbedtls_pk_parse_keyfile(&tls->own_key, path, NULL);
#endif
}

static int read_own(struct redis_tls *tls, const struct redis_tls_names *names)
{
    if (names->cert_file == NULL)
        return 0;
    int code = mbedtls_x509_crt_parse_file(&tls->own, names->cert_file);
    if (code == 0)
        code = read_key(tls, names->key_file != NULL ? names->key_file
                                                     : names->cert_file);
    if (code == 0)
        code =
            mbedtls_ssl_conf_own_cert(&tls->config, &tls->own, &tls->own_key);
    return code == 0 ? 0 : fail(tls, "the certificate of our own", code);
}

static int configure(struct redis_tls *tls, const struct redis_tls_names *names)
{
    int code = mbedtls_ctr_drbg_seed(&tls->random, mbedtls_entropy_func,
                                     &tls->entropy, NULL, 0);

    if (code != 0)
        return fail(tls, "random numbers", code);
    code = mbedtls_ssl_config_defaults(&tls->config, MBEDTLS_SSL_IS_CLIENT,
                                       MBEDTLS_SSL_TRANSPORT_STREAM,
                                       MBEDTLS_SSL_PRESET_DEFAULT);
    if (code != 0)
        return fail(tls, "TLS", code);
    mbedtls_ssl_conf_rng(&tls->config, mbedtls_ctr_drbg_random, &tls->random);
    mbedtls_ssl_conf_authmode(&tls->config, MBEDTLS_SSL_VERIFY_REQUIRED);
#if MBEDTLS_VERSION_MAJOR < 3
    mbedtls_ssl_conf_min_version(&tls->config, MBEDTLS_SSL_MAJOR_VERSION_3,
                                 MBEDTLS_SSL_MINOR_VERSION_3);
#endif
    if (read_authorities(tls, names->ca_file) != 0 || read_own(tls, names) != 0)
        return -1;
    mbedtls_ssl_conf_ca_chain(&tls->config, &tls->authorities, NULL);
    code = mbedtls_ssl_setup(&tls->session, &tls->config);
    if (code == 0)
        code = mbedtls_ssl_set_hostname(&tls->session, names->host);
    return code == 0 ? 0 : fail(tls, "TLS", code);
}

struct redis_tls *redis_tls_new(const struct redis_tls_names *names,
                                const char **why)
{
    static _Thread_local char said[256];
    struct redis_tls *tls = calloc(1, sizeof(*tls));

    *why = "there is not enough memory";
    if (tls == NULL)
        return NULL;
#if MBEDTLS_VERSION_MAJOR >= 3
    (void)psa_crypto_init();
#endif
    mbedtls_entropy_init(&tls->entropy);
    mbedtls_ctr_drbg_init(&tls->random);
    mbedtls_x509_crt_init(&tls->authorities);
    mbedtls_x509_crt_init(&tls->own);
    mbedtls_pk_init(&tls->own_key);
    mbedtls_ssl_config_init(&tls->config);
    mbedtls_ssl_init(&tls->session);
    if (configure(tls, names) == 0)
        return tls;
    snprintf(said, sizeof(said), "%s", tls->why);
    *why = said;
    redis_tls_free(tls);
    return NULL;
}

void redis_tls_free(struct redis_tls *tls)
{
    if (tls == NULL)
        return;
    mbedtls_ssl_free(&tls->session);
    mbedtls_ssl_config_free(&tls->config);
    mbedtls_pk_free(&tls->own_key);
    mbedtls_x509_crt_free(&tls->own);
    mbedtls_x509_crt_free(&tls->authorities);
    mbedtls_ctr_drbg_free(&tls->random);
    mbedtls_entropy_free(&tls->entropy);
    free(tls);
}

static bool would_wait(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static int push(void *fd, const unsigned char *bytes, size_t len)
{
    ssize_t wrote = send(*(int *)fd, bytes, len, MSG_NOSIGNAL);

    if (wrote >= 0)
        return (int)wrote;
    return would_wait() ? MBEDTLS_ERR_SSL_WANT_WRITE
                        : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int pull(void *fd, unsigned char *bytes, size_t len)
{
    ssize_t got = recv(*(int *)fd, bytes, len, 0);

    if (got >= 0)
        return (int)got;
    return would_wait() ? MBEDTLS_ERR_SSL_WANT_READ
                        : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

void redis_tls_attach(struct redis_tls *tls, int *fd)
{
    mbedtls_ssl_set_bio(&tls->session, fd, push, pull, NULL);
}

static bool waits(int code)
{
    return code == MBEDTLS_ERR_SSL_WANT_READ ||
           code == MBEDTLS_ERR_SSL_WANT_WRITE
#ifdef MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
           || code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
#endif
        ;
}

/* What is wrong with a certificate says more than that the handshake failed. */
int redis_tls_shake(struct redis_tls *tls)
{
    char text[200];
    int code = mbedtls_ssl_handshake(&tls->session);

    if (code == 0)
        return 1;
    if (waits(code))
        return 0;
    uint32_t flags = mbedtls_ssl_get_verify_result(&tls->session);
    if (code != MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || flags == 0)
        return fail(tls, "the TLS handshake", code);
    if (mbedtls_x509_crt_verify_info(text, sizeof(text), "", flags) < 0)
        text[0] = '\0';
    snprintf(tls->why, sizeof(tls->why), "the server's certificate: %s", text);
    return -1;
}

static ssize_t told(struct redis_tls *tls, const char *what, int code)
{
    errno = EAGAIN;
    if (waits(code))
        return -1;
    (void)fail(tls, what, code);
    errno = EPROTO;
    return -1;
}

ssize_t redis_tls_read(struct redis_tls *tls, char *bytes, size_t len)
{
    int got = mbedtls_ssl_read(&tls->session, (unsigned char *)bytes, len);

    if (got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        return 0;
    return got >= 0 ? got : told(tls, "TLS", got);
}

ssize_t redis_tls_write(struct redis_tls *tls, const char *bytes, size_t len)
{
    if (tls->again != 0)
        len = tls->again;
    int wrote =
        mbedtls_ssl_write(&tls->session, (const unsigned char *)bytes, len);
    tls->again = waits(wrote) ? len : 0;
    return wrote >= 0 ? wrote : told(tls, "TLS", wrote);
}

const char *redis_tls_why(const struct redis_tls *tls)
{
    return tls->why;
}
