/* manifest.json: what a run was, and every file it wrote, in the order they were produced.
 *
 * {"unetdump": version, "run": {...}, "files": [...]}. A file has "file", "source" ("image", "unet") and "image"; one of the U-Net's
 * also "block", "step" (as in its name and in step specs: the U-Net's evaluation, from 1), "evaluation" (the same number), "sampler_step",
 * "sigma", "timestep", "side" ("cond", "uncond") and "kind" ("features", "average"); all have "shape" and "dtype"; pictures of
 * tiles "grid" [columns, rows] and "tile" [width, height]. A canvas's shape is that of the tensor it shows. */
#ifndef UDUMP_OUTPUT_MANIFEST_H
#define UDUMP_OUTPUT_MANIFEST_H

#include "output/file.h"

typedef struct udump_manifest udump_manifest;

/* NULL without memory. */
udump_manifest *udump_manifest_create(void);
void udump_manifest_free(udump_manifest *manifest);

/* Each copies what it is given; file is the name within the folder. Errors: MEMORY. A seed above 2^63 - 1 is written as a string, a
 * sigma or timestep that is not finite as null, bytes that are not UTF-8 as U+FFFD. */
udump_status udump_manifest_set_run(udump_manifest *manifest, const udump_run_info *run, udump_error *error);
udump_status udump_manifest_add_image(udump_manifest *manifest, const char *file, int32_t image, const udump_picture *picture,
    udump_error *error);
udump_status udump_manifest_add_canvas(udump_manifest *manifest, const char *file, const udump_canvas *canvas, udump_error *error);
udump_status udump_manifest_add_tensor(udump_manifest *manifest, const char *file, const udump_place *place, const udump_view *tensor,
    udump_error *error);

/* The JSON text, with a line break at its end. content is set only on success. Errors: MEMORY. */
udump_status udump_manifest_format(const udump_manifest *manifest, udump_bytes *content, udump_error *error);

#endif
