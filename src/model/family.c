#include "model/family.h"

#include <string.h>

/* Sources: the original repositories' configs (CompVis/stable-diffusion v1-inference.yaml, Stability-AI/stablediffusion
 * v2-inference-v.yaml, Stability-AI/generative-models sd_xl_base.yaml), the webui's sd_hijack_clip.py and sd_models_xl.py. */
enum { SD1, SD2, SDXL };
static const udump_family families[] = {
    [SD1] = { .name = "SD 1", .heads = 8, .vae_scale = 0.18215, .text_count = 1,
        .text = { { .part = "text_encoder", .final_norm = true } }, .clip_skip = true },
    /* Of ViT-H/14's 24 layers folders leave out the last. */
    [SD2] = { .name = "SD 2", .head_dim = 64, .vae_scale = 0.18215, .text_count = 1,
        .text = { { .part = "text_encoder", .open_clip = true, .final_norm = true, .file_layers_unread = 1, .converted_layers = 23 } },
        .may_be_v = true },
    [SDXL] = { .name = "SDXL", .head_dim = 64, .vae_scale = 0.13025, .text_count = 2,
        .text = { { .part = "text_encoder", .layers_unread = 1, .file_layers_unread = 1 },
            { .part = "text_encoder_2", .open_clip = true, .layers_unread = 1, .file_layers_unread = 1, .pooled = true } },
        .empty_is_zero = true, .is_sdxl = true },
};

enum { OPEN_CLIP_WIDTH = 1024 }; /* ViT-H/14's */

/* OpenCLIP stores Q, K and V as one; in diffusers' folders its activation tells, in a single file with their names its width. */
static bool is_open_clip(const udump_weights *weights) {
    char activation[32];
    const udump_weight *q = udump_weights_find(weights, "text_encoder/encoder.layers.0.self_attn.q_proj.weight");
    if (q && q->pieces > 1) return true;
    if (q && udump_weights_layout(weights) == UDUMP_LAYOUT_LDM && q->rank == 2 && q->shape[1] == OPEN_CLIP_WIDTH) return true;
    return udump_weights_config_text(weights, "text_encoder", "hidden_act", activation, sizeof activation) && strcmp(activation, "gelu") == 0;
}

const udump_family *udump_family_of(const udump_weights *weights) {
    if (udump_weights_find(weights, "unet/add_embedding.linear_1.weight")) return &families[SDXL];
    return &families[is_open_clip(weights) ? SD2 : SD1];
}

/* A U-Net that embeds a pooled vector, and one OpenCLIP encoder to give it. */
static bool is_refiner(const udump_weights *weights) {
    return udump_weights_find(weights, "unet/add_embedding.linear_1.weight") && is_open_clip(weights)
        && !udump_weights_find(weights, "text_encoder_2/embeddings.token_embedding.weight");
}

const char *udump_family_foreign(const udump_weights *weights) {
    static const struct {
        const char *tensor, *what;
    } foreign[] = {
        { "edm_mean", "a model of EDM's noise levels (Playground 2.5)" },
        { "edm_vpred.sigma_max", "a model of EDM's noise levels (CosXL)" },
        { "embedder.model.ln_final.weight", "unCLIP, which is given a picture's embedding" },
        { "unet/class_embedding.linear_1.weight", "unCLIP, which is given a picture's embedding" },
        { "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight", "Stable Diffusion 3, which has no U-Net" },
        { "model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "Flux, which has no U-Net" },
        { "double_blocks.0.img_attn.qkv.weight", "Flux, which has no U-Net" },
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (udump_weights_find(weights, foreign[i].tensor)) return foreign[i].what;
    if (udump_weights_config_size(weights, "vae", "latents_mean") >= 0)
        return "a model of latents with a mean of their own (Playground 2.5)";
    return is_refiner(weights) ? "an SDXL refiner, which goes on from another model's latents" : NULL;
}
