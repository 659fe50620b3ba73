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
        if (!*text) return fail_usage("--lora: expected FILE[:WEIGHT][:BLOCK WEIGHTS], found '%s'", given->items[i]), false;
    }
    return true;
}

void free_loras(lora_list *loras) {
    for (int i = 0; i < loras->count; i++) free(loras->texts[i]);
}
