/* Writes a model of a family's size, or a tiny one, with random weights: random_model FOLDER [f16|f32] [sd15|sd21|sdxl|tiny|tiny-sdxl]
 * A diffusers folder; values are uniform with the variance 1 / fan-in, so that activations stay in range; the same bytes every time. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <sys/stat.h>

enum { TENSORS_MOST = 2048, RANK_MOST = 4, NOISE = 1000003 /* a prime: rows of no width repeat */ };

typedef struct tensor {
    char name[128];
    int rank;
    long shape[RANK_MOST];
} tensor;

typedef struct text_sizes {
    long width, layers, heads, projection; /* projection 0: none */
    const char *activation;
} text_sizes;

static const struct sizes {
    const char *name;
    long levels, unet[4], depth[4], time, context, added, vae[4]; /* depth: transformer layers; added: numbers of SDXL's added embedding, 0 without */
    text_sizes text[2];
    const char *heads, *scale, *prediction; /* as the configs say it */
    bool linear;                            /* 1 x 1 projections around transformers are linear layers */
} families[] = {
    { "sd15", 4, { 320, 640, 1280, 1280 }, { 1, 1, 1, 0 }, 1280, 768, 0, { 512, 512, 256, 128 }, { { 768, 12, 12, 0, "quick_gelu" } }, "8", "0.18215", "epsilon", false },
    { "sd21", 4, { 320, 640, 1280, 1280 }, { 1, 1, 1, 0 }, 1280, 1024, 0, { 512, 512, 256, 128 }, { { 1024, 23, 16, 0, "gelu" } }, "[5, 10, 20, 20]", "0.18215",
        "v_prediction", true },
    { "sdxl", 3, { 320, 640, 1280 }, { 0, 2, 10 }, 1280, 2048, 2816, { 512, 512, 256, 128 }, { { 768, 12, 12, 0, "quick_gelu" }, { 1280, 32, 20, 1280, "gelu" } },
        "[5, 10, 20]", "0.13025", "epsilon", true },
    { "tiny", 4, { 32, 64, 96, 96 }, { 1, 1, 1, 0 }, 128, 64, 0, { 64, 64, 32, 32 }, { { 64, 2, 1, 0, "quick_gelu" } }, "8", "0.18215", "epsilon", false },
    { "tiny-sdxl", 3, { 32, 64, 128 }, { 0, 2, 10 }, 128, 128, 6 * 256 + 96, { 32, 32, 32, 32 }, { { 64, 3, 1, 0, "quick_gelu" }, { 64, 3, 1, 96, "gelu" } }, "[1, 1, 2]",
        "0.13025", "epsilon", true },
};
static struct sizes sizes;

/* One safetensors file in the making. */
typedef struct part {
    tensor tensors[TENSORS_MOST];
    int count;
} part;

static size_t elements(const tensor *t) {
    size_t count = 1;
    for (int i = 0; i < t->rank; i++) count *= (size_t)t->shape[i];
    return count;
}

static void add(part *p, int rank, const long *shape, const char *format, ...) {
    tensor *t = &p->tensors[p->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    t->rank = rank;
    memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
}

static void add_norm(part *p, const char *name, long c) {
    add(p, 1, &c, "%s.weight", name);
    add(p, 1, &c, "%s.bias", name);
}

static void add_linear(part *p, const char *name, long in, long out, bool bias) {
    add(p, 2, (long[]){ out, in }, "%s.weight", name);
    if (bias) add(p, 1, &out, "%s.bias", name);
}

static void add_conv(part *p, const char *name, long in, long out, long kernel) {
    add(p, 4, (long[]){ out, in, kernel, kernel }, "%s.weight", name);
    add(p, 1, &out, "%s.bias", name);
}

static void add_pixels(part *p, const char *name, long in, long out, bool bias) {
    (void)bias; /* always */
    add_conv(p, name, in, out, 1);
}

typedef struct name {
    char text[112];
} name;

static name join(const char *format, ...) {
    name n;
    va_list args;
    va_start(args, format);
    vsnprintf(n.text, sizeof n.text, format, args);
    va_end(args);
    return n;
}

static void add_resnet(part *p, const char *prefix, long in, long out, long time) {
    add_norm(p, join("%s.norm1", prefix).text, in);
    add_conv(p, join("%s.conv1", prefix).text, in, out, 3);
    if (time) add_linear(p, join("%s.time_emb_proj", prefix).text, time, out, true);
    add_norm(p, join("%s.norm2", prefix).text, out);
    add_conv(p, join("%s.conv2", prefix).text, out, out, 3);
    if (in != out) add_conv(p, join("%s.conv_shortcut", prefix).text, in, out, 1);
}

static void add_attention(part *p, const char *prefix, long c, long context) {
    add_linear(p, join("%s.to_q", prefix).text, c, c, false);
    add_linear(p, join("%s.to_k", prefix).text, context, c, false);
    add_linear(p, join("%s.to_v", prefix).text, context, c, false);
    add_linear(p, join("%s.to_out.0", prefix).text, c, c, true);
}

static void add_transformer(part *p, const char *prefix, long c, long depth) {
    void (*project)(part *, const char *, long, long, bool) = sizes.linear ? add_linear : add_pixels;
    if (!depth) return;
    add_norm(p, join("%s.norm", prefix).text, c);
    project(p, join("%s.proj_in", prefix).text, c, c, true);
    for (long d = 0; d < depth; d++) {
        name layer = join("%s.transformer_blocks.%ld", prefix, d);
        for (int i = 1; i <= 3; i++) add_norm(p, join("%s.norm%d", layer.text, i).text, c);
        add_attention(p, join("%s.attn1", layer.text).text, c, c);
        add_attention(p, join("%s.attn2", layer.text).text, c, sizes.context);
        add_linear(p, join("%s.ff.net.0.proj", layer.text).text, c, 8 * c, true);
        add_linear(p, join("%s.ff.net.2", layer.text).text, 4 * c, c, true);
    }
    project(p, join("%s.proj_out", prefix).text, c, c, true);
}

static void list_unet(part *p) {
    const long *widths = sizes.unet;
    int last = (int)sizes.levels - 1;
    long skips[12] = { widths[0] }, c = widths[0];
    int skip = 1;
    add_linear(p, "time_embedding.linear_1", c, sizes.time, true);
    add_linear(p, "time_embedding.linear_2", sizes.time, sizes.time, true);
    if (sizes.added) add_linear(p, "add_embedding.linear_1", sizes.added, sizes.time, true);
    if (sizes.added) add_linear(p, "add_embedding.linear_2", sizes.time, sizes.time, true);
    add_conv(p, "conv_in", 4, c, 3);
    for (int level = 0; level <= last; level++) {
        for (int i = 0; i < 2; i++, c = widths[level], skips[skip++] = c) {
            add_resnet(p, join("down_blocks.%d.resnets.%d", level, i).text, c, widths[level], sizes.time);
            add_transformer(p, join("down_blocks.%d.attentions.%d", level, i).text, widths[level], sizes.depth[level]);
        }
        if (level < last) add_conv(p, join("down_blocks.%d.downsamplers.0.conv", level).text, c, c, 3), skips[skip++] = c;
    }
    add_resnet(p, "mid_block.resnets.0", c, c, sizes.time);
    add_transformer(p, "mid_block.attentions.0", c, sizes.depth[last] ? sizes.depth[last] : sizes.depth[last - 1]);
    add_resnet(p, "mid_block.resnets.1", c, c, sizes.time);
    for (int level = 0; level <= last; level++) {
        for (int i = 0; i < 3; i++, c = widths[last - level]) {
            add_resnet(p, join("up_blocks.%d.resnets.%d", level, i).text, c + skips[--skip], widths[last - level], sizes.time);
            add_transformer(p, join("up_blocks.%d.attentions.%d", level, i).text, widths[last - level], sizes.depth[last - level]);
        }
        if (level < last) add_conv(p, join("up_blocks.%d.upsamplers.0.conv", level).text, c, c, 3);
    }
    add_norm(p, "conv_norm_out", widths[0]);
    add_conv(p, "conv_out", widths[0], 4, 3);
}

static void list_vae(part *p) {
    const long *widths = sizes.vae;
    long c = widths[0];
    add_conv(p, "post_quant_conv", 4, 4, 1);
    add_conv(p, "decoder.conv_in", 4, c, 3);
    add_resnet(p, "decoder.mid_block.resnets.0", c, c, 0);
    add_norm(p, "decoder.mid_block.attentions.0.group_norm", c);
    static const char *const projections[] = { "to_q", "to_k", "to_v", "to_out.0" };
    for (int i = 0; i < 4; i++) add_linear(p, join("decoder.mid_block.attentions.0.%s", projections[i]).text, c, c, true);
    add_resnet(p, "decoder.mid_block.resnets.1", c, c, 0);
    for (int level = 0; level < 4; level++) {
        for (int i = 0; i < 3; i++, c = widths[level])
            add_resnet(p, join("decoder.up_blocks.%d.resnets.%d", level, i).text, c, widths[level], 0);
        if (level < 3) add_conv(p, join("decoder.up_blocks.%d.upsamplers.0.conv", level).text, c, c, 3);
    }
    add_norm(p, "decoder.conv_norm_out", c);
    add_conv(p, "decoder.conv_out", c, 3, 3);
}

static void list_text(part *p, const text_sizes *sizes_of_text) {
    const long w = sizes_of_text->width;
    static const char *const projections[] = { "q_proj", "k_proj", "v_proj", "out_proj" };
    add(p, 2, (long[]){ 49408, w }, "text_model.embeddings.token_embedding.weight");
    add(p, 2, (long[]){ 77, w }, "text_model.embeddings.position_embedding.weight");
    for (long layer = 0; layer < sizes_of_text->layers; layer++) {
        name prefix = join("text_model.encoder.layers.%ld", layer);
        for (int i = 0; i < 4; i++) add_linear(p, join("%s.self_attn.%s", prefix.text, projections[i]).text, w, w, true);
        add_norm(p, join("%s.layer_norm1", prefix.text).text, w);
        add_linear(p, join("%s.mlp.fc1", prefix.text).text, w, 4 * w, true);
        add_linear(p, join("%s.mlp.fc2", prefix.text).text, 4 * w, w, true);
        add_norm(p, join("%s.layer_norm2", prefix.text).text, w);
    }
    add_norm(p, "text_model.final_layer_norm", w);
    if (sizes_of_text->projection) add_linear(p, "text_projection", w, sizes_of_text->projection, false);
}

/* xorshift64*: uniform in [-1, 1). */
static double uniform(uint64_t *state) {
    *state ^= *state >> 12, *state ^= *state << 25, *state ^= *state >> 27;
    return (double)(int64_t)(*state * 2685821657736338717u) * 0x1p-63;
}

/* Positive and negative normal numbers well inside fp16's range; what is smaller becomes 0. */
static uint16_t to_f16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    int exponent = (int)(bits >> 23 & 0xFF) - 127 + 15;
    if (exponent <= 0) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)exponent << 10 | (bits >> 13 & 0x3FF));
}

/* The same numbers for every tensor, scaled, so that gigabytes are written and not made. */
static bool write_values(FILE *file, const tensor *t, bool half, const float *noise, void *scaled) {
    size_t count = elements(t), length = strlen(t->name), size = half ? 2 : 4;
    bool is_norm_scale = t->rank == 1 && strcmp(t->name + length - 7, ".weight") == 0;
    double scale = t->rank == 1 ? 0.02 : sqrt(3.0 * (double)t->shape[0] / (double)count); /* uniform in +-sqrt(3 / fan-in) */
    if (t->shape[0] == 49408 || t->shape[0] == 77) scale = 0.02;
    size_t made = count < NOISE ? count : NOISE;
    for (size_t i = 0; i < made; i++) {
        float value = (float)((double)noise[i] * scale + (is_norm_scale ? 1.0 : 0.0));
        if (half) ((uint16_t *)scaled)[i] = to_f16(value);
        else ((float *)scaled)[i] = value;
    }
    for (size_t left = count; left; left -= left < made ? left : made)
        if (fwrite(scaled, size, left < made ? left : made, file) != (left < made ? left : made)) return false;
    return true;
}

static bool write_part(const char *folder, const char *part_name, const char *file_name, const char *config, const part *p, bool half) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, part_name);
    if (mkdir(path, 0777) && errno != EEXIST) return false;
    snprintf(path, sizeof path, "%s/%s/config.json", folder, part_name);
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool fine = fputs(config, file) >= 0;
    fine &= fclose(file) == 0;

    char *header = malloc((size_t)p->count * 256 + 64);
    float *noise = malloc(2 * NOISE * sizeof *noise);
    uint64_t state = 0x9E3779B97F4A7C15u;
    if (!header || !noise) return free(header), free(noise), false;
    for (int i = 0; i < NOISE; i++) noise[i] = (float)uniform(&state);
    size_t used = (size_t)sprintf(header, "{"), offset = 0, size = half ? 2 : 4;
    for (int i = 0; i < p->count; i++) {
        const tensor *t = &p->tensors[i];
        used += (size_t)sprintf(header + used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", t->name, half ? "F16" : "F32");
        for (int d = 0; d < t->rank; d++) used += (size_t)sprintf(header + used, "%s%ld", d ? "," : "", t->shape[d]);
        used += (size_t)sprintf(header + used, "],\"data_offsets\":[%zu,%zu]}", offset, offset + elements(t) * size);
        offset += elements(t) * size;
    }
    used += (size_t)sprintf(header + used, "}");
    while (used % 8) header[used++] = ' ';
    snprintf(path, sizeof path, "%s/%s/%s", folder, part_name, file_name);
    file = fopen(path, "wb");
    if (!file) return free(header), free(noise), false;
    uint64_t length = used;
    fine &= fwrite(&length, sizeof length, 1, file) == 1 && fwrite(header, used, 1, file) == 1;
    for (int i = 0; fine && i < p->count; i++) fine = write_values(file, &p->tensors[i], half, noise, noise + NOISE);
    free(header);
    free(noise);
    return fclose(file) == 0 && fine;
}

static bool write_text(const char *folder, int which, bool half) {
    static part text;
    const text_sizes *t = &sizes.text[which];
    char config[256];
    text.count = 0;
    list_text(&text, t);
    snprintf(config, sizeof config, "{\"num_attention_heads\": %ld, \"hidden_act\": \"%s\"}\n", t->heads, t->activation);
    return write_part(folder, which ? "text_encoder_2" : "text_encoder", "model.safetensors", config, &text, half);
}

static bool write_scheduler(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/scheduler", folder);
    if (mkdir(path, 0777) && errno != EEXIST) return false;
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", folder);
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool fine = fprintf(file, "{\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\", \"prediction_type\": \"%s\"}\n", sizes.prediction) > 0;
    return fclose(file) == 0 && fine;
}

int main(int argc, char **argv) {
    const char *family = argc > 3 ? argv[3] : "sd15";
    bool half = argc < 3 || strcmp(argv[2], "f16") == 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].name, family) == 0) sizes = families[i];
    if (argc < 2 || !sizes.levels) return fputs("usage: random_model FOLDER [f16|f32] [sd15|sd21|sdxl|tiny|tiny-sdxl]\n", stderr), 2;
    static part unet, vae;
    char unet_config[160], vae_config[160];
    list_unet(&unet);
    list_vae(&vae);
    snprintf(unet_config, sizeof unet_config, "{\"attention_head_dim\": %s, \"norm_num_groups\": 32}\n", sizes.heads);
    snprintf(vae_config, sizeof vae_config, "{\"norm_num_groups\": 32, \"scaling_factor\": %s}\n", sizes.scale);
    if (mkdir(argv[1], 0777) && errno != EEXIST) return perror(argv[1]), 1;
    bool fine = write_part(argv[1], "unet", "diffusion_pytorch_model.safetensors", unet_config, &unet, half)
        && write_part(argv[1], "vae", "diffusion_pytorch_model.safetensors", vae_config, &vae, half) && write_text(argv[1], 0, half)
        && (!sizes.text[1].width || write_text(argv[1], 1, half)) && write_scheduler(argv[1]);
    if (!fine) return perror(argv[1]), 1;
    printf("%s: %s\n", argv[1], sizes.name);
    return 0;
}
