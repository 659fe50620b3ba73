/* From the names that tensors have in files to the canonical ones (weights.h), by tables. */
#ifndef UDUMP_WEIGHTS_NAME_MAP_H
#define UDUMP_WEIGHTS_NAME_MAP_H

#include <stdbool.h>

#include "unetdump.h"

/* The largest L + 1 of all "first_stage_model.decoder.up.L." names is the autoencoder's number of levels, which numbers its upward
 * levels the other way round than diffusers does. levels: the maximum so far, 0 at first; returns it with this name seen. */
int udump_name_map_count_levels(const char *file_name, int levels);

/* The original single-file (LDM) layout of SD 1: two residual blocks on each of the U-Net's levels, any number of levels.
 * *canonical is to be freed; a name that nothing maps is given back as it is, with *part "". *part is static.
 * Returns false without memory. */
bool udump_name_map_ldm(const char *file_name, int vae_levels, char **canonical, const char **part);

/* A file of the diffusers folder `part` ("unet", "vae", "text_encoder"). Drops the text encoder's "text_model." and renews the
 * autoencoder's old attention names. */
bool udump_name_map_diffusers(const char *folder, const char *file_name, char **canonical, const char **part);

#endif
