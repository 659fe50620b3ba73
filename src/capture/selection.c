#include "capture/selection.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "text/layer_spec.h"

udump_status udump_selection_create(udump_selection *selection, const udump_model *model, const char *layers, const char *steps,
    int32_t evaluations, udump_error *error) {
    *selection = (udump_selection){ .evaluations = evaluations, .any = layers != NULL };
    if (!layers) return UDUMP_OK;
    selection->steps = calloc((size_t)evaluations, 1);
    if (!selection->steps) return udump_fail_memory(error, "steps", (size_t)evaluations);
    udump_status status = udump_layers_parse(model, layers, selection->blocks, UDUMP_BLOCKS_MOST, error);
    if (!status) status = udump_steps_parse(steps ? steps : "", evaluations, selection->steps, NULL, error);
    if (!status && !memchr(selection->steps, 1, (size_t)evaluations))
        status = udump_fail(error, UDUMP_ERROR_ARGUMENT, steps, "no step is left: the run has %d", (int)evaluations);
    return status;
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
