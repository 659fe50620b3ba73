#include "output/diff_csv.h"

#include <inttypes.h>
#include <stdio.h>

#include "output/name.h"

bool udump_diff_csv_add(udump_text *text, const udump_place *place, const udump_diff_norms *norms) {
    char numbers[4][UDUMP_NUMBER_BYTES], part[16] = "";
    const double values[4] = { norms->l2, norms->relative_l2, norms->max, norms->cosine };
    for (int i = 0; i < 4; i++) udump_number_print(numbers[i], values[i]);
    if (!text->size && !udump_text_print(text, "image,block,step,side,l2,relative_l2,max,cosine\n")) return false;
    if (place->part) snprintf(part, sizeof part, "-and%" PRId32, place->part);
    return udump_text_print(text, "%" PRId32 ",%s,%" PRId32 ",%s%s,%s,%s,%s,%s\n", place->image, place->block ? place->block : "",
        place->step, udump_side_name(place->side), part, numbers[0], numbers[1], numbers[2], numbers[3]);
}
