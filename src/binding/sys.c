/* SPDX-License-Identifier: MIT */
/* What the Lua side needs of the system besides processes: files, locks,
 * hashes, clocks and facts about this process. */
#include "binding.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "base/fd.h"
#include "core/file.h"
#include "core/pid.h"
#include "core/sha256.h"
#include "base/uapi.h"

#define LOCK_TYPE "noether.lock"
#define LISTENER_TYPE "noether.listener"
#define SCRATCH_TYPE "noether.scratch"

extern char **environ;

/* Lua strings may hold a zero byte, at which the system would cut the path and
 * use another one than was checked. [-0, +0] */
static const char *checkpath(lua_State *L, int arg)
{
    size_t len;
    const char *path = luaL_checklstring(L, arg, &len);

    luaL_argcheck(L, strlen(path) == len, arg, "path contains a zero byte");
    return path;
}

/* Permission bits. [-0, +0] */
static mode_t checkmode(lua_State *L, int arg, lua_Integer standard)
{
    lua_Integer mode = luaL_optinteger(L, arg, standard);

    luaL_argcheck(L, mode >= 0 && mode <= 07777, arg, "not a file mode");
    return (mode_t)mode;
}

/* A number of bytes; math.huge is no bound. [-0, +0] */
static size_t checkbytes(lua_State *L, int arg)
{
    lua_Number bytes = luaL_checknumber(L, arg);

    luaL_argcheck(L, bytes >= 0, arg, "not a number of bytes");
    return bytes < (lua_Number)SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

/* The boolean `name` of an optional table. [-0, +0] */
static int optflag(lua_State *L, int arg, const char *name, int standard)
{
    if (lua_isnoneornil(L, arg))
        return standard;
    luaL_checktype(L, arg, LUA_TTABLE);
    lua_getfield(L, arg, name);
    int flag = lua_isnil(L, -1) ? standard : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

/* true, or nil and the error. [-0, +1 or +2] */
static int pushdone(lua_State *L, int failed, const struct noe_error *err)
{
    if (failed != 0)
        return noeL_pusherror(L, err);
    lua_pushboolean(L, 1);
    return 1;
}

/* As above, for a plain system call on a path. */
static int pushoutcome(lua_State *L, int failed, const char *operation,
                       const char *path)
{
    struct noe_error err = NOE_ERROR_INIT;

    if (failed != 0)
        noe_file_fail(&err, operation, path);
    return pushdone(L, failed, &err);
}

static int pushfailure(lua_State *L, const char *operation, const char *path)
{
    return pushoutcome(L, -1, operation, path);
}

/* Holds what must not be lost when a push raises. */
struct scratch {
    char *block;
    DIR *stream;
};

static int scratch_close(lua_State *L)
{
    struct scratch *scratch = luaL_checkudata(L, 1, SCRATCH_TYPE);

    free(scratch->block);
    if (scratch->stream != NULL)
        closedir(scratch->stream);
    *scratch = (struct scratch){0};
    return 0;
}

/* [-0, +1] */
static struct scratch *newscratch(lua_State *L)
{
    struct scratch *scratch = lua_newuserdata(L, sizeof(*scratch));

    *scratch = (struct scratch){0};
    luaL_getmetatable(L, SCRATCH_TYPE);
    lua_setmetatable(L, -2);
    return scratch;
}

static int sys_sha256(lua_State *L)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[NOE_SHA256_BYTES];
    char hex[2 * NOE_SHA256_BYTES];
    size_t len;
    const char *data = luaL_checklstring(L, 1, &len);

    if (noe_sha256(data, len, hash) != 0)
        return luaL_error(L, "sha256: the crypto library failed");
    for (size_t i = 0; i < sizeof(hash); i++) {
        hex[2 * i] = digits[hash[i] >> 4];
        hex[2 * i + 1] = digits[hash[i] & 15];
    }
    lua_pushlstring(L, hex, sizeof(hex));
    return 1;
}

static int sys_clock(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)noe_clock_us() / 1e6);
    return 1;
}

static int sys_time(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)noe_clock_wall_us() / 1e6);
    return 1;
}

static int sys_getpid(lua_State *L)
{
    lua_pushinteger(L, noe_pid_own());
    return 1;
}

static int sys_geteuid(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)geteuid());
    return 1;
}

static int sys_isatty(lua_State *L)
{
    lua_Integer fd = luaL_checkinteger(L, 1);

    luaL_argcheck(L, fd >= 0 && fd <= INT_MAX, 1, "not a file descriptor");
    lua_pushboolean(L, isatty((int)fd));
    return 1;
}

/* The processors that we may use, which can be fewer than there are. */
static int sys_cpu_count(lua_State *L)
{
    cpu_set_t set;
    long count = 0;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        count = CPU_COUNT(&set);
    else
        count = sysconf(_SC_NPROCESSORS_ONLN);
    lua_pushinteger(L, count > 0 ? (lua_Integer)count : 1);
    return 1;
}

/* A boolean field of the table on the top. [-0, +0] */
static void setaction(lua_State *L, const char *name, uint32_t action)
{
    long status = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);

    lua_pushboolean(L, status == 0);
    lua_setfield(L, -2, name);
}

/* Asks, and sets nothing up. Landlock that is built in and not switched on
 * answers EOPNOTSUPP. */
static int sys_kernel(lua_State *L)
{
    struct utsname name;

    if (uname(&name) != 0)
        return luaL_error(L, "uname: %s", strerror(errno));
    long landlock =
        syscall(SYS_landlock_create_ruleset, NULL, 0, NOE_LANDLOCK_VERSION);
    int disabled = landlock < 0 && errno == EOPNOTSUPP;
    lua_createtable(L, 0, 6);
    lua_pushstring(L, name.release);
    lua_setfield(L, -2, "release");
    lua_pushstring(L, name.machine);
    lua_setfield(L, -2, "machine");
    lua_pushinteger(L, landlock > 0 ? (lua_Integer)landlock : 0);
    lua_setfield(L, -2, "landlock_abi");
    lua_pushboolean(L, disabled);
    lua_setfield(L, -2, "landlock_disabled");
    setaction(L, "seccomp_filter", SECCOMP_RET_ERRNO);
    setaction(L, "seccomp_notification", SECCOMP_RET_USER_NOTIF);
    return 1;
}

/* In one go, unlike a file: a setting gives its value to the first read, or
 * what of it fits, and to the next one nothing. */
static int sys_setting(lua_State *L)
{
    char text[256];
    const char *path = checkpath(L, 1);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text));

    noe_fd_close(&fd); /* errno stays */
    if (len < 0)
        return pushfailure(L, "read", path);
    lua_pushlstring(L, text, (size_t)len);
    return 1;
}

/* Of a name that occurs twice the first is taken, as getenv does. */
static int sys_environ(lua_State *L)
{
    lua_newtable(L);
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL || equals == *entry)
            continue;
        lua_pushlstring(L, *entry, (size_t)(equals - *entry));
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushstring(L, equals + 1);
            lua_rawset(L, -3);
        } else {
            lua_pop(L, 2);
        }
    }
    return 1;
}

static int sys_read_file(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    size_t len;
    const char *path = checkpath(L, 1);
    size_t max = checkbytes(L, 2);
    struct scratch *scratch = newscratch(L);

    if (noe_file_read(path, max, &scratch->block, &len, &err) != 0)
        return noeL_pusherror(L, &err);
    lua_pushlstring(L, scratch->block, len);
    free(scratch->block); /* a large one need not wait for the collector */
    scratch->block = NULL;
    return 1;
}

static int sys_write_file(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    size_t len;
    const char *path = checkpath(L, 1);
    const char *data = luaL_checklstring(L, 2, &len);
    mode_t mode = checkmode(L, 3, 0600);

    return pushdone(L, noe_file_write(path, data, len, mode, &err), &err);
}

static int sys_make_file(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    size_t len;
    const char *path = checkpath(L, 1);
    const char *data = luaL_checklstring(L, 2, &len);
    mode_t mode = checkmode(L, 3, 0600);

    return pushdone(L, noe_file_make(path, data, len, mode, &err), &err);
}

static int sys_file_equals(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    size_t len;
    const char *path = checkpath(L, 1);
    const char *data = luaL_checklstring(L, 2, &len);
    int same = noe_file_equals(path, data, len, &err);

    if (same < 0)
        return noeL_pusherror(L, &err);
    lua_pushboolean(L, same);
    return 1;
}

static int sys_unlink(lua_State *L)
{
    const char *path = checkpath(L, 1);

    return pushoutcome(L, unlink(path), "unlink", path);
}

static int sys_chmod(lua_State *L)
{
    const char *path = checkpath(L, 1);

    luaL_checkinteger(L, 2);
    return pushoutcome(L, chmod(path, checkmode(L, 2, 0)), "chmod", path);
}

/* Of a link itself, and the time of the last change alone. */
static int sys_touch(lua_State *L)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_nsec = UTIME_NOW}};
    const char *path = checkpath(L, 1);

    if (!lua_isnoneornil(L, 2)) {
        lua_Number secs = luaL_checknumber(L, 2);
        luaL_argcheck(L, secs >= 0 && secs <= UINT32_MAX, 2, "not a time");
        times[1].tv_sec = (time_t)secs;
        times[1].tv_nsec = 0;
    }
    return pushoutcome(L, utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW),
                       "touch", path);
}

static int sys_rename(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    const char *from = checkpath(L, 1);
    const char *to = checkpath(L, 2);

    return pushdone(L, noe_file_rename(from, to, &err), &err);
}

static int sys_exchange(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    const char *one = checkpath(L, 1);
    const char *other = checkpath(L, 2);

    return pushdone(L, noe_file_exchange(one, other, &err), &err);
}

/* [-0, +1] */
static int sys_readlink(lua_State *L)
{
    char target[PATH_MAX];
    const char *path = checkpath(L, 1);
    ssize_t len = readlink(path, target, sizeof(target));

    if (len < 0)
        return pushfailure(L, "readlink", path);
    lua_pushlstring(L, target, (size_t)len);
    return 1;
}

static int sys_realpath(lua_State *L)
{
    char resolved[PATH_MAX];
    const char *path = checkpath(L, 1);

    if (realpath(path, resolved) == NULL)
        return pushfailure(L, "realpath", path);
    lua_pushstring(L, resolved);
    return 1;
}

/* With the effective ids: those are what an open or exec will be judged by. */
static int sys_access(lua_State *L)
{
    const char *path = checkpath(L, 1);
    const char *letters = luaL_optstring(L, 2, "");
    int mode = F_OK;

    for (; *letters != '\0'; letters++) {
        static const char known[] = "xwr"; /* X_OK, W_OK, R_OK: 1, 2, 4 */
        const char *bit = strchr(known, *letters);
        luaL_argcheck(L, bit != NULL, 2, "only r, w and x are known");
        mode |= 1 << (bit - known);
    }
    return pushoutcome(L, faccessat(AT_FDCWD, path, mode, AT_EACCESS), "access",
                       path);
}

static const char *type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "link";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFCHR:
        return "char";
    case S_IFBLK:
        return "block";
    default:
        return "unknown";
    }
}

/* [-0, +0]: a field of the table on the top */
static void setinteger(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static int sys_stat(lua_State *L)
{
    struct stat st;
    const char *path = checkpath(L, 1);
    int flags = lua_toboolean(L, 2) ? 0 : AT_SYMLINK_NOFOLLOW;

    if (fstatat(AT_FDCWD, path, &st, flags) != 0)
        return pushfailure(L, "stat", path);
    lua_createtable(L, 0, 8);
    lua_pushstring(L, type_name(st.st_mode));
    lua_setfield(L, -2, "type");
    setinteger(L, "mode", (lua_Integer)(st.st_mode & 07777));
    setinteger(L, "uid", (lua_Integer)st.st_uid);
    setinteger(L, "gid", (lua_Integer)st.st_gid);
    setinteger(L, "size", (lua_Integer)st.st_size);
    setinteger(L, "dev", (lua_Integer)st.st_dev);
    setinteger(L, "ino", (lua_Integer)st.st_ino);
    lua_pushnumber(L, (lua_Number)st.st_mtim.tv_sec +
                          (lua_Number)st.st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "mtime");
    return 1;
}

static int sys_mkdir(lua_State *L)
{
    const char *path = checkpath(L, 1);
    mode_t mode = checkmode(L, 2, 0700);

    return pushoutcome(L, mkdir(path, mode), "mkdir", path);
}

static int sys_mkdir_private(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    const char *path = checkpath(L, 1);

    return pushdone(L, noe_file_make_private(path, &err), &err);
}

/* The prefix and ten letters that nobody can guess. 0, or -1 with errno.
 * [-0, +1 | +0] */
static int pushunique(lua_State *L, const char *prefix)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    unsigned char random[10];
    char suffix[sizeof(random) + 1] = "";

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return -1;
    for (size_t i = 0; i < sizeof(random); i++)
        suffix[i] = letters[random[i] % (sizeof(letters) - 1)];
    lua_pushfstring(L, "%s%s", prefix, suffix);
    return 0;
}

static int sys_unique_path(lua_State *L)
{
    const char *prefix = checkpath(L, 1);

    return pushunique(L, prefix) == 0 ? 1 : pushfailure(L, "getrandom", prefix);
}

/* Not by mkdtemp(3): the string is made before the directory is, since nobody
 * would know of a directory whose name did not fit into memory. */
static int sys_mkdtemp(lua_State *L)
{
    const char *prefix = checkpath(L, 1);

    do {
        lua_settop(L, 1);
        if (pushunique(L, prefix) == 0 && mkdir(lua_tostring(L, -1), 0700) == 0)
            return 1;
    } while (errno == EEXIST);
    return pushfailure(L, "mkdtemp", prefix);
}

static int sys_remove_tree(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    const char *path = checkpath(L, 1);

    return pushdone(L, noe_file_remove_tree(path, &err), &err);
}

/* Appends all names to the table on the top. 0, or -1 with errno. [-0, +0] */
static int addnames(lua_State *L, DIR *stream, lua_Integer max)
{
    struct dirent *entry;
    int count = 0;

    for (errno = 0; count < max && (entry = readdir(stream)) != NULL;
         errno = 0) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        lua_pushstring(L, name);
        lua_rawseti(L, -2, ++count);
    }
    return errno == 0 ? 0 : -1;
}

static int sys_list(lua_State *L)
{
    const char *path = checkpath(L, 1);
    lua_Integer max = luaL_optinteger(L, 2, INT_MAX);
    struct scratch *scratch = newscratch(L);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return pushfailure(L, "open", path);
    scratch->stream = fdopendir(fd);
    if (scratch->stream == NULL) {
        noe_fd_close(&fd);
        return pushfailure(L, "open", path);
    }
    lua_newtable(L);
    if (addnames(L, scratch->stream, max) != 0)
        return pushfailure(L, "list", path);
    closedir(scratch->stream);
    scratch->stream = NULL;
    return 1;
}

struct lock {
    int fd; /* -1: closed */
};

/* Only closes, and never unlocks: in a forked child of the host the lock is
 * still the parent's, and the last copy of the fd ends it. */
static int lock_close(lua_State *L)
{
    struct lock *lock = luaL_checkudata(L, 1, LOCK_TYPE);

    noe_fd_close(&lock->fd);
    return 0;
}

static int lock_tostring(lua_State *L)
{
    const struct lock *lock = luaL_checkudata(L, 1, LOCK_TYPE);

    lua_pushfstring(L, "%s (%s)", LOCK_TYPE, lock->fd < 0 ? "closed" : "held");
    return 1;
}

static int sys_lock(lua_State *L)
{
    struct noe_error err = NOE_ERROR_INIT;
    const char *path = checkpath(L, 1);
    int wait = optflag(L, 2, "wait", 1);
    struct lock *lock = lua_newuserdata(L, sizeof(*lock));

    lock->fd = -1;
    luaL_getmetatable(L, LOCK_TYPE);
    lua_setmetatable(L, -2);
    if (noe_file_lock(path, wait, &lock->fd, &err) != 0)
        return noeL_pusherror(L, &err);
    return 1;
}

struct listener {
    int fd; /* -1: closed */
};

static int listener_close(lua_State *L)
{
    struct listener *listener = luaL_checkudata(L, 1, LISTENER_TYPE);

    noe_fd_close(&listener->fd);
    return 0;
}

/* listener:accepted() -> how many connections came since it was asked last */
static int listener_accepted(lua_State *L)
{
    const struct listener *listener = luaL_checkudata(L, 1, LISTENER_TYPE);
    lua_Integer count = 0;
    int fd;

    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        noe_fd_close(&fd);
        count++;
    }
    lua_pushinteger(L, count);
    return 1;
}

/* core.listen() -> a TCP socket of this machine's loopback that listens, and
 * its port; or nil and an error */
static int sys_listen(lua_State *L)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct noe_error err = NOE_ERROR_INIT;
    socklen_t len = sizeof(name);
    struct listener *listener = lua_newuserdata(L, sizeof(*listener));

    listener->fd = -1;
    luaL_getmetatable(L, LISTENER_TYPE);
    lua_setmetatable(L, -2);
    listener->fd =
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0 ||
        bind(listener->fd, (struct sockaddr *)&name, len) != 0 ||
        listen(listener->fd, 16) != 0 ||
        getsockname(listener->fd, (struct sockaddr *)&name, &len) != 0) {
        noe_error_set(&err, NOE_FAULT_SYSTEM, errno, "listen", "127.0.0.1");
        return noeL_pusherror(L, &err);
    }
    lua_pushinteger(L, ntohs(name.sin_port));
    return 2;
}

static const luaL_Reg functions[] = {
    {"access", sys_access},
    {"chmod", sys_chmod},
    {"clock", sys_clock},
    {"cpu_count", sys_cpu_count},
    {"environ", sys_environ},
    {"exchange", sys_exchange},
    {"file_equals", sys_file_equals},
    {"geteuid", sys_geteuid},
    {"getpid", sys_getpid},
    {"isatty", sys_isatty},
    {"kernel", sys_kernel},
    {"list", sys_list},
    {"listen", sys_listen},
    {"lock", sys_lock},
    {"mkdir", sys_mkdir},
    {"mkdir_private", sys_mkdir_private},
    {"mkdtemp", sys_mkdtemp},
    {"read_file", sys_read_file},
    {"readlink", sys_readlink},
    {"realpath", sys_realpath},
    {"remove_tree", sys_remove_tree},
    {"rename", sys_rename},
    {"setting", sys_setting},
    {"sha256", sys_sha256},
    {"stat", sys_stat},
    {"time", sys_time},
    {"touch", sys_touch},
    {"unique_path", sys_unique_path},
    {"unlink", sys_unlink},
    {"write_file", sys_write_file},
    {"make_file", sys_make_file},
    {NULL, NULL},
};

static const luaL_Reg lock_methods[] = {
    {"close", lock_close},
    {NULL, NULL},
};

static const luaL_Reg lock_metamethods[] = {
    {"__close", lock_close},
    {"__gc", lock_close},
    {"__tostring", lock_tostring},
    {NULL, NULL},
};

static const luaL_Reg listener_methods[] = {
    {"accepted", listener_accepted},
    {"close", listener_close},
    {NULL, NULL},
};

static const luaL_Reg listener_metamethods[] = {
    {"__close", listener_close},
    {"__gc", listener_close},
    {NULL, NULL},
};

static const luaL_Reg scratch_methods[] = {{NULL, NULL}};

static const luaL_Reg scratch_metamethods[] = {
    {"__gc", scratch_close},
    {NULL, NULL},
};

void noeL_open_sys(lua_State *L)
{
    noeL_newtype(L, LOCK_TYPE, lock_methods, lock_metamethods);
    noeL_newtype(L, LISTENER_TYPE, listener_methods, listener_metamethods);
    noeL_newtype(L, SCRATCH_TYPE, scratch_methods, scratch_metamethods);
    luaL_setfuncs(L, functions, 0);
}
