/* An open checkpoint: every tensor of all its files under one canonical name, whatever the layout on disk. */
#ifndef UDUMP_WEIGHTS_WEIGHTS_H
#define UDUMP_WEIGHTS_WEIGHTS_H

#include <stdbool.h>

#include "tensor/view.h"

typedef enum udump_layout {
    UDUMP_LAYOUT_DIFFUSERS, /* a folder: unet/, vae/, text_encoder/ and perhaps text_encoder_2/, each with config.json and safetensors,
                               sharded or not */
    UDUMP_LAYOUT_LDM        /* one .safetensors file in the original layout */
} udump_layout;

typedef struct udump_weight {
    char *name;       /* canonical: "<part>/<diffusers name>", without "text_model.":
                         "text_encoder/encoder.layers.0.self_attn.q_proj.weight",
                         "unet/conv_in.weight", "vae/decoder.mid_block.attentions.0.to_q.weight"; "<name in file>" if nothing maps it */
    char *file_name;  /* the tensor's name in its file */
    const char *part; /* "unet", "vae", "text_encoder", "text_encoder_2" or "" */
    udump_dtype dtype;
    int32_t rank;
    int64_t shape[6]; /* canonical: a 1x1 convolution stored for a linear layer, or the reverse, keeps its own shape here */
    int32_t file;     /* index of its file */
    uint64_t offset_bytes, size_bytes; /* in that file */
    bool used; /* set by udump_weights_use */
    bool transposed;  /* [in, out] in its file; shape and what is read are [out, in] */
    int32_t piece, pieces; /* which of `pieces` equal runs of rows of the file's tensor this is: OpenCLIP stores Q, K and V as one */
} udump_weight;

/* A tensor of a type that no weight has: marks, ids, and what nothing here reads. */
typedef struct udump_skipped {
    char *name, *file_name; /* as a weight's */
    const char *part;
    const char *dtype_name; /* "I64"; static */
    int32_t file;
    uint64_t offset_bytes, size_bytes;
} udump_skipped;

typedef struct udump_weights udump_weights;

/* Reads and validates all headers and configs, no tensor data. What hostile files can make it allocate: safetensors.h, folder.h.
 * Files stay open (not mapped) until the close. Errors: FILE, FORMAT (also two tensors of one canonical name, a missing part, a file
 * without any tensor of the original layout), UNSUPPORTED (.ckpt, pickle), MEMORY. */
udump_status udump_weights_open(const char *path, udump_weights **weights, udump_error *error);
/* One safetensors file of any tensors: their canonical names are those in the file, and every part is "". Errors: as above. */
udump_status udump_weights_open_tensors(const char *path, udump_weights **weights, udump_error *error);
/* To be asked when all has been read. Errors: as udump_weight_file_check. */
udump_status udump_weights_check(const udump_weights *weights, udump_error *error);
void udump_weights_close(udump_weights *weights); /* NULL is fine */

/* Another autoencoder instead of the checkpoint's, if it has one: a .safetensors file in either layout, that of a whole checkpoint in the original layout, or diffusers' vae folder, whose
 * config.json, where there is one, is then the part's. After a failure weights can only be closed. Errors: as above. */
udump_status udump_weights_replace_vae(udump_weights *weights, const char *path, udump_error *error);

udump_layout udump_weights_layout(const udump_weights *weights);
int64_t udump_weights_count(const udump_weights *weights);
const udump_weight *udump_weights_at(const udump_weights *weights, int64_t index); /* in canonical name order */
const udump_weight *udump_weights_find(const udump_weights *weights, const char *name); /* NULL if there is none */
/* Those that are left out above; NULL past the last. */
const udump_skipped *udump_weights_skipped(const udump_weights *weights, int64_t index);
/* What is one number of F64, I64 or I32. Errors: FORMAT (it is none, it is not finite, or the file was cut since), FILE. */
udump_status udump_weights_read_number(const udump_weights *weights, const udump_skipped *skipped, double *value, udump_error *error);

/* A text of the first file's metadata; NULL if there is none. */
const char *udump_weights_metadata(const udump_weights *weights, const char *key);

/* Marks it as one that belongs to the model. */
void udump_weights_use(udump_weights *weights, const udump_weight *weight);

/* The tensor as fp32 in C order, as many elements as its shape has. *bad counts its NaN and infinite values (may be NULL).
 * weight is one of weights' own. threads: how many share the work. Takes
 * nothing beside destination, as much again as that for a transposed one. Threads may read different tensors at once.
 * Errors: FILE, FORMAT (the file was truncated since), MEMORY. */
udump_status udump_weights_read(
    udump_weights *weights, const udump_weight *weight, float *destination, int threads, int64_t *bad, udump_error *error);

/* Values of a part's config.json ("unet", "vae", "text_encoder", "text_encoder_2", "scheduler", and "model_index" for model_index.json). False where there
 * is no such part, key or type, and where a text does not fit; the LDM layout has none. A key may name a list; index picks from it
 * (0 also accepts a plain value). true and false are the numbers 1 and 0. */
bool udump_weights_config_number(const udump_weights *weights, const char *part, const char *key, int index, double *value);
/* What a key holds: -1: there is none, or null; 0: a plain value; else the length of a list. */
int udump_weights_config_size(const udump_weights *weights, const char *part, const char *key);
bool udump_weights_config_text(const udump_weights *weights, const char *part, const char *key, char *value, size_t size_bytes);

#endif
