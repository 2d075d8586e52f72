/* SPDX-License-Identifier: MIT */
/*
 * Kernel constants that the headers of a supported system may lack, each with
 * the kernel version that brought it. Whether the running kernel has them is
 * found out by trying.
 */
#ifndef NOE_UAPI_H
#define NOE_UAPI_H

#include <stdint.h>
#include <sys/syscall.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* 6.3 */
#endif

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020 /* 6.3 */
#endif

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1) /* 5.9 */
#endif

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2) /* 5.11 */
#endif

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000 /* 5.2 */
#endif

#ifndef P_PIDFD
#define P_PIDFD 3 /* waitid, 5.4 */
#endif

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000 /* 4.6 */
#endif

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 /* 5.6 */
#endif

/* Mounts by descriptor: open_tree and move_mount 5.2, openat2 5.6,
 * mount_setattr 5.12. The C libraries' headers clash with the kernel's, so the
 * few names that are used stand here under names of our own. */
enum {
    NOE_OPEN_TREE_CLONE = 1,
    NOE_AT_RECURSIVE = 0x8000,
    NOE_MOVE_MOUNT_F_EMPTY_PATH = 0x04,
    NOE_MOVE_MOUNT_T_EMPTY_PATH = 0x40,
    NOE_MOUNT_ATTR_RDONLY = 0x01,
    NOE_MOUNT_ATTR_NOSUID = 0x02,
    NOE_MOUNT_ATTR_NODEV = 0x04,
    NOE_MOUNT_ATTR_NOEXEC = 0x08,
    NOE_MOUNT_ATTR_IDMAP = 0x00100000,
    NOE_RESOLVE_NO_XDEV = 0x01,
    NOE_RESOLVE_NO_MAGICLINKS = 0x02,
    NOE_RESOLVE_NO_SYMLINKS = 0x04,
    NOE_RESOLVE_BENEATH = 0x08
};

struct noe_mount_attr { /* struct mount_attr */
    uint64_t attr_set;
    uint64_t attr_clr;
    uint64_t propagation;
    uint64_t userns_fd;
};

struct noe_open_how { /* struct open_how */
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

/* Landlock: 5.13 is ABI 1, 5.19 ABI 2 (REFER), 6.2 ABI 3 (TRUNCATE), 6.7 ABI 4
 * (TCP), 6.10 ABI 5 (IOCTL_DEV), 6.12 ABI 6 (scopes). */
enum {
    NOE_LANDLOCK_VERSION = 1,
    NOE_LANDLOCK_PATH_BENEATH = 1,
    NOE_LANDLOCK_EXECUTE = 1 << 0,
    NOE_LANDLOCK_WRITE_FILE = 1 << 1,
    NOE_LANDLOCK_READ_FILE = 1 << 2,
    NOE_LANDLOCK_READ_DIR = 1 << 3,
    NOE_LANDLOCK_REFER = 1 << 13,
    NOE_LANDLOCK_TRUNCATE = 1 << 14,
    NOE_LANDLOCK_IOCTL_DEV = 1 << 15,
    NOE_LANDLOCK_SCOPE_ABSTRACT_SOCKET = 1 << 0,
    NOE_LANDLOCK_SCOPE_SIGNAL = 1 << 1
};

struct noe_landlock_ruleset { /* struct landlock_ruleset_attr */
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

struct noe_landlock_path { /* struct landlock_path_beneath_attr */
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

#endif
