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

/* A file's name may have colons: what follows the last one is taken off only if it reads as block weights or a weight. */
static void split(char *text, udump_lora *lora, double *weight) {
    char *colon = strrchr(text, ':');
    if (colon && strchr(colon, '=')) {
        *colon = '\0';
        lora->block_weights = colon + 1;
        colon = strrchr(text, ':');
    }
    if (colon && read_weight(colon + 1, weight)) {
        *colon = '\0';
        lora->weight = weight;
    }
    lora->path = text;
}

bool read_loras(const option_list *given, lora_list *loras) {
    *loras = (lora_list){ 0 };
    for (int i = 0; i < given->count; i++) {
        char *text = strdup(given->items[i]);
        if (!text) return fail_usage("out of memory"), false;
        loras->texts[loras->count++] = text;
        split(text, &loras->items[i], &loras->weights[i]);
        if (!*text || strstr(text, ".safetensors:")) return fail_usage("--lora: expected FILE[:WEIGHT][:BLOCK WEIGHTS], found '%s'", given->items[i]), false;
    }
    return true;
}

void free_loras(lora_list *loras) {
    for (int i = 0; i < loras->count; i++) free(loras->texts[i]);
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

/* "name" or "name:0.8" as --lora has it, on the heap; NULL after printing what is wrong. */
static char *read_tag(const char *tag, const char *inside, const char *end, const char *folder) {
    int shown = (int)(end + 1 - tag);
    double weight;
    char *text = NULL, *own = inside ? strndup(inside, (size_t)(end - inside)) : NULL;
    if (!inside) return fail_usage("--prompt: %.*s: hypernetworks are not supported", shown, tag), NULL;
    if (!own) return fail_usage("out of memory"), NULL;
    char *colon = strchr(own, ':');
    if (colon) *colon = '\0';
    if (!folder) fail_usage("--prompt: %.*s needs --lora-dir", shown, tag);
    else if (!*own || *own == '.' || strchr(own, '/')) fail_usage("--prompt: %.*s: not the name of a file in --lora-dir", shown, tag);
    else if (colon && !read_weight(colon + 1, &weight)) fail_usage("--prompt: %.*s: expected one number as its weight", shown, tag);
    else if (asprintf(&text, "%s/%s.safetensors:%s", folder, own, colon ? colon + 1 : "1") < 0) fail_usage("out of memory"), text = NULL;
    free(own);
    return text;
}

bool take_prompt_loras(const char *prompt, const char *folder, prompt_loras *taken, option_list *loras) {
    *taken = (prompt_loras){ .prompt = prompt ? strdup(prompt) : NULL };
    if (!taken->prompt) return !prompt || (fail_usage("out of memory"), false);
    for (char *at = taken->prompt; *at;) {
        const char *inside, *end = tag_end(at, &inside);
        if (!end) {
            at++;
            continue;
        }
        char *text = read_tag(at, inside, end, folder);
        if (!text) return false;
        taken->texts[taken->count++] = text;
        if (loras->count == LIST_MOST || taken->count == LIST_MOST) return fail_usage("more than %d LoRAs", LIST_MOST - 1), false;
        loras->items[loras->count++] = text;
        memmove(at, end + 1, strlen(end + 1) + 1);
    }
    /* What stood before the last tag stands before it again in the picture's text. */
    for (size_t length = strlen(taken->prompt); taken->count && length && taken->prompt[length - 1] == ' '; length--) taken->prompt[length - 1] = '\0';
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
}
