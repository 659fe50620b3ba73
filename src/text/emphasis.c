#include "text/emphasis.h"

#include "base/status.h"
#include "text/buffer.h"
#include "text/utf8.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const double ROUND = 1.1, SQUARE = 1 / 1.1;
static const double WEIGHT_MOST = 1e6, PLACE_MOST = 1e22; /* decimals past PLACE_MOST change nothing, and would end as infinity */
enum { DEPTH_MOST = 256 };                                /* deeper brackets are literal: time stays linear */

/* Where brackets opened: indices of pieces. */
struct stack {
    int32_t *begins;
    int32_t count, capacity;
};

struct parser {
    const char *text;
    size_t at, length;
    struct stack round, square;
    struct piece {
        udump_text_buffer text;
        double weight;
    } *pieces;
    int32_t count, capacity;
    udump_error *error;
};

static udump_status push(struct parser *p, struct stack *stack) {
    if (stack->count == stack->capacity) {
        int32_t capacity = stack->capacity ? 2 * stack->capacity : 16;
        int32_t *grown = realloc(stack->begins, (size_t)capacity * sizeof *grown);
        if (!grown) return udump_fail_memory(p->error, "prompt", (size_t)capacity * sizeof *grown);
        stack->begins = grown;
        stack->capacity = capacity;
    }
    stack->begins[stack->count++] = p->count;
    return UDUMP_OK;
}

static udump_status add(struct parser *p, const char *text, size_t length, double weight) {
    if (p->count == p->capacity) {
        int32_t capacity = p->capacity ? 2 * p->capacity : 16;
        struct piece *grown = realloc(p->pieces, (size_t)capacity * sizeof *grown);
        if (!grown) return udump_fail_memory(p->error, "prompt", (size_t)capacity * sizeof *grown);
        p->pieces = grown;
        p->capacity = capacity;
    }
    p->pieces[p->count] = (struct piece){ .weight = weight };
    return udump_text_append(&p->pieces[p->count++].text, text, length, p->error);
}

static double within(double weight) { return weight > WEIGHT_MOST ? WEIGHT_MOST : weight < -WEIGHT_MOST ? -WEIGHT_MOST : weight; }

static void multiply_from(struct parser *p, int32_t begin, double factor) {
    for (int32_t i = begin; i < p->count; i++) p->pieces[i].weight = within(p->pieces[i].weight * factor);
}

static bool word_before(const struct parser *p, size_t begin, size_t at) {
    if (at == begin) return false;
    while (at > begin && ((unsigned char)p->text[--at] & 0xC0) == 0x80) continue;
    return udump_is_word(udump_utf8_next(p->text, p->length, &at));
}

static bool word_after(const struct parser *p, size_t at, size_t end) {
    if (at >= end) return false;
    return udump_is_word(udump_utf8_next(p->text, p->length, &at));
}

/* Whether the character that ends before `at` is white space; *begin becomes where it begins. */
static bool space_before(const struct parser *p, size_t from, size_t at, size_t *begin) {
    if (at <= from) return false;
    for (*begin = at - 1; *begin > from && ((unsigned char)p->text[*begin] & 0xC0) == 0x80;) --*begin;
    size_t next = *begin;
    return udump_is_space(udump_utf8_next(p->text, p->length, &next));
}

/* Plain text [begin, end): split at every BREAK, which takes the white space around it along. */
static udump_status add_text(struct parser *p, size_t begin, size_t end) {
    udump_status status = UDUMP_OK;
    size_t from = begin, at = begin;
    while (!status && at < end) {
        bool is_break = end - at >= 5 && strncmp(p->text + at, "BREAK", 5) == 0 && !word_before(p, begin, at) && !word_after(p, at + 5, end);
        if (!is_break) {
            at++;
            continue;
        }
        size_t before = at, previous, next;
        while (space_before(p, from, before, &previous)) before = previous;
        status = add(p, p->text + from, before - from, 1);
        if (!status) status = add(p, "BREAK", 5, -1);
        for (at = next = at + 5; at < end && udump_is_space(udump_utf8_next(p->text, p->length, &next));) at = next;
        from = at;
    }
    return status ? status : add(p, p->text + from, end - from, 1);
}

/* ":1.3)" with white space around the number: its length, 0 if it is none. */
static size_t weight_length(const char *text, double *weight) {
    size_t at = 1 + strspn(text + 1, " \t\r\n\v\f"), begin = at;
    at += text[at] == '+' || text[at] == '-';
    size_t digits = strspn(text + at, "0123456789");
    at += digits;
    if (text[at] == '.') {
        size_t decimals = strspn(text + at + 1, "0123456789");
        digits += decimals;
        at += 1 + decimals;
    }
    if (!digits) return 0;
    size_t end = at + strspn(text + at, " \t\r\n\v\f");
    if (text[end] != ')') return 0;
    double value = 0, place = 1; /* by hand: the library's own depends on the locale */
    bool point = false;
    for (size_t i = begin; i < at; i++) {
        if (text[i] == '.') point = true;
        if (text[i] < '0' || text[i] > '9' || place >= PLACE_MOST) continue;
        value = value * 10 + (text[i] - '0');
        if (point) place *= 10;
    }
    *weight = within((text[begin] == '-' ? -value : value) / place);
    return end + 1;
}

static udump_status read_token(struct parser *p) {
    const char *here = p->text + p->at;
    double weight;
    size_t length = 1, begin = p->at;
    if (*here == '\\') { /* the backslash goes; before a bracket or a backslash, what follows is plain */
        length = here[1] && strchr("()[]\\", here[1]) ? 2 : 1;
        p->at += length;
        return add(p, here + 1, length - 1, 1);
    }
    if (*here == '(' || *here == '[') {
        struct stack *stack = *here == '(' ? &p->round : &p->square;
        p->at++;
        return stack->count < DEPTH_MOST ? push(p, stack) : add(p, here, 1, 1);
    }
    if (*here == ':' && p->round.count && (length = weight_length(here, &weight))) {
        p->at += length;
        multiply_from(p, p->round.begins[--p->round.count], weight);
        return UDUMP_OK;
    }
    if (*here == ')' && p->round.count) {
        p->at++;
        multiply_from(p, p->round.begins[--p->round.count], ROUND);
        return UDUMP_OK;
    }
    if (*here == ']' && p->square.count) {
        p->at++;
        multiply_from(p, p->square.begins[--p->square.count], SQUARE);
        return UDUMP_OK;
    }
    if (*here == ':' && (length = weight_length(here, &weight))) p->at += length; /* of no bracket: literal, as a whole */
    else if (strchr(":)]", *here)) p->at++;
    else p->at += strcspn(here, "\\()[]:");
    return add_text(p, begin, p->at);
}

/* Neighbours of equal weight become one. */
static udump_status join(struct parser *p) {
    int32_t kept = 0;
    for (int32_t i = 1; i < p->count; i++) {
        struct piece *last = &p->pieces[kept], *next = &p->pieces[i];
        if (next->weight != last->weight) {
            p->pieces[++kept] = *next;
            if (kept != i) next->text = (udump_text_buffer){ 0 };
            continue;
        }
        udump_status status = udump_text_append(&last->text, next->text.text, next->text.length, p->error);
        if (status) return status;
        free(next->text.text);
        next->text = (udump_text_buffer){ 0 };
    }
    p->count = kept + 1;
    return UDUMP_OK;
}

static udump_status hand_over(struct parser *p, udump_prompt_piece **pieces, int32_t *count) {
    *pieces = calloc((size_t)p->count, sizeof **pieces);
    if (!*pieces) return udump_fail_memory(p->error, "prompt", (size_t)p->count * sizeof **pieces);
    for (int32_t i = 0; i < p->count; i++) {
        (*pieces)[i] = (udump_prompt_piece){ p->pieces[i].text.text, p->pieces[i].weight };
        p->pieces[i].text.text = NULL;
    }
    *count = p->count;
    return UDUMP_OK;
}

udump_status udump_emphasis_parse(const char *text, udump_prompt_piece **pieces, int32_t *count, udump_error *error) {
    struct parser p = { .text = text, .length = strlen(text), .error = error };
    udump_status status = UDUMP_OK;
    while (!status && p.at < p.length) status = read_token(&p);
    while (p.round.count) multiply_from(&p, p.round.begins[--p.round.count], ROUND);
    while (p.square.count) multiply_from(&p, p.square.begins[--p.square.count], SQUARE);
    if (!status && !p.count) status = add(&p, "", 0, 1);
    int32_t all = p.count;
    if (!status) status = join(&p);
    if (!status) status = hand_over(&p, pieces, count);
    for (int32_t i = 0; i < all; i++) free(p.pieces[i].text.text);
    free(p.pieces);
    free(p.round.begins);
    free(p.square.begins);
    return status;
}

void udump_emphasis_free(udump_prompt_piece *pieces, int32_t count) {
    for (int32_t i = 0; pieces && i < count; i++) free((char *)pieces[i].text);
    free(pieces);
}
