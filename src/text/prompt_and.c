#include "text/prompt_and.h"

#include "base/status.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

/* The place of the first whole word AND from `at` on; the text's length if there is none. */
static size_t find_and(const char *text, size_t length, size_t at) {
    bool after_word = false;
    while (at < length) {
        size_t end = at + 3;
        if (!after_word && strncmp(text + at, "AND", 3) == 0 && (end == length || !udump_is_word(udump_utf8_next(text, length, &end)))) return at;
        after_word = udump_is_word(udump_utf8_next(text, length, &at));
    }
    return length;
}

/* The end of text[0..end) without the white space before it. */
static size_t trim(const char *text, size_t end) {
    while (end > 0) {
        size_t at = end - 1, next;
        while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80) at--;
        next = at;
        if (!udump_is_space(udump_utf8_next(text, end, &next))) return end;
        end = at;
    }
    return end;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Reads the number that ends at *end, "-1", "1.", ".5"; *end becomes its beginning. False where there is none. */
static bool read_number(const char *text, size_t *end, double *number) {
    size_t begin = *end, point;
    while (begin > 0 && (is_digit(text[begin - 1]) || text[begin - 1] == '.')) begin--;
    for (point = begin; point < *end && text[point] != '.';) point++;
    size_t before = point - begin, after = point < *end ? *end - point - 1 : 0;
    if ((!before && !after) || memchr(text + point + (point < *end), '.', after)) return false;
    double value = 0, unit = 1;
    for (size_t i = begin; i < point; i++) value = value * 10 + (text[i] - '0');
    for (size_t i = point + 1; i < *end && unit < 1e18; i++, unit *= 10) value = value * 10 + (text[i] - '0');
    value /= unit;
    if (begin > 0 && (text[begin - 1] == '-' || text[begin - 1] == '+') && text[--begin] == '-') value = -value;
    *number = value > 1e6 ? 1e6 : value < -1e6 ? -1e6 : value;
    *end = begin;
    return true;
}

/* text[begin..end): what stands before an optional weight. */
static udump_status make_part(const char *text, size_t begin, size_t end, udump_and_part *part, udump_error *error) {
    double weight = 1;
    const char *own = text + begin;
    size_t length = trim(own, end - begin), before = length;
    if (read_number(own, &before, &weight)) {
        before = trim(own, before);
        if (before > 0 && own[before - 1] == ':') length = trim(own, before - 1);
        else weight = 1;
    }
    part->weight = (float)weight;
    part->text = strndup(own, length);
    return part->text ? UDUMP_OK : udump_fail_memory(error, "prompt", length);
}

udump_status udump_and_split(const char *text, udump_and_part **parts, int32_t *count, udump_error *error) {
    size_t length = strlen(text), begin = 0;
    udump_status status = UDUMP_OK;
    *count = 0;
    *parts = calloc(UDUMP_AND_PARTS_MOST, sizeof **parts);
    if (!*parts) return udump_fail_memory(error, "prompt", UDUMP_AND_PARTS_MOST * sizeof **parts);
    while (!status && begin <= length) {
        size_t end = find_and(text, length, begin);
        if (*count == UDUMP_AND_PARTS_MOST)
            status = udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "AND joins more than %d prompts", UDUMP_AND_PARTS_MOST);
        else status = make_part(text, begin, end, &(*parts)[(*count)++], error);
        begin = end + (end < length ? 3 : 1);
    }
    if (!status) return status;
    udump_and_free(*parts, *count);
    *parts = NULL;
    *count = 0;
    return status;
}

udump_status udump_and_check_weight(float weight, udump_error *error) {
    if (weight == 1) return UDUMP_OK;
    return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "':%g' at its end is a weight for the whole prompt, which has to be 1 here",
        (double)weight);
}

void udump_and_free(udump_and_part *parts, int32_t count) {
    for (int32_t i = 0; i < count; i++) free(parts[i].text);
    free(parts);
}
