#include "output/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

enum {
    WORD_KEPT = 40,   /* bytes of an overlay's word */
    WORD_BYTES = WORD_KEPT * 3 + 20
};

static const struct {
    const char *name, *source, *suffix; /* suffix: what the kind adds to a file's name */
    bool cross;
} kinds[] = {
    [UDUMP_KIND_FEATURES] = { "features", "unet", "", false },
    [UDUMP_KIND_DIFF] = { "diff", "diff", "", false },
    [UDUMP_KIND_K] = { "k", "attn", "-k", true },
    [UDUMP_KIND_QK] = { "qk", "attn", "-qk", true },
    [UDUMP_KIND_VQK] = { "vqk", "attn", "-vqk", true },
    [UDUMP_KIND_WORDS] = { "words", "attn", "-words", true },
    [UDUMP_KIND_SELF_QUERIES] = { "self-queries", "attn", "-self-queries", false },
    [UDUMP_KIND_SELF_RECEIVED] = { "self-received", "attn", "-self-received", false },
    [UDUMP_KIND_SELF_ENTROPY] = { "self-entropy", "attn", "-self-entropy", false },
    [UDUMP_KIND_SELF_PCA] = { "self-pca", "attn", "-self-pca", false },
    [UDUMP_KIND_SELF_MAP] = { "self-map", "attn", "-self-map", false },
    [UDUMP_KIND_HEAT] = { "heat", "heat", "", true },
    [UDUMP_KIND_OVERLAY] = { "overlay", "heat", "", true },
};

static const char letters_and_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool known(udump_kind kind) { return (unsigned)kind < sizeof kinds / sizeof *kinds; }

const char *udump_kind_name(udump_kind kind) { return known(kind) ? kinds[kind].name : ""; }
const char *udump_source_name(udump_kind kind) { return known(kind) ? kinds[kind].source : ""; }
bool udump_kind_is_cross(udump_kind kind) { return known(kind) && kinds[kind].cross; }

const char *udump_side_name(udump_side side) {
    return side == UDUMP_SIDE_UNCOND ? "uncond" : side == UDUMP_SIDE_COND ? "cond" : "both";
}

const char *udump_variant_name(udump_variant variant) {
    return variant == UDUMP_VARIANT_ERASED ? "erased" : variant == UDUMP_VARIANT_OTHER ? "other" : "enabled";
}

const char *udump_variant_suffix(udump_variant variant) {
    return variant == UDUMP_VARIANT_ERASED ? "-erased" : variant == UDUMP_VARIANT_OTHER ? "-other" : "";
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo): http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t checksum(const char *text) {
    uint64_t sum = 14695981039346656037u;
    for (; *text; text++) sum = (sum ^ (unsigned char)*text) * 1099511628211u;
    return sum;
}

/* A word that a heat's name ends in anyway has its first letter written as a code, which no other word's name has. */
static bool is_reserved(const char *word) {
    if (strncmp(word, "and", 3) == 0 && word[3] && !word[3 + strspn(word + 3, "0123456789")]) return true;
    return strcmp(word, "uncond") == 0 || strcmp(word, "erased") == 0 || strcmp(word, "other") == 0 || strcmp(word, "average") == 0;
}

static void name_word(const char *word, char name[WORD_BYTES]) {
    size_t length = 0;
    bool escape = is_reserved(word);
    for (int i = 0; i < WORD_KEPT && word[i]; i++, escape = false) {
        if (!escape && strchr(letters_and_digits, word[i])) name[length++] = word[i];
        else length += (size_t)sprintf(name + length, "_%02x", (unsigned)(unsigned char)word[i]);
    }
    if (strlen(word) > WORD_KEPT) length += (size_t)sprintf(name + length, "_x%016" PRIx64, checksum(word));
    name[length] = '\0';
}

static udump_status check_place(const udump_place *place, udump_error *error) {
    bool whole_image = place->kind == UDUMP_KIND_HEAT || place->kind == UDUMP_KIND_OVERLAY;
    const char *block = place->block ? place->block : "";
    size_t length = strlen(block);
    if (!known(place->kind)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "place", "unknown kind %d", (int)place->kind);
    if (!whole_image && (!length || length > 32 || strspn(block, letters_and_digits) != length))
        return udump_fail_values(
            error, UDUMP_ERROR_ARGUMENT, "place", "a block's name does not suit a file's", "letters and digits", block);
    if (place->step < 0 || place->depth < 0 || place->part < 0)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "place", "a negative number: step %" PRId32 ", depth %" PRId32 ", part %" PRId32,
            place->step, place->depth, place->part);
    if (place->kind == UDUMP_KIND_OVERLAY && (!place->word || !*place->word))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "place", "an overlay without its word");
    return UDUMP_OK;
}

udump_status udump_name_tensor(const udump_place *place, char name[UDUMP_NAME_BYTES], udump_error *error) {
    udump_status status = check_place(place, error);
    if (status) return status;
    const char *side = place->side == UDUMP_SIDE_UNCOND ? "-uncond" : "",
               *variant = udump_variant_suffix(place->variant);
    char depth[16] = "", part[16] = "", word[WORD_BYTES] = "", step[64] = "";
    if (place->part) snprintf(part, sizeof part, "-and%" PRId32, place->part);
    if (place->depth) snprintf(depth, sizeof depth, "-d%" PRId32, place->depth);
    if (place->kind == UDUMP_KIND_OVERLAY) name_word(place->word, word);
    if (place->kind != UDUMP_KIND_OVERLAY && place->kind != UDUMP_KIND_HEAT)
        snprintf(step, sizeof step, "-%s-%03" PRId32, place->block, place->step);
    snprintf(name, UDUMP_NAME_BYTES, "%s%s%s%s%s%s%s%s%s", kinds[place->kind].source, step, side, part, variant, kinds[place->kind].suffix, depth,
        *word ? "-" : "", word);
    return UDUMP_OK;
}

static udump_status check_image(int32_t image, udump_error *error) {
    return image >= 0 ? UDUMP_OK : udump_fail(error, UDUMP_ERROR_ARGUMENT, "place", "a negative image: %" PRId32, image);
}

udump_status udump_name_place(const udump_place *place, bool average, const char *suffix, char name[UDUMP_NAME_BYTES], udump_error *error) {
    char tensor[UDUMP_NAME_BYTES - 32];
    udump_status status = check_image(place->image, error);
    if (!status) status = udump_name_tensor(place, name, error);
    if (status) return status;
    snprintf(tensor, sizeof tensor, "%s", name);
    snprintf(name, UDUMP_NAME_BYTES, "%03" PRId32 "-%s%s%s", place->image, tensor, average ? "-average" : "", suffix);
    return UDUMP_OK;
}

udump_status udump_name_image(int32_t image, udump_variant variant, const char *suffix, char name[UDUMP_NAME_BYTES], udump_error *error) {
    udump_status status = check_image(image, error);
    if (!status)
        snprintf(name, UDUMP_NAME_BYTES, "%03" PRId32 "%s%s", image, udump_variant_suffix(variant), suffix);
    return status;
}
