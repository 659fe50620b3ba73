/* The text of block weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "model/lora.h"
#include "text/layer_spec.h"

static const char where[] = "block weights";

/* A number with a point, whatever the locale; NULL if there is none at `at`, else its end. */
static const char *read_factor(const char *at, double *value) {
    static const char digits[] = "0123456789";
    bool negative = *at == '-';
    at += *at == '-' || *at == '+';
    size_t whole = strspn(at, digits), part = at[whole] == '.' ? strspn(at + whole + 1, digits) : 0;
    if (!whole && !part) return NULL;
    double sum = 0, unit = 1; /* one division: as exact as a number of up to 15 digits can be */
    for (size_t i = 0; i < whole; i++) sum = sum * 10 + (at[i] - '0');
    for (size_t i = 0; i < part; i++, unit *= 10) sum = sum * 10 + (at[whole + 1 + i] - '0');
    *value = negative ? -sum / unit : sum / unit;
    return at + whole + (at[whole] == '.') + part;
}

/* Whether what stands before '=', blanks around it left out, is that name. */
static bool is_named(const char *begin, const char *end, const char *name) {
    while (begin < end && *begin == ' ') begin++;
    while (begin < end && end[-1] == ' ') end--;
    size_t length = strlen(name);
    return (size_t)(end - begin) == length && memcmp(begin, name, length) == 0;
}

/* An error in a layer spec as one in block weights, where more may be named. */
static void describe(udump_error *error) {
    static const char or_encoders[] = ", UNET, TE or BASE";
    size_t length = strlen(error->expected);
    snprintf(error->where, sizeof error->where, "%s", where);
    if (strncmp(error->expected, "a block", 7) == 0 && length + sizeof or_encoders <= sizeof error->expected)
        memcpy(error->expected + length, or_encoders, sizeof or_encoders);
}

/* The blocks named by text[begin..end), so that an error has its place in the whole text. */
static udump_status select_blocks(
    const char *text, size_t begin, size_t end, const udump_block_set *set, uint8_t *selected, udump_error *error) {
    static const char blanks[] = " \t\n,";
    if (begin + strspn(text + begin, blanks) >= end)
        return udump_fail_syntax(error, where, text, end, "a weight without blocks", "a layer spec, UNET, TE or BASE before '='");
    char *spec = strndup(text, end);
    if (!spec) return udump_fail_memory(error, where, end);
    memset(spec, ' ', begin); /* what was read before is one byte a character */
    udump_status status = udump_layer_spec_parse(set, spec, selected, error);
    if (status && error) describe(error);
    free(spec);
    return status;
}

udump_status udump_lora_blocks_parse(const char *text, int32_t in_count, int32_t out_count, udump_lora_entry *entry, udump_error *error) {
    const udump_block_set set = { in_count, out_count };
    uint8_t selected[256];
    for (size_t at = 0; text[at];) {
        size_t equals = at + strcspn(text + at, "=");
        double factor;
        if (!text[equals])
            return udump_fail_syntax(error, where, text, equals, "blocks without a weight", "'=' and a number");
        size_t number = equals + 1 + strspn(text + equals + 1, " ");
        bool encoder = is_named(text + at, text + equals, "TE") || is_named(text + at, text + equals, "BASE");
        bool unet = is_named(text + at, text + equals, "UNET");
        if (unet) memset(selected, 1, sizeof selected);
        udump_status status = encoder || unet ? UDUMP_OK : select_blocks(text, at, equals, &set, selected, error);
        if (status) return status;
        const char *end = read_factor(text + number, &factor);
        if (!end || !(fabs(factor) <= UDUMP_LORA_WEIGHT_MOST))
            return udump_fail_syntax(error, where, text, number, "not a weight", "a number from -1000 to 1000");
        at = (size_t)(end - text) + strspn(end, " ");
        if (text[at] && text[at] != ',') return udump_fail_syntax(error, where, text, at, "something after the weight", "',' or the end");
        at += text[at] == ',';
        if (encoder) entry->text_factor = factor;
        if (unet) entry->rest_factor = factor;
        for (int32_t i = 0; !encoder && i < udump_block_count(&set); i++)
            if (selected[i]) entry->block_factors[i] = factor;
    }
    return UDUMP_OK;
}
