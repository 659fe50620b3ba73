#include "weights/lora_metadata.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "weights/file.h"

enum { DEPTH_LIMIT = 4, VALUE_LIMIT = 1 << 16 };

udump_status udump_lora_metadata_parse(const char *text, const char *path, json_t **metadata, udump_error *error) {
    char place[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, path, "lora_adapter_metadata");
    return udump_json_parse(text, strlen(text), (udump_json_limits){ DEPTH_LIMIT, VALUE_LIMIT, 0 }, place, metadata, error);
}

/* Whether tensor is of the module that key names, by its whole path or by the end of it. */
static bool is_of(const char *tensor, const char *key) {
    size_t key_length = strlen(key);
    const char *end = strstr(tensor, ".lora_A.");
    if (!end || (size_t)(end - tensor) < key_length + 1) return false;
    const char *begin = end - key_length;
    return begin[-1] == '.' && memcmp(begin, key, key_length) == 0;
}

/* The key of one part's adapter, or of the only one. */
static const json_t *get(const json_t *metadata, const char *part, const char *key) {
    char own[64];
    snprintf(own, sizeof own, "%s.%s", part, key);
    const json_t *value = json_object_get(metadata, own);
    return value ? value : json_object_get(metadata, key);
}

udump_status udump_lora_metadata_scale(
    const json_t *metadata, const char *path, const char *tensor, int64_t rank, double *scale, udump_error *error) {
    char part[32];
    size_t length = strcspn(tensor, ".");
    *scale = 1;
    if (!metadata || length >= sizeof part) return UDUMP_OK;
    snprintf(part, sizeof part, "%.*s", (int)length, tensor);
    const json_t *alpha = get(metadata, part, "lora_alpha"), *value;
    if (!alpha) alpha = get(metadata, part, "alpha"); /* PEFT's for LoHa and LoKr */
    const char *name;
    json_object_foreach((json_t *)get(metadata, part, "alpha_pattern"), name, value) if (is_of(tensor, name)) alpha = value;
    if (!alpha) return UDUMP_OK;
    char place[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, path, tensor);
    if (!json_is_number(alpha) || !isfinite(json_number_value(alpha)))
        return udump_fail(error, UDUMP_ERROR_FORMAT, place, "the metadata's alpha is not a number");
    bool root = json_is_true(get(metadata, part, "use_rslora"));
    *scale = json_number_value(alpha) / (root ? sqrt((double)rank) : (double)rank);
    return UDUMP_OK;
}
