#include "text/prompt_schedule.h"

#include "base/status.h"
#include "text/buffer.h"
#include "text/utf8.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MOST = 256, /* deeper brackets are literal */
    POWER_MOST = 250, /* of ten: past any number of steps */
    NONE = -1
};
static const double PLACE_MOST = 1e22; /* decimals past it change nothing, and would end as infinity */

/* A prompt is a list of items, linked by `next`; a bracket's child is its first segment, a segment's child its first item. */
struct node {
    enum { TEXT, ROUND, SQUARE, SCHEDULED, ALTERNATE, SEGMENT } kind;
    size_t begin, length; /* TEXT: its bytes */
    int32_t when;         /* SCHEDULED */
    int32_t child, next;
};

struct parser {
    const char *text;
    size_t at;
    int32_t steps;
    struct node *nodes;
    int32_t count, capacity;
    bool no_memory;
};

static int32_t add(struct parser *p, struct node node) {
    if (p->count == p->capacity) {
        int32_t capacity = p->capacity ? 2 * p->capacity : 64;
        struct node *grown = realloc(p->nodes, (size_t)capacity * sizeof *grown);
        if (!grown) return p->no_memory = true, NONE;
        p->nodes = grown;
        p->capacity = capacity;
    }
    node.child = node.next = NONE;
    p->nodes[p->count] = node;
    return p->count++;
}

/* Hangs node behind *last, or begins the list. */
static void link_node(struct parser *p, int32_t *first, int32_t *last, int32_t node) {
    if (*first == NONE) *first = node;
    else if (node != NONE) p->nodes[*last].next = node;
    *last = node;
}

/* Characters that are text by themselves, and escapes of anything but a line break. */
static size_t plain_length(const char *text) {
    size_t length = 0;
    for (;;) {
        length += strcspn(text + length, "\\[]():|");
        if (text[length] != '\\' || !text[length + 1] || text[length + 1] == '\n') return length;
        length += 2;
    }
}

static int32_t read_bracket(struct parser *p, int depth);

/* Everything up to what no prompt begins with. */
static int32_t read_items(struct parser *p, int depth) {
    int32_t first = NONE, last = NONE;
    while (!p->no_memory) {
        size_t begin = p->at, length = plain_length(p->text + p->at);
        int32_t node = NONE, count = p->count;
        if (length) {
            node = add(p, (struct node){ .kind = TEXT, .begin = begin, .length = length });
            p->at += length;
        } else if (p->text[begin] == '[' || p->text[begin] == '(') {
            node = read_bracket(p, depth);
            if (node == NONE) {
                p->at = begin;
                p->count = count;
            }
        }
        if (node == NONE) break;
        link_node(p, &first, &last, node);
    }
    return first;
}

static int32_t read_segment(struct parser *p, int depth) {
    size_t begin = p->at;
    int32_t items = read_items(p, depth + 1), segment = add(p, (struct node){ .kind = SEGMENT, .begin = begin, .length = p->at - begin });
    if (segment != NONE) p->nodes[segment].child = items;
    return segment;
}

/* Behind the white space at `at`. */
static size_t skip_space(const char *text, size_t length, size_t at) {
    for (size_t next = at; at < length && udump_is_space(udump_utf8_next(text, length, &next)); at = next) continue;
    return at;
}

/* "e-2" and the like: behind it, and the power of ten. Where it is none, at. */
static size_t read_exponent(const char *text, size_t at, double *factor) {
    size_t digit = at + 1 + (text[at] && (text[at + 1] == '+' || text[at + 1] == '-'));
    int exponent = 0;
    *factor = 1;
    if ((text[at] != 'e' && text[at] != 'E') || text[digit] < '0' || text[digit] > '9') return at;
    for (at = digit; text[at] >= '0' && text[at] <= '9'; at++) exponent = exponent < POWER_MOST ? exponent * 10 + (text[at] - '0') : POWER_MOST;
    if (exponent > POWER_MOST) exponent = POWER_MOST;
    *factor = pow(10, text[digit - 1] == '-' ? -exponent : exponent);
    return at;
}

/* A signed number with white space around it, and nothing else. Fractions are of the steps. */
static bool read_when(const struct parser *p, const struct node *segment, int32_t *when) {
    const char *from = p->text + segment->begin;
    size_t begin = skip_space(from, segment->length, 0), end = begin, digits = 0;
    end += from[end] == '+' || from[end] == '-';
    bool point = false, negative = from[begin] == '-';
    double value = 0, place = 1;
    for (; (from[end] >= '0' && from[end] <= '9') || (from[end] == '.' && !point); end++) {
        if (from[end] == '.') {
            point = true;
            continue;
        }
        digits++;
        if (place >= PLACE_MOST) continue;
        value = value * 10 + (from[end] - '0');
        if (point) place *= 10;
    }
    double factor;
    end = digits ? read_exponent(from, end, &factor) : end;
    if (!digits || skip_space(from, segment->length, end) != segment->length) return false;
    value = (negative ? -value : value) / place * factor * (point ? p->steps : 1);
    *when = value >= p->steps ? p->steps : value < 1 ? 0 : (int32_t)value;
    return true;
}

/* Behind "[": what it is depends on what stands between its segments. */
static int32_t read_square(struct parser *p, int depth) {
    int32_t first = NONE, last = NONE, segments = 0, when = 0;
    char between = 0;
    for (;; p->at++) {
        link_node(p, &first, &last, read_segment(p, depth));
        segments++;
        char c = p->text[p->at];
        if (c == ']' || p->no_memory) break;
        if ((c != ':' && c != '|') || (between && c != between)) return NONE;
        between = c;
    }
    if (p->no_memory || (between == ':' && (segments > 3 || !read_when(p, &p->nodes[last], &when)))) return NONE;
    p->at++;
    int32_t node = add(p, (struct node){ .kind = between == ':' ? SCHEDULED : between ? ALTERNATE : SQUARE, .when = when });
    if (node == NONE) return NONE;
    if (between == ':' && segments == 2) { /* [to:when]: an empty one before */
        int32_t empty = add(p, (struct node){ .kind = SEGMENT });
        if (empty == NONE) return NONE;
        p->nodes[empty].next = first;
        first = empty;
    }
    p->nodes[node].child = first;
    return node;
}

/* Behind "(": one prompt, or two with a colon between. */
static int32_t read_round(struct parser *p, int depth) {
    int32_t first = NONE, last = NONE;
    link_node(p, &first, &last, read_segment(p, depth));
    if (!p->no_memory && p->text[p->at] == ':') {
        p->at++;
        link_node(p, &first, &last, read_segment(p, depth));
    }
    if (p->no_memory || p->text[p->at] != ')') return NONE;
    p->at++;
    int32_t node = add(p, (struct node){ .kind = ROUND });
    if (node != NONE) p->nodes[node].child = first;
    return node;
}

static int32_t read_bracket(struct parser *p, int depth) {
    if (depth == DEPTH_MOST) return NONE;
    return p->text[p->at++] == '[' ? read_square(p, depth) : read_round(p, depth);
}

/* The whole text; brackets and colons that belong to nothing are text. NONE, with whole false, where even that fails. */
static int32_t read_all(struct parser *p, bool *whole) {
    int32_t first = NONE, last = NONE;
    while (!p->no_memory) {
        int32_t items = read_items(p, 0);
        if (items != NONE) {
            link_node(p, &first, &last, items);
            while (p->nodes[last].next != NONE) last = p->nodes[last].next;
        }
        char c = p->text[p->at];
        *whole = !c;
        if (!c || !strchr("[]():", c)) break;
        link_node(p, &first, &last, add(p, (struct node){ .kind = TEXT, .begin = p->at++, .length = 1 }));
    }
    return first;
}

static udump_status render(const struct parser *p, int32_t item, int32_t step, udump_text_buffer *out, udump_error *error);

static udump_status put(udump_text_buffer *out, const char *text, udump_error *error) {
    return udump_text_append(out, text, strlen(text), error);
}

static udump_status render_bracket(const struct parser *p, const struct node *node, int32_t step, udump_text_buffer *out, udump_error *error) {
    bool round = node->kind == ROUND;
    udump_status status = put(out, round ? "(" : "[", error);
    for (int32_t s = node->child; !status && s != NONE; s = p->nodes[s].next) {
        if (s != node->child) status = put(out, ":", error);
        if (!status) status = render(p, p->nodes[s].child, step, out, error);
    }
    return status ? status : put(out, round ? ")" : "]", error);
}

/* The segment that holds at step. */
static int32_t chosen(const struct parser *p, const struct node *node, int32_t step) {
    int32_t options = 0, turn = step <= node->when ? 0 : 1, segment = node->child;
    if (node->kind == ALTERNATE) {
        for (int32_t s = node->child; s != NONE; s = p->nodes[s].next) options++;
        turn = (step - 1) % options;
    }
    while (turn--) segment = p->nodes[segment].next;
    return segment;
}

static udump_status render(const struct parser *p, int32_t item, int32_t step, udump_text_buffer *out, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (; !status && item != NONE; item = p->nodes[item].next) {
        const struct node *node = &p->nodes[item];
        if (node->kind == TEXT) status = udump_text_append(out, p->text + node->begin, node->length, error);
        else if (node->kind == ROUND || node->kind == SQUARE) status = render_bracket(p, node, step, out, error);
        else status = render(p, p->nodes[chosen(p, node, step)].child, step, out, error);
    }
    return status;
}

/* Marks the steps that have an entry. */
static int32_t collect(const struct parser *p, bool *has) {
    int32_t count = 0;
    has[p->steps] = true;
    for (int32_t i = 0; i < p->count; i++) {
        if (p->nodes[i].kind == SCHEDULED) has[p->nodes[i].when] = true; /* 0 is no step */
        for (int32_t step = 1; p->nodes[i].kind == ALTERNATE && step <= p->steps; step++) has[step] = true;
    }
    for (int32_t step = 1; step <= p->steps; step++) count += has[step];
    return count;
}

static udump_status render_all(
    const struct parser *p, int32_t first, bool whole, udump_scheduled_text **entries, int32_t *count, udump_error *error) {
    bool has[UDUMP_PROMPT_STEPS_MOST + 1] = { false };
    int32_t all = whole ? collect(p, has) : 1;
    has[p->steps] = true;
    *entries = calloc((size_t)all, sizeof **entries);
    if (!*entries) return udump_fail_memory(error, "prompt", (size_t)all * sizeof **entries);
    udump_status status = UDUMP_OK;
    *count = 0;
    for (int32_t step = 1; !status && step <= p->steps; step++) {
        if (!has[step]) continue;
        udump_text_buffer out = { 0 };
        status = put(&out, whole ? "" : p->text, error);
        if (!status && whole) status = render(p, first, step, &out, error);
        (*entries)[(*count)++] = (udump_scheduled_text){ step, out.text };
    }
    if (!status) return UDUMP_OK;
    udump_prompt_schedule_free(*entries, *count);
    *entries = NULL;
    *count = 0;
    return status;
}

udump_status udump_prompt_schedule_parse(
    const char *text, int32_t steps, udump_scheduled_text **entries, int32_t *count, udump_error *error) {
    struct parser p = { .text = text, .steps = steps };
    bool whole = false;
    int32_t first = read_all(&p, &whole);
    udump_status status = p.no_memory ? udump_fail_memory(error, "prompt", (size_t)p.capacity * 2 * sizeof *p.nodes)
                                      : render_all(&p, first, whole, entries, count, error);
    free(p.nodes);
    return status;
}

void udump_prompt_schedule_free(udump_scheduled_text *entries, int32_t count) {
    for (int32_t i = 0; entries && i < count; i++) free(entries[i].text);
    free(entries);
}
