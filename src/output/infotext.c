#include "output/infotext.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output/characters.h"
#include "output/name.h"
#include "output/text.h"

static bool reads_back(const char *text, double value, bool single) {
    return single ? (double)strtof(text, NULL) == value : strtod(text, NULL) == value;
}

/* As Python prints the shortest decimal that reads back as value, a float32 if single: 7.0, 7.5, 1e+16. The digits are taken from the C
 * library and the point is set here, since the library's own follows the locale. */
static void print_number(FILE *out, double value, bool single) {
    char text[64], digits[24];
    int precision = 0, count = 0;
    do snprintf(text, sizeof text, "%.*e", precision, value);
    while (!reads_back(text, value, single) && ++precision < (single ? 9 : 17));
    const char *e = strchr(text, 'e');
    if (!e) { /* not finite */
        fputs(text, out);
        return;
    }
    for (const char *at = text; at < e; at++)
        if (*at >= '0' && *at <= '9') digits[count++] = *at;
    while (count > 1 && digits[count - 1] == '0') count--;
    int exponent = atoi(e + 1);
    if (value < 0) fputc('-', out);
    if (exponent < -4 || exponent >= 16) {
        fprintf(out, "%c%s%.*se%c%02d", digits[0], count > 1 ? "." : "", count - 1, digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) fputs("0.", out);
    for (int i = exponent + 1; i < 0; i++) fputc('0', out);
    int places = count > exponent + 2 ? count : exponent + 2; /* one digit after the point at least */
    for (int i = 0; i < (exponent < 0 ? count : places); i++) {
        if (i == exponent + 1 && exponent >= 0) fputc('.', out);
        fputc(i < count ? digits[i] : '0', out);
    }
}

/* A value that would be mistaken for the text's own punctuation becomes a JSON string, as Python's json.dumps writes it. */
static void print_value(FILE *out, const char *value) {
    if (!strpbrk(value, ",:\n\r")) {
        fputs(value, out);
        return;
    }
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    fputc('"', out);
    for (; *value; value++) {
        const char *escape = strchr(plain, *value);
        if (escape) fprintf(out, "\\%c", letters[escape - plain]);
        else if ((unsigned char)*value < 0x20) fprintf(out, "\\u%04x", (unsigned)*value);
        else fputc(*value, out);
    }
    fputc('"', out);
}

static void print_key(FILE *out, const char *key, const char *value) {
    if (!value || !*value) return;
    fprintf(out, ", %s: ", key);
    print_value(out, value);
}

static void print_double(FILE *out, const char *key, const double *value) {
    if (!value) return;
    fprintf(out, ", %s: ", key);
    print_number(out, *value, false);
}

static void print_all(FILE *out, const udump_infotext *info) {
    if (info->prompt) fputs(info->prompt, out);
    if (info->loras && *info->loras) fprintf(out, " %s", info->loras);
    if (info->negative_prompt && *info->negative_prompt) fprintf(out, "\nNegative prompt: %s", info->negative_prompt);
    fprintf(out, "\nSteps: %" PRId32, info->steps);
    print_key(out, "Sampler", info->sampler);
    print_key(out, "Schedule type", info->schedule);
    fputs(", CFG scale: ", out);
    print_number(out, (double)info->cfg, true);
    fprintf(out, ", Seed: %" PRIu64 ", Size: %" PRId32 "x%" PRId32, info->seed, info->width_px, info->height_px);
    print_key(out, "Model hash", info->model_hash);
    print_key(out, "Model", info->model);
    print_key(out, "VAE hash", info->vae_hash);
    print_key(out, "VAE", info->vae);
    if (info->variation_seed) {
        fprintf(out, ", Variation seed: %" PRIu64, *info->variation_seed);
        print_double(out, "Variation seed strength", &info->variation_strength);
    }
    print_double(out, "Denoising strength", info->strength);
    if (info->clip_skip > 1) fprintf(out, ", Clip skip: %" PRId32, info->clip_skip);
    if (info->ensd) fprintf(out, ", ENSD: %" PRId64, info->ensd);
    print_key(out, "RNG", info->rng);
    print_double(out, info->eta_is_ddim ? "Eta DDIM" : "Eta", info->eta);
    print_double(out, "Sigma noise", info->s_noise);
    print_key(out, "Lora block weights", info->lora_blocks);
    if (info->vae_tile_px) fprintf(out, ", VAE tile: %" PRId32, info->vae_tile_px);
    if (info->version) fprintf(out, ", Version: unetdump %s", info->version); /* the webui takes a bare number for its own, old one, and reads the prompt by other rules */
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The webui strips white space from both ends of the whole. */
static void strip(char *text) {
    size_t begin = 0, end = strlen(text);
    while (end && is_space(text[end - 1])) end--;
    while (begin < end && is_space(text[begin])) begin++;
    memmove(text, text + begin, end - begin);
    text[end - begin] = '\0';
}

static ssize_t append(void *text, const char *bytes, size_t count) {
    return udump_text_add(text, bytes, count) ? (ssize_t)count : 0; /* 0: fopencookie's sign of an error */
}

/* Not open_memstream: where that finds no memory, what was printed is left out, and no error is told. */
static FILE *print_into(udump_text *text) {
    *text = (udump_text){ 0 };
    return fopencookie(text, "w", (cookie_io_functions_t){ .write = append });
}

/* Closes out. NULL if anything failed. */
static char *finish(FILE *out, udump_text *text) {
    bool failed = ferror(out) != 0;
    failed |= fclose(out) != 0;
    char *repaired = failed ? NULL : udump_characters_repair(text->data ? text->data : "");
    free(text->data);
    return repaired;
}

char *udump_infotext_format(const udump_infotext *info) {
    udump_text text;
    FILE *out = print_into(&text);
    if (!out) return NULL;
    print_all(out, info);
    char *finished = finish(out, &text);
    if (finished) strip(finished);
    return finished;
}

static void print_canvas(FILE *out, const udump_place *place, bool average) {
    bool attention = place->kind != UDUMP_KIND_FEATURES && place->kind != UDUMP_KIND_DIFF;
    if (place->block && *place->block) fprintf(out, "Layer Name: %s, Feature Steps: %" PRId32, place->block, place->step);
    if (attention) fprintf(out, "%sAttention: %s", place->block && *place->block ? ", " : "", udump_kind_name(place->kind));
    if (place->kind == UDUMP_KIND_DIFF) print_key(out, "Diff", place->variant == UDUMP_VARIANT_OTHER ? "enabled - other" : "enabled - erased");
    print_key(out, "Word", place->word);
    if (place->side == UDUMP_SIDE_UNCOND) print_key(out, "Side", udump_side_name(place->side));
    if (place->part) fprintf(out, ", Part: %" PRId32, place->part);
    if (place->variant == UDUMP_VARIANT_ERASED) print_key(out, "Layer Prompts", udump_variant_name(place->variant));
    if (place->depth) fprintf(out, ", Transformer Layer: %" PRId32, place->depth);
    bool over_heads = attention && place->kind != UDUMP_KIND_VQK;
    if (average && place->kind != UDUMP_KIND_FEATURES) print_key(out, "Average", over_heads ? "heads" : "channels");
}

char *udump_infotext_for_canvas(const char *infotext, const udump_place *place, int32_t average) {
    udump_text text;
    FILE *out = print_into(&text);
    if (!out) return NULL;
    if (infotext && *infotext) fprintf(out, "%s\n", infotext);
    print_canvas(out, place, average);
    return finish(out, &text);
}
