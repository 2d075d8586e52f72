/* SPDX-License-Identifier: MIT */
/* What a network namespace with nothing in it has counted: a connection that
 * found no way out, or nobody at the other end, is seen there, whatever the
 * program made of it. */
#include "jail.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TABLE_BYTES = 8 * 1024 };

/* False if it cannot be read: where /proc is a stub there is none. */
static bool read_table(const char *path, char table[TABLE_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t got = fd < 0 ? -1 : 0;

    if (fd < 0)
        return false;
    do {
        got = read(fd, table + len, TABLE_BYTES - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    table[len] = '\0';
    close(fd);
    return len > 0;
}

static const char *next_word(const char *at)
{
    while (*at != '\0' && *at != ' ' && *at != '\n')
        at++;
    return *at == ' ' ? at + 1 : NULL;
}

/* A line of names that begins with `group`, and below it one of numbers. */
static unsigned long long named(const char *table, const char *group,
                                const char *name)
{
    const char *names = strstr(table, group);
    const char *numbers = names ? strstr(names + 1, group) : NULL;
    size_t len = strlen(name);

    while (names != NULL && numbers != NULL) {
        names = next_word(names);
        numbers = next_word(numbers);
        if (names != NULL && numbers != NULL &&
            strncmp(names, name, len) == 0 && strchr(" \n", names[len]))
            return strtoull(numbers, NULL, 10);
    }
    return 0;
}

/* A line with a name and its number. */
static unsigned long long listed(const char *table, const char *name)
{
    const char *at = strstr(table, name);

    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

int32_t noe_network_refusals(void)
{
    static char table[TABLE_BYTES];
    unsigned long long count;

    if (!read_table("/proc/net/snmp", table))
        return -1;
    count = named(table, "Ip:", "OutNoRoutes") +
            named(table, "Tcp:", "AttemptFails") +
            named(table, "Udp:", "NoPorts");
    if (read_table("/proc/net/snmp6", table))
        count += listed(table, "Ip6OutNoRoutes") + listed(table, "Udp6NoPorts");
    return count < INT32_MAX ? (int32_t)count : INT32_MAX;
}
