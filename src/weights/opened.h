/* What an open checkpoint is made of: for weights.c, which opens it, and read.c, which reads its tensors. */
#ifndef UDUMP_WEIGHTS_OPENED_H
#define UDUMP_WEIGHTS_OPENED_H

#include "weights/file.h"
#include "weights/json.h"
#include "weights/weights.h"

enum { CONFIG_COUNT = 6 };

struct udump_weights {
    char *path;
    udump_layout layout;
    udump_weight_file *files;
    int32_t file_count;
    udump_weight *items; /* in canonical name order, once open */
    int64_t count;
    udump_skipped *skipped;
    int64_t skipped_count;
    json_t *configs[CONFIG_COUNT];
    json_t *metadata; /* the first file's */
};

#endif
