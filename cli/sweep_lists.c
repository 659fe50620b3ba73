#include "sweep_lists.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* prompt with every old replaced, on the heap; NULL without memory. */
static char *replace(const char *prompt, const char *old, size_t old_length, const char *with) {
    size_t places = 0, with_length = strlen(with);
    for (const char *at = prompt; (at = strstr(at, old)); at += old_length) places++;
    char *text = malloc(strlen(prompt) + places * with_length + 1), *out = text;
    for (const char *at = prompt; text;) {
        const char *found = strstr(at, old);
        size_t length = found ? (size_t)(found - at) : strlen(at);
        memcpy(out, at, length);
        out += length;
        if (!found) break;
        memcpy(out, with, with_length);
        out += with_length;
        at = found + old_length;
    }
    if (text) *out = 0;
    return text;
}

static bool add_replaced(const char *item, const char *prompt, sweep_lists *lists) {
    const char *equals = strchr(item, '=');
    if (!equals || equals == item) return fail_usage("--replace: expected OLD=NEW, found '%s'", item), false;
    char *old = strndup(item, (size_t)(equals - item));
    bool there = old && strstr(prompt, old);
    char *text = there ? replace(prompt, old, strlen(old), equals + 1) : NULL;
    if (old && !there) fail_usage("--replace: '%s' is not in the prompt", old);
    else if (!text) fail_usage("out of memory");
    free(old);
    if (!text) return false;
    lists->texts[lists->text_count++] = text;
    lists->variants[lists->variant_count++] = text;
    return true;
}

bool read_variants(const option_list *variants, const option_list *replaced, const char *prompt, sweep_lists *lists) {
    for (int i = 0; i < variants->count; i++) lists->variants[lists->variant_count++] = variants->items[i];
    bool good = true;
    for (int i = 0; good && i < replaced->count; i++) good = add_replaced(replaced->items[i], prompt, lists);
    return good;
}

static bool add_block(char *item, sweep_lists *lists) {
    item += strspn(item, " \t");
    for (size_t length = strlen(item); length && strchr(" \t", item[length - 1]); length--) item[length - 1] = '\0';
    if (!*item) return true;
    if (lists->block_count == SWEEP_ITEMS_MOST) return fail_usage("--blocks: more than %d", SWEEP_ITEMS_MOST), false;
    lists->blocks[lists->block_count++] = item;
    return true;
}

bool read_blocks(const char *text, sweep_lists *lists) {
    if (!text) return true;
    char *copy = strdup(text), *rest = copy;
    if (!copy) return fail_usage("out of memory"), false;
    lists->texts[lists->text_count++] = copy;
    bool good = true;
    for (char *item; good && (item = strsep(&rest, ";"));) good = add_block(item, lists);
    if (good && !lists->block_count) return fail_usage("--blocks: no block is named: expected layer specs, ';' between them"), false;
    return good;
}

static bool read_seed(const char **at, uint64_t *seed) {
    char *end;
    errno = 0;
    if (**at < '0' || **at > '9') return false;
    *seed = strtoull(*at, &end, 10);
    *at = end;
    return !errno;
}

bool read_seeds(const char *text, sweep_lists *lists) {
    for (const char *at = text; at; at = *at ? at + 1 : NULL) {
        uint64_t first, last;
        bool fits = read_seed(&at, &first);
        last = first;
        if (fits && *at == '-') at++, fits = read_seed(&at, &last);
        if (!fits || (*at && *at != ',') || last < first) return fail_usage("--seeds: expected numbers and ranges, 1,2,10-13, found '%s'", text), false;
        if (last - first >= (uint64_t)(SWEEP_ITEMS_MOST - lists->seed_count)) return fail_usage("--seeds: more than %d", SWEEP_ITEMS_MOST), false;
        for (uint64_t i = 0; i <= last - first; i++) lists->seeds[lists->seed_count++] = first + i;
    }
    return true;
}

bool read_weights(const char *text, sweep_lists *lists) {
    for (const char *at = text; at; at = *at ? at + 1 : NULL) {
        char *end;
        double weight = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !isfinite(weight)) return fail_usage("--lora-weights: expected numbers, 0.5,1, found '%s'", text), false;
        if (lists->weight_count == SWEEP_ITEMS_MOST) return fail_usage("--lora-weights: more than %d", SWEEP_ITEMS_MOST), false;
        lists->weights[lists->weight_count++] = weight;
        at = end;
    }
    return true;
}

void free_lists(sweep_lists *lists) {
    for (int i = 0; i < lists->text_count; i++) free(lists->texts[i]);
}
