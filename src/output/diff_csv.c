#include "output/diff_csv.h"

#include <inttypes.h>
#include <stdio.h>

#include "output/name.h"

static const char header[] = "image,block,step,side,l2,relative_l2,max,cosine\n";

bool udump_diff_csv_add(udump_text *text, const udump_place *place, const udump_diff_norms *norms) {
    char numbers[4][UDUMP_NUMBER_BYTES], part[16] = "";
    const double values[4] = { norms->l2, norms->relative_l2, norms->max, norms->cosine };
    for (int i = 0; i < 4; i++) udump_number_print(numbers[i], values[i]);
    if (!text->size && !udump_text_add(text, header, sizeof header - 1)) return false;
    if (place->part) snprintf(part, sizeof part, "-and%" PRId32, place->part);
    return udump_text_print(text, "%" PRId32 ",%s,%" PRId32 ",%s%s,%s,%s,%s,%s\n", place->image, place->block ? place->block : "",
        place->step, udump_side_name(place->side), part, numbers[0], numbers[1], numbers[2], numbers[3]);
}

bool udump_diff_csv_add_rows(udump_text *text, const char *rows, size_t size) {
    if (!size) return true;
    return (text->size || udump_text_add(text, header, sizeof header - 1)) && udump_text_add(text, rows, size);
}

const char *udump_diff_csv_rows(const udump_text *text, size_t begin, size_t *size) {
    size_t first = begin || !text->size ? begin : sizeof header - 1;
    *size = text->size - first;
    return text->data ? text->data + first : "";
}
