/* The first two bytes choose a family's blocks, the rest is a layer spec. */
#include "text/layer_spec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    udump_block_set set = { .in_count = 1 + data[0] % 100, .out_count = 1 + data[1] % 100 };
    size_t count = (size_t)udump_block_count(&set), length = size - 2;
    char *spec = malloc(length + 1);
    uint8_t *selected = malloc(count); /* exact, so that a sanitizer sees the first one past the end */
    if (!spec || !selected) abort();
    memcpy(spec, data + 2, length);
    spec[length] = 0;

    udump_error error;
    udump_status status = udump_layer_spec_parse(&set, spec, selected, &error);
    if (status == UDUMP_OK) {
        size_t named = 0;
        for (size_t i = 0; i < count; i++) {
            if (selected[i] > 1) abort();
            named += selected[i];
        }
        if (named == 0) abort();
    } else if (status != UDUMP_ERROR_SYNTAX || error.offset < 0 || error.offset > (int64_t)length || error.line < 1 || error.column < 1
               || !error.expected[0] || !error.found[0]) {
        abort();
    }
    free(selected);
    free(spec);
    return 0;
}
