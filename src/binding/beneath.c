/* SPDX-License-Identifier: MIT */
/* Directories that somebody else filled, for Lua: what is in them, files to be
 * read, and files to be written whole or not at all. */
#include "binding.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "core/beneath.h"
#include "core/error.h"
#include "core/file.h"

#define DIRECTORY "noether.directory"
#define SOURCE "noether.source"
#define DRAFT "noether.draft"
#define LISTING "noether.listing"

enum { MOST_BYTES = 64 * 1024 * 1024 }; /* of one piece */

struct directory {
    int fd;
};

struct source {
    int fd;
    char *data; /* what was taken */
    size_t len;
    size_t room;
    size_t size; /* of the file, when it was opened */
};

struct draft {
    struct noe_draft draft;
    const char *base; /* in the path, which the handle keeps */
};

struct listing {
    DIR *stream;
};

static struct directory *check_directory(lua_State *L)
{
    struct directory *box = luaL_checkudata(L, 1, DIRECTORY);

    if (box->fd < 0)
        luaL_error(L, "the directory is closed");
    return box;
}

static struct source *check_source(lua_State *L, int at)
{
    struct source *box = luaL_checkudata(L, at, SOURCE);

    if (box->fd < 0)
        luaL_error(L, "the file is closed");
    return box;
}

static int directory_close(lua_State *L)
{
    struct directory *box = luaL_checkudata(L, 1, DIRECTORY);

    noe_fd_close(&box->fd);
    return 0;
}

static int source_close(lua_State *L)
{
    struct source *box = luaL_checkudata(L, 1, SOURCE);

    noe_fd_close(&box->fd);
    free(box->data);
    box->data = NULL;
    return 0;
}

/* [-0, +2]; returns 2. */
static int noeL_pushfile(lua_State *L, const char *operation, const char *path)
{
    struct noe_error err = NOE_ERROR_INIT;

    noe_file_fail(&err, operation, path);
    return noeL_pusherror(L, &err);
}

/* Owns the descriptor that is to come. [-0, +1] */
static struct directory *noeL_newdirectory(lua_State *L)
{
    struct directory *box = lua_newuserdata(L, sizeof(*box));

    box->fd = -1;
    luaL_getmetatable(L, DIRECTORY);
    lua_setmetatable(L, -2);
    return box;
}

int noeL_pushdirectory(lua_State *L, int fd)
{
    struct directory *box = noeL_newdirectory(L);

    box->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return box->fd >= 0 ? 1 : noeL_pusherrno(L, errno, "open");
}

/* core.directory(path) -> an open directory, in which files can be made and in
 * whose path there is no link; or nil and an error */
static int directory_open(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct directory *box = noeL_newdirectory(L);

    box->fd = noe_beneath_top(path);
    return box->fd >= 0 ? 1 : noeL_pushfile(L, "open", path);
}

static const char *type_name(DIR *stream, const struct dirent *entry)
{
    struct stat st;
    unsigned char type = entry->d_type;

    if (type == DT_UNKNOWN &&
        fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        type = (unsigned char)IFTODT(st.st_mode);
    if (type == DT_REG)
        return "file";
    return type == DT_DIR ? "directory" : "other";
}

/* Names and types by turns, in the table on the top. 0, or -1 with errno. */
static int add_entries(lua_State *L, DIR *stream, lua_Integer max)
{
    const struct dirent *entry;
    int count = 0;

    errno = 0;
    while (count / 2 <= max && (entry = readdir(stream)) != NULL) {
        const char *name = entry->d_name;
        if (name[0] == '.' &&
            (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
            continue;
        lua_pushstring(L, name);
        lua_rawseti(L, -2, ++count);
        lua_pushstring(L, type_name(stream, entry));
        lua_rawseti(L, -2, ++count);
        errno = 0;
    }
    return errno == 0 ? 0 : -1;
}

static int listing_gc(lua_State *L)
{
    struct listing *listing = lua_touserdata(L, 1);

    if (listing->stream != NULL)
        closedir(listing->stream);
    listing->stream = NULL;
    return 0;
}

/* directory:list(path, max) -> names and types ("file", "directory", "other")
 * by turns, in no order: one more than `max` names where there are more; or nil
 * and an error */
static int directory_list(lua_State *L)
{
    int top = check_directory(L)->fd;
    const char *path = luaL_checkstring(L, 2);
    lua_Integer max = luaL_checkinteger(L, 3);
    struct listing *listing = lua_newuserdata(L, sizeof(*listing));

    listing->stream = NULL;
    luaL_getmetatable(L, LISTING);
    lua_setmetatable(L, -2);
    int fd = noe_beneath_directory(top, path);
    if (fd >= 0)
        listing->stream = fdopendir(fd);
    if (listing->stream == NULL) {
        int failed = noeL_pushfile(L, "open", path);
        noe_fd_close(&fd);
        return failed;
    }
    lua_newtable(L);
    if (add_entries(L, listing->stream, max) != 0)
        return noeL_pushfile(L, "list", path);
    closedir(listing->stream);
    listing->stream = NULL;
    return 1;
}

/* directory:file(path) -> a file to be read, and its bytes; or nil and an error
 */
static int directory_file(lua_State *L)
{
    int top = check_directory(L)->fd;
    const char *path = luaL_checkstring(L, 2);
    struct source *box = lua_newuserdata(L, sizeof(*box));
    struct stat st;

    *box = (struct source){.fd = -1};
    luaL_getmetatable(L, SOURCE);
    lua_setmetatable(L, -2);
    box->fd = noe_beneath_file(top, path, &st);
    if (box->fd < 0)
        return noeL_pushfile(L, "open", path);
    box->size = st.st_size < MOST_BYTES ? (size_t)st.st_size + 1 : 0;
    lua_pushnumber(L, (lua_Number)st.st_size);
    lua_pushnumber(L, (lua_Number)st.st_ctim.tv_sec +
                          (lua_Number)st.st_ctim.tv_nsec / 1e9);
    return 3;
}

/* How many of `max` bytes there is room for; 0 if there is no memory. All of a
 * file has room at once, and a byte more, by which its end is seen. */
static size_t make_room(struct source *box, size_t max)
{
    size_t left = box->room - box->len;

    if (left > 0)
        return left < max ? left : max;
    size_t room = box->size > box->len ? box->size : box->len + max;
    char *data = realloc(box->data, room);
    if (data == NULL)
        return 0;
    box->data = data;
    box->room = room;
    return room - box->len < max ? room - box->len : max;
}

/* source:take(max) -> how many bytes of it were read into memory, 0 at the end;
 * or nil and an error */
static int source_take(lua_State *L)
{
    struct source *box = check_source(L, 1);
    lua_Integer max = luaL_checkinteger(L, 2);
    luaL_argcheck(L, max > 0 && max <= MOST_BYTES, 2, "1 to 64 MiB");
    ssize_t got;

    size_t room = make_room(box, (size_t)max);
    if (room == 0)
        return noeL_pusherrno(L, ENOMEM, "read");
    do {
        got = read(box->fd, box->data + box->len, room);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return noeL_pusherrno(L, errno, "read");
    box->len += (size_t)got;
    lua_pushinteger(L, got);
    return 1;
}

/* source:text() -> all that was taken */
static int source_text(lua_State *L)
{
    const struct source *box = check_source(L, 1);

    lua_pushlstring(L, box->data != NULL ? box->data : "", box->len);
    return 1;
}

static struct draft *check_draft(lua_State *L)
{
    struct draft *box = luaL_checkudata(L, 1, DRAFT);

    if (box->draft.fd < 0)
        luaL_error(L, "it is closed");
    return box;
}

static int draft_close(lua_State *L)
{
    struct draft *box = luaL_checkudata(L, 1, DRAFT);

    noe_draft_close(&box->draft);
    return 0;
}

/* directory:draft(path) -> a file that is to be there by that name, once it is
 * kept; or nil and an error */
static int directory_draft(lua_State *L)
{
    int top = check_directory(L)->fd;
    const char *path = luaL_checkstring(L, 2);
    struct draft *box = lua_newuserdata(L, sizeof(*box));

    box->draft = (struct noe_draft){.dir = -1, .fd = -1};
    luaL_getmetatable(L, DRAFT);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, 1);
    lua_setuservalue(L, -2); /* it keeps the path */
    if (noe_draft_open(&box->draft, top, path, &box->base) != 0)
        return noeL_pushfile(L, "create", path);
    return 1;
}

/* draft:copy(source, max) -> how many bytes, 0 at the end; or nil and an error
 */
static int draft_copy(lua_State *L)
{
    struct draft *box = check_draft(L);
    const struct source *source = check_source(L, 2);
    lua_Integer max = luaL_checkinteger(L, 3);
    luaL_argcheck(L, max > 0 && max <= MOST_BYTES, 3, "1 to 64 MiB");
    ssize_t done = noe_draft_copy(&box->draft, source->fd, (size_t)max);

    if (done < 0)
        return noeL_pusherrno(L, errno, "write");
    lua_pushinteger(L, done);
    return 1;
}

/* draft:keep(replaces) -> true; or nil and an error, "EEXIST" */
static int draft_keep(lua_State *L)
{
    struct draft *box = check_draft(L);

    if (noe_draft_keep(&box->draft, box->base, lua_toboolean(L, 2)) != 0)
        return noeL_pushfile(L, "create", box->base);
    lua_pushboolean(L, 1);
    return 1;
}

void noeL_open_beneath(lua_State *L)
{
    static const luaL_Reg functions[] = {{"directory", directory_open},
                                         {NULL, NULL}};
    static const luaL_Reg directories[] = {{"list", directory_list},
                                           {"file", directory_file},
                                           {"draft", directory_draft},
                                           {"close", directory_close},
                                           {NULL, NULL}};
    static const luaL_Reg sources[] = {{"take", source_take},
                                       {"text", source_text},
                                       {"close", source_close},
                                       {NULL, NULL}};
    static const luaL_Reg drafts[] = {{"copy", draft_copy},
                                      {"keep", draft_keep},
                                      {"close", draft_close},
                                      {NULL, NULL}};
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg closes_directory[] = {
        {"__gc", directory_close}, {"__close", directory_close}, {NULL, NULL}};
    static const luaL_Reg closes_source[] = {
        {"__gc", source_close}, {"__close", source_close}, {NULL, NULL}};
    static const luaL_Reg closes_draft[] = {
        {"__gc", draft_close}, {"__close", draft_close}, {NULL, NULL}};
    static const luaL_Reg closes_listing[] = {{"__gc", listing_gc},
                                              {NULL, NULL}};

    noeL_newtype(L, DIRECTORY, directories, closes_directory);
    noeL_newtype(L, SOURCE, sources, closes_source);
    noeL_newtype(L, DRAFT, drafts, closes_draft);
    noeL_newtype(L, LISTING, none, closes_listing);
    luaL_setfuncs(L, functions, 0);
}
