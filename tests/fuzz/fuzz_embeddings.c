/* An embedding's file in a folder of its own, read for models with one text encoder and with two: left out with a reason, or words whose every
 * vector can be read. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/embeddings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MODELS = 2 };

static char folder[] = "/dev/shm/udump-fuzz-XXXXXX", file[sizeof folder + 32], models[MODELS][sizeof folder + 32];
static udump_weights *checkpoints[MODELS];

static void save(const char *path, const void *data, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd)) abort();
}

/* A checkpoint that has token embeddings 2 wide, and 3 wide in a second encoder. */
static void make_model(int index, const char *tensors, size_t bytes) {
    char content[512];
    uint64_t length = strlen(tensors);
    memcpy(content, &length, sizeof length);
    memcpy(content + sizeof length, tensors, length);
    memset(content + sizeof length + length, 0, bytes);
    save(models[index], content, sizeof length + length + bytes);
    if (udump_weights_open_tensors(models[index], &checkpoints[index], NULL)) abort();
}

static void clean_up(void) {
    char nested[sizeof folder + 8];
    for (int i = 0; i < MODELS; i++) {
        udump_weights_close(checkpoints[i]);
        unlink(models[i]);
    }
    unlink(file);
    snprintf(nested, sizeof nested, "%s/e", folder);
    rmdir(nested);
    rmdir(folder);
}

static void set_up(void) {
    if (!mkdtemp(folder)) abort();
    snprintf(file, sizeof file, "%s/e/word.safetensors", folder);
    for (int i = 0; i < MODELS; i++) snprintf(models[i], sizeof models[i], "%s/%d.safetensors", folder, i);
    file[strlen(folder) + 2] = '\0';
    if (mkdir(file, 0700)) abort();
    file[strlen(folder) + 2] = '/';
    make_model(0, "{\"text_encoder/embeddings.token_embedding.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}", 8);
    make_model(1,
        "{\"text_encoder/embeddings.token_embedding.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
        "\"text_encoder_2/embeddings.token_embedding.weight\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[8,20]}}",
        20);
    atexit(clean_up);
}

static void warn(void *user, const char *line) {
    if (!*line) abort();
    ++*(int *)user;
}

static void read_all(const udump_weights *model) {
    char embeddings[sizeof folder + 8];
    udump_embeddings e;
    udump_error error = { 0 };
    int warnings = 0;
    snprintf(embeddings, sizeof embeddings, "%s/e", folder);
    if (udump_embeddings_load(embeddings, model, warn, &warnings, &e, &error)) abort(); /* one bad file is no failure */
    if (e.words.count + warnings != 1) abort();
    for (int i = 0; i < e.encoders; i++)
        for (int64_t v = 0; v < (int64_t)e.vectors * e.width[i]; v++)
            if (!isfinite(e.rows[i][v])) abort();
    udump_embeddings_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!checkpoints[0]) set_up();
    save(file, data, size);
    for (int i = 0; i < MODELS; i++) read_all(checkpoints[i]);
    return 0;
}
