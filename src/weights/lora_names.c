#include "weights/lora_names.h"

#include <stdlib.h>
#include <string.h>

#include "weights/name_map.h"

/* How a name ends, '*' being a word of any name, and what the tensor then is. The first that fits decides. */
#define LOW_RANK(slot)                                                                                                                     \
    { UDUMP_LORA_##slot, UDUMP_LORA_LOW_RANK }
#define HADAMARD(index, slot)                                                                                                              \
    { (index) * UDUMP_LORA_SECOND + UDUMP_LORA_##slot, UDUMP_LORA_HADAMARD }
#define KRONECKER(index, slot)                                                                                                             \
    { (index) * UDUMP_LORA_SECOND + UDUMP_LORA_##slot, UDUMP_LORA_KRONECKER }
#define FULL(slot)                                                                                                                         \
    { UDUMP_LORA_##slot, UDUMP_LORA_FULL }
#define ANY(slot)                                                                                                                          \
    { UDUMP_LORA_##slot, UDUMP_LORA_NO_KIND }
static const struct {
    const char *end;
    udump_lora_role role;
    bool old; /* diffusers before PEFT: attention's layers have other names */
} endings[] = {
    { ".lora_down.weight", LOW_RANK(DOWN), false },
    { ".lora_up.weight", LOW_RANK(UP), false },
    { ".lora_mid.weight", LOW_RANK(MID), false },
    { ".lora_A.weight", LOW_RANK(DOWN), false },
    { ".lora_B.weight", LOW_RANK(UP), false },
    { ".lora_A.*.weight", LOW_RANK(DOWN), false }, /* PEFT's name of the adapter */
    { ".lora_B.*.weight", LOW_RANK(UP), false },
    { ".lora_linear_layer.down.weight", LOW_RANK(DOWN), false },
    { ".lora_linear_layer.up.weight", LOW_RANK(UP), false },
    { ".lora.down.weight", LOW_RANK(DOWN), false },
    { ".lora.up.weight", LOW_RANK(UP), false },
    { "_lora.down.weight", LOW_RANK(DOWN), true },
    { "_lora.up.weight", LOW_RANK(UP), true },
    { ".hada_w1_a", HADAMARD(0, UP), false },
    { ".hada_w1_b", HADAMARD(0, DOWN), false },
    { ".hada_t1", HADAMARD(0, MID), false },
    { ".hada_w2_a", HADAMARD(1, UP), false },
    { ".hada_w2_b", HADAMARD(1, DOWN), false },
    { ".hada_t2", HADAMARD(1, MID), false },
    { ".lokr_w1", KRONECKER(0, WHOLE), false },
    { ".lokr_w1_a", KRONECKER(0, UP), false },
    { ".lokr_w1_b", KRONECKER(0, DOWN), false },
    { ".lokr_w2", KRONECKER(1, WHOLE), false },
    { ".lokr_w2_a", KRONECKER(1, UP), false },
    { ".lokr_w2_b", KRONECKER(1, DOWN), false },
    { ".lokr_t2", KRONECKER(1, MID), false },
    { ".diff", FULL(WHOLE), false },
    { ".w_norm", FULL(WHOLE), false },
    { ".diff_b", FULL(BIAS), false },
    { ".b_norm", FULL(BIAS), false },
    { ".dora_scale", ANY(MAGNITUDE), false },
    { ".lora_magnitude_vector", ANY(ROW_MAGNITUDE), false },
    { ".lora_magnitude_vector.weight", ANY(ROW_MAGNITUDE), false },
    { "_lora.alpha", ANY(ALPHA), true },
    { ".lora.alpha", ANY(ALPHA), false },
    { ".alpha", ANY(ALPHA), false },
};

/* How a name begins, and the part that it is in. flat: '_' stands where the module's path has '.'. kept: the beginning is the path's own. */
static const struct {
    const char *begin, *part;
    bool flat, kept;
} beginnings[] = {
    { "lora_unet_", "unet", true, false },
    { "lora_te_", "text_encoder", true, false },
    { "lora_te1_", "text_encoder", true, false },
    { "lora_te2_", "text_encoder_2", true, false },
    { "lycoris_", "unet", true, false },
    { "unet.", "unet", false, false },
    { "text_encoder.", "text_encoder", false, false },
    { "text_encoder_2.", "text_encoder_2", false, false },
    { "base_model.model.", "unet", false, false },
    { "diffusion_model.", "unet", false, false },
    { "down_blocks.", "unet", false, true },
    { "mid_block.", "unet", false, true },
    { "up_blocks.", "unet", false, true },
};

/* The path's own names that have an underscore: the others in a flat name are its dots. */
static const char *const joined[] = { "input_blocks", "middle_block", "output_blocks", "in_layers", "out_layers", "emb_layers",
    "skip_connection", "time_embed", "label_emb", "down_blocks", "mid_block", "up_blocks", "transformer_blocks", "conv_in", "conv_out",
    "conv_shortcut", "conv_norm_out", "layer_norm1", "layer_norm2", "final_layer_norm", "time_emb_proj", "time_embedding", "add_embedding",
    "linear_1", "linear_2", "proj_in", "proj_out", "to_q", "to_k", "to_v", "to_out", "text_model", "self_attn", "q_proj", "k_proj",
    "v_proj", "out_proj", "text_projection" };

/* Beginnings of the original code's paths in the U-Net. */
static const char *const original[] = { "input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out." };

/* What older diffusers calls the layers, and what they are. */
static const struct {
    const char *from, *to;
} renamed[] = {
    { ".processor.to_out", ".to_out.0" }, { ".processor.", "." },
    { ".self_attn.to_q", ".self_attn.q_proj" }, { ".self_attn.to_k", ".self_attn.k_proj" },
    { ".self_attn.to_v", ".self_attn.v_proj" }, { ".self_attn.to_out", ".self_attn.out_proj" },
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* The length of the joined word that `at` begins with, a whole one; 0: none. */
static size_t joined_length(const char *at) {
    size_t longest = 0;
    for (size_t i = 0; i < COUNT(joined); i++) {
        size_t length = strlen(joined[i]);
        if (length > longest && begins(at, joined[i]) && (at[length] == '_' || !at[length])) longest = length;
    }
    return longest;
}

static void add_dots(char *path) {
    while (*path) {
        size_t length = joined_length(path);
        path += length ? length : strcspn(path, "_");
        if (*path) *path++ = '.';
    }
}

/* path with the first of `from` replaced, in a buffer that has the room. */
static void rename_old(char *path) {
    for (size_t i = 0; i < COUNT(renamed); i++) {
        char *found = strstr(path, renamed[i].from);
        if (!found) continue;
        size_t from = strlen(renamed[i].from), to = strlen(renamed[i].to);
        memmove(found + to, found + from, strlen(found + from) + 1);
        memcpy(found, renamed[i].to, to);
        return;
    }
}

/* The canonical name of a module's path; NULL without memory. The name maps know tensors, so it is one for a moment. */
static char *canonical_layer(const char *part, const char *path) {
    static const char prefix[] = "model.diffusion_model.", suffix[] = ".weight";
    size_t bytes = sizeof prefix + strlen(path) + sizeof suffix;
    char *name = malloc(bytes);
    udump_mapping mapping;
    bool is_original = false;
    if (!name) return NULL;
    for (size_t i = 0; i < COUNT(original); i++) is_original |= strcmp(part, "unet") == 0 && begins(path, original[i]);
    strcpy(stpcpy(stpcpy(name, is_original ? prefix : ""), path), suffix);
    bool mapped = is_original ? udump_name_map_ldm(name, 0, &mapping) : udump_name_map_diffusers(part, name, &mapping);
    free(name);
    if (mapped) mapping.canonical[strlen(mapping.canonical) - (sizeof suffix - 1)] = '\0';
    return mapped ? mapping.canonical : NULL;
}

/* How many bytes of name are the ending; 0: it has another. */
static size_t ending_length(const char *name, const char *end) {
    const char *star = strchr(end, '*'), *tail = star ? star + 1 : end;
    size_t length = strlen(name), kept = length - strlen(tail);
    if (length <= strlen(tail) || strcmp(name + kept, tail) != 0) return 0;
    if (!star) return length - kept;
    while (kept > 0 && name[kept - 1] != '.') kept--;
    size_t head = (size_t)(star - end);
    return kept > head && memcmp(name + kept - head, end, head) == 0 ? length - kept + head : 0;
}

bool udump_lora_name(const char *name, char **layer, udump_lora_role *role) {
    size_t length = strlen(name), ending = 0, beginning = 0, ended = 0;
    *layer = NULL;
    while (ending < COUNT(endings) && !(ended = ending_length(name, endings[ending].end))) ending++;
    while (beginning < COUNT(beginnings) && !begins(name, beginnings[beginning].begin)) beginning++;
    if (ending == COUNT(endings) || beginning == COUNT(beginnings)) return true;

    size_t skipped = beginnings[beginning].kept ? 0 : strlen(beginnings[beginning].begin);
    length -= ended;
    if (skipped >= length) return true;
    char *path = malloc(length - skipped + sizeof ".self_attn.out_proj"); /* the longest that a rename can add */
    if (!path) return false;
    memcpy(path, name + skipped, length - skipped);
    path[length - skipped] = '\0';
    if (beginnings[beginning].flat) add_dots(path);
    if (endings[ending].old) rename_old(path);
    *role = endings[ending].role;
    *layer = canonical_layer(beginnings[beginning].part, path);
    free(path);
    return *layer != NULL;
}

const char *udump_lora_other_kind(const char *name) {
    static const struct {
        const char *in_name, *kind;
    } kinds[] = { { "model.diffusion_model.", "a checkpoint" }, { "cond_stage_model.", "a checkpoint" },
        { "first_stage_model.", "a checkpoint" }, { "conditioner.embedders.", "a checkpoint" }, { ".oft_", "OFT" }, { ".on_input", "IA3" },
        { ".a1.weight", "GLoRA" }, { ".lora_B.bias", "LoRA with a bias" }, { ".lora_up.bias", "LoRA with a bias" },
        { ".bias_indices", "LoRA with a bias" }, { ".bias_values", "LoRA with a bias" }, { ".bias_size", "LoRA with a bias" },
        { ".scalar", "LoRA with a scalar" }, { "bundle_emb.", "a LoRA with embeddings in its file" } };
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (strstr(name, kinds[i].in_name)) return kinds[i].kind;
    return NULL;
}

const char *udump_lora_family(const char *name) {
    static const struct {
        const char *in_name, *family;
    } families[] = { { "lora_te1_", "SDXL" }, { "lora_te2_", "SDXL" }, { "text_encoder_2.", "SDXL" }, { "label_emb", "SDXL" },
        { "add_embedding", "SDXL" }, { "double_blocks", "Flux" }, { "single_blocks", "Flux" }, { "single_transformer_blocks", "Flux" },
        { "joint_blocks", "Stable Diffusion 3" } };
    for (size_t i = 0; i < COUNT(families); i++)
        if (strstr(name, families[i].in_name)) return families[i].family;
    return NULL;
}
