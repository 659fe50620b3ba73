#include "base/walk.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"

struct walk {
    bool follow;
    udump_walk_fn visit;
    void *user;
    udump_error *error;
};

/* A folder that is being read, and those that it is in. */
struct level {
    const struct level *above;
    dev_t device;
    ino_t number;
};

static bool is_within(const struct level *level, const struct stat *folder) {
    for (; level; level = level->above)
        if (level->device == folder->st_dev && level->number == folder->st_ino) return true;
    return false;
}

static int is_entry(const struct dirent *entry) { return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0; }
static int by_bytes(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static udump_status fail_folder(const char *folder, int reason, udump_error *error) {
    char text[128];
    if (reason == ENOMEM) return udump_fail_memory(error, folder, 0);
    return udump_fail(error, UDUMP_ERROR_FILE, folder, "cannot be read: %s", strerror_r(reason, text, sizeof text));
}

static udump_status walk_folder(const struct walk *w, const char *folder, const struct stat *self, const struct level *above, int depth);

static udump_status walk_entry(const struct walk *w, const char *folder, const char *name, const struct level *level, int depth) {
    char *path;
    struct stat found;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return udump_fail_memory(w->error, folder, 0);
    udump_status status = UDUMP_OK;
    int absent = w->follow ? stat(path, &found) : lstat(path, &found);
    if (!absent) {
        if (S_ISREG(found.st_mode)) status = w->visit(w->user, path, name);
        else if (S_ISDIR(found.st_mode) && depth > 0 && !is_within(level, &found)) status = walk_folder(w, path, &found, level, depth - 1);
    }
    free(path);
    return status;
}

static udump_status walk_folder(const struct walk *w, const char *folder, const struct stat *self, const struct level *above, int depth) {
    const struct level level = { above, self->st_dev, self->st_ino };
    struct dirent **entries;
    udump_status status = UDUMP_OK;
    int count = scandir(folder, &entries, is_entry, by_bytes);
    if (count < 0) return above && errno != ENOMEM ? UDUMP_OK : fail_folder(folder, errno, w->error);
    for (int i = 0; i < count; i++) {
        if (!status) status = walk_entry(w, folder, entries[i]->d_name, &level, depth);
        free(entries[i]);
    }
    free(entries);
    return status;
}

udump_status udump_walk(const char *folder, int depth, bool follow, udump_walk_fn visit, void *user, udump_error *error) {
    const struct walk w = { follow, visit, user, error };
    struct stat self;
    if (stat(folder, &self)) return fail_folder(folder, errno, error);
    return walk_folder(&w, folder, &self, NULL, depth);
}
