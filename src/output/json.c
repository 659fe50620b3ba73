#include "output/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "output/characters.h"

udump_json udump_json_start(void) {
    json_t *object = json_object();
    return (udump_json){ object, !object };
}

void udump_json_put(udump_json *json, const char *key, json_t *value) {
    if (!value || json_object_set_new(json->object, key, value)) json->failed = true;
}

void udump_json_put_integer(udump_json *json, const char *key, int64_t value) { udump_json_put(json, key, json_integer(value)); }

json_t *udump_json_string(const char *text) {
    if (!text) return json_null();
    char *valid = udump_characters_repair(text);
    json_t *value = valid ? json_string(valid) : NULL;
    free(valid);
    return value;
}

void udump_json_put_text(udump_json *json, const char *key, const char *text) {
    udump_json_put(json, key, udump_json_string(text ? text : ""));
}

void udump_json_put_real(udump_json *json, const char *key, double value) {
    udump_json_put(json, key, isfinite(value) ? json_real(value) : json_null());
}

void udump_json_put_float(udump_json *json, const char *key, float value) {
    char text[32];
    int precision = 1;
    do snprintf(text, sizeof text, "%.*g", precision, (double)value);
    while (strtof(text, NULL) != value && ++precision <= 9);
    udump_json_put_real(json, key, strtod(text, NULL));
}

void udump_json_put_sizes(udump_json *json, const char *key, int count, const int64_t *sizes) {
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        if (json_array_append_new(array, json_integer(sizes[i]))) json->failed = true;
    udump_json_put(json, key, array);
}

/* jansson (2.14) lets some of its callback's failures go unnoticed: they are kept here. */
struct growing {
    udump_text *text;
    bool failed;
};

static int add(const char *bytes, size_t size, void *user) {
    struct growing *growing = user;
    if (!growing->failed) growing->failed = !udump_text_add(growing->text, bytes, size);
    return growing->failed ? -1 : 0;
}

bool udump_json_write(json_t *value, udump_text *text) {
    const size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(17); /* 17 digits read back as the same double */
    size_t before = text->size;
    struct growing growing = { text, false };
    bool written = value && json_dump_callback(value, add, &growing, flags) == 0 && !growing.failed;
    if (!written && text->data) text->data[text->size = before] = '\0';
    json_decref(value);
    return written;
}

bool udump_json_finish(udump_json *json, udump_text *text) {
    json_t *object = json->object;
    json->object = NULL;
    if (!json->failed) return udump_json_write(object, text);
    json_decref(object);
    return false;
}
