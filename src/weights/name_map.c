#include "weights/name_map.h"

#include <stdlib.h>
#include <string.h>

/* How the numbers in a file's name become those of the canonical name. */
typedef enum numbering {
    SAME,       /* as they are */
    DOWN,       /* input block n -> level, residual block */
    DOWNSAMPLE, /* input block n, the third of its level -> level */
    UP,         /* output block n -> level, residual block */
    UPSAMPLE,   /* output block n, the third of its level -> level */
    REVERSED    /* the first number is a level counted from the other end */
} numbering;

/* What follows a row's pattern; NULL as its end. Without a table the rest is kept as it is. */
typedef struct suffix {
    const char *from, *to;
} suffix;

/* '#' in `from` matches a number, '#' in `to` is the next of the numbers that `numbering` makes of them. `from` is a beginning.
 * The first row that fits, its numbers and its suffix table included, decides. The part's name comes before `to`. */
typedef struct row {
    const char *from, *to;
    numbering numbering;
    const suffix *suffixes;
    udump_storage storage;
} row;

#define PLAIN UDUMP_STORED_PLAIN
#define ALL { "", "", SAME, NULL, PLAIN } /* whatever it is called: the name is kept */
#define END { NULL, NULL, SAME, NULL, PLAIN }

static const suffix unet_resnet[] = { { "in_layers.0.", "norm1." }, { "in_layers.2.", "conv1." }, { "emb_layers.1.", "time_emb_proj." },
    { "out_layers.0.", "norm2." }, { "out_layers.3.", "conv2." }, { "skip_connection.", "conv_shortcut." }, { NULL, NULL } };

static const suffix vae_resnet[] = { { "norm1.", "norm1." }, { "conv1.", "conv1." }, { "norm2.", "norm2." }, { "conv2.", "conv2." },
    { "nin_shortcut.", "conv_shortcut." }, { NULL, NULL } };

static const suffix vae_attention[] = { { "norm.", "group_norm." }, { "q.", "to_q." }, { "k.", "to_k." }, { "v.", "to_v." },
    { "proj_out.", "to_out.0." }, { NULL, NULL } };

static const suffix open_clip_layer[] = { { "ln_1.", "layer_norm1." }, { "ln_2.", "layer_norm2." }, { "attn.out_proj.", "self_attn.out_proj." },
    { "mlp.c_fc.", "mlp.fc1." }, { "mlp.c_proj.", "mlp.fc2." }, { NULL, NULL } };

static const suffix old_vae_attention[] = { { "query.", "to_q." }, { "key.", "to_k." }, { "value.", "to_v." },
    { "proj_attn.", "to_out.0." }, { NULL, NULL } };

static const row ldm_unet_rows[] = {
    { "time_embed.0.", "time_embedding.linear_1.", SAME, NULL, PLAIN },
    { "time_embed.2.", "time_embedding.linear_2.", SAME, NULL, PLAIN },
    { "label_emb.0.0.", "add_embedding.linear_1.", SAME, NULL, PLAIN },
    { "label_emb.0.2.", "add_embedding.linear_2.", SAME, NULL, PLAIN },
    { "input_blocks.0.0.", "conv_in.", SAME, NULL, PLAIN },
    { "input_blocks.#.0.op.", "down_blocks.#.downsamplers.0.conv.", DOWNSAMPLE, NULL, PLAIN },
    { "input_blocks.#.0.", "down_blocks.#.resnets.#.", DOWN, unet_resnet, PLAIN },
    { "input_blocks.#.1.", "down_blocks.#.attentions.#.", DOWN, NULL, PLAIN },
    { "middle_block.0.", "mid_block.resnets.0.", SAME, unet_resnet, PLAIN },
    { "middle_block.1.", "mid_block.attentions.0.", SAME, NULL, PLAIN },
    { "middle_block.2.", "mid_block.resnets.1.", SAME, unet_resnet, PLAIN },
    { "output_blocks.#.0.", "up_blocks.#.resnets.#.", UP, unet_resnet, PLAIN },
    /* The upsampler follows the attention, or, on a level without attention, the residual block. */
    { "output_blocks.#.1.conv.", "up_blocks.#.upsamplers.0.conv.", UPSAMPLE, NULL, PLAIN },
    { "output_blocks.#.2.conv.", "up_blocks.#.upsamplers.0.conv.", UPSAMPLE, NULL, PLAIN },
    { "output_blocks.#.1.", "up_blocks.#.attentions.#.", UP, NULL, PLAIN },
    { "out.0.", "conv_norm_out.", SAME, NULL, PLAIN },
    { "out.2.", "conv_out.", SAME, NULL, PLAIN },
    END,
};

static const row ldm_vae_rows[] = {
    { "encoder.conv_in.", "encoder.conv_in.", SAME, NULL, PLAIN },
    { "encoder.down.#.block.#.", "encoder.down_blocks.#.resnets.#.", SAME, vae_resnet, PLAIN },
    { "encoder.down.#.downsample.conv.", "encoder.down_blocks.#.downsamplers.0.conv.", SAME, NULL, PLAIN },
    { "encoder.mid.block_1.", "encoder.mid_block.resnets.0.", SAME, vae_resnet, PLAIN },
    { "encoder.mid.attn_1.", "encoder.mid_block.attentions.0.", SAME, vae_attention, PLAIN },
    { "encoder.mid.block_2.", "encoder.mid_block.resnets.1.", SAME, vae_resnet, PLAIN },
    { "encoder.norm_out.", "encoder.conv_norm_out.", SAME, NULL, PLAIN },
    { "encoder.conv_out.", "encoder.conv_out.", SAME, NULL, PLAIN },
    { "decoder.conv_in.", "decoder.conv_in.", SAME, NULL, PLAIN },
    { "decoder.up.#.block.#.", "decoder.up_blocks.#.resnets.#.", REVERSED, vae_resnet, PLAIN },
    { "decoder.up.#.upsample.conv.", "decoder.up_blocks.#.upsamplers.0.conv.", REVERSED, NULL, PLAIN },
    { "decoder.mid.block_1.", "decoder.mid_block.resnets.0.", SAME, vae_resnet, PLAIN },
    { "decoder.mid.attn_1.", "decoder.mid_block.attentions.0.", SAME, vae_attention, PLAIN },
    { "decoder.mid.block_2.", "decoder.mid_block.resnets.1.", SAME, vae_resnet, PLAIN },
    { "decoder.norm_out.", "decoder.conv_norm_out.", SAME, NULL, PLAIN },
    { "decoder.conv_out.", "decoder.conv_out.", SAME, NULL, PLAIN },
    { "quant_conv.", "quant_conv.", SAME, NULL, PLAIN },
    { "post_quant_conv.", "post_quant_conv.", SAME, NULL, PLAIN },
    END,
};

static const row clip_rows[] = { { "text_model.", "", SAME, NULL, PLAIN }, ALL, END };

/* OpenCLIP's own names (Ilharco et al. 2021): SD 2's text encoder and SDXL's second. Its text projection multiplies from the right. */
static const row open_clip_rows[] = {
    { "token_embedding.", "embeddings.token_embedding.", SAME, NULL, PLAIN },
    { "positional_embedding", "embeddings.position_embedding.weight", SAME, NULL, PLAIN },
    { "transformer.resblocks.#.attn.in_proj_weight", "encoder.layers.#.self_attn.@_proj.weight", SAME, NULL, UDUMP_STORED_QKV },
    { "transformer.resblocks.#.attn.in_proj_bias", "encoder.layers.#.self_attn.@_proj.bias", SAME, NULL, UDUMP_STORED_QKV },
    { "transformer.resblocks.#.", "encoder.layers.#.", SAME, open_clip_layer, PLAIN },
    { "ln_final.", "final_layer_norm.", SAME, NULL, PLAIN },
    { "text_projection.weight", "text_projection.weight", SAME, NULL, PLAIN },
    { "text_projection", "text_projection.weight", SAME, NULL, UDUMP_STORED_TRANSPOSED },
    ALL,
    END,
};

static const row all_rows[] = { ALL, END };

static const row vae_rows[] = {
    { "encoder.mid_block.attentions.0.", "encoder.mid_block.attentions.0.", SAME, old_vae_attention, PLAIN },
    { "decoder.mid_block.attentions.0.", "decoder.mid_block.attentions.0.", SAME, old_vae_attention, PLAIN },
    ALL,
    END,
};

/* A beginning of names, the part that it belongs to, and how the rest is mapped. */
typedef struct section {
    const char *prefix, *part;
    const row *rows;
} section;

static const section ldm_sections[] = {
    { "model.diffusion_model.", "unet", ldm_unet_rows },
    { "first_stage_model.", "vae", ldm_vae_rows },
    { "cond_stage_model.transformer.", "text_encoder", clip_rows },
    { "cond_stage_model.model.", "text_encoder", open_clip_rows },
    { "conditioner.embedders.0.transformer.", "text_encoder", clip_rows },
    { "conditioner.embedders.0.model.", "text_encoder", open_clip_rows }, /* SD 2 in SDXL's names: SD Turbo */
    { "conditioner.embedders.1.model.", "text_encoder_2", open_clip_rows },
    { NULL, NULL, NULL },
};

/* An autoencoder in a file of its own: the original names with their beginning or without, or diffusers'. */
static const section vae_sections[] = {
    { "first_stage_model.", "vae", ldm_vae_rows },
    { "", "vae", ldm_vae_rows },
    { "", "vae", vae_rows },
    { NULL, NULL, NULL },
};

static const section diffusers_sections[] = {
    { "unet", "unet", all_rows },
    { "vae", "vae", vae_rows },
    { "text_encoder", "text_encoder", clip_rows },
    { "text_encoder_2", "text_encoder_2", clip_rows },
};

enum { MAX_NUMBERS = 2, MAX_DIGITS = 3, LAYERS = 2, BLOCKS_PER_LEVEL = LAYERS + 1 };

/* The rest of name after the pattern, or NULL where it does not match. Numbers are decimal, without leading zeros. */
static const char *match(const char *pattern, const char *name, int numbers[MAX_NUMBERS]) {
    for (int found = 0; *pattern; pattern++) {
        if (*pattern != '#') {
            if (*pattern != *name++) return NULL;
            continue;
        }
        int digits = 0, value = 0;
        for (; name[digits] >= '0' && name[digits] <= '9' && digits <= MAX_DIGITS; digits++) value = value * 10 + (name[digits] - '0');
        if (digits == 0 || digits > MAX_DIGITS || (digits > 1 && name[0] == '0')) return NULL;
        numbers[found++] = value;
        name += digits;
    }
    return name;
}

static bool renumber(numbering rule, int vae_levels, int numbers[MAX_NUMBERS]) {
    int n = numbers[0] - (rule == DOWN || rule == DOWNSAMPLE); /* input block 0 is the first convolution */
    switch (rule) {
    case SAME: return true;
    case REVERSED: numbers[0] = vae_levels - 1 - n; return numbers[0] >= 0;
    case DOWN: case UP: case DOWNSAMPLE: case UPSAMPLE: break;
    }
    if (n < 0) return false;
    numbers[0] = n / BLOCKS_PER_LEVEL;
    numbers[1] = n % BLOCKS_PER_LEVEL;
    if (rule == DOWN) return numbers[1] < LAYERS;
    return rule == UP || numbers[1] == LAYERS;
}

/* *replacement and the rest after the suffix; without a table nothing is replaced. */
static bool match_suffix(const suffix *suffixes, const char **rest, const char **replacement) {
    *replacement = "";
    if (!suffixes) return true;
    for (; suffixes->from; suffixes++) {
        size_t length = strlen(suffixes->from);
        if (strncmp(*rest, suffixes->from, length) != 0) continue;
        *replacement = suffixes->to;
        *rest += length;
        return true;
    }
    return false;
}

/* part, '/', `to` with its numbers, the replacement and the rest, joined. NULL without memory. */
static char *compose(const char *part, const char *to, const int numbers[MAX_NUMBERS], const char *replacement, const char *rest) {
    size_t bytes = strlen(part) + 1 + strlen(to) + MAX_NUMBERS * MAX_DIGITS + strlen(replacement) + strlen(rest) + 1;
    char *name = malloc(bytes), *end = name;
    if (!name) return NULL;
    end = stpcpy(stpcpy(end, part), "/");
    for (; *to; to++) {
        if (*to != '#') {
            *end++ = *to;
            continue;
        }
        int value = *numbers++;
        if (value >= 100) *end++ = (char)('0' + value / 100);
        if (value >= 10) *end++ = (char)('0' + value / 10 % 10);
        *end++ = (char)('0' + value % 10);
    }
    end = stpcpy(end, replacement);
    strcpy(end, rest);
    return name;
}

bool udump_name_map_none(const char *file_name, int vae_levels, udump_mapping *mapping) {
    (void)vae_levels;
    *mapping = (udump_mapping){ strdup(file_name), "", UDUMP_STORED_PLAIN };
    return mapping->canonical != NULL;
}

/* False without memory; *mapped: whether a row fits. */
static bool map_rest(const section *where, const char *name, int vae_levels, udump_mapping *mapping, bool *mapped) {
    *mapped = true;
    for (const row *at = where->rows; at->from; at++) {
        int numbers[MAX_NUMBERS] = { 0 };
        const char *replacement, *rest = match(at->from, name, numbers);
        if (!rest || !renumber(at->numbering, vae_levels, numbers) || !match_suffix(at->suffixes, &rest, &replacement)) continue;
        if (at->storage != UDUMP_STORED_PLAIN && *rest) continue; /* the whole name, not a beginning */
        *mapping = (udump_mapping){ compose(where->part, at->to, numbers, replacement, rest), where->part, at->storage };
        return mapping->canonical != NULL;
    }
    *mapped = false;
    return true;
}

static bool map_name(const section *sections, const char *file_name, int vae_levels, udump_mapping *mapping) {
    for (; sections->prefix; sections++) {
        size_t length = strlen(sections->prefix);
        bool mapped;
        if (strncmp(file_name, sections->prefix, length) != 0) continue;
        if (!map_rest(sections, file_name + length, vae_levels, mapping, &mapped)) return false;
        if (mapped) return true;
    }
    return udump_name_map_none(file_name, 0, mapping);
}

int udump_name_map_count_levels(const char *file_name, int levels) {
    static const char *const patterns[] = { "first_stage_model.decoder.up.#.", "decoder.up.#." };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        int numbers[MAX_NUMBERS] = { 0 };
        if (match(patterns[i], file_name, numbers) && numbers[0] >= levels) return numbers[0] + 1;
    }
    return levels;
}

bool udump_name_map_ldm(const char *file_name, int vae_levels, udump_mapping *mapping) {
    return map_name(ldm_sections, file_name, vae_levels, mapping);
}

bool udump_name_map_vae(const char *file_name, int vae_levels, udump_mapping *mapping) {
    return map_name(vae_sections, file_name, vae_levels, mapping);
}

bool udump_name_map_diffusers(const char *folder, const char *file_name, udump_mapping *mapping) {
    for (size_t i = 0; i < sizeof diffusers_sections / sizeof *diffusers_sections; i++) {
        bool mapped;
        if (strcmp(folder, diffusers_sections[i].prefix) != 0) continue;
        return map_rest(&diffusers_sections[i], file_name, 0, mapping, &mapped); /* their tables end with a row for all */
    }
    return udump_name_map_none(file_name, 0, mapping);
}
