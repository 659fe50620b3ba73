#include "text/normalize.h"

#include "base/memory.h"
#include "base/status.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    DECOMPOSED_MAX = 8, /* code points; Unicode's longest canonical decomposition has 4 */
    CAPITAL_I_WITH_DOT = 0x130,
    COMBINING_DOT_ABOVE = 0x307,
    HANGUL_BEFORE_FINALS = 0x11A7 /* one below the first final consonant: itself none */
};

/* Writes code's full canonical decomposition to out; how many code points that is. */
static size_t decompose(int32_t code, int32_t out[DECOMPOSED_MAX]) {
    utf8proc_ssize_t count = utf8proc_decompose_char(code, out, DECOMPOSED_MAX, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, NULL);
    if (count > 0 && count <= DECOMPOSED_MAX) return (size_t)count;
    out[0] = code;
    return 1;
}

static size_t decomposed_count(const char *text, size_t length) {
    int32_t parts[DECOMPOSED_MAX];
    size_t count = 0;
    for (size_t at = 0; at < length;) count += decompose(udump_utf8_next(text, length, &at), parts);
    return count;
}

static void decompose_all(const char *text, size_t length, int32_t *codes) {
    int32_t parts[DECOMPOSED_MAX];
    for (size_t at = 0; at < length;) {
        size_t count = decompose(udump_utf8_next(text, length, &at), parts);
        memcpy(codes, parts, count * sizeof *parts);
        codes += count;
    }
}

static uint8_t combining_class(int32_t code) {
    return code < 0x300 ? 0 : (uint8_t)utf8proc_get_property(code)->combining_class;
}

/* Stable, by counting: a run of a million marks must not take the square of that. */
static void sort_marks(int32_t *marks, size_t count, int32_t *copy) {
    size_t place[257] = { 0 };
    for (size_t i = 0; i < count; i++) place[combining_class(marks[i]) + 1]++;
    for (int i = 0; i < 256; i++) place[i + 1] += place[i];
    memcpy(copy, marks, count * sizeof *marks);
    for (size_t i = 0; i < count; i++) marks[place[combining_class(copy[i])]++] = copy[i];
}

/* Puts every run of combining marks in canonical order. copy has room for count code points. */
static void order_marks(int32_t *codes, size_t count, int32_t *copy) {
    for (size_t begin = 0; begin < count;) {
        uint8_t last = combining_class(codes[begin]);
        size_t end = begin + 1;
        if (last == 0) {
            begin = end;
            continue;
        }
        int sorted = 1;
        for (uint8_t next; end < count && (next = combining_class(codes[end])) != 0; end++, last = next)
            if (next < last) sorted = 0;
        if (!sorted) sort_marks(codes + begin, end - begin, copy);
        begin = end;
    }
}

/* Composes in place; the new count, or utf8proc's error. Composed in stretches that begin at each U+11A7: utf8proc takes it for a
 * final consonant and drops it behind a syllable, though it composes with nothing. */
static utf8proc_ssize_t compose(int32_t *codes, size_t count) {
    size_t written = 0;
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && codes[end] != HANGUL_BEFORE_FINALS;) end++;
        utf8proc_ssize_t composed = utf8proc_normalize_utf32(
            codes + begin, (utf8proc_ssize_t)(end - begin), UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        if (composed < 0) return composed;
        memmove(codes + written, codes + begin, (size_t)composed * sizeof *codes);
        written += (size_t)composed;
    }
    return (utf8proc_ssize_t)written;
}

/* Lower case in place, from the end, since U+0130 takes two places; the array has them: before composition it was two. */
static size_t lower_case(int32_t *codes, size_t count) {
    size_t extra = 0;
    for (size_t i = 0; i < count; i++) extra += codes[i] == CAPITAL_I_WITH_DOT;
    for (size_t from = count, to = count + extra; from-- > 0;) {
        int32_t code = codes[from];
        if (code == CAPITAL_I_WITH_DOT) {
            codes[--to] = COMBINING_DOT_ABOVE;
            codes[--to] = 'i';
        } else {
            codes[--to] = utf8proc_tolower(code);
        }
    }
    return count + extra;
}

udump_status udump_normalize(const char *text, size_t length, int32_t **codes, size_t *count, udump_error *error) {
    *codes = NULL;
    *count = decomposed_count(text, length);
    if (*count == 0) return UDUMP_OK;
    size_t bytes = 0;
    int32_t *array = NULL, *copy = NULL;
    if (udump_size_mul(*count, sizeof *array, &bytes)) array = malloc(bytes);
    if (array) copy = malloc(bytes);
    if (!copy) {
        free(array);
        return udump_fail_memory(error, "text", bytes);
    }
    decompose_all(text, length, array);
    order_marks(array, *count, copy);
    free(copy);
    utf8proc_ssize_t composed = compose(array, *count);
    if (composed < 0) {
        free(array);
        return udump_fail(error, UDUMP_ERROR_INTERNAL, "text", "normalisation failed: %s", utf8proc_errmsg(composed));
    }
    *count = lower_case(array, (size_t)composed);
    *codes = array;
    return UDUMP_OK;
}
