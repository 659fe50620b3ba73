#include "text/block.h"

#include <stdio.h>
#include <string.h>

const udump_block_set udump_sd1_blocks = { .in_count = 12, .out_count = 12 };

const char *const udump_sd1_block_names[UDUMP_SD1_BLOCKS] = {
    "IN00", "IN01", "IN02", "IN03", "IN04", "IN05", "IN06", "IN07", "IN08", "IN09", "IN10", "IN11",
    "M00",
    "OUT00", "OUT01", "OUT02", "OUT03", "OUT04", "OUT05", "OUT06", "OUT07", "OUT08", "OUT09", "OUT10", "OUT11",
};

bool udump_block_format(const udump_block_set *set, int32_t index, char out[UDUMP_BLOCK_NAME]) {
    out[0] = 0;
    if (index < 0 || index >= udump_block_count(set)) return false;
    if (index == set->in_count) strcpy(out, "M00");
    else if (index < set->in_count) snprintf(out, UDUMP_BLOCK_NAME, "IN%02d", (int)(index % 100));
    else snprintf(out, UDUMP_BLOCK_NAME, "OUT%02d", (int)((index - set->in_count - 1) % 100));
    return true;
}

int32_t udump_block_find(const udump_block_set *set, const char *name, size_t length) {
    char candidate[UDUMP_BLOCK_NAME];
    for (int32_t i = 0; i < udump_block_count(set); i++) {
        udump_block_format(set, i, candidate);
        if (strlen(candidate) == length && memcmp(candidate, name, length) == 0) return i;
    }
    return -1;
}

void udump_block_describe(const udump_block_set *set, char out[64]) {
    snprintf(out, 64, "IN00..IN%02d, M00, OUT00..OUT%02d", (int)((set->in_count - 1) % 100), (int)((set->out_count - 1) % 100));
}
