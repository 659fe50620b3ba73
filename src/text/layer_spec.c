#include "text/layer_spec.h"

#include "text/spec.h"

#include <stdio.h>
#include <string.h>

typedef struct layer_selection {
    const udump_block_set *blocks;
    uint8_t *selected; /* [blocks] */
} layer_selection;

/* The length of what reads as a block's name, of whatever family: letters and two digits. 0 if nothing does. */
static size_t name_length(const char *text) {
    static const char *const letters[] = { "IN", "M", "OUT" };
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        size_t length = strlen(letters[i]);
        if (strncmp(text, letters[i], length) == 0 && strspn(text + length, "0123456789") >= 2) return length + 2;
    }
    return 0;
}

static udump_status read_block(udump_spec_reader *reader, int64_t *value) {
    const layer_selection *selection = reader->user;
    const char *name = reader->text + reader->at;
    size_t length = name_length(name);
    int32_t index = length ? udump_block_find(selection->blocks, name, length) : -1;
    if (index < 0) {
        char set[64], expected[80];
        udump_block_describe(selection->blocks, set);
        snprintf(expected, sizeof expected, "a block: %s", set);
        return udump_spec_fail(reader, reader->at, length, length ? "unknown block" : "not a block", expected);
    }
    reader->at += length;
    *value = index;
    return UDUMP_OK;
}

static void select_range(void *user, int64_t first, int64_t last, int64_t step) {
    layer_selection *selection = user;
    for (int64_t i = first; i <= last; i += step) selection->selected[i] = 1;
}

static void select_all(void *user) {
    layer_selection *selection = user;
    memset(selection->selected, 1, (size_t)udump_block_count(selection->blocks));
}

udump_status udump_layer_spec_parse(const udump_block_set *blocks, const char *spec, uint8_t *selected, udump_error *error) {
    static const udump_spec_kind layers = { "layer spec", read_block, select_range, select_all };
    layer_selection selection = { blocks, selected };
    memset(selected, 0, (size_t)udump_block_count(blocks));
    return udump_spec_parse(&layers, spec, &selection, error);
}
