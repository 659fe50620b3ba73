#include "capture/selection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "text/layer_spec.h"

static udump_status named(udump_status status, const char *what, const char *spec, udump_error *error) {
    if (status && error) snprintf(error->where, sizeof error->where, "%s %s", what, spec);
    return status;
}

udump_status udump_selection_create(udump_selection *selection, const udump_model *model, const char *what, const char *layers,
    const char *steps, int32_t evaluations, udump_error *error) {
    *selection = (udump_selection){ .evaluations = evaluations, .any = layers != NULL };
    if (!layers) return UDUMP_OK;
    selection->steps = calloc((size_t)evaluations, 1);
    if (!selection->steps) return udump_fail_memory(error, "steps", (size_t)evaluations);
    udump_status status = named(udump_layers_parse(model, layers, selection->blocks, UDUMP_BLOCKS_MOST, error), what, "layers", error);
    if (status) return status;
    status = udump_steps_parse(steps ? steps : "", evaluations, selection->steps, NULL, error);
    if (!status && !memchr(selection->steps, 1, (size_t)evaluations)) {
        char expected[32];
        snprintf(expected, sizeof expected, "1 to %d", (int)evaluations);
        status = udump_fail_values(error, UDUMP_ERROR_ARGUMENT, NULL, "no step is left", expected, steps);
    }
    return named(status, what, "steps", error);
}

void udump_selection_free(udump_selection *selection) {
    free(selection->steps);
    *selection = (udump_selection){ 0 };
}

bool udump_selection_has(const udump_selection *selection, int32_t block, int32_t step) {
    return selection->any && selection->blocks[block] && selection->steps[step - 1];
}

int32_t udump_selection_count(const udump_selection *selection, int32_t block) {
    int32_t count = 0;
    for (int32_t step = 1; step <= selection->evaluations; step++) count += udump_selection_has(selection, block, step);
    return count;
}
