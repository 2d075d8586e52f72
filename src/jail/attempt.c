/* SPDX-License-Identifier: MIT */
/* What a program tries to reach that its list of hosts has no door for: seen,
 * and not held up. */
#include "jail.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/inside.h"

#include "base/uapi.h"

enum { MAX_TRIED = 64 }; /* a stage may invent any number */

static struct noe_jail_tried known[MAX_TRIED];
static unsigned known_count;

/* Streams only: for a datagram no list has an entry. */
static bool is_stream(pid_t pid, int fd)
{
    int type = 0;
    socklen_t len = sizeof(type);
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    int copy = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);

    if (copy >= 0) {
        (void)getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &len);
        close(copy);
    }
    if (process >= 0)
        close(process);
    return type == SOCK_STREAM;
}

static bool read_address(pid_t pid, uint64_t address, uint64_t len,
                         struct noe_jail_tried *tried)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } name;
    struct iovec here = {&name, len < sizeof(name) ? len : sizeof(name)};
    struct iovec there = {(void *)(uintptr_t)address, here.iov_len};

    memset(&name, 0, sizeof(name));
    memset(tried, 0, sizeof(*tried)); /* they are compared as bytes */
    if (here.iov_len < sizeof(name.four) ||
        process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)here.iov_len)
        return false;
    if (name.any.sa_family == AF_INET) {
        tried->port = ntohs(name.four.sin_port);
        memcpy(tried->address, &name.four.sin_addr, 4);
        return true;
    }
    if (name.any.sa_family != AF_INET6 || here.iov_len < sizeof(name.six))
        return false;
    tried->port = ntohs(name.six.sin6_port);
    tried->v6 = !IN6_IS_ADDR_V4MAPPED(&name.six.sin6_addr);
    memcpy(tried->address, name.six.sin6_addr.s6_addr + (tried->v6 ? 0 : 12),
           tried->v6 ? 16 : 4);
    return true;
}

/* The sandbox's own. */
static bool is_loopback(const struct noe_jail_tried *tried)
{
    static const uint8_t loopback[16] = {[15] = 1};

    return tried->v6 ? memcmp(tried->address, loopback, 16) == 0
                     : tried->address[0] == 127 || tried->address[0] == 0;
}

/* Of the sandbox's own it is told only to whom it may be news: on the host
 * there may be who listens. Ours is the name server. */
static bool somebody_listens(const struct noe_jail_tried *tried)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6,
                               .sin6_port = htons(tried->port),
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET,
                               .sin_port = htons(tried->port)};
    int family = tried->v6 ? AF_INET6 : AF_INET;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || tried->port == NOE_INSIDE_DNS) {
        close(fd);
        return true;
    }
    memcpy(&four.sin_addr, tried->address, 4);
    int status = tried->v6 ? bind(fd, (struct sockaddr *)&six, sizeof(six))
                           : bind(fd, (struct sockaddr *)&four, sizeof(four));
    bool taken = status != 0 && errno == EADDRINUSE;
    close(fd);
    return taken;
}

static bool is_known(const struct noe_jail_tried *tried)
{
    for (unsigned i = 0; i < known_count; i++)
        if (memcmp(&known[i], tried, sizeof(*tried)) == 0)
            return true;
    return false;
}

static bool is_own(const struct noe_jail *jail,
                   const struct noe_jail_tried *tried)
{
    return is_loopback(tried) &&
           (!jail->start.learns || somebody_listens(tried));
}

void noe_attempt_note(const struct noe_jail *jail, pid_t pid, int fd,
                      uint64_t address, uint64_t len)
{
    struct noe_jail_event event = {.type = NOE_JAIL_TRIED};
    struct noe_jail_tried tried;

    if (known_count == MAX_TRIED || !read_address(pid, address, len, &tried) ||
        tried.port == 0 || is_known(&tried) ||
        noe_doors_have(tried.address, tried.v6, tried.port) ||
        !is_stream(pid, fd) || is_own(jail, &tried))
        return;
    known[known_count++] = tried;
    memcpy(event.path, &tried, sizeof(tried));
    noe_jail_send(NOE_JAIL_CONTROL_FD, &event);
}
