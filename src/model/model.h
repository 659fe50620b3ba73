/* A loaded checkpoint: immutable, reference-counted, shared by sessions in any thread. */
#ifndef UDUMP_MODEL_MODEL_H
#define UDUMP_MODEL_MODEL_H

#include <stdatomic.h>

#include "backend/current.h"
#include "model/clip.h"
#include "model/hash.h"
#include "model/unet.h"
#include "model/vae.h"

enum { UDUMP_MODEL_NAME_BYTES = 128 };

struct udump_model {
    atomic_int references;
    const udump_backend *backend;
    void *device;
    int32_t threads;
    udump_dtype compute;
    char name[UDUMP_MODEL_NAME_BYTES];     /* the checkpoint's, without folder and suffix */
    char vae_name[UDUMP_MODEL_NAME_BYTES]; /* of an autoencoder of its own; or "" */
    char hash[UDUMP_HASH_TEXT], vae_hash[UDUMP_HASH_TEXT]; /* of single files, if that was asked for; or "" */
    char device_note[160];
    uint64_t lora_content; /* a hash of the files' bytes */
    char *lora_tags;   /* "<lora:name:0.8>", a blank between them; "" for none */
    char *lora_blocks; /* "name: IN04=0.5"; "" for none */
    udump_layout layout;
    udump_prediction prediction; /* EPSILON or V; AUTO only while loading */
    double beta_start, beta_end; /* the scheduler's, of 1000 training levels */
    bool zero_snr;               /* the last level is all noise (Lin et al. 2024) */

    udump_embeddings embeddings;
    const udump_family *family;
    udump_clip clips[UDUMP_TEXT_ENCODERS_MOST]; /* [family->text_count]: their contexts stand side by side */
    int32_t pooled_dim; /* of the last one's pooled vector; 0 but for SDXL */
    udump_unet unet;
    udump_vae vae;
    /* In fp16 the autoencoder is there in fp32 too, on a device of its own: SDXL's, and some others', overflow. NULL: it is not */
    void *wide_device;
    udump_vae wide_vae;

    udump_packed **packed;
    size_t packed_count;
    int64_t weight_bytes, parameter_count;
    char **warnings;
    size_t warning_count;
    udump_tensor_info *tensors; /* names belong to the entry */
    int64_t tensor_count;
};

/* Sets the backend, the precision and the note, and opens the device. before: what the calling thread had current, to be restored. Errors: ARGUMENT, DEVICE, UNSUPPORTED, MEMORY. */
udump_status udump_model_choose_device(udump_model *model, const udump_model_options *options, udump_current *before, udump_error *error);

/* CLIP: start, 75 tokens, end. */
enum { UDUMP_CLIP_POSITIONS = 77, UDUMP_PIXELS_PER_LATENT = 8, UDUMP_TRAIN_STEPS = 1000 };

#endif
