/* What a sweep's folder holds: the first byte chooses the plan or a cell's record. A plan that is read is written and read again. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/sweep_plan.h"
#include "pipeline/sweep_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_plan(const char *text, size_t size) {
    udump_sweep_plan plan, again;
    udump_error error;
    udump_status status = udump_sweep_plan_parse("sweep.json", text, size, &plan, &error);
    if (status && status != UDUMP_ERROR_FORMAT) abort();
    if (status) return;
    udump_text written = { 0 };
    for (int32_t i = 0; i < plan.cell_count; i++)
        if (!udump_sweep_plan_cell_of(&plan, i).prompt) abort();
    if (!udump_sweep_plan_write(&plan, &written) || udump_sweep_plan_parse("again", written.data, written.size, &again, &error)) abort();
    if (again.cell_count != plan.cell_count) abort();
    free(written.data);
    udump_sweep_plan_free(&again);
    udump_sweep_plan_free(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    char *text = malloc(size); /* exact, so that a sanitizer sees the first byte past the end */
    if (!text) abort();
    memcpy(text, data + 1, size - 1);
    udump_sweep_record record;
    if (data[0] == 'p') read_plan(text, size - 1);
    else if (udump_sweep_record_parse(text, size - 1, "0123456789abcdef0123456789abcdef", &record)) json_decref(record.blocks);
    free(text);
    return 0;
}
