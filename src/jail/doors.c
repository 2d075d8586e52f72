/* SPDX-License-Identifier: MIT */
#include "doors.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/inside.h"
#include "base/text.h"

/* 198.18.0.0/15 is for benchmarks (RFC 2544): no host of the world's is there.
 * The first address is the sandbox's own, the second half is for spares. */
static void address_at(unsigned half, unsigned index, uint8_t address[4])
{
    unsigned number = index + 2;

    address[0] = 198;
    address[1] = 18;
    address[2] = (uint8_t)(half | number >> 8);
    address[3] = (uint8_t)number;
}

void noe_doors_address(unsigned name, uint8_t address[4])
{
    address_at(0, name, address);
}

void noe_doors_spare_address(unsigned spare, uint8_t address[4])
{
    address_at(128, spare, address);
}

/* An entry that gives leave counts for more than one that asks for it, and says
 * alone whether the name may lead to what is private. */
enum noe_leave noe_doors_allow(const struct noe_doors *doors, const char *name,
                               size_t len, uint16_t port, bool *private)
{
    enum noe_leave leave = NOE_LEAVE_NONE;

    *private = false;
    for (unsigned i = 0; i < doors->host_count; i++) {
        const struct noe_host *host = &doors->hosts[i];
        enum noe_leave own =
            host->kind == NOE_HOST_ASKED ? NOE_LEAVE_ASK : NOE_LEAVE_GIVEN;
        if (own < leave || host->port != port ||
            !noe_host_covers(host, name, len))
            continue;
        *private = host->private || (own == leave && *private);
        leave = own;
    }
    return leave;
}

/* There is one already, from `first` on. */
static bool is_known(const struct noe_doors *doors, unsigned first,
                     const struct noe_door *door)
{
    for (unsigned i = first; i < doors->count; i++) {
        const struct noe_door *other = &doors->doors[i];
        if (other->port == door->port && other->v6 == door->v6 &&
            memcmp(other->address, door->address, sizeof(door->address)) == 0)
            return true;
    }
    return false;
}

static int add_door(struct noe_doors *doors, const struct noe_door *door)
{
    if (doors->count == NOE_DOORS_MAX) {
        errno = E2BIG;
        return -1;
    }
    doors->doors[doors->count++] = *door;
    return 0;
}

static int add_address(struct noe_doors *doors, unsigned index)
{
    const struct noe_host *host = &doors->hosts[index];
    struct noe_door door = {.kind = NOE_DOOR_OF_ADDRESS,
                            .leave = NOE_LEAVE_GIVEN,
                            .v6 = host->kind == NOE_HOST_V6,
                            .port = host->port,
                            .of = index};

    memcpy(door.address, host->address, sizeof(door.address));
    return is_known(doors, 0, &door) ? 0 : add_door(doors, &door);
}

static unsigned name_of(struct noe_doors *doors, const struct noe_host *host)
{
    unsigned i = 0;

    while (i < doors->name_count &&
           !(doors->name_lens[i] == host->name_len &&
             memcmp(doors->names[i], host->name, host->name_len) == 0))
        i++;
    if (i == doors->name_count) {
        doors->names[i] = host->name;
        doors->name_lens[i] = host->name_len;
        doors->name_count++;
    }
    return i;
}

/* On each port that an entry has for it: its own, and those of wildcards. */
static int add_name(struct noe_doors *doors, unsigned name)
{
    unsigned first = doors->count;

    for (unsigned i = 0; i < doors->host_count; i++) {
        const struct noe_host *host = &doors->hosts[i];
        struct noe_door door = {
            .kind = NOE_DOOR_OF_NAME, .port = host->port, .of = name};
        if (host->kind == NOE_HOST_NAME
                ? doors->name_of[i] != name
                : !noe_host_covers(host, doors->names[name],
                                   doors->name_lens[name]))
            continue;
        noe_doors_address(name, door.address);
        door.leave =
            noe_doors_allow(doors, doors->names[name], doors->name_lens[name],
                            host->port, &door.private);
        if (!is_known(doors, first, &door) && add_door(doors, &door) != 0)
            return -1;
    }
    return 0;
}

/* And of what stands for any name. */
static unsigned ports_of_wildcards(const struct noe_doors *doors,
                                   uint16_t ports[NOE_HOSTS_MAX])
{
    unsigned count = 0;

    for (unsigned i = 0; i < doors->host_count; i++) {
        unsigned known = 0;
        if (doors->hosts[i].kind != NOE_HOST_WILDCARD &&
            doors->hosts[i].kind != NOE_HOST_ASKED)
            continue;
        while (known < count && ports[known] != doors->hosts[i].port)
            known++;
        if (known == count)
            ports[count++] = doors->hosts[i].port;
    }
    return count;
}

static int add_spares(struct noe_doors *doors)
{
    uint16_t ports[NOE_HOSTS_MAX];
    unsigned count = ports_of_wildcards(doors, ports);

    if (count == 0 && doors->learns) /* addresses without doors */
        doors->spare_names = NOE_SPARE_NAMES;
    if (count == 0)
        return 0;
    doors->spare_names = NOE_SPARE_DOORS / count;
    if (doors->spare_names > NOE_SPARE_NAMES)
        doors->spare_names = NOE_SPARE_NAMES;
    if (doors->spare_names == 0)
        doors->spare_names = 1;
    for (unsigned spare = 0; spare < doors->spare_names; spare++)
        for (unsigned i = 0; i < count; i++) {
            struct noe_door door = {
                .kind = NOE_DOOR_SPARE, .port = ports[i], .of = spare};
            noe_doors_spare_address(spare, door.address);
            if (add_door(doors, &door) != 0)
                return -1;
        }
    return 0;
}

static int read_hosts(struct noe_doors *doors, const struct noe_jail *jail)
{
    if (jail->start.host_count > NOE_HOSTS_MAX) {
        errno = E2BIG;
        return -1;
    }
    for (uint32_t i = 0; i < jail->start.host_count; i++)
        if (noe_host_parse(jail->hosts[i], &doors->hosts[i]) != 0) {
            errno = EINVAL;
            return -1;
        }
    doors->host_count = jail->start.host_count;
    return 0;
}

int noe_doors_plan(struct noe_doors *doors, const struct noe_jail *jail)
{
    doors->count = doors->name_count = doors->spare_names = 0;
    doors->learns = jail->start.learns;
    if (read_hosts(doors, jail) != 0)
        return -1;
    for (unsigned i = 0; i < doors->host_count; i++)
        if (doors->hosts[i].kind == NOE_HOST_NAME)
            doors->name_of[i] = name_of(doors, &doors->hosts[i]);
    for (unsigned name = 0; name < doors->name_count; name++)
        if (add_name(doors, name) != 0)
            return -1;
    for (unsigned i = 0; i < doors->host_count; i++)
        if ((doors->hosts[i].kind == NOE_HOST_V4 ||
             doors->hosts[i].kind == NOE_HOST_V6) &&
            add_address(doors, i) != 0)
            return -1;
    return add_spares(doors);
}

static struct noe_doors plan;
static int sockets[NOE_DOOR_FIRST + NOE_DOORS_MAX];
static unsigned made;

/* As the kernel has it (linux/ipv6.h cannot be had beside netinet/in.h). */
struct request_v6 {
    struct in6_addr address;
    uint32_t prefix;
    int index;
};

static socklen_t fill(struct sockaddr_storage *name, const uint8_t *address,
                      bool v6, uint16_t port)
{
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)name;
    struct sockaddr_in *four = (struct sockaddr_in *)name;

    memset(name, 0, sizeof(*name));
    if (v6) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        memcpy(&six->sin6_addr, address, 16);
        return sizeof(*six);
    }
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    memcpy(&four->sin_addr, address, 4);
    return sizeof(*four);
}

int noe_doors_set_address(int socket, unsigned alias, const uint8_t address[4],
                          uint32_t mask)
{
    struct ifreq request = {.ifr_name = "lo:"};
    struct sockaddr_storage name;

    noe_text_number(request.ifr_name + 3, alias);
    fill(&name, address, false, 0);
    memcpy(&request.ifr_addr, &name, sizeof(request.ifr_addr));
    if (ioctl(socket, SIOCSIFADDR, &request) != 0)
        return -1;
    ((struct sockaddr_in *)&name)->sin_addr.s_addr = htonl(mask);
    memcpy(&request.ifr_netmask, &name, sizeof(request.ifr_netmask));
    return ioctl(socket, SIOCSIFNETMASK, &request);
}

static int set_address_v6(int index, const uint8_t address[16])
{
    struct request_v6 request = {.prefix = 128, .index = index};
    int any = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (any < 0)
        return -1;
    memcpy(&request.address, address, 16);
    int status = ioctl(any, SIOCSIFADDR, &request);
    close(any);
    return status;
}

bool noe_door_is_loopback(const struct noe_door *door)
{
    static const uint8_t v6[16] = {[15] = 1};

    return door->v6 ? memcmp(door->address, v6, sizeof(v6)) == 0
                    : door->address[0] == 127;
}

/* By a door to another port. */
static bool is_set_already(unsigned index)
{
    const struct noe_door *door = &plan.doors[index];

    for (unsigned i = 0; i < index; i++)
        if (plan.doors[i].v6 == door->v6 &&
            memcmp(plan.doors[i].address, door->address,
                   sizeof(door->address)) == 0)
            return true;
    return false;
}

/* Those of the list's own numbers; names have theirs by the range's route. */
static int set_addresses(int any)
{
    enum { LOOPBACK = 1, FIRST_ALIAS = 2 };

    for (unsigned i = 0; i < plan.count; i++) {
        const struct noe_door *door = &plan.doors[i];
        if (door->kind != NOE_DOOR_OF_ADDRESS || noe_door_is_loopback(door) ||
            is_set_already(i))
            continue;
        if (door->v6)
            (void)set_address_v6(LOOPBACK, door->address);
        else if (noe_doors_set_address(any, FIRST_ALIAS + i, door->address,
                                       ~0U) != 0)
            return -1;
    }
    return 0;
}

bool noe_doors_have(const uint8_t *address, bool v6, uint16_t port)
{
    for (unsigned i = 0; i < plan.count; i++) {
        const struct noe_door *door = &plan.doors[i];
        if (door->kind != NOE_DOOR_SPARE && door->port == port &&
            door->v6 == v6 && memcmp(door->address, address, v6 ? 16 : 4) == 0)
            return true;
    }
    return false;
}

static int keep(int fd)
{
    if (fd >= 0)
        sockets[made++] = fd;
    return fd < 0 ? -1 : 0;
}

static int open_bound(int type, const uint8_t *address, bool v6, uint16_t port)
{
    struct sockaddr_storage name;
    socklen_t len = fill(&name, address, v6, port);
    int fd =
        socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (v6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&name, len) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

enum { BACKLOG = 1024 };

static int open_listener(const uint8_t *address, bool v6, uint16_t port)
{
    int fd = open_bound(SOCK_STREAM, address, v6, port);

    if (fd < 0 || listen(fd, BACKLOG) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

/* A name's is opened when it is asked for, and so is a spare one. Where there
 * is no version 6 its door stays shut: a socket that nobody can
 * connect to keeps the place. */
static int open_door(const struct noe_door *door)
{
    int fd;

    if (door->kind != NOE_DOOR_OF_ADDRESS)
        return open_bound(SOCK_STREAM, door->address, false, door->port);
    fd = open_listener(door->address, door->v6, door->port);
    if (fd < 0 && door->v6)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd;
}

static const uint8_t NAME_SERVER[4] = {127, 0, 0, 1};

/* A table of descriptors that two processes share grows only after every
 * processor has let go of it, which takes milliseconds: this one grows before
 * it is shared. */
int noe_doors_prepare(const struct noe_jail *jail)
{
    enum { OTHERS = 64 };

    if (noe_doors_plan(&plan, jail) != 0)
        return -1;
    int last = fcntl(NOE_JAIL_CONTROL_FD, F_DUPFD_CLOEXEC,
                     (int)(NOE_DOOR_FIRST + plan.count + OTHERS));
    if (last >= 0)
        close(last);
    return 0;
}

int noe_doors_make(int any)
{
    made = 0;
    if (set_addresses(any) != 0 ||
        keep(open_bound(SOCK_DGRAM, NAME_SERVER, false, NOE_INSIDE_DNS)) != 0 ||
        keep(open_listener(NAME_SERVER, false, NOE_INSIDE_DNS)) != 0)
        return -1;
    for (unsigned i = 0; i < plan.count; i++)
        if (keep(open_door(&plan.doors[i])) != 0)
            return -1;
    return 0;
}

union room {
    char bytes[CMSG_SPACE(sizeof(int) * NOE_JAIL_MAX_DOORS)];
    struct cmsghdr header;
};

ssize_t noe_jail_recv_given(int fd, struct noe_jail_given *given, int flags)
{
    union room room;
    struct iovec parts[] = {{&given->event, sizeof(given->event)},
                            {given->text, sizeof(given->text)}};
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = 2,
                             .msg_control = &room,
                             .msg_controllen = sizeof(room)};
    ssize_t len = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = len > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    given->count = 0;
    given->text_len = 0;
    if (len > (ssize_t)sizeof(given->event)) {
        given->text_len = (size_t)len - sizeof(given->event);
        len = sizeof(given->event);
    }
    if (header == NULL || header->cmsg_level != SOL_SOCKET ||
        header->cmsg_type != SCM_RIGHTS)
        return len;
    given->count =
        (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(*given->fds));
    memcpy(given->fds, CMSG_DATA(header), given->count * sizeof(*given->fds));
    return len;
}

/* What is under way is counted for the user, all runs together: there may be
 * room again in a moment. */
int noe_jail_send_given(int fd, const struct noe_jail_given *given)
{
    enum { PATIENCE = 200, PAUSE_MS = 25 };
    size_t bytes = sizeof(*given->fds) * given->count;
    union room room = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)&given->event,
                         sizeof(given->event)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen = (socklen_t)CMSG_SPACE(bytes)};
    ssize_t sent = -1;

    room.header = (struct cmsghdr){.cmsg_len = (socklen_t)CMSG_LEN(bytes),
                                   .cmsg_level = SOL_SOCKET,
                                   .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&room.header), given->fds, bytes);
    for (int i = 0; i < PATIENCE && sent < 0; i++) {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != ETOOMANYREFS && errno != EINTR)
            return -1;
        if (sent < 0)
            (void)poll(NULL, 0, PAUSE_MS);
    }
    return sent < 0 ? -1 : 0;
}

int noe_jail_pass_given(int fd, struct noe_jail_given *given)
{
    int status = noe_jail_send_given(fd, given);
    int code = errno;

    for (unsigned i = 0; i < given->count; i++)
        close(given->fds[i]);
    given->count = 0;
    errno = code;
    return status;
}

/* The addresses of the list stand together. */
static void note_open(struct noe_jail_event *event)
{
    for (unsigned i = 0; i < plan.count; i++) {
        if (plan.doors[i].kind != NOE_DOOR_OF_ADDRESS)
            continue;
        if (event->open_count++ == 0)
            event->first_open = NOE_DOOR_FIRST + i;
    }
}

int noe_doors_hand_over(int control)
{
    int status = 0;

    for (unsigned at = 0; at < made && status == 0;) {
        struct noe_jail_given given = {.event = {.type = NOE_JAIL_DOORS},
                                       .count = made - at};
        if (given.count > NOE_JAIL_MAX_DOORS)
            given.count = NOE_JAIL_MAX_DOORS;
        memcpy(given.fds, sockets + at, given.count * sizeof(*given.fds));
        at += given.count;
        given.event.code = at == made;
        if (given.event.code)
            note_open(&given.event);
        status = noe_jail_pass_given(control, &given);
    }
    made = 0;
    return status;
}
