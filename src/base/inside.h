/* SPDX-License-Identifier: MIT */
/* What a program with a root of its own finds, whoever builds it. */
#ifndef NOE_INSIDE_H
#define NOE_INSIDE_H

#include <stdbool.h>

/* Its private directories: where it starts if nothing else is said, which is
 * its HOME, too; TMPDIR; and shared memory. */
#define NOE_INSIDE_WORK "/work"
#define NOE_INSIDE_TMP "/tmp"
#define NOE_INSIDE_SHM "/dev/shm"

/* The program's user and group; on the host too, if root started it. Not 65534:
 * what belongs to somebody else looks like 65534 inside, and would look like
 * the program's own. */
#define NOE_INSIDE_ID 65533
#define NOE_INSIDE_ID_TEXT "65533"

#define NOE_INSIDE_USER "nobody"
#define NOE_INSIDE_GROUP "nogroup"
#define NOE_INSIDE_HOST "noether"

/* An address that is no loopback's, of the range for private networks, in a
 * network of its own; and the port of 127.0.0.1 at which a list of hosts has
 * its name server. */
#define NOE_INSIDE_V6                                \
    {                                                \
        0xfd, 0x6e, 0x6f, 0x65, 0x74, 0x68, [15] = 1 \
    }
#define NOE_INSIDE_DNS 53

/* Whether a plain absolute path is one of the private directories, or below. */
bool noe_inside_is_private(const char *path);

#endif
