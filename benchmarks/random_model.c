/* Writes a model of Stable Diffusion 1.5's size, or a tiny one of its shape, with random weights: random_model FOLDER [f16|f32] [full|tiny]
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

enum { TENSORS_MOST = 1200, RANK_MOST = 4 };

typedef struct tensor {
    char name[128];
    int rank;
    long shape[RANK_MOST];
} tensor;

/* What differs between the two. */
static struct sizes {
    long unet[4], time, context, vae[4];
    int text_layers;
} sizes = { { 320, 640, 1280, 1280 }, 1280, 768, { 512, 512, 256, 128 }, 12 };
static const struct sizes tiny = { { 32, 64, 96, 96 }, 128, 64, { 64, 64, 32, 32 }, 2 };

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

static void add_transformer(part *p, const char *prefix, long c) {
    name layer = join("%s.transformer_blocks.0", prefix);
    add_norm(p, join("%s.norm", prefix).text, c);
    add_conv(p, join("%s.proj_in", prefix).text, c, c, 1);
    for (int i = 1; i <= 3; i++) add_norm(p, join("%s.norm%d", layer.text, i).text, c);
    add_attention(p, join("%s.attn1", layer.text).text, c, c);
    add_attention(p, join("%s.attn2", layer.text).text, c, sizes.context);
    add_linear(p, join("%s.ff.net.0.proj", layer.text).text, c, 8 * c, true);
    add_linear(p, join("%s.ff.net.2", layer.text).text, 4 * c, c, true);
    add_conv(p, join("%s.proj_out", prefix).text, c, c, 1);
}

static void list_unet(part *p) {
    const long *widths = sizes.unet;
    long skips[12] = { widths[0] }, c = widths[0];
    int skip = 1;
    add_linear(p, "time_embedding.linear_1", c, sizes.time, true);
    add_linear(p, "time_embedding.linear_2", sizes.time, sizes.time, true);
    add_conv(p, "conv_in", 4, c, 3);
    for (int level = 0; level < 4; level++) {
        for (int i = 0; i < 2; i++, c = widths[level], skips[skip++] = c) {
            add_resnet(p, join("down_blocks.%d.resnets.%d", level, i).text, c, widths[level], sizes.time);
            if (level < 3) add_transformer(p, join("down_blocks.%d.attentions.%d", level, i).text, widths[level]);
        }
        if (level < 3) add_conv(p, join("down_blocks.%d.downsamplers.0.conv", level).text, c, c, 3), skips[skip++] = c;
    }
    add_resnet(p, "mid_block.resnets.0", c, c, sizes.time);
    add_transformer(p, "mid_block.attentions.0", c);
    add_resnet(p, "mid_block.resnets.1", c, c, sizes.time);
    for (int level = 0; level < 4; level++) {
        for (int i = 0; i < 3; i++, c = widths[3 - level]) {
            add_resnet(p, join("up_blocks.%d.resnets.%d", level, i).text, c + skips[--skip], widths[3 - level], sizes.time);
            if (level > 0) add_transformer(p, join("up_blocks.%d.attentions.%d", level, i).text, widths[3 - level]);
        }
        if (level < 3) add_conv(p, join("up_blocks.%d.upsamplers.0.conv", level).text, c, c, 3);
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

static void list_text(part *p) {
    const long w = sizes.context;
    static const char *const projections[] = { "q_proj", "k_proj", "v_proj", "out_proj" };
    add(p, 2, (long[]){ 49408, w }, "embeddings.token_embedding.weight");
    add(p, 2, (long[]){ 77, w }, "embeddings.position_embedding.weight");
    for (int layer = 0; layer < sizes.text_layers; layer++) {
        name prefix = join("encoder.layers.%d", layer);
        for (int i = 0; i < 4; i++) add_linear(p, join("%s.self_attn.%s", prefix.text, projections[i]).text, w, w, true);
        add_norm(p, join("%s.layer_norm1", prefix.text).text, w);
        add_linear(p, join("%s.mlp.fc1", prefix.text).text, w, 4 * w, true);
        add_linear(p, join("%s.mlp.fc2", prefix.text).text, 4 * w, w, true);
        add_norm(p, join("%s.layer_norm2", prefix.text).text, w);
    }
    add_norm(p, "final_layer_norm", w);
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

static bool write_values(FILE *file, const tensor *t, bool half, uint64_t *state) {
    size_t count = elements(t), length = strlen(t->name);
    bool is_norm_scale = t->rank == 1 && strcmp(t->name + length - 7, ".weight") == 0;
    double scale = t->rank == 1 ? 0.02 : sqrt(3.0 * (double)t->shape[0] / (double)count); /* uniform in +-sqrt(3 / fan-in) */
    if (t->shape[0] == 49408 || t->shape[0] == 77) scale = 0.02;
    for (size_t i = 0; i < count; i++) {
        float value = (float)(uniform(state) * scale + (is_norm_scale ? 1.0 : 0.0));
        uint16_t bits = to_f16(value);
        if (half ? fwrite(&bits, 2, 1, file) != 1 : fwrite(&value, 4, 1, file) != 1) return false;
    }
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
    if (!header) return false;
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
    if (!file) return free(header), false;
    uint64_t length = used, state = 0x9E3779B97F4A7C15u;
    fine &= fwrite(&length, sizeof length, 1, file) == 1 && fwrite(header, used, 1, file) == 1;
    for (int i = 0; fine && i < p->count; i++) fine = write_values(file, &p->tensors[i], half, &state);
    free(header);
    return fclose(file) == 0 && fine;
}

int main(int argc, char **argv) {
    if (argc < 2) return fputs("usage: random_model FOLDER [f16|f32] [full|tiny]\n", stderr), 2;
    bool half = argc < 3 || strcmp(argv[2], "f16") == 0;
    if (argc > 3 && strcmp(argv[3], "tiny") == 0) sizes = tiny;
    static part unet, vae, text;
    list_unet(&unet);
    list_vae(&vae);
    list_text(&text);
    if (mkdir(argv[1], 0777) && errno != EEXIST) return perror(argv[1]), 1;
    bool fine = write_part(argv[1], "unet", "diffusion_pytorch_model.safetensors", "{\"attention_head_dim\": 8, \"norm_num_groups\": 32}\n",
                    &unet, half)
        && write_part(
            argv[1], "vae", "diffusion_pytorch_model.safetensors", "{\"norm_num_groups\": 32, \"scaling_factor\": 0.18215}\n", &vae, half)
        && write_part(argv[1], "text_encoder", "model.safetensors",
            sizes.context == 64 ? "{\"num_attention_heads\": 1}\n" : "{\"num_attention_heads\": 12}\n", &text, half);
    if (!fine) return perror(argv[1]), 1;
    printf("%s: %d tensors\n", argv[1], unet.count + vae.count + text.count);
    return 0;
}
