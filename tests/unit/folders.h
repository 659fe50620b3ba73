/* What the tests of folders share: a folder of the test's own, and a look at what is in it. Include after cmocka.h. */
#ifndef FOLDERS_H
#define FOLDERS_H

#include <dirent.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "output/file.h"
#include "unetdump.h"

static char base[64];

static int make_base(void **state) {
    (void)state;
    strcpy(base, "/tmp/udump-test-XXXXXX");
    return mkdtemp(base) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static int remove_base(void **state) {
    (void)state;
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path below the test's own folder; the last 8 stay valid. */
static inline const char *below(const char *name) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static inline bool exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

/* A folder that is not there has none. */
static inline int count_entries(const char *path) {
    DIR *dir = opendir(path);
    int count = 0;
    if (!dir) return 0;
    for (struct dirent *entry; (entry = readdir(dir));) count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(dir);
    return count;
}

static inline void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static inline udump_bytes read_all(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    udump_bytes bytes = { .size = (size_t)ftell(file) };
    rewind(file);
    bytes.data = malloc(bytes.size + 1);
    assert_int_equal(fread(bytes.data, 1, bytes.size, file), bytes.size);
    fclose(file);
    return bytes;
}

static inline udump_folder *open_folder(const char *path, udump_dump dump, int threads) {
    udump_folder_options options;
    udump_folder_options_init(&options);
    options.dump = dump;
    options.writer_threads = threads;
    udump_folder *folder = NULL;
    assert_int_equal(udump_folder_open(path, &options, &folder, NULL), UDUMP_OK);
    assert_non_null(folder);
    return folder;
}

#endif
