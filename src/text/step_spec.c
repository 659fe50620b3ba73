/* udump_steps_parse: "1,5,10", "1-20(+2)". */
#include "base/status.h"
#include "text/spec.h"

#include <string.h>

typedef struct step_selection {
    uint8_t *selected; /* [total] */
    int32_t total;
    int64_t beyond;
} step_selection;

static udump_status read_number(udump_spec_reader *reader, int64_t *value) {
    return udump_spec_read_number(reader, "a step: a whole number from 1", value);
}

/* A range that the total cuts is meant to reach the end, whatever it is; only what lies wholly past it counts as beyond. */
static void select_range(void *user, int64_t first, int64_t last, int64_t step) {
    step_selection *selection = user;
    if (first > selection->total) {
        selection->beyond += (last - first) / step + 1;
        if (selection->beyond > INT32_MAX) selection->beyond = INT32_MAX;
    }
    for (int64_t i = first; i <= last && i <= selection->total; i += step) selection->selected[i - 1] = 1;
}

static void select_all(void *user) {
    step_selection *selection = user;
    if (selection->total > 0) memset(selection->selected, 1, (size_t)selection->total);
}

udump_status udump_steps_parse(const char *spec, int32_t total, uint8_t *selected, int32_t *beyond, udump_error *error) {
    static const udump_spec_kind steps = { "step spec", read_number, select_range, select_all };
    if (!spec || (!selected && total > 0))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "step spec", "%s is NULL", spec ? "selected" : "spec");
    if (total < 0) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "step spec", "the total is %d, below 0", (int)total);
    step_selection selection = { .selected = selected, .total = total };
    if (total > 0) memset(selected, 0, (size_t)total);
    udump_status status = udump_spec_parse(&steps, spec, &selection, error);
    if (!status && beyond) *beyond = (int32_t)selection.beyond;
    return status;
}
