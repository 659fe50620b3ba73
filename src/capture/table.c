#include <stdlib.h>

#include "base/status.h"
#include "capture/context.h"

udump_status udump_table_create(udump_model *model, int32_t rows, udump_table **result, udump_error *error) {
    if (!model || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "a null pointer");
    if (rows < 1 || rows > UDUMP_TABLE_ROWS_MOST)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "%d rows: 1 to %d are possible", (int)rows, UDUMP_TABLE_ROWS_MOST);
    size_t count = (size_t)model->unet.block_count * (size_t)rows;
    udump_table *table = calloc(1, sizeof *table);
    if (table) table->entries = calloc(count, sizeof(*table->entries));
    if (!table || !table->entries) {
        free(table);
        return udump_fail_memory(error, "table", count * sizeof(*table->entries));
    }
    udump_model_retain(model);
    table->model = model;
    table->blocks = model->unet.block_count;
    table->rows = rows;
    table->parts = udump_parts_single();
    *result = table;
    return UDUMP_OK;
}

static void set_entry(udump_context **entry, udump_context *context) {
    if (context) udump_context_retain(context);
    udump_context_release(*entry);
    *entry = context;
}

udump_status udump_table_set(udump_table *table, int32_t block, int32_t row, udump_context *context, udump_error *error) {
    if (!table) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "a null pointer");
    if (block < -1 || block >= table->blocks)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "no block %d: the table has %d", (int)block, (int)table->blocks);
    if (row < -1 || row >= table->rows)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "no row %d: the table has %d", (int)row, (int)table->rows);
    if (context && context->dim != table->model->unet.context_dim)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "a context %d wide for a model with %d", (int)context->dim,
            (int)table->model->unet.context_dim);
    if (context && context->pooled_dim != table->model->pooled_dim)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "a context with a pooled vector of %d for a model with one of %d",
            (int)context->pooled_dim, (int)table->model->pooled_dim);
    for (int32_t b = block < 0 ? 0 : block; b < (block < 0 ? table->blocks : block + 1); b++)
        for (int32_t r = row < 0 ? 0 : row; r < (row < 0 ? table->rows : row + 1); r++)
            set_entry(&table->entries[b * table->rows + r], context);
    return UDUMP_OK;
}

udump_context *udump_table_get(const udump_table *table, int32_t block, int32_t row) {
    bool inside = block >= 0 && block < table->blocks && row >= 0 && row < table->rows;
    return inside ? table->entries[block * table->rows + row] : NULL;
}

int32_t udump_table_rows(const udump_table *table) { return table->rows; }

void udump_table_free(udump_table *table) {
    if (!table) return;
    for (int32_t i = 0; i < table->blocks * table->rows; i++) udump_context_release(table->entries[i]);
    udump_model_release(table->model);
    free(table->entries);
    free(table);
}
