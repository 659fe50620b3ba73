/* The first byte is the total, the rest a step spec. */
#include "unetdump.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    int32_t total = data[0], beyond = -1, named = 0;
    size_t length = size - 1;
    char *spec = malloc(length + 1);
    uint8_t *selected = malloc(total ? (size_t)total : 1); /* exact, so that a sanitizer sees the first one past the end */
    if (!spec || !selected) abort();
    memcpy(spec, data + 1, length);
    spec[length] = 0;

    udump_error error;
    udump_status status = udump_steps_parse(spec, total, selected, &beyond, &error);
    if (status == UDUMP_OK) {
        for (int32_t i = 0; i < total; i++) {
            if (selected[i] > 1) abort();
            named += selected[i];
        }
        if (beyond < 0 || (total > 0 && named == 0 && beyond == 0)) abort();
    } else if (status != UDUMP_ERROR_SYNTAX || error.offset < 0 || error.offset > (int64_t)length || error.line < 1 || error.column < 1
               || !error.expected[0] || !error.found[0]) {
        abort();
    }
    free(selected);
    free(spec);
    return 0;
}
