/* JSON objects being filled, on jansson; the first failure (always: out of memory) sticks. */
#ifndef UDUMP_OUTPUT_JSON_H
#define UDUMP_OUTPUT_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "output/text.h"
#include "unetdump.h"

typedef struct udump_json {
    json_t *object;
    bool failed;
} udump_json;

udump_json udump_json_start(void);
/* Takes value over; NULL is a failure. */
void udump_json_put(udump_json *json, const char *key, json_t *value);
void udump_json_put_integer(udump_json *json, const char *key, int64_t value);
/* A string whose bytes that are not UTF-8 are U+FFFD; NULL is null. */
json_t *udump_json_string(const char *text);
/* The same with "" for NULL. */
void udump_json_put_text(udump_json *json, const char *key, const char *text);
/* null where it is not finite. */
void udump_json_put_real(udump_json *json, const char *key, double value);
/* The shortest decimal that reads back as this float: 7.1, not 7.0999999046325684. */
void udump_json_put_float(udump_json *json, const char *key, float value);
void udump_json_put_sizes(udump_json *json, const char *key, int count, const int64_t *sizes);

/* Appends the value's text, one line; takes value over (NULL is a failure). false without memory. */
bool udump_json_write(json_t *value, udump_text *text);
/* The object's text; frees it. */
bool udump_json_finish(udump_json *json, udump_text *text);

#endif
