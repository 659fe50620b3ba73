#include "weights/json.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "weights/file.h"

typedef enum json_cost { COST_WITHIN, COST_TOO_DEEP, COST_TOO_MANY } json_cost;

/* Which limit the text breaks, and where. Every value follows one of '[', '{', ',' and the ':' after a key that follows
 * '{' or ',': counting the first three counts at least as many values as a parser can make, valid or not. */
static json_cost cost_of(const char *text, size_t size_bytes, udump_json_limits limits, size_t *at) {
    int depth = 0;
    size_t values = 1;
    bool in_text = false;
    for (size_t i = 0; i < size_bytes; i++) {
        char c = text[i];
        *at = i;
        if (in_text) {
            if (c == '\\') i++;
            else if (c == '"') in_text = false;
        } else if (c == '"') {
            in_text = true;
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > limits.depth) return COST_TOO_DEEP;
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',') {
            values++;
        }
        if (values > limits.values) return COST_TOO_MANY;
    }
    return COST_WITHIN;
}

static void set_position(udump_error *error, udump_json_limits limits, const char *text, size_t at) {
    if (!error) return;
    error->offset = (int64_t)(limits.offset_bytes + at);
    if (limits.offset_bytes) return;
    error->line = error->column = 1;
    for (size_t i = 0; i < at; i++) {
        if (((unsigned char)text[i] & 0xC0) != 0x80) error->column++;
        if (text[i] == '\n') {
            error->line++;
            error->column = 1;
        }
    }
}

static udump_status too_costly(json_cost cost, udump_json_limits limits, const char *place, udump_error *error) {
    char limit[64];
    if (cost == COST_TOO_DEEP) snprintf(limit, sizeof limit, "at most %d levels", limits.depth);
    else snprintf(limit, sizeof limit, "at most %zu values", limits.values);
    const char *what = cost == COST_TOO_DEEP ? "JSON nested too deeply" : "too many values in JSON";
    return udump_fail_values(error, UDUMP_ERROR_FORMAT, place, what, limit, NULL);
}

udump_status udump_json_parse(const char *text, size_t size_bytes, udump_json_limits limits, const char *path, json_t **root,
    udump_error *error) {
    size_t at = 0;
    json_cost cost = cost_of(text, size_bytes, limits, &at);
    char place[UDUMP_WEIGHT_PLACE_BYTES], what[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, path, NULL);
    if (cost != COST_WITHIN) {
        too_costly(cost, limits, place, error);
        set_position(error, limits, text, at);
        return UDUMP_ERROR_FORMAT;
    }
    json_error_t detail;
    *root = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &detail);
    /* jansson says nothing where an allocation of its own failed; every mistake in the text has its message */
    if (!*root && !detail.text[0]) return udump_fail_memory(error, place, size_bytes);
    if (!*root) {
        udump_weight_place(what, detail.text, NULL); /* it quotes the file */
        udump_fail(error, UDUMP_ERROR_FORMAT, place, "not valid JSON: %s", what);
        size_t position = detail.position > 0 ? (size_t)detail.position - 1 : 0;
        set_position(error, limits, text, position < size_bytes ? position : size_bytes);
        return UDUMP_ERROR_FORMAT;
    }
    if (json_is_object(*root)) return UDUMP_OK;
    json_decref(*root);
    *root = NULL;
    return udump_fail(error, UDUMP_ERROR_FORMAT, place, "not a JSON object");
}

bool udump_json_number(const json_t *object, const char *key, int index, double *value) {
    const json_t *found = json_object_get(object, key);
    if (index < 0) return false;
    if (json_is_array(found)) found = json_array_get(found, (size_t)index);
    else if (index > 0) return false;
    if (json_is_boolean(found)) *value = json_is_true(found);
    else if (json_is_number(found)) *value = json_number_value(found);
    else return false;
    return true;
}

bool udump_json_text(const json_t *object, const char *key, char *value, size_t size_bytes) {
    const json_t *found = json_object_get(object, key);
    if (!json_is_string(found) || json_string_length(found) >= size_bytes) return false;
    memcpy(value, json_string_value(found), json_string_length(found) + 1);
    return true;
}
