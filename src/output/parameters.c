/* A picture's infotext, as far as it can be run again. */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/options.h"
#include "base/status.h"
#include "output/characters.h"
#include "output/infotext_read.h"
#include "output/png_read.h"

enum { PAIRS_LEAST = 3, TEXT_MOST_BYTES = 1 << 20 };

struct udump_parameters {
    char *prompt, *negative_prompt;
    udump_parameter *list; /* [count]; keys and values on the heap, but for the first two */
    int32_t count;
    double eta, s_noise, strength;
};

/* ---------------------------------------------------------------- what a key does */

/* A value as options want it. Returns false if the text is not such a value. */
typedef bool setter(udump_parameters *p, const char *value, udump_generate_options *options);

static bool read_number(const char *text, double *number) {
    char *end;
    return udump_decimal_read(text, &end, number) && *text && !*end && isfinite(*number);
}

static bool read_integer(const char *text, int64_t least, int64_t most, int64_t *number) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *number = value;
    return *text && !*end && !errno && value >= least && value <= most;
}

static bool read_seed(const char *text, uint64_t *seed) {
    char *end;
    errno = 0;
    *seed = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static bool set_integer(const char *value, int64_t least, int64_t most, int32_t *integer) {
    int64_t number;
    bool good = read_integer(value, least, most, &number);
    if (good) *integer = (int32_t)number;
    return good;
}

static bool set_prompt(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    options->prompt = value;
    return true;
}

static bool set_negative_prompt(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    options->negative_prompt = value;
    return true;
}

static bool set_steps(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    return set_integer(value, 1, 1000, &options->steps);
}

static bool set_sampler(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    options->sampler = value;
    return *value != '\0';
}

static bool set_schedule(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    options->schedule = value;
    return *value != '\0';
}

static bool set_cfg(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    double number;
    bool good = read_number(value, &number) && number != 0;
    if (good) options->cfg = (float)number;
    return good;
}

static bool set_seed(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    return read_seed(value, &options->seed);
}

static bool set_size(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    int width = 0, height = 0, end = 0;
    if (strlen(value) > 11 || sscanf(value, "%5dx%5d%n", &width, &height, &end) != 2 || value[end] || width < 1 || height < 1) return false;
    options->width_px = width;
    options->height_px = height;
    return true;
}

static bool set_clip_skip(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    return set_integer(value, 1, INT32_MAX, &options->clip_skip);
}

static bool set_vae_tile(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    return set_integer(value, 1, INT32_MAX, &options->vae_tile_px);
}

static bool set_ensd(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    return read_integer(value, INT64_MIN, INT64_MAX, &options->ensd);
}

/* The webui's "GPU" and "NV" are one here: Philox. */
static bool set_rng(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    bool cpu = strcmp(value, "CPU") == 0;
    options->rng = cpu ? UDUMP_RNG_CPU : UDUMP_RNG_NV;
    return cpu || strcmp(value, "GPU") == 0 || strcmp(value, "NV") == 0 || strcmp(value, "given") == 0; /* the noise itself is not in the text */
}

static bool set_eta(udump_parameters *p, const char *value, udump_generate_options *options) {
    options->eta = &p->eta;
    return read_number(value, &p->eta);
}

static bool set_s_noise(udump_parameters *p, const char *value, udump_generate_options *options) {
    options->s_noise = &p->s_noise;
    return read_number(value, &p->s_noise);
}

static bool set_variation_seed(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    return read_seed(value, &options->variation_seed);
}

static bool set_variation_strength(udump_parameters *p, const char *value, udump_generate_options *options) {
    (void)p;
    return read_number(value, &options->variation_strength);
}

static bool set_strength(udump_parameters *p, const char *value, udump_generate_options *options) {
    options->strength = &p->strength;
    return read_number(value, &p->strength);
}

static const char strength_key[] = "Denoising strength", first_pass_key[] = "First pass size";

static const struct {
    const char *key;
    setter *set;
} SETTERS[] = { { "Prompt", set_prompt }, { "Negative prompt", set_negative_prompt }, { "Steps", set_steps }, { "Sampler", set_sampler },
    { "Schedule type", set_schedule }, { "CFG scale", set_cfg }, { "Seed", set_seed }, { "Size", set_size },
    { "Clip skip", set_clip_skip }, { "ENSD", set_ensd }, { "RNG", set_rng }, { "Eta", set_eta }, { "Eta DDIM", set_eta },
    { "Sigma noise", set_s_noise }, { "Variation seed", set_variation_seed }, { "Variation seed strength", set_variation_strength },
    { strength_key, set_strength }, { "VAE tile", set_vae_tile } };
enum { SETTER_COUNT = sizeof SETTERS / sizeof *SETTERS };

static setter *setter_of(const char *key) {
    for (int i = 0; i < SETTER_COUNT; i++)
        if (strcmp(key, SETTERS[i].key) == 0) return SETTERS[i].set;
    return NULL;
}

/* What the webui and its best known extensions write for what is not here; a name that ends in a space stands for all that begin so. */
static const char *const LACKING[] = { "Hires ", first_pass_key, "ControlNet ", "ControlNet", "Refiner", "Refiner ", "Face restoration",
    "Tiling", "Image CFG scale", "Seed resize from", "Conditional mask weight", "Mask ", "Masked content", "Inpaint area",
    "Token merging ratio", "TI hashes", "AddNet ", "Hypernet", "Hypernet strength", "Noise multiplier", "Extra noise",
    "SGM noise multiplier", "Sigma churn", "Sigma tmin", "Sigma tmax", "Schedule max sigma", "Schedule min sigma", "Schedule rho",
    "Discard penultimate sigma", "Lora block weights", "Noise Schedule", "Skip Early CFG", "NGMS", "UniPC variant", "UniPC skip type",
    "UniPC order", "UniPC lower order final", "Emphasis", "FreeU ", "ADetailer ", "Dynamic thresholding enabled", "Script",
    "Ultimate SD upscale ", "Postprocess ", "Cutoff ", "BREAK" };
static const char *const SILENT[] = { "Model hash", "Model", "VAE hash", "VAE", "Init image hash", "Version", "User", "Batch size",
    "Batch pos", "Hashes", "Layer Prompts", "Lora hashes" }; /* LoRAs are in the prompt */

static bool is_listed(const char *key, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(names[i]);
        if (strncmp(key, names[i], bytes) == 0 && (!key[bytes] || names[i][bytes - 1] == ' ')) return true;
    }
    return false;
}

static udump_parameter_use use_of(const char *key) {
    if (setter_of(key)) return UDUMP_PARAMETER_USED;
    if (is_listed(key, LACKING, sizeof LACKING / sizeof *LACKING)) return UDUMP_PARAMETER_LACKING;
    return is_listed(key, SILENT, sizeof SILENT / sizeof *SILENT) ? UDUMP_PARAMETER_SILENT : UDUMP_PARAMETER_UNKNOWN;
}

/* ---------------------------------------------------------------- from the text */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static void trim(const char *text, size_t *begin, size_t *end) {
    while (*begin < *end && is_space(text[*begin])) ++*begin;
    while (*end > *begin && is_space(text[*end - 1])) --*end;
}

static size_t line_begin(const char *text, size_t begin, size_t end) {
    while (end > begin && text[end - 1] != '\n') end--;
    return end;
}

static bool begins(const char *text, size_t bytes, const char *word) { return bytes >= strlen(word) && memcmp(text, word, strlen(word)) == 0; }

/* A canvas's text has a line more (infotext.h), which says nothing about the picture. */
static size_t without_canvas_line(const char *text, size_t begin, size_t end) {
    size_t last = line_begin(text, begin, end);
    bool canvas = begins(text + last, end - last, "Layer Name: ") || begins(text + last, end - last, "Attention: ");
    if (!canvas || last == begin) return end;
    size_t before = line_begin(text, begin, last - 1);
    return begins(text + before, last - before, "Steps: ") ? last - 1 : end;
}

/* Adds a line to the text at *to, which has room; *used bytes are in it. */
static void add_line(char *to, size_t *used, const char *line, size_t bytes) {
    if (*used) to[(*used)++] = '\n';
    memcpy(to + *used, line, bytes);
    *used += bytes;
    to[*used] = '\0';
}

/* Every line is stripped; the first "Negative prompt:" ends the prompt. */
static void split_prompts(udump_parameters *p, const char *text, size_t begin, size_t end) {
    static const char marker[] = "Negative prompt:";
    size_t used[2] = { 0, 0 };
    bool negative = false;
    while (begin < end) {
        const char *newline = memchr(text + begin, '\n', end - begin);
        size_t next = newline ? (size_t)(newline - text) + 1 : end, from = begin, to = newline ? next - 1 : end;
        trim(text, &from, &to);
        if (begins(text + from, to - from, marker)) {
            negative = true;
            from += strlen(marker);
            trim(text, &from, &to);
        }
        add_line(negative ? p->negative_prompt : p->prompt, &used[negative], text + from, to - from);
        begin = next;
    }
}

static bool add_pair(udump_parameters *p, const udump_infotext_pair *pair) {
    udump_parameter *parameter = &p->list[p->count];
    char *key = strndup(pair->key, pair->key_bytes), *value = udump_infotext_unquote(pair->value, pair->value_bytes);
    if (!key || !value) {
        free(key);
        free(value);
        return false;
    }
    *parameter = (udump_parameter){ key, value, use_of(key) };
    p->count++;
    return true;
}

/* Of text[begin .. end], stripped. */
static bool take_apart(udump_parameters *p, const char *text, size_t begin, size_t end) {
    end = without_canvas_line(text, begin, end);
    size_t last = line_begin(text, begin, end), pairs = udump_infotext_count(text + last, end - last);
    if (pairs < PAIRS_LEAST) {
        last = end;
        pairs = 0;
    }
    p->prompt = calloc(1, end - begin + 2);
    p->negative_prompt = calloc(1, end - begin + 2);
    p->list = calloc(pairs + 2, sizeof *p->list);
    if (!p->prompt || !p->negative_prompt || !p->list) return false;
    split_prompts(p, text, begin, last > begin && last < end ? last - 1 : last);
    p->list[p->count++] = (udump_parameter){ "Prompt", p->prompt, UDUMP_PARAMETER_USED };
    p->list[p->count++] = (udump_parameter){ "Negative prompt", p->negative_prompt, UDUMP_PARAMETER_USED };
    udump_infotext_pair pair;
    for (size_t at = 0; last < end && udump_infotext_next(text + last, end - last, &at, &pair);)
        if (!add_pair(p, &pair)) return false;
    return true;
}

static udump_status check_text(const char *text, const char *where, udump_error *error) {
    if (strlen(text) > TEXT_MOST_BYTES)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, where, "parameters of more than %d bytes", TEXT_MOST_BYTES);
    size_t length;
    for (const char *at = text; *at; at += length)
        if (udump_character_decode(at, &length) < 0)
            return udump_fail(error, UDUMP_ERROR_FORMAT, where, "parameters that are not UTF-8, from byte %zu on", (size_t)(at - text));
    return UDUMP_OK;
}

static udump_status parse(const char *text, const char *where, udump_parameters **parameters, udump_error *error) {
    udump_status status = check_text(text, where, error);
    if (status) return status;
    size_t begin = 0, end = strlen(text);
    trim(text, &begin, &end);
    udump_parameters *p = calloc(1, sizeof *p);
    if (p && take_apart(p, text, begin, end)) {
        *parameters = p;
        return UDUMP_OK;
    }
    udump_parameters_free(p);
    return udump_fail_memory(error, where, end);
}

udump_status udump_parameters_parse(const char *text, udump_parameters **parameters, udump_error *error) {
    if (!text || !parameters) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "parameters", "a null pointer");
    return parse(text, "parameters", parameters, error);
}

udump_status udump_parameters_read(const char *path, udump_parameters **parameters, udump_error *error) {
    if (!path || !parameters) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "parameters", "a null pointer");
    char *text = NULL;
    udump_status status = udump_png_load(path, NULL, &text, error);
    if (!status && !text)
        status = udump_fail(error, UDUMP_ERROR_UNSUPPORTED, path, "a picture without parameters: its PNG file has no text of that name");
    if (!status) status = parse(text, path, parameters, error);
    free(text);
    return status;
}

void udump_parameters_free(udump_parameters *p) {
    if (!p) return;
    for (int32_t i = 2; i < p->count; i++) {
        free((char *)p->list[i].key);
        free((char *)p->list[i].value);
    }
    free(p->list);
    free(p->prompt);
    free(p->negative_prompt);
    free(p);
}

const udump_parameter *udump_parameters_list(const udump_parameters *p, int32_t *count) {
    *count = p->count;
    return p->list;
}

const char *udump_parameters_get(const udump_parameters *p, const char *key) {
    const char *value = NULL;
    for (int32_t i = 0; i < p->count; i++)
        if (strcmp(p->list[i].key, key) == 0) value = p->list[i].value;
    return value;
}

/* Made with a second, larger pass ("Hires fix"), whose key in the webui before 2023 was another. */
static bool is_upscaled(const udump_parameters *p) {
    for (int32_t i = 0; i < p->count; i++)
        if (strncmp(p->list[i].key, "Hires ", strlen("Hires ")) == 0 || strcmp(p->list[i].key, first_pass_key) == 0) return true;
    return false;
}

static udump_status apply(udump_parameters *parameters, udump_generate_options *options, udump_error *error) {
    bool upscaled = is_upscaled(parameters);
    for (int32_t i = 0; i < parameters->count; i++) {
        const udump_parameter *parameter = &parameters->list[i];
        setter *set = setter_of(parameter->key);
        if (!set || (upscaled && strcmp(parameter->key, strength_key) == 0)) continue;
        if (!set(parameters, parameter->value, options))
            return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, parameter->key, "not a value for this parameter", NULL, parameter->value);
    }
    return UDUMP_OK;
}

udump_status udump_parameters_apply(udump_parameters *parameters, udump_generate_options *options, udump_error *error) {
    udump_generate_options known;
    if (!parameters || !options) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "parameters", "a null pointer");
    udump_status status = udump_options_take(&known, sizeof known, options, "generate options", error);
    if (!status) status = apply(parameters, &known, error);
    if (!status) udump_options_give(options, &known, sizeof known);
    return status;
}
