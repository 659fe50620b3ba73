#include "lora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A whole number or one with a point, the whole text. */
static bool read_weight(const char *text, double *weight) {
    char *end;
    if (!*text || text[strspn(text, "+-.0123456789")]) return false;
    *weight = strtod(text, &end);
    return !*end;
}

/* FILE[:WEIGHT][:BLOCK WEIGHTS]; NULL for what is not there. */
typedef struct lora_text {
    const char *path, *weight, *blocks;
} lora_text;

/* A file's name may have colons: what follows the last one is taken off only if it reads as block weights or a weight. */
static lora_text split(char *text) {
    lora_text parts = { .path = text };
    double weight;
    char *colon = strrchr(text, ':');
    if (colon && strchr(colon, '=')) {
        *colon = '\0';
        parts.blocks = colon + 1;
        colon = strrchr(text, ':');
    }
    if (colon && read_weight(colon + 1, &weight)) {
        *colon = '\0';
        parts.weight = colon + 1;
    }
    return parts;
}

bool read_loras(const option_list *given, lora_list *loras) {
    *loras = (lora_list){ 0 };
    for (int i = 0; i < given->count; i++) {
        char *text = strdup(given->items[i]);
        if (!text) return fail_usage("out of memory"), false;
        loras->texts[loras->count++] = text;
        lora_text parts = split(text);
        loras->items[i] = (udump_lora){ .path = parts.path, .block_weights = parts.blocks };
        if (parts.weight && read_weight(parts.weight, &loras->weights[i])) loras->items[i].weight = &loras->weights[i];
        if (!*text || strstr(text, ".safetensors:")) return fail_usage("--lora: expected FILE[:WEIGHT][:BLOCK WEIGHTS], found '%s'", given->items[i]), false;
    }
    return true;
}

void free_loras(lora_list *loras) {
    for (int i = 0; i < loras->count; i++) free(loras->texts[i]);
}

int fail_loras(const udump_error *error, const lora_list *loras) {
    char where[sizeof error->where];
    const char *text = NULL;
    int found = 0;
    for (int i = 0; i < loras->count; i++) {
        const udump_lora *lora = &loras->items[i];
        int length = lora->block_weights ? snprintf(where, sizeof where, "%s: block weights", lora->path) : -1;
        if (length < 0 || length >= (int)sizeof where || strcmp(where, error->where) != 0) continue;
        text = lora->block_weights;
        found++;
    }
    return found ? fail_option("--lora", error, found == 1 ? text : NULL) : fail_input(error);
}

/* Whether FILE[:WEIGHT][:BLOCK WEIGHTS] names the tag's file, in whatever folder. */
static bool names_file(const char *item, const char *name) {
    char *text = strdup(item);
    if (!text) return false;
    const char *path = split(text).path, *slash = strrchr(path, '/');
    size_t length = strlen(name);
    if (slash) path = slash + 1;
    bool same = strncmp(path, name, length) == 0 && strcmp(path + length, ".safetensors") == 0;
    free(text);
    return same;
}

/* Takes the option that names the tag's file off the list, whose first *given were given as such; NULL if none does. */
static const char *take_option(option_list *loras, int *given, const char *name) {
    for (int i = 0; i < *given; i++) {
        const char *item = loras->items[i];
        if (!names_file(item, name)) continue;
        memmove(&loras->items[i], &loras->items[i + 1], (size_t)(--loras->count - i) * sizeof *loras->items);
        --*given;
        return item;
    }
    return NULL;
}

/* What a picture's "foo: IN04=0.5; bar: TE=0" has for a LoRA, [*bytes]; NULL: nothing. Each is found once: a LoRA may come twice. */
static const char *find_blocks(char *text, const char *name, int *bytes) {
    size_t length = strlen(name);
    *bytes = 0;
    for (char *at = text, *end; at; at = end ? end + 2 : NULL) {
        end = strstr(at, "; ");
        if (strncmp(at, name, length) != 0 || strncmp(at + length, ": ", 2) != 0) continue;
        *at = '\n';
        at += length + 2;
        *bytes = (int)(end ? (size_t)(end - at) : strlen(at));
        return at;
    }
    return NULL;
}

/* The tag's file, on the heap. NULL after printing what is wrong. */
static char *find_file(const udump_lora_tag *tag, const char *folder) {
    char path[4096];
    udump_error error;
    if (!folder) return fail_usage("--prompt: %s needs --lora-dir, or a --lora of that name", tag->text), NULL;
    if (udump_lora_find(folder, tag->name, path, sizeof path, &error)) return fail_option("--lora-dir", &error, NULL), NULL;
    char *own = strdup(path);
    if (!own) fail_usage("out of memory");
    return own;
}

/* The tag as --lora has it, on the heap, by a file, or by an option for it, whose own weights go first. NULL without memory. */
static char *compose(const udump_lora_tag *tag, const lora_text *file, char *picture_blocks) {
    char *text = NULL, weight[400];
    int bytes;
    const char *own = file->weight || !tag->block_weights ? "" : tag->block_weights;
    const char *found = find_blocks(picture_blocks, tag->name, &bytes);
    if (file->blocks) bytes = (int)strlen(found = file->blocks);
    snprintf(weight, sizeof weight, "%.15f", tag->weight);
    if (asprintf(&text, "%s:%s%s%s%s%.*s", file->path, file->weight ? file->weight : weight, bytes || *own ? ":" : "", own,
            bytes && *own ? "," : "", bytes, bytes ? found : "")
        < 0)
        return NULL;
    return text;
}

/* Adds what a tag means to loras. */
static bool take_tag(const udump_lora_tag *tag, const char *folder, int *given, prompt_loras *taken, option_list *loras) {
    if (tag->problem) return fail_usage("--prompt: %s: %s", tag->text, tag->problem), false;
    const char *option = folder ? NULL : take_option(loras, given, tag->name);
    char *own = option ? strdup(option) : find_file(tag, folder);
    if (!own) return option ? fail_usage("out of memory"), false : false;
    lora_text file = option ? split(own) : (lora_text){ .path = own };
    char *text = compose(tag, &file, taken->picture_blocks);
    free(own);
    if (!text) return fail_usage("out of memory"), false;
    taken->texts[taken->count++] = text;
    if (loras->count == LIST_MOST || taken->count == LIST_MOST) return fail_usage("more than %d LoRAs", LIST_MOST - 1), false;
    loras->items[loras->count++] = text;
    return true;
}

bool take_prompt_loras(const char *prompt, const char *folder, const char *picture_blocks, prompt_loras *taken, option_list *loras) {
    udump_error error;
    int32_t count;
    *taken = (prompt_loras){ .picture_blocks = picture_blocks ? strdup(picture_blocks) : NULL };
    if (picture_blocks && !taken->picture_blocks) return fail_usage("out of memory"), false;
    if (udump_lora_tags_parse(prompt, &taken->tags, &error)) return fail_error(&error), false;
    const udump_lora_tag *tags = udump_lora_tags_list(taken->tags, &count);
    bool good = true;
    for (int32_t i = 0, given = loras->count; good && i < count; i++) good = take_tag(&tags[i], folder, &given, taken, loras);
    return good;
}

bool refuse_prompt_loras(const char *prompt) {
    udump_lora_tags *tags;
    udump_error error;
    int32_t count;
    if (udump_lora_tags_parse(prompt, &tags, &error)) return fail_error(&error), false;
    const udump_lora_tag *first = udump_lora_tags_list(tags, &count);
    if (count) fail_usage("%s in a prompt: a sweep takes LoRAs by --lora", first->text);
    udump_lora_tags_free(tags);
    return !count;
}

void free_prompt_loras(prompt_loras *taken) {
    for (int i = 0; i < taken->count; i++) free(taken->texts[i]);
    udump_lora_tags_free(taken->tags);
    free(taken->picture_blocks);
}
