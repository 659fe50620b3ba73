/* The webui's LoRAs in a prompt: "<lora:NAME:0.8>". */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/status.h"
#include "text/buffer.h"

struct udump_lora_tags {
    udump_text_buffer prompt; /* without them */
    udump_lora_tag *list;     /* [count]; a tag's texts are on the heap, but for its problem */
    int32_t count;
};

static const char *const kinds[] = { "<lora:", "<lyco:", "<hypernet:" };
enum { KINDS = sizeof kinds / sizeof *kinds, HYPERNET = 2 };

/* The next tag's kind, with *begin at its '<' and *end at its '>'; -1 if there is none. "<lora:>" is text. */
static int find(const char *text, const char **begin, const char **end) {
    for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
        int kind = 0;
        while (kind < KINDS && strncmp(at, kinds[kind], strlen(kinds[kind])) != 0) kind++;
        if (kind == KINDS) continue;
        *begin = at;
        *end = strchr(at, '>');
        if (!*end) return -1; /* and of no later one either */
        if (*end > at + strlen(kinds[kind])) return kind;
    }
    return -1;
}

/* A whole number or one with a point, the whole text. */
static bool read_weight(const char *text, double *weight) {
    char *end;
    if (!*text || text[strspn(text, "+-.0123456789")]) return false;
    return udump_decimal_read(text, &end, weight) && !*end && isfinite(*weight);
}

/* "0.8", "0.5:0.8", or with names, "te=0.5:unet=0.8", as the webui reads them. */
static bool read_weights(char *text, double weights[2]) {
    static const char *const names[2] = { "te=", "unet=" };
    int place = 0;
    for (char *next; text; text = next) {
        if ((next = strchr(text, ':'))) *next++ = '\0';
        int named = strncmp(text, names[0], strlen(names[0])) == 0 ? 0 : strncmp(text, names[1], strlen(names[1])) == 0 ? 1 : -1;
        if (named < 0 && place == 2) return false;
        if (named < 0) named = place++;
        else text += strlen(names[named]);
        if (!read_weight(text, &weights[named])) return false;
    }
    return true;
}

/* A LoRA has one weight here, the U-Net's, and the text encoders' beside it. unet: NaN without one of its own, as what is read is finite. */
static udump_status set_weights(udump_lora_tag *tag, double text, double unet, udump_error *error) {
    if (isnan(unet)) unet = text;
    char blocks[48] = "UNET=0";
    tag->weight = unet == 0 ? text : unet;
    if (unet == text) return UDUMP_OK;
    if (unet != 0) { /* by hand: the C library's point follows the locale */
        double factor = fmin(fabs(text / unet), 1e6) /* which no LoRA takes */, whole = floor(factor);
        long long part = llround((factor - whole) * 1e12);
        int length = snprintf(
            blocks, sizeof blocks, "TE=%s%.0f.%012lld", text / unet < 0 ? "-" : "", whole + (part == 1000000000000), part % 1000000000000);
        while (blocks[length - 1] == '0') length--;
        blocks[length - (blocks[length - 1] == '.')] = '\0';
    }
    tag->block_weights = strdup(blocks);
    return tag->block_weights ? UDUMP_OK : udump_fail_memory(error, "prompt", sizeof blocks);
}

/* name: what is in the tag, cut behind the name here. */
static udump_status fill(udump_lora_tag *tag, int kind, char *name, udump_error *error) {
    double weights[2] = { 1, NAN }; /* of the text encoders, of the U-Net */
    char *colon = strchr(name, ':');
    if (colon) *colon = '\0';
    if (kind == HYPERNET) tag->problem = "hypernetworks are not supported";
    else if (colon && !read_weights(colon + 1, weights))
        tag->problem = "expected one number as its weight, or the text encoders' and the U-Net's";
    return tag->problem ? UDUMP_OK : set_weights(tag, weights[0], weights[1], error);
}

static udump_status add(udump_lora_tags *tags, const char *prompt, int kind, const char *begin, const char *end, udump_error *error) {
    udump_lora_tag *grown = realloc(tags->list, ((size_t)tags->count + 1) * sizeof *grown);
    if (!grown) return udump_fail_memory(error, "prompt", ((size_t)tags->count + 1) * sizeof *grown);
    const char *inside = begin + strlen(kinds[kind]);
    char *text = strndup(begin, (size_t)(end + 1 - begin)), *name = strndup(inside, (size_t)(end - inside));
    tags->list = grown;
    grown[tags->count++] = (udump_lora_tag){ .text = text, .name = name, .offset = begin - prompt, .weight = 1 };
    if (!text || !name) return udump_fail_memory(error, "prompt", (size_t)(end + 1 - begin));
    return fill(&grown[tags->count - 1], kind, name, error);
}

/* What stood before the last tag stands before it again in the picture's text. */
static void trim(udump_text_buffer *prompt) {
    while (prompt->length && prompt->text[prompt->length - 1] == ' ') prompt->text[--prompt->length] = '\0';
}

static udump_status take(udump_lora_tags *tags, const char *prompt, udump_error *error) {
    const char *at = prompt, *begin, *end;
    udump_status status = UDUMP_OK;
    for (int kind; !status && (kind = find(at, &begin, &end)) >= 0; at = end + 1) {
        status = udump_text_append(&tags->prompt, at, (size_t)(begin - at), error);
        if (!status) status = add(tags, prompt, kind, begin, end, error);
    }
    if (!status) status = udump_text_append(&tags->prompt, at, strlen(at), error);
    if (!status && tags->count) trim(&tags->prompt);
    return status;
}

udump_status udump_lora_tags_parse(const char *prompt, udump_lora_tags **tags, udump_error *error) {
    if (!prompt || !tags) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_lora_tags_parse", "a null pointer");
    udump_lora_tags *made = calloc(1, sizeof *made);
    if (!made) return udump_fail_memory(error, "prompt", sizeof *made);
    udump_status status = take(made, prompt, error);
    if (status) udump_lora_tags_free(made);
    else *tags = made;
    return status;
}

void udump_lora_tags_free(udump_lora_tags *tags) {
    if (!tags) return;
    for (int32_t i = 0; i < tags->count; i++) {
        free((char *)tags->list[i].text);
        free((char *)tags->list[i].name);
        free((char *)tags->list[i].block_weights);
    }
    free(tags->list);
    free(tags->prompt.text);
    free(tags);
}

const char *udump_lora_tags_prompt(const udump_lora_tags *tags) { return tags->prompt.text; }

const udump_lora_tag *udump_lora_tags_list(const udump_lora_tags *tags, int32_t *count) {
    *count = tags->count;
    return tags->list;
}
