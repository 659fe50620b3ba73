/* manifest.json: what a run was, and every file it wrote, in the order they were produced.
 *
 * {"unetdump": version, "run": {...}, "contexts": [...], "beside": [...], "files": [...]}.
 * run: what udump_run_info holds ("steps" are those that are run, "steps_asked" what the pictures' text says); "prompts" names for each stretch of blocks, side and variant the context that they attend to until
 * the sampler step "until"; "color" and "transform" are what its canvases were drawn with; "other" is there in a diff between two models alone: the other one's {"model", "model_hash", "loras"}. contexts: {"text", "tokens", "columns": [text of each token]}; of one made from a tensor text and columns are
 * null.
 * beside: the names of what the run wrote besides pictures and tensors: "tokens.json", "diff.csv".
 * files: "file", "source" ("image", "unet", "attn", "diff", "heat"), "image", "variant" ("enabled", "erased", "other"); all but images also have
 * "block", "depth", "step" (as in its name and in step specs: the U-Net's evaluation, from 1), "evaluation" (the same number),
 * "sampler_step", "sigma", "timestep", "side" ("cond", "uncond"), "kind", and where it applies "average": true, "context" (index),
 * "word", "heads" and "tokens" (as far as the picture or tensor tells them). All have "shape" and "dtype"; pictures of tiles "grid"
 * [columns, rows] and "tile" [width, height]. A canvas's shape is that of the tensor it shows.
 * A tensor in a safetensors file has its name there as "tensor". One that is several files has their number as "files", and "file" is the
 * first: the others count up the four digits before the time. */
#ifndef UDUMP_OUTPUT_MANIFEST_H
#define UDUMP_OUTPUT_MANIFEST_H

#include "output/file.h"
#include "output/text.h"

typedef struct udump_manifest udump_manifest;

/* NULL without memory. */
udump_manifest *udump_manifest_create(void);
void udump_manifest_free(udump_manifest *manifest);

/* Where a tensor was written. */
typedef struct udump_manifest_tensor {
    const char *file;
    const char *tensor; /* its name in the file; NULL: the file holds nothing else */
    int64_t files;      /* 0: one */
} udump_manifest_tensor;

/* Each copies what it is given; file is the name within the folder. Errors: MEMORY. A seed above 2^63 - 1 is written as a string, a
 * sigma or timestep that is not finite as null, bytes that are not UTF-8 as U+FFFD. */
udump_status udump_manifest_set_run(udump_manifest *manifest, const udump_run_info *run, udump_error *error);
udump_status udump_manifest_add_image(udump_manifest *manifest, const char *file, int32_t image, udump_variant variant,
    const udump_picture *picture, udump_error *error);
udump_status udump_manifest_add_canvas(udump_manifest *manifest, const char *file, const udump_canvas *canvas, udump_error *error);
/* tensor: its shape is used alone. */
udump_status udump_manifest_add_tensor(udump_manifest *manifest, const udump_manifest_tensor *written, const udump_place *place,
    const udump_view *tensor, udump_error *error);

/* The entries of files so far, a comma and a line break between them; to be read, or to be added to. */
udump_text *udump_manifest_files(udump_manifest *manifest);

/* The whole, with a line break at its end. beside: [count] names, those that are NULL are passed over. content is set only on success. Errors: MEMORY. */
udump_status udump_manifest_format(
    const udump_manifest *manifest, const char *const *beside, int32_t count, udump_bytes *content, udump_error *error);

/* The run and the contexts as JSON: "{}" and "[]" until they are set. They live until they are set again. */
const char *udump_manifest_run(const udump_manifest *manifest);
const char *udump_manifest_contexts(const udump_manifest *manifest);
/* What add_tensor says of a tensor's place, as a JSON object on the heap; NULL without memory. */
char *udump_manifest_place(const udump_place *place, const udump_view *tensor);

#endif
