/* What files are called: image, source, block, step; then, where it applies, the side, the variant, the kind, the depth. */
#ifndef UDUMP_OUTPUT_NAME_H
#define UDUMP_OUTPUT_NAME_H

#include <stdbool.h>

#include "unetdump.h"

enum { UDUMP_NAME_BYTES = 256 }; /* NAME_MAX and its terminator; the longest name made here is shorter */

/* "features", "qk", "self-pca"; never NULL for a kind of udump_kind. */
const char *udump_kind_name(udump_kind kind);
/* "unet", "attn", "diff", "heat". */
const char *udump_source_name(udump_kind kind);
/* "cond", "uncond", "both". */
const char *udump_side_name(udump_side side);
/* "enabled", "erased", "other". */
const char *udump_variant_name(udump_variant variant);
/* "", "-erased", "-other". */
const char *udump_variant_suffix(udump_variant variant);
/* Whether a kind is of cross-attention: its columns are a context's tokens, or made of them. */
bool udump_kind_is_cross(udump_kind kind);

/* "000-unet-OUT11-020-uncond-average.png". suffix: ".png", ".npy". An overlay's word keeps its ASCII letters and digits; its other bytes
 * become _xx, so that different words have different names; what is longer than 40 bytes ends in a checksum.
 * Errors: ARGUMENT (what cannot stand in a file's name, an unknown kind, a negative number). */
udump_status udump_name_place(const udump_place *place, bool average, const char *suffix, char name[UDUMP_NAME_BYTES], udump_error *error);
/* The same without the image and a suffix: "unet-OUT11-020-uncond". */
udump_status udump_name_tensor(const udump_place *place, char name[UDUMP_NAME_BYTES], udump_error *error);
/* "000.png", "000-erased.png". Errors: ARGUMENT (a negative image). */
udump_status udump_name_image(int32_t image, udump_variant variant, const char *suffix, char name[UDUMP_NAME_BYTES], udump_error *error);

#endif
