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

/* The end of "<lora:...>" at text, where it begins with that; NULL elsewhere. *inside: behind the first colon. */
static const char *tag_end(const char *text, const char **inside) {
    static const char *const names[] = { "<lora:", "<lyco:", "<hypernet:" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        const char *end = strncmp(text, names[i], length) == 0 ? strchr(text, '>') : NULL;
        if (!end || end == text + length) continue;
        *inside = i == 2 ? NULL : text + length;
        return end;
    }
    return NULL;
}

/* What a tag says. */
typedef struct lora_tag {
    const char *text; /* all of it, [bytes] */
    int bytes;
    char *name; /* on the heap */
    const char *weight; /* in the same memory; NULL: none */
    char blocks[64]; /* where the text encoders have another; "" where not */
} lora_tag;

/* "0.8", "0.5:0.8" (text encoders, then U-Net), or with names, "te=0.5:unet=0.8", as the webui reads them. */
static bool read_weights(char *text, const char *weights[2]) {
    static const char *const names[2] = { "te=", "unet=" };
    int place = 0;
    for (char *next; text; text = next) {
        double weight;
        if ((next = strchr(text, ':'))) *next++ = '\0';
        int named = strncmp(text, names[0], strlen(names[0])) == 0 ? 0 : strncmp(text, names[1], strlen(names[1])) == 0 ? 1 : -1;
        if (named < 0 && place == 2) return false;
        if (named < 0) named = place++;
        else text += strlen(names[named]);
        if (!read_weight(text, &weight)) return false;
        weights[named] = text;
    }
    return true;
}

/* A LoRA has one weight here, the U-Net's where there is one, and the text encoders' beside it. */
static void set_weights(lora_tag *tag, const char *const weights[2]) {
    double text = 1, unet = 1;
    tag->weight = weights[1] ? weights[1] : weights[0];
    if (!weights[1]) return;
    if (weights[0]) read_weight(weights[0], &text);
    read_weight(weights[1], &unet);
    if (unet == 0) tag->weight = weights[0] ? weights[0] : "1";
    if (unet == 0 && text != 0) snprintf(tag->blocks, sizeof tag->blocks, "UNET=0");
    else if (unet != text) snprintf(tag->blocks, sizeof tag->blocks, "TE=%.15f", text / unet);
}

/* False after printing what is wrong; tag->name is to be freed either way. */
static bool read_tag(const char *text, const char *inside, const char *end, lora_tag *tag) {
    *tag = (lora_tag){ .text = text, .bytes = (int)(end + 1 - text), .name = inside ? strndup(inside, (size_t)(end - inside)) : NULL };
    const char *weights[2] = { NULL };
    if (!inside) return fail_usage("--prompt: %.*s: hypernetworks are not supported", tag->bytes, text), false;
    if (!tag->name) return fail_usage("out of memory"), false;
    char *colon = strchr(tag->name, ':');
    if (colon) *colon = '\0';
    if (colon && !read_weights(colon + 1, weights))
        return fail_usage("--prompt: %.*s: expected one number as its weight, or the text encoders' and the U-Net's", tag->bytes, text),
               false;
    set_weights(tag, weights);
    return true;
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
static char *find_file(const lora_tag *tag, const char *folder) {
    char path[4096];
    udump_error error;
    if (!folder) return fail_usage("--prompt: %.*s needs --lora-dir, or a --lora of that name", tag->bytes, tag->text), NULL;
    if (udump_lora_find(folder, tag->name, path, sizeof path, &error)) return fail_option("--lora-dir", &error, NULL), NULL;
    char *own = strdup(path);
    if (!own) fail_usage("out of memory");
    return own;
}

/* The tag as --lora has it, on the heap, by a file, or by an option for it, whose own weights go first. NULL without memory. */
static char *compose(const lora_tag *tag, const lora_text *file, char *blocks) {
    char *text = NULL;
    int bytes;
    const char *found = find_blocks(blocks, tag->name, &bytes), *weight = file->weight ? file->weight : tag->weight;
    const char *own = file->weight ? "" : tag->blocks;
    if (file->blocks) bytes = (int)strlen(found = file->blocks);
    if (asprintf(&text, "%s:%s%s%s%s%.*s", file->path, weight ? weight : "1", bytes || *own ? ":" : "", own, bytes && *own ? "," : "",
            bytes, bytes ? found : "")
        < 0)
        return NULL;
    return text;
}

/* Adds what a tag means to loras. */
static bool take_tag(const lora_tag *tag, const char *folder, int *given, prompt_loras *taken, option_list *loras) {
    const char *option = folder ? NULL : take_option(loras, given, tag->name);
    char *own = option ? strdup(option) : find_file(tag, folder);
    if (!own) return option ? fail_usage("out of memory"), false : false;
    lora_text file = option ? split(own) : (lora_text){ .path = own };
    char *text = compose(tag, &file, taken->blocks);
    free(own);
    if (!text) return fail_usage("out of memory"), false;
    taken->texts[taken->count++] = text;
    if (loras->count == LIST_MOST || taken->count == LIST_MOST) return fail_usage("more than %d LoRAs", LIST_MOST - 1), false;
    loras->items[loras->count++] = text;
    return true;
}

bool take_prompt_loras(const char *prompt, const char *folder, const char *blocks, prompt_loras *taken, option_list *loras) {
    *taken = (prompt_loras){ .prompt = prompt ? strdup(prompt) : NULL, .blocks = blocks ? strdup(blocks) : NULL };
    if ((prompt && !taken->prompt) || (blocks && !taken->blocks)) return fail_usage("out of memory"), false;
    if (!taken->prompt) return true;
    int given = loras->count;
    for (char *at = taken->prompt; *at;) {
        const char *inside, *end = tag_end(at, &inside);
        if (!end) {
            at++;
            continue;
        }
        lora_tag tag;
        bool good = read_tag(at, inside, end, &tag) && take_tag(&tag, folder, &given, taken, loras);
        free(tag.name);
        if (!good) return false;
        memmove(at, end + 1, strlen(end + 1) + 1);
    }
    /* What stood before the last tag stands before it again in the picture's text. */
    size_t length = taken->count ? strlen(taken->prompt) : 0;
    for (; length && taken->prompt[length - 1] == ' '; length--) taken->prompt[length - 1] = '\0';
    return true;
}

bool refuse_prompt_loras(const char *prompt) {
    const char *inside, *end = NULL;
    for (; prompt && *prompt && !end; prompt++) end = tag_end(prompt, &inside);
    if (!end) return true;
    return fail_usage("%.*s in a prompt: a sweep takes LoRAs by --lora", (int)(end + 2 - prompt), prompt - 1), false;
}

void free_prompt_loras(prompt_loras *taken) {
    for (int i = 0; i < taken->count; i++) free(taken->texts[i]);
    free(taken->prompt);
    free(taken->blocks);
}
