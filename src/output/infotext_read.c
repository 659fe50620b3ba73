#include "output/infotext_read.h"

#include <jansson.h>
#include <string.h>

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_key(char c) { return is_word(c) || c == ' ' || c == '-' || c == '/'; }

/* The end of the quoted string at `at`; 0 if there is none. */
static size_t quoted_end(const char *line, size_t at, size_t end) {
    if (at >= end || line[at] != '"') return 0;
    size_t i = at + 1;
    while (i < end && line[i] != '"') i += line[i] == '\\' ? 2 : 1;
    return i < end && i > at + 1 ? i + 1 : 0;
}

/* Where there is none, *at moves to where the next could begin: a run of a key's letters without a colon holds none, so that every byte is
 * looked at once. */
static bool match(const char *line, size_t end, size_t *at, udump_infotext_pair *pair) {
    size_t key = *at;
    while (key < end && is_space(line[key])) key++;
    size_t i = key;
    while (i < end && is_key(line[i]) && is_word(line[key])) i++;
    if (i < key + 2 || i >= end || line[i] != ':') {
        *at = i > key ? i : key + 1;
        return false;
    }
    *pair = (udump_infotext_pair){ .key = line + key, .key_bytes = i - key };
    for (i++; i < end && is_space(line[i]);) i++;
    size_t value = i, quoted = quoted_end(line, i, end);
    if (quoted && (quoted == end || line[quoted] == ',')) i = quoted;
    else while (i < end && line[i] != ',') i++;
    pair->value = line + value;
    pair->value_bytes = i - value;
    *at = i < end ? i + 1 : end;
    return true;
}

bool udump_infotext_next(const char *line, size_t end, size_t *at, udump_infotext_pair *pair) {
    while (*at < end)
        if (match(line, end, at, pair)) return true;
    return false;
}

size_t udump_infotext_count(const char *line, size_t end) {
    udump_infotext_pair pair;
    size_t count = 0;
    for (size_t at = 0; udump_infotext_next(line, end, &at, &pair);) count++;
    return count;
}

char *udump_infotext_unquote(const char *value, size_t bytes) {
    if (bytes < 2 || value[0] != '"' || value[bytes - 1] != '"') return strndup(value, bytes);
    json_t *string = json_loadb(value, bytes, JSON_DECODE_ANY, NULL);
    char *text = json_is_string(string) ? strdup(json_string_value(string)) : strndup(value, bytes);
    json_decref(string);
    return text;
}
