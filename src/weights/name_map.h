/* From the names that tensors have in files to the canonical ones (weights.h), by tables. */
#ifndef UDUMP_WEIGHTS_NAME_MAP_H
#define UDUMP_WEIGHTS_NAME_MAP_H

#include <stdbool.h>

#include "unetdump.h"

/* How a tensor lies in its file. */
typedef enum udump_storage {
    UDUMP_STORED_PLAIN,
    UDUMP_STORED_TRANSPOSED, /* [in, out] for [out, in] */
    UDUMP_STORED_QKV         /* three tensors, one after the other: the canonical name has '@' where "q", "k" and "v" go */
} udump_storage;

typedef struct udump_mapping {
    char *canonical;  /* to be freed; a name that nothing maps is given back as it is */
    const char *part; /* static: "unet", "vae", "text_encoder", "text_encoder_2", or "" where nothing maps */
    udump_storage storage;
} udump_mapping;

/* All of them return false without memory. */

/* Keeps the name, in no part. */
bool udump_name_map_none(const char *file_name, int vae_levels, udump_mapping *mapping);

/* The original single-file (LDM) layout of SD 1, SD 2 and SDXL: two residual blocks on each of the U-Net's levels, any number of levels. */
bool udump_name_map_ldm(const char *file_name, int vae_levels, udump_mapping *mapping);

/* An autoencoder in a file of its own, in the original layout or in diffusers'. */
bool udump_name_map_vae(const char *file_name, int vae_levels, udump_mapping *mapping);

/* A file of the diffusers folder `folder`, a part's name. Drops the text encoders' "text_model." and renews the autoencoder's old
 * attention names. */
bool udump_name_map_diffusers(const char *folder, const char *file_name, udump_mapping *mapping);

/* The largest L + 1 of all "decoder.up.L." names is the autoencoder's number of levels (vae_levels), which numbers its upward levels the
 * other way round than diffusers does. levels: the maximum so far, 0 at first; returns it with this name seen. */
int udump_name_map_count_levels(const char *file_name, int levels);

#endif
