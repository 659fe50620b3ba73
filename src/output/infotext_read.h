/* The last line of an infotext, taken apart as the webui takes it apart: everything that its regular expression
 *     \s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)
 * finds, from left to right. What is not ASCII counts as a letter. */
#ifndef UDUMP_OUTPUT_INFOTEXT_READ_H
#define UDUMP_OUTPUT_INFOTEXT_READ_H

#include <stdbool.h>
#include <stddef.h>

/* One match: the key, and the value as it stands there, quotes included. Both point into the line. */
typedef struct udump_infotext_pair {
    const char *key, *value;
    size_t key_bytes, value_bytes;
} udump_infotext_pair;

/* The next match from *at on, in line[0 .. end]; *at moves behind it. False where there is none. */
bool udump_infotext_next(const char *line, size_t end, size_t *at, udump_infotext_pair *pair);

/* How many there are. */
size_t udump_infotext_count(const char *line, size_t end);

/* A value without the quotes of a JSON string and its escapes, on the heap; one that is not such a string stays as it is. NULL without
 * memory. */
char *udump_infotext_unquote(const char *value, size_t bytes);

#endif
