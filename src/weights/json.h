/* JSON from files that nobody vouches for: what it may cost is bounded before jansson sees it. */
#ifndef UDUMP_WEIGHTS_JSON_H
#define UDUMP_WEIGHTS_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "unetdump.h"

typedef struct udump_json_limits {
    int depth;              /* containers inside one another, the outermost one included */
    size_t values;          /* numbers, texts and containers in all. jansson takes less than 400 bytes for each, and the texts' own */
    uint64_t offset_bytes;  /* where the text begins in its file; errors then have this file's byte offset. 0: a text file, whose
                               errors have line and column too */
} udump_json_limits;

/* Parses an object; duplicate keys are refused. *root is yours (json_decref). Errors: FORMAT, with the position (that of the last
 * character taken); MEMORY. */
udump_status udump_json_parse(const char *text, size_t size_bytes, udump_json_limits limits, const char *path, json_t **root,
    udump_error *error);

/* An object's own text or number. False where key is not there or of another type. A key may hold a list; index picks from it
 * (0 also accepts a plain value). true and false are the numbers 1 and 0. */
bool udump_json_number(const json_t *object, const char *key, int index, double *value);
/* Also false where the text and its terminator do not fit in size_bytes. */
bool udump_json_text(const json_t *object, const char *key, char *value, size_t size_bytes);

#endif
