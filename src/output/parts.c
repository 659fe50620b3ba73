#include "output/parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "tensor/view.h"

static udump_status check_rows(const char *name, const udump_rows *rows, udump_error *error) {
    const udump_view *values = rows->values;
    udump_view whole = *rows->whole;
    whole.data = values->data; /* for the check alone: the whole has none */
    bool good = udump_view_valid(values) && udump_view_valid(&whole) && whole.rank == values->rank && rows->axis >= 0
        && rows->axis < whole.rank;
    for (int32_t i = 0; good && i < whole.rank; i++) good = i == rows->axis || whole.shape[i] == values->shape[i];
    if (good) {
        int64_t count = values->shape[rows->axis];
        good = count > 0 && rows->first >= 0 && count <= whole.shape[rows->axis] && rows->first <= whole.shape[rows->axis] - count;
    }
    return good ? UDUMP_OK : udump_fail(error, UDUMP_ERROR_ARGUMENT, name, "rows that do not suit the whole tensor");
}

static udump_part *find(const udump_parts *parts, const char *name) {
    udump_part *part = parts->first;
    while (part && strcmp(part->name, name)) part = part->following;
    return part;
}

static udump_part *begin(udump_parts *parts, const char *name, const udump_rows *rows) {
    udump_part *part = calloc(1, sizeof *part);
    char *copy = strdup(name);
    if (!part || !copy) {
        free(part);
        free(copy);
        return NULL;
    }
    const udump_view *whole = rows->whole;
    *part = (udump_part){ .name = copy, .whole = udump_view_make(NULL, UDUMP_F32, whole->rank, whole->shape), .axis = rows->axis,
        .following = parts->first };
    return parts->first = part;
}

static bool continues(const udump_part *part, const udump_rows *rows) {
    size_t shape_bytes = (size_t)part->whole.rank * sizeof *part->whole.shape;
    return part->whole.rank == rows->whole->rank && memcmp(part->whole.shape, rows->whole->shape, shape_bytes) == 0
        && part->axis == rows->axis;
}

udump_status udump_parts_take(udump_parts *parts, const char *name, const udump_rows *rows, udump_part **out, bool *begun,
    udump_error *error) {
    udump_status status = check_rows(name, rows, error);
    if (status) return status;
    udump_part *part = find(parts, name);
    int64_t expected = part ? part->next : 0;
    if (rows->first != expected)
        return udump_fail(
            error, UDUMP_ERROR_ARGUMENT, name, "rows out of order: expected row %" PRId64 ", not %" PRId64, expected, rows->first);
    if (part && !continues(part, rows)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, name, "the tensor's shape changed between its rows");
    *begun = !part;
    if (!part) part = begin(parts, name, rows);
    if (!part) return udump_fail_memory(error, name, sizeof *part);
    part->next += rows->values->shape[rows->axis];
    *out = part;
    return UDUMP_OK;
}

void udump_parts_drop(udump_parts *parts, udump_part *part) {
    udump_part **link = &parts->first;
    while (*link != part) link = &(*link)->following;
    *link = part->following;
    free(part->name);
    free(part);
}
