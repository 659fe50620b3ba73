/* Runs a fuzz target over files and folders of files: the regression corpus, without a fuzzing engine. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return perror(path), 1;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1); /* exact, so that a sanitizer sees the first byte past the end */
    int bad = !data || fread(data, 1, (size_t)size, file) != (size_t)size;
    fclose(file);
    if (!bad) LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return bad;
}

static int replay_folder(const char *path, int *count) {
    DIR *folder = opendir(path);
    if (!folder) return perror(path), 1;
    int bad = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        bad |= replay_file(file);
        ++*count;
    }
    closedir(folder);
    return bad;
}

int main(int argc, char **argv) {
    int bad = argc < 2, count = 0;
    for (int i = 1; i < argc; i++) bad |= replay_folder(argv[i], &count);
    printf("%d inputs replayed\n", count);
    return bad || count == 0;
}
