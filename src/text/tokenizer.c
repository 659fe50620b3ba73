#include "text/tokenizer.h"

#include "base/status.h"
#include "text/bpe.h"
#include "text/merges.h"
#include "text/normalize.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char START[] = "<|startoftext|>", END[] = "<|endoftext|>";

/* One text on its way to tokens. */
typedef struct tokenizing {
    udump_id_list out;
    udump_bpe bpe;
    uint8_t *word; /* the UTF-8 of one word */
    size_t word_bytes;
    udump_error *error;
} tokenizing;

static bool codes_start_with(const int32_t *codes, size_t count, const char *ascii) {
    size_t i = 0;
    while (i < count && ascii[i] && codes[i] == ascii[i]) i++;
    return !ascii[i];
}

/* How many code points of "'s", "'t", "'re", ... begin codes. */
static size_t contraction(const int32_t *codes, size_t count) {
    static const char *const endings[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (codes_start_with(codes, count, endings[i])) return strlen(endings[i]);
    return 0;
}

static bool is_symbol(int32_t code) { return !udump_is_space(code) && !udump_is_letter(code) && !udump_is_number(code); }

/* The id of the start or end token that codes spell, and how many code points that takes; -1 if they do not. */
static int32_t special_token(const int32_t *codes, size_t count, size_t *length) {
    bool start = codes_start_with(codes, count, START);
    if (!start && !codes_start_with(codes, count, END)) return -1;
    *length = strlen(start ? START : END);
    return start ? UDUMP_CLIP_START : UDUMP_CLIP_END;
}

/* How many code points the word at the beginning of codes has. */
static size_t word_length(const int32_t *codes, size_t count) {
    size_t length = contraction(codes, count), special_length;
    if (length) return length;
    length = 1;
    if (udump_is_number(codes[0])) return length;
    if (udump_is_letter(codes[0])) {
        while (length < count && udump_is_letter(codes[length])) length++;
    } else {
        while (length < count && is_symbol(codes[length]) && special_token(codes + length, count - length, &special_length) < 0) length++;
    }
    return length;
}

static udump_status encode_word(tokenizing *work, const int32_t *codes, size_t count) {
    if (work->word_bytes < 4 * count) {
        uint8_t *word = realloc(work->word, 4 * count);
        if (!word) return udump_fail_memory(work->error, "text", 4 * count);
        work->word = word;
        work->word_bytes = 4 * count;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += (size_t)utf8proc_encode_char(codes[i], work->word + bytes);
    return udump_bpe_word(&work->bpe, work->word, (int32_t)bytes, &work->out, work->error);
}

static udump_status encode_codes(tokenizing *work, const int32_t *codes, size_t count) {
    udump_status status = UDUMP_OK;
    for (size_t at = 0, length; !status && at < count; at += length) {
        length = 1;
        if (udump_is_space(codes[at])) continue;
        int32_t special = special_token(codes + at, count - at, &length);
        if (special >= 0) {
            status = udump_id_list_push(&work->out, special, work->error);
        } else {
            length = word_length(codes + at, count - at);
            status = encode_word(work, codes + at, length);
        }
    }
    return status;
}

udump_status udump_tokenize(const char *text, int32_t **ids, int32_t *count, udump_error *error) {
    size_t length = strnlen(text, (size_t)UDUMP_TEXT_BYTES_MAX + 1);
    if (length > UDUMP_TEXT_BYTES_MAX)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "text", "the text is longer than %d bytes", UDUMP_TEXT_BYTES_MAX);
    udump_status status = udump_utf8_check(text, length, "text", error);
    if (status) return status;
    tokenizing work = { .error = error };
    int32_t *codes;
    size_t code_count;
    status = udump_normalize(text, length, &codes, &code_count, error);
    if (!status) status = encode_codes(&work, codes, code_count);
    free(codes);
    udump_bpe_free(&work.bpe);
    free(work.word);
    if (status) {
        free(work.out.ids);
        return status;
    }
    *ids = work.out.ids;
    *count = work.out.count;
    return UDUMP_OK;
}

/* Writes the bytes of a token's halves in order; where the next byte goes. No token is longer than UDUMP_CLIP_TOKEN_BYTES, and
 * halves are shorter than the whole: the recursion ends. */
static char *write_bytes(int32_t id, char *out) {
    if (id < UDUMP_CLIP_FIRST_MERGE) {
        *out = (char)udump_clip_bytes[id % UDUMP_CLIP_WORD_END];
        return out + 1;
    }
    const uint16_t *halves = udump_clip_merges[id - UDUMP_CLIP_FIRST_MERGE];
    return write_bytes(halves[1], write_bytes(halves[0], out));
}

size_t udump_token_bytes(int32_t id, char out[UDUMP_TOKEN_TEXT]) {
    _Static_assert((int)UDUMP_CLIP_TOKEN_BYTES < (int)UDUMP_TOKEN_TEXT, "a token's text and its terminator fit");
    if (id == UDUMP_CLIP_START || id == UDUMP_CLIP_END) {
        const char *text = id == UDUMP_CLIP_START ? START : END;
        strcpy(out, text);
        return strlen(text);
    }
    size_t length = id < 0 || id > UDUMP_CLIP_END ? 0 : (size_t)(write_bytes(id, out) - out);
    out[length] = 0;
    return length;
}

void udump_token_text(int32_t id, char out[UDUMP_TOKEN_TEXT]) {
    static const char replacement[] = "\xEF\xBF\xBD";
    char bytes[UDUMP_TOKEN_TEXT];
    size_t length = udump_token_bytes(id, bytes), written = 0;
    for (size_t at = 0; at < length;) {
        size_t begin = at;
        bool good = udump_utf8_next(bytes, length, &at) >= 0;
        if (!good) at++;
        const char *piece = good ? bytes + begin : replacement;
        size_t piece_bytes = good ? at - begin : strlen(replacement);
        if (written + piece_bytes >= UDUMP_TOKEN_TEXT) break;
        memcpy(out + written, piece, piece_bytes);
        written += piece_bytes;
    }
    out[written] = 0;
}

bool udump_token_ends_word(int32_t id) {
    while (id >= UDUMP_CLIP_FIRST_MERGE && id < UDUMP_CLIP_START) id = udump_clip_merges[id - UDUMP_CLIP_FIRST_MERGE][1];
    return id >= UDUMP_CLIP_WORD_END;
}
