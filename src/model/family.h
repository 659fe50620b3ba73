/* The families of checkpoints: what of each is a convention that its tensors and configs do not tell. */
#ifndef UDUMP_MODEL_FAMILY_H
#define UDUMP_MODEL_FAMILY_H

#include "weights/weights.h"

/* How a family reads one of its text encoders. */
typedef struct udump_text_reading {
    const char *part;      /* "text_encoder" */
    bool open_clip;        /* GELU where there is no config, and id 0 in the places after the first end token */
    bool final_norm;       /* of the hidden state that becomes the context */
    int32_t layers_unread, file_layers_unread; /* how many of the last layers: in a diffusers folder, in a single file */
    int32_t converted_layers; /* a single file with this many was converted from a folder, and is read like one; 0: none is */
    bool pooled;           /* its end token's last state, normed and projected, is the pooled vector */
} udump_text_reading;

enum { UDUMP_TEXT_ENCODERS_MOST = 2 };

typedef struct udump_family {
    const char *name;        /* "SD 1" */
    int32_t heads, head_dim; /* of a U-Net without a config: one of them is 0 */
    double vae_scale;        /* of an autoencoder without a config */
    int32_t text_count;
    udump_text_reading text[UDUMP_TEXT_ENCODERS_MOST];
    bool clip_skip;     /* whether the user chooses the hidden state */
    bool empty_is_zero; /* an empty negative prompt is a context of zeros */
    bool is_sdxl;       /* whose table the schedule Align Your Steps takes */
    bool may_be_v;      /* a single file that does not say what it predicts is asked by running it */
} udump_family;

/* The family whose parts the checkpoint has: SDXL has a U-Net that embeds a pooled vector, SD 2 an OpenCLIP text encoder; all else is
 * taken for SD 1. Static. */
const udump_family *udump_family_of(const udump_weights *weights);

/* What the checkpoint is, if it is known by a tensor of its own and not of a family that runs here: "an SDXL refiner"; else NULL. */
const char *udump_family_foreign(const udump_weights *weights);

#endif
