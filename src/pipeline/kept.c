#include "pipeline/kept.h"

#include <stdlib.h>

float *udump_kept_add(udump_kept *kept, int32_t block, int32_t step, int32_t row, size_t values) {
    if (kept->count == kept->capacity) {
        size_t capacity = kept->capacity ? 2 * kept->capacity : 32;
        udump_kept_output *grown = realloc(kept->outputs, capacity * sizeof *grown);
        if (!grown) return NULL;
        kept->outputs = grown;
        kept->capacity = capacity;
    }
    float *memory = malloc(values * sizeof *memory);
    if (memory) kept->outputs[kept->count++] = (udump_kept_output){ block, step, row, memory };
    return memory;
}

float *udump_kept_take(udump_kept *kept, int32_t block, int32_t step, int32_t row) {
    for (size_t i = 0; i < kept->count; i++) {
        const udump_kept_output found = kept->outputs[i];
        if (found.block != block || found.step != step || found.row != row) continue;
        kept->outputs[i] = kept->outputs[--kept->count];
        return found.values;
    }
    return NULL;
}

void udump_kept_free(udump_kept *kept) {
    for (size_t i = 0; i < kept->count; i++) free(kept->outputs[i].values);
    free(kept->outputs);
    *kept = (udump_kept){ 0 };
}
