/* Checkpoints from recipes: small models with random weights, the same ones that tests/parity/family_models.py makes, whose docstring says
 * what a recipe is. Needs no test library. */
#ifndef UDUMP_TEST_RECIPE_H
#define UDUMP_TEST_RECIPE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECIPE_TENSORS = 4096, RECIPE_TEXT = 1024 };

/* A tensor, and where its values come from. One named "__metadata__", of no values: its source is what the file says of itself. */
typedef struct recipe_tensor {
    char file[96], name[256], source[256];
    const char *dtype; /* of four bytes; NULL: F32 */
    int64_t shape[4];
    int rank;
    float scale, offset;
} recipe_tensor;

static inline uint64_t recipe_count(const recipe_tensor *t) {
    uint64_t count = 1;
    for (int i = 0; i < t->rank; i++) count *= (uint64_t)t->shape[i];
    return count;
}

/* count values of the source. */
static inline void recipe_fill(const char *source, float scale, float offset, uint64_t count, float *values) {
    uint64_t seed = 0xCBF29CE484222325u;
    for (; *source; source++) seed = (seed ^ (unsigned char)*source) * 0x100000001B3u;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t x = (i + seed + 1) * 0x9E3779B97F4A7C15u;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
        x ^= x >> 31;
        float u = (float)(x >> 40) / 8388608.0f - 1.0f, spread = scale * u;
        values[i] = offset + spread;
    }
}

/* The tensor as it lies in the file; to be freed. */
static inline float *recipe_values(const recipe_tensor *t) {
    uint64_t count = recipe_count(t);
    float *values = malloc(count * sizeof *values), *turned;
    char source[256], *letter;
    bool over = t->source[0] == '^';
    strcpy(source, t->source + over);
    if (!values) return NULL;
    letter = strchr(source, '@');
    for (int piece = 0; letter && piece < 3; piece++) {
        *letter = "qkv"[piece];
        recipe_fill(source, t->scale, t->offset, count / 3, values + (uint64_t)piece * (count / 3));
    }
    if (letter) return values;
    recipe_fill(source, t->scale, t->offset, count, values);
    if (!over || !(turned = malloc(count * sizeof *turned))) return values;
    for (int64_t row = 0; row < t->shape[0]; row++)
        for (int64_t column = 0; column < t->shape[1]; column++)
            turned[row * t->shape[1] + column] = values[column * t->shape[0] + row];
    free(values);
    return turned;
}

/* text with its '#' replaced. */
static inline void recipe_number(const char *text, int number, char out[256]) {
    const char *mark = strchr(text, '#');
    if (mark) snprintf(out, 256, "%.*s%d%s", (int)(mark - text), text, number, mark + 1);
    else snprintf(out, 256, "%s", text);
}

/* The tensors of one line at tensors; returns how many. */
static inline int recipe_line(const char *line, recipe_tensor *tensors) {
    char file[96], name[256], shape[64], source[256], *at = shape;
    recipe_tensor t = { .rank = 0 };
    int count = 1;
    if (sscanf(line, "%95s %255s %63s %f %f %255s %d", file, name, shape, &t.scale, &t.offset, source, &count) < 6) return 0;
    while (*at) {
        t.shape[t.rank++] = strtoll(at, &at, 10);
        at += *at == ',';
    }
    if (strcmp(source, ".") == 0) snprintf(source, sizeof source, "%.*s/%.150s", (int)strcspn(file, "/"), file, name);
    for (int i = 0; i < count; i++) {
        tensors[i] = t;
        strcpy(tensors[i].file, file);
        recipe_number(name, i, tensors[i].name);
        recipe_number(source, i, tensors[i].source);
    }
    return count;
}

/* Opens folder/path, and makes its folder. */
static inline FILE *recipe_create(const char *folder, const char *path) {
    char whole[RECIPE_TEXT];
    snprintf(whole, sizeof whole, "%s/%.*s", folder, (int)(strrchr(path, '/') ? strrchr(path, '/') - path : 0), path);
    mkdir(whole, 0777);
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    return fopen(whole, "wb");
}

/* A new safetensors file with the header alone of those tensors that belong to it; *data_bytes is what is to follow. NULL: failed. */
static inline FILE *recipe_begin_file(const char *folder, const char *file, const recipe_tensor *tensors, int count, uint64_t *data_bytes) {
    char *header = malloc((size_t)count * 512 + 16);
    size_t length = 1;
    uint64_t offset = 0;
    FILE *out = recipe_create(folder, file);
    if (!header || !out) return free(header), NULL;
    header[0] = '{';
    for (int i = 0; i < count; i++) {
        const recipe_tensor *t = &tensors[i];
        if (strcmp(t->file, file) != 0) continue;
        uint64_t bytes = recipe_count(t) * sizeof(float);
        length += (size_t)sprintf(header + length, "%s\"%s\":{", length > 1 ? "," : "", t->name);
        if (strcmp(t->name, "__metadata__") == 0) {
            length += (size_t)sprintf(header + length, "%s}", t->source);
            continue;
        }
        length += (size_t)sprintf(header + length, "\"dtype\":\"%s\",\"shape\":[", t->dtype ? t->dtype : "F32");
        for (int d = 0; d < t->rank; d++) length += (size_t)sprintf(header + length, "%s%" PRId64, d ? "," : "", t->shape[d]);
        length += (size_t)sprintf(header + length, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, offset + bytes);
        offset += bytes;
    }
    header[length++] = '}';
    while (length % 8) header[length++] = ' ';
    uint64_t header_bytes = length;
    bool good = fwrite(&header_bytes, 8, 1, out) == 1 && fwrite(header, length, 1, out) == 1;
    free(header);
    *data_bytes = offset;
    return good ? out : (fclose(out), NULL);
}

/* The safetensors file of those tensors that belong to it. */
static inline bool recipe_write_file(const char *folder, const char *file, const recipe_tensor *tensors, int count) {
    uint64_t data_bytes;
    FILE *out = recipe_begin_file(folder, file, tensors, count, &data_bytes);
    bool good = out;
    for (int i = 0; good && i < count; i++) {
        if (strcmp(tensors[i].file, file) != 0) continue;
        float *values = recipe_values(&tensors[i]);
        good = values && fwrite(values, sizeof *values, recipe_count(&tensors[i]), out) == recipe_count(&tensors[i]);
        free(values);
    }
    return out && fclose(out) == 0 && good;
}

/* The same with all values 0, in a file of holes. */
static inline bool recipe_write_zeros(const char *folder, const char *file, const recipe_tensor *tensors, int count) {
    uint64_t data_bytes;
    FILE *out = recipe_begin_file(folder, file, tensors, count, &data_bytes);
    bool good = out && fflush(out) == 0 && ftruncate(fileno(out), ftell(out) + (off_t)data_bytes) == 0;
    return out && fclose(out) == 0 && good;
}

/* What is made of a recipe that the caller may change before it is written. */
typedef struct recipe {
    recipe_tensor *tensors; /* [count]; to be freed */
    int count;
} recipe;

/* Reads the recipe, and writes its configs into folder, which exists. */
static inline bool recipe_read(const char *path, const char *folder, recipe *r) {
    char line[RECIPE_TEXT], config[96];
    int at;
    FILE *in = fopen(path, "r"), *out;
    *r = (recipe){ calloc(RECIPE_TENSORS, sizeof(recipe_tensor)), 0 };
    if (!in || !r->tensors) return false;
    while (fgets(line, sizeof line, in)) {
        if (line[0] != '=') r->count += recipe_line(line, r->tensors + r->count);
        else if (sscanf(line, "= %95s %n", config, &at) == 1 && (out = recipe_create(folder, config))) fclose((fputs(line + at, out), out));
    }
    return fclose(in) == 0;
}

static inline bool recipe_write(const recipe *r, const char *folder) {
    for (int i = 0; i < r->count; i++) {
        bool first = true;
        for (int j = 0; first && j < i; j++) first = strcmp(r->tensors[i].file, r->tensors[j].file) != 0;
        if (first && !recipe_write_file(folder, r->tensors[i].file, r->tensors, r->count)) return false;
    }
    return true;
}

/* The checkpoint of a recipe in folder, which exists. */
static inline bool recipe_make(const char *path, const char *folder) {
    recipe r;
    bool good = recipe_read(path, folder, &r) && recipe_write(&r, folder);
    free(r.tensors);
    return good;
}

#endif
