/* From a checkpoint's tensors to packed weights: checks the shape, reads, packs, and lets go of the source at once, so that loading
 * never holds more than one layer beside what is packed. The first failure sticks: model code loads straight through, twice: first dry, so that a
 * checkpoint that does not fit is refused before anything of it is read. */
#ifndef UDUMP_MODEL_LOADER_H
#define UDUMP_MODEL_LOADER_H

#include "backend/ops.h"
#include "model/embeddings.h"
#include "model/lora.h"
#include "weights/weights.h"

enum { UDUMP_LOADER_BUFFERS = 4 }; /* Q, K and V, and one more */

typedef struct udump_loader {
    udump_weights *weights;
    const udump_loras *loras;           /* added to the layers as they are read */
    const udump_embeddings *embeddings; /* appended to the text encoders' tokens */
    const udump_backend *backend;
    void *device;
    int32_t threads;
    bool dry; /* names and shapes alone are looked at, and no layer has weights */
    udump_status status;
    udump_error error;
    udump_packed **packed; /* all so far: the model's to free */
    size_t packed_count, packed_capacity;
    char **warnings;
    size_t warning_count;
    int64_t parameter_count;
    /* Large sources are read into the same memory again and again: new memory costs more than what is read into it. */
    struct udump_loader_buffer {
        float *values;
        size_t bytes;
        bool lent;
    } buffers[UDUMP_LOADER_BUFFERS];
} udump_loader;

/* Frees the buffers; what was packed is the caller's. */
void udump_load_end(udump_loader *l);

/* Names are canonical (weights.h), without ".weight" and ".bias". Sizes that are 0 are taken from the tensor's shape. */
/* A 3x3 convolution: all others of these models are linear layers. */
udump_conv udump_load_conv(udump_loader *l, const char *name, int32_t in, int32_t out, int32_t stride, int32_t latent_side);
/* The autoencoder's downsampler: 3x3, stride 2, padded below and on the right alone. */
udump_conv udump_load_conv_halving(udump_loader *l, const char *name, int32_t c, int32_t side);
udump_linear udump_load_linear(udump_loader *l, const char *name, int32_t in, int32_t out, int32_t rows);
/* Merges linear layers of the same sizes (prefix + names[i]) along their outputs. */
udump_linear udump_load_merged(
    udump_loader *l, const char *prefix, const char *const *names, int32_t count, int32_t in, int32_t out, int32_t rows);
/* One tensor [2 * inner, in] with the value's half first, as GEGLU's projection is stored. */
udump_linear udump_load_geglu(udump_loader *l, const char *name, int32_t in, int32_t rows);
udump_norm udump_load_norm(udump_loader *l, const char *name, int32_t c, int32_t groups, float eps);
/* The tokens' [rows, c] of a text encoder, the name's, followed by the embeddings' vectors for it. */
udump_packed *udump_load_tokens(udump_loader *l, const char *name, int32_t rows, int32_t c);
/* Notes something that loading goes on from; loader: a udump_loader. */
void udump_load_warn(void *loader, const char *line);
udump_packed *udump_load_embedding(udump_loader *l, const char *name, int32_t rows, int32_t c);

/* Whether the checkpoint has "<name>.weight". */
bool udump_load_has(const udump_loader *l, const char *name);
/* Size `axis` of "<name>.weight", which must have `rank` dimensions (1x1 convolutions are as good as linear layers). */
int32_t udump_load_size(udump_loader *l, const char *name, int rank, int axis);
/* A whole number from 1 to `most` of the part's config; `otherwise` where there is none. */
int32_t udump_load_count(udump_loader *l, const char *part, const char *key, int32_t otherwise, int32_t most);
/* Records the first failure. */
void udump_load_fail(udump_loader *l, udump_status status, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "%s.%d.rest": names are built in fixed buffers; checkpoints' names are far shorter. */
typedef struct udump_name {
    char text[192];
} udump_name;
udump_name udump_name_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
