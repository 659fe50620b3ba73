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
 * The first row that fits, its numbers and its suffix table included, decides. `to` begins with the part's name. */
typedef struct row {
    const char *from, *to;
    numbering numbering;
    const suffix *suffixes;
} row;

static const suffix unet_resnet[] = { { "in_layers.0.", "norm1." }, { "in_layers.2.", "conv1." }, { "emb_layers.1.", "time_emb_proj." },
    { "out_layers.0.", "norm2." }, { "out_layers.3.", "conv2." }, { "skip_connection.", "conv_shortcut." }, { NULL, NULL } };

static const suffix vae_resnet[] = { { "norm1.", "norm1." }, { "conv1.", "conv1." }, { "norm2.", "norm2." }, { "conv2.", "conv2." },
    { "nin_shortcut.", "conv_shortcut." }, { NULL, NULL } };

static const suffix vae_attention[] = { { "norm.", "group_norm." }, { "q.", "to_q." }, { "k.", "to_k." }, { "v.", "to_v." },
    { "proj_out.", "to_out.0." }, { NULL, NULL } };

static const suffix old_vae_attention[] = { { "query.", "to_q." }, { "key.", "to_k." }, { "value.", "to_v." },
    { "proj_attn.", "to_out.0." }, { NULL, NULL } };

static const row ldm_rows[] = {
    { "model.diffusion_model.time_embed.0.", "unet/time_embedding.linear_1.", SAME, NULL },
    { "model.diffusion_model.time_embed.2.", "unet/time_embedding.linear_2.", SAME, NULL },
    { "model.diffusion_model.input_blocks.0.0.", "unet/conv_in.", SAME, NULL },
    { "model.diffusion_model.input_blocks.#.0.op.", "unet/down_blocks.#.downsamplers.0.conv.", DOWNSAMPLE, NULL },
    { "model.diffusion_model.input_blocks.#.0.", "unet/down_blocks.#.resnets.#.", DOWN, unet_resnet },
    { "model.diffusion_model.input_blocks.#.1.", "unet/down_blocks.#.attentions.#.", DOWN, NULL },
    { "model.diffusion_model.middle_block.0.", "unet/mid_block.resnets.0.", SAME, unet_resnet },
    { "model.diffusion_model.middle_block.1.", "unet/mid_block.attentions.0.", SAME, NULL },
    { "model.diffusion_model.middle_block.2.", "unet/mid_block.resnets.1.", SAME, unet_resnet },
    { "model.diffusion_model.output_blocks.#.0.", "unet/up_blocks.#.resnets.#.", UP, unet_resnet },
    /* The upsampler follows the attention, or, on a level without attention, the residual block. */
    { "model.diffusion_model.output_blocks.#.1.conv.", "unet/up_blocks.#.upsamplers.0.conv.", UPSAMPLE, NULL },
    { "model.diffusion_model.output_blocks.#.2.conv.", "unet/up_blocks.#.upsamplers.0.conv.", UPSAMPLE, NULL },
    { "model.diffusion_model.output_blocks.#.1.", "unet/up_blocks.#.attentions.#.", UP, NULL },
    { "model.diffusion_model.out.0.", "unet/conv_norm_out.", SAME, NULL },
    { "model.diffusion_model.out.2.", "unet/conv_out.", SAME, NULL },

    { "first_stage_model.encoder.conv_in.", "vae/encoder.conv_in.", SAME, NULL },
    { "first_stage_model.encoder.down.#.block.#.", "vae/encoder.down_blocks.#.resnets.#.", SAME, vae_resnet },
    { "first_stage_model.encoder.down.#.downsample.conv.", "vae/encoder.down_blocks.#.downsamplers.0.conv.", SAME, NULL },
    { "first_stage_model.encoder.mid.block_1.", "vae/encoder.mid_block.resnets.0.", SAME, vae_resnet },
    { "first_stage_model.encoder.mid.attn_1.", "vae/encoder.mid_block.attentions.0.", SAME, vae_attention },
    { "first_stage_model.encoder.mid.block_2.", "vae/encoder.mid_block.resnets.1.", SAME, vae_resnet },
    { "first_stage_model.encoder.norm_out.", "vae/encoder.conv_norm_out.", SAME, NULL },
    { "first_stage_model.encoder.conv_out.", "vae/encoder.conv_out.", SAME, NULL },
    { "first_stage_model.decoder.conv_in.", "vae/decoder.conv_in.", SAME, NULL },
    { "first_stage_model.decoder.up.#.block.#.", "vae/decoder.up_blocks.#.resnets.#.", REVERSED, vae_resnet },
    { "first_stage_model.decoder.up.#.upsample.conv.", "vae/decoder.up_blocks.#.upsamplers.0.conv.", REVERSED, NULL },
    { "first_stage_model.decoder.mid.block_1.", "vae/decoder.mid_block.resnets.0.", SAME, vae_resnet },
    { "first_stage_model.decoder.mid.attn_1.", "vae/decoder.mid_block.attentions.0.", SAME, vae_attention },
    { "first_stage_model.decoder.mid.block_2.", "vae/decoder.mid_block.resnets.1.", SAME, vae_resnet },
    { "first_stage_model.decoder.norm_out.", "vae/decoder.conv_norm_out.", SAME, NULL },
    { "first_stage_model.decoder.conv_out.", "vae/decoder.conv_out.", SAME, NULL },
    { "first_stage_model.quant_conv.", "vae/quant_conv.", SAME, NULL },
    { "first_stage_model.post_quant_conv.", "vae/post_quant_conv.", SAME, NULL },

    { "cond_stage_model.transformer.text_model.", "text_encoder/", SAME, NULL },
    { "cond_stage_model.transformer.", "text_encoder/", SAME, NULL },
    { NULL, NULL, SAME, NULL },
};

static const row unet_rows[] = { { "", "unet/", SAME, NULL }, { NULL, NULL, SAME, NULL } };

static const row text_encoder_rows[] = { { "text_model.", "text_encoder/", SAME, NULL }, { "", "text_encoder/", SAME, NULL },
    { NULL, NULL, SAME, NULL } };

static const row vae_rows[] = {
    { "encoder.mid_block.attentions.0.", "vae/encoder.mid_block.attentions.0.", SAME, old_vae_attention },
    { "decoder.mid_block.attentions.0.", "vae/decoder.mid_block.attentions.0.", SAME, old_vae_attention },
    { "", "vae/", SAME, NULL },
    { NULL, NULL, SAME, NULL },
};

static const row no_rows[] = { { NULL, NULL, SAME, NULL } };

static const struct {
    const char *part;
    const row *rows;
} diffusers_parts[] = { { "unet", unet_rows }, { "vae", vae_rows }, { "text_encoder", text_encoder_rows } };

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

/* `to` with its numbers, the replacement and the rest, joined. NULL without memory. */
static char *compose(const char *to, const int numbers[MAX_NUMBERS], const char *replacement, const char *rest) {
    size_t bytes = strlen(to) + MAX_NUMBERS * MAX_DIGITS + strlen(replacement) + strlen(rest) + 1;
    char *name = malloc(bytes), *end = name;
    if (!name) return NULL;
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

static const char *part_of(const char *canonical) {
    for (size_t i = 0; i < sizeof diffusers_parts / sizeof *diffusers_parts; i++) {
        size_t length = strlen(diffusers_parts[i].part);
        if (strncmp(canonical, diffusers_parts[i].part, length) == 0 && canonical[length] == '/') return diffusers_parts[i].part;
    }
    return "";
}

static bool map_name(const row *rows, const char *file_name, int vae_levels, char **canonical, const char **part) {
    for (; rows->from; rows++) {
        int numbers[MAX_NUMBERS] = { 0 };
        const char *replacement, *rest = match(rows->from, file_name, numbers);
        if (!rest || !renumber(rows->numbering, vae_levels, numbers) || !match_suffix(rows->suffixes, &rest, &replacement)) continue;
        *part = part_of(rows->to);
        *canonical = compose(rows->to, numbers, replacement, rest);
        return *canonical != NULL;
    }
    *part = "";
    *canonical = strdup(file_name);
    return *canonical != NULL;
}

int udump_name_map_count_levels(const char *file_name, int levels) {
    int numbers[MAX_NUMBERS] = { 0 };
    if (match("first_stage_model.decoder.up.#.", file_name, numbers) && numbers[0] >= levels) return numbers[0] + 1;
    return levels;
}

bool udump_name_map_ldm(const char *file_name, int vae_levels, char **canonical, const char **part) {
    return map_name(ldm_rows, file_name, vae_levels, canonical, part);
}

bool udump_name_map_diffusers(const char *folder, const char *file_name, char **canonical, const char **part) {
    const row *rows = no_rows;
    for (size_t i = 0; i < sizeof diffusers_parts / sizeof *diffusers_parts; i++)
        if (strcmp(folder, diffusers_parts[i].part) == 0) rows = diffusers_parts[i].rows;
    return map_name(rows, file_name, 0, canonical, part);
}
