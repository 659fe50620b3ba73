/* A whole model whose tensors' shapes and names, and whose configs, are changed: refused with a reason, or it can be asked for all that it has, and
 * draws. All weights are 0, in files of holes. The input: a byte for the recipe and the prediction, a byte for how many changes, five bytes for each, then lines that
 * stand for the configs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unetdump.h"
#include "unit/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RECIPES = 4,
    CHANGES_MOST = 16,
    CHANGE_BYTES = 5,
    DATA_MOST_BYTES = 64 << 20
};

static const char *const names[RECIPES] = { "sd2", "sdxl", "sd2-ldm", "sdxl-ldm" };
static const char *const files[] = { "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors", "text_encoder_2/model.safetensors", "model.safetensors" };
static const char *const configs[] = { "unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json",
    "text_encoder_2/config.json", "model_index.json" };
enum {
    FILES = sizeof files / sizeof *files,
    CONFIGS = sizeof configs / sizeof *configs
};

static char outer[] = "/dev/shm/udump-fuzz-XXXXXX";
static recipe recipes[RECIPES];
static char own[RECIPES][CONFIGS][RECIPE_TEXT]; /* the recipes' configs; "": has none */
static recipe_tensor changed[RECIPE_TENSORS];

static const char *path_of(const char *folder, const char *name) {
    static char path[RECIPE_TEXT];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void clean_folder(const char *folder) {
    static const char *const parts[] = { "unet", "vae", "text_encoder", "text_encoder_2", "scheduler", "" };
    for (int i = 0; i < FILES; i++) unlink(path_of(folder, files[i]));
    for (int i = 0; i < CONFIGS; i++) unlink(path_of(folder, configs[i]));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) rmdir(path_of(folder, parts[i]));
}

static void clean_up(void) {
    for (int i = 0; i < RECIPES; i++) {
        char folder[sizeof outer + 16];
        snprintf(folder, sizeof folder, "%s/%s", outer, names[i]);
        clean_folder(folder);
        free(recipes[i].tensors);
    }
    rmdir(outer);
}

/* Two layers of each transformer are enough: more would only take longer. */
static void thin_out(recipe *r) {
    static const char *const stacks[] = { "encoder.layers.", "resblocks.", "transformer_blocks." };
    int kept = 0;
    for (int i = 0; i < r->count; i++) {
        int deep = 0;
        for (size_t s = 0; s < sizeof stacks / sizeof *stacks; s++) {
            const char *at = strstr(r->tensors[i].name, stacks[s]);
            deep |= at && atoi(at + strlen(stacks[s])) >= 2;
        }
        if (!deep) r->tensors[kept++] = r->tensors[i];
    }
    r->count = kept;
}

static void set_up(void) {
    if (!mkdtemp(outer)) abort();
    atexit(clean_up);
    for (int i = 0; i < RECIPES; i++) {
        char folder[sizeof outer + 16], file[RECIPE_TEXT];
        snprintf(folder, sizeof folder, "%s/%s", outer, names[i]);
        snprintf(file, sizeof file, "%s/tests/parity/models/%s.txt", TEST_ROOT, names[i]);
        if (mkdir(folder, 0700) || !recipe_read(file, folder, &recipes[i])) abort();
        thin_out(&recipes[i]);
        for (int c = 0; c < CONFIGS; c++) {
            FILE *in = fopen(path_of(folder, configs[c]), "r");
            if (in) fclose((fgets(own[i][c], RECIPE_TEXT, in), in));
        }
    }
}

/* Another digit for one of the name's: another block, layer or level. */
static void renumber(char *name, unsigned which, char digit) {
    unsigned digits = 0;
    for (char *at = name; *at; at++) digits += *at >= '0' && *at <= '9';
    if (!digits) return;
    for (which %= digits; *name; name++)
        if (*name >= '0' && *name <= '9' && which-- == 0) {
            *name = digit;
            return;
        }
}

/* Returns how many tensors there are now. */
static int change(const uint8_t *bytes, recipe_tensor *tensors, int count) {
    recipe_tensor *t = &tensors[(bytes[0] | bytes[1] << 8) % count];
    int value = bytes[3] | bytes[4] << 8;
    switch (bytes[2] % 10) {
    case 0:
    case 1:
    case 2:
    case 3: /* a size */
        if (bytes[2] % 10 < t->rank) t->shape[bytes[2] % 10] = value;
        return count;
    case 4: /* left out */
        if (count > 1) *t = tensors[--count];
        return count;
    case 5:
        if (t->rank < 4) t->shape[t->rank++] = value;
        return count;
    case 6: t->rank -= t->rank > 0; return count;
    case 7: renumber(t->name, bytes[3], (char)('0' + bytes[4] % 10)); return count;
    case 8: /* twice */
        if (count == RECIPE_TENSORS) return count;
        tensors[count] = *t;
        renumber(tensors[count].name, bytes[3], (char)('0' + bytes[4] % 10));
        return count + 1;
    default: /* all layers of a name at once: blocks that are there once more, or not at all */
        for (int i = 0, end = count; i < end && count < RECIPE_TENSORS; i++) {
            if (strncmp(tensors[i].name, t->name, 20) != 0) continue;
            tensors[count] = tensors[i];
            renumber(tensors[count].name, bytes[3], (char)('0' + bytes[4] % 10));
            if (strcmp(tensors[count].name, tensors[i].name) != 0) count++;
        }
        return count;
    }
}

static int is_small(const recipe_tensor *tensors, int count) {
    uint64_t all = 0;
    for (int i = 0; i < count; i++) {
        uint64_t elements = 1;
        for (int d = 0; d < tensors[i].rank; d++) elements *= (uint64_t)tensors[i].shape[d]; /* 16 bits each, 4 of them */
        if (elements > DATA_MOST_BYTES || (all += elements * sizeof(float)) > DATA_MOST_BYTES) return 0;
    }
    return 1;
}

/* A line for each; an empty one stands for the recipe's own. */
static void write_configs(const char *folder, int which, const uint8_t *text, size_t size) {
    for (int i = 0; i < CONFIGS; i++) {
        const uint8_t *end = size ? memchr(text, '\n', size) : NULL;
        size_t line = end ? (size_t)(end - text) : size, skipped = line + (end != NULL);
        const void *content = line ? (const void *)text : own[which][i];
        size_t bytes = line ? line : strlen(own[which][i]);
        unlink(path_of(folder, configs[i]));
        FILE *out = bytes ? recipe_create(folder, configs[i]) : NULL;
        if (bytes && (!out || fwrite(content, 1, bytes, out) != bytes || fclose(out))) abort();
        if (!size) continue;
        text += skipped;
        size -= skipped;
    }
}

static void write_model(const char *folder, const recipe_tensor *tensors, int count) {
    for (int f = 0; f < FILES; f++) {
        int there = 0;
        for (int i = 0; i < count; i++) there |= strcmp(tensors[i].file, files[f]) == 0;
        unlink(path_of(folder, files[f]));
        if (there && !recipe_write_zeros(folder, files[f], tensors, count)) abort();
    }
}

static void ask(const udump_model *model) {
    udump_block_info block;
    udump_tap_info tap;
    udump_tensor_info tensor;
    for (int32_t i = 0; !udump_model_get_block(model, i, &block, NULL); i++)
        if (block.channels < 1 || block.downscale < 1 || udump_model_block_slot(model, i, 26) > 26) abort();
    for (int32_t i = 0; !udump_model_get_tap(model, i, &tap, NULL); i++)
        if (!tap.diffusers[0]) abort();
    for (int64_t i = 0; !udump_model_get_tensor(model, i, &tensor, NULL); i++)
        if (!tensor.name) abort();
}

/* From a picture, one step, with all that there is to see: what loading has accepted runs. */
static void run(udump_model *model) {
    static uint8_t pixels[8 * 8 * 3];
    const udump_picture picture = { pixels, 8, 8, 3, 8 * 3 };
    udump_session *session;
    udump_error error = { 0 };
    if (udump_session_create(model, &session, &error)) abort();
    udump_sink sink = { .struct_bytes = sizeof sink };
    udump_generate_options options;
    udump_generate_options_init(&options);
    options.prompt = "a (~: M00: b :~)";
    options.init = &picture;
    options.width_px = options.height_px = 8;
    options.steps = 1;
    options.features = options.attention = "";
    options.attention_kinds = UDUMP_ATTEND_QK | UDUMP_ATTEND_SELF;
    udump_status status = udump_generate(session, &options, &sink, &error);
    if (status && status != UDUMP_ERROR_UNSUPPORTED && status != UDUMP_ERROR_MEMORY) abort();
    udump_session_destroy(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || (size_t)(2 + data[1] % CHANGES_MOST * CHANGE_BYTES) > size) return 0;
    if (!recipes[0].tensors) set_up();
    char folder[sizeof outer + 16];
    int which = data[0] % RECIPES, count = recipes[which].count, changes = data[1] % CHANGES_MOST;
    memcpy(changed, recipes[which].tensors, (size_t)count * sizeof *changed);
    for (int i = 0; i < changes; i++) count = change(data + 2 + i * CHANGE_BYTES, changed, count);
    if (!is_small(changed, count)) return 0;
    snprintf(folder, sizeof folder, "%s/%s", outer, names[which]);
    write_model(folder, changed, count);
    size_t begin = (size_t)(2 + changes * CHANGE_BYTES);
    write_configs(folder, which, data + begin, size - begin); /* those of one file have none, and need none */

    udump_model *model;
    udump_error error = { 0 };
    udump_model_options options;
    udump_model_options_init(&options);
    options.device = UDUMP_DEVICE_REFERENCE;
    options.threads = 1;
    options.prediction = (udump_prediction)(data[0] / RECIPES % 3); /* to be asked for it takes seconds */
    udump_status status = udump_model_load(which < 2 ? folder : path_of(folder, "model.safetensors"), &options, &model, &error);
    if (status) {
        if (status == UDUMP_ERROR_INTERNAL || status == UDUMP_ERROR_FILE || !error.what[0] || !error.where[0]) abort();
        return 0;
    }
    ask(model);
    run(model);
    udump_model_release(model);
    return 0;
}
