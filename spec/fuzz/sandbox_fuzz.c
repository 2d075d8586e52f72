/* SPDX-License-Identifier: MIT */
/*
 * A description of a sandbox, made of lines: what a policy may ask for. What is
 * taken has no way up and nothing of the kernel's own, and is mounted parents
 * first; and bubblewrap is told it as it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/sandbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 24 };

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_path(const char *path)
{
    require(path[0] == '/');
    require(strstr(path, "//") == NULL && strstr(path, "/../") == NULL);
    size_t len = strlen(path);
    require(len < 3 || strcmp(path + len - 3, "/..") != 0);
    require(strncmp(path, "/proc/", 6) != 0 && strcmp(path, "/proc") != 0);
    require(strncmp(path, "/sys/", 5) != 0 && strncmp(path, "/dev/", 5) != 0);
}

static void check_order(const struct noe_sandbox *sandbox)
{
    size_t count;
    struct noe_place *places = noe_sandbox_places(sandbox, &count);

    require(places != NULL);
    require(count == sandbox->ro_bind_count + sandbox->rw_bind_count);
    for (size_t i = 0; i < count; i++) {
        check_path(places[i].bind->source);
        check_path(places[i].bind->target);
        for (size_t j = i + 1; j < count; j++) {
            const char *later = places[j].bind->target;
            size_t len = strlen(later);
            const char *earlier = places[i].bind->target;
            require(strncmp(earlier, later, len) != 0 || earlier[len] != '/');
            require(strcmp(earlier, later) != 0 || places[i].writable ||
                    !places[j].writable);
        }
    }
    free(places);
}

static void check_wrapper(const struct noe_sandbox *sandbox)
{
    struct noe_error err = NOE_ERROR_INIT;
    char **words = noe_sandbox_wrapper(sandbox, NULL, &err);
    size_t count = 0;

    if (words == NULL)
        return;
    while (words[count] != NULL)
        count++;
    require(count > 1 && strcmp(words[count - 1], "--") == 0);
    free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct noe_bind binds[3][MOST] = {{{NULL, NULL}}};
    size_t counts[3] = {0};
    struct noe_error err = NOE_ERROR_INIT;
    char *text = malloc(size + 1);

    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char *target = strchr(line, '\t');
        size_t which = (unsigned char)line[0] % 3;
        if (target == NULL || counts[which] == MOST)
            continue;
        *target = '\0';
        binds[which][counts[which]++] = (struct noe_bind){line + 1, target + 1};
    }
    struct noe_sandbox sandbox = {.size = sizeof(sandbox),
                                  .backend = NOE_BACKEND_BWRAP,
                                  .bwrap_path = "/usr/bin/bwrap",
                                  .ro_binds = binds[0],
                                  .ro_bind_count = counts[0],
                                  .rw_binds = binds[1],
                                  .rw_bind_count = counts[1],
                                  .links = binds[2],
                                  .link_count = counts[2]};
    if (noe_sandbox_check(&sandbox, &err) == 0) {
        check_order(&sandbox);
        check_wrapper(&sandbox);
    }
    free(text);
    return 0;
}
