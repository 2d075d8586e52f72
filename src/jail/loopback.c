/* SPDX-License-Identifier: MIT */
/*
 * A network namespace of the sandbox's own, in which only the loopback device
 * is up.
 *
 * It has one address of each family that is not a loopback's. Without, glibc's
 * AI_ADDRCONFIG takes the machine for one that has no IPv4 (or no IPv6) at all,
 * and refuses even "127.0.0.1" to a program that talks to itself. They are
 * local to the namespace like the others, and lead nowhere.
 */
#include "jail.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/inside.h"

static pid_t helper;
static int inside = -1; /* a socket in the namespace, which it keeps alive */

/* As the kernel has it (linux/ipv6.h cannot be had beside netinet/in.h). */
struct request_v6 {
    struct in6_addr address;
    uint32_t prefix;
    int index;
};

enum { LOOPBACK = 1 /* its index in every namespace */ };

/* Of the range for benchmarks: no such machine is anywhere. With a list of
 * hosts the whole of it is local, for each name's address. */
static int set_address(bool whole_range)
{
    static const uint8_t address[4] = {198, 18, 0, 1};

    return noe_doors_set_address(inside, 1, address,
                                 whole_range ? 0xfffe0000 : 0xffffffff);
}

/* Of the range for private networks. A kernel may do without version 6. */
static void set_address_v6(void)
{
    struct request_v6 request = {
        .address.s6_addr = NOE_INSIDE_V6, .prefix = 128, .index = LOOPBACK};
    int any = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (any < 0)
        return;
    (void)ioctl(any, SIOCSIFADDR, &request);
    close(any);
}

/* That there are addresses is a kindness to programs, and a namespace without
 * them holds as well; but a list of hosts needs them. */
static int furnish(const struct noe_jail *jail)
{
    bool listed = jail->start.has_doors;
    int status = set_address(listed);

    set_address_v6();
    if (!listed)
        return 0;
    return status != 0 ? -1 : noe_doors_make(inside);
}

static int make(const struct noe_jail *jail)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};

    if (unshare(CLONE_NEWNET) != 0)
        return -1;
    if (jail->start.no_ip)
        return 0;
    inside = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (inside < 0 || ioctl(inside, SIOCSIFFLAGS, &request) != 0)
        return -1;
    return furnish(jail);
}

int noe_loopback_furnish(const struct noe_jail *jail)
{
    inside = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (inside < 0)
        return jail->start.has_doors ? -1 : 0;
    if (jail->start.has_doors && noe_doors_prepare(jail) != 0)
        return -1;
    return furnish(jail) != 0 ? -1 : close(inside);
}

static bool has_own(const struct noe_jail *jail)
{
    return !jail->start.host_network && !jail->in_shared;
}

static int help(void *jail)
{
    return make(jail) == 0 ? 0 : 1;
}

/* The kernel needs as long for a network namespace as for all other steps: a
 * helper makes it beside them. It has init's memory and descriptors, and so
 * init's errno: where it fails, init tries by itself and is told why. */
int noe_loopback_begin(struct noe_jail *jail, const char **path)
{
    static char stack[32 * 1024] __attribute__((aligned(16)));

    (void)path;
    if (jail->start.has_doors && noe_doors_prepare(jail) != 0)
        return -1;
    if (has_own(jail) && !jail->start.no_ip)
        helper = clone(help, stack + sizeof(stack),
                       CLONE_VM | CLONE_FILES | SIGCHLD, jail);
    return 0;
}

static bool enter_what_was_made(void)
{
    int status;

    if (helper <= 0 || waitpid(helper, &status, 0) != helper || status != 0)
        return false;
    int namespace = ioctl(inside, SIOCGSKNS);
    bool entered = namespace >= 0 && setns(namespace, CLONE_NEWNET) == 0;
    if (namespace >= 0)
        close(namespace);
    return entered;
}

int noe_loopback_enter(struct noe_jail *jail, const char **path)
{
    (void)path;
    if (!has_own(jail))
        return 0;
    if (!enter_what_was_made() && make(jail) != 0)
        return -1;
    if (inside >= 0)
        close(inside);
    return jail->start.has_doors ? noe_doors_hand_over(NOE_JAIL_CONTROL_FD) : 0;
}
