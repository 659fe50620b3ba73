#include "sampling.h"

#include <math.h>
#include <signal.h>
#include <string.h>

enum { SIDE_PX = 512, NOT_GIVEN = INT32_MIN };

size_t sampling_list(sampling_arguments *s, cli_option *list) {
    udump_generate_options *o = &s->options;
    const cli_option all[] = {
        { "--model", "-m", OPTION_TEXT, &s->model.path, "a diffusers folder, or a single .safetensors file" },
        { "--vae", NULL, OPTION_TEXT, &s->model.vae, "another autoencoder: a .safetensors file (a checkpoint has one, too) or a diffusers vae folder" },
        { "--prompt", "-p", OPTION_TEXT, &o->prompt, "what to draw" },
        { "--negative-prompt", "-n", OPTION_TEXT, &o->negative_prompt, "what not to draw" },
        { "--init", NULL, OPTION_TEXT, &s->init, "a PNG to begin from instead of noise alone (img2img); resized where need be" },
        { "--strength", NULL, OPTION_NUMBER, &s->strength, "how far to go from it, 0 to 1 (0.75)" },
        { "--width", NULL, OPTION_INTEGER, &o->width_px, "pixels, a multiple of 8 (512, or --init's)" },
        { "--height", NULL, OPTION_INTEGER, &o->height_px, "pixels, a multiple of 8 (512, or --init's)" },
        { "--steps", NULL, OPTION_INTEGER, &o->steps, "sampling steps (20)" },
        { "--sampler", NULL, OPTION_TEXT, &o->sampler, "Euler a, Euler, LMS, Heun, DPM2 [a], DPM++ 2S a|2M|SDE|2M SDE|3M SDE, DDIM, PLMS, UniPC, LCM, Restart, DPM fast (Euler a)" },
        { "--scheduler", NULL, OPTION_TEXT, &o->schedule, "Automatic, Uniform, Karras, Exponential, SGM Uniform, Simple, Normal, Beta, ... (Automatic)" },
        { "--eta", NULL, OPTION_NUMBER, &s->eta, "how random ancestral samplers, SDE samplers and DDIM are (1; DDIM 0)" },
        { "--s-noise", NULL, OPTION_NUMBER, &s->s_noise, "what their fresh noise is multiplied by (1)" },
        { "--ensd", NULL, OPTION_LONG, &o->ensd, "eta noise seed delta (0)" },
        { "--cfg", NULL, OPTION_NUMBER, &s->cfg, "classifier-free guidance; 1 runs without the negative prompt (7)" },
        { "--variation-seed", NULL, OPTION_SEED, &o->variation_seed, "another seed, towards whose noise all images turn; it counts up instead (0)" },
        { "--variation-strength", NULL, OPTION_NUMBER, &o->variation_strength, "how far they turn, 0 to 1 (0)" },
        { "--clip-skip", NULL, OPTION_INTEGER, &o->clip_skip, "take the text encoder's N-th last layer (1)" },
        { "--rng", NULL, OPTION_TEXT, &s->rng, "nv or cpu: whose torch.randn (nv)" },
        { "--vae-tile", NULL, OPTION_INTEGER, &o->vae_tile_px, "encode and decode pictures in tiles of so many pixels, for large ones (0: whole)" },
        { "--device", NULL, OPTION_TEXT, &s->model.device, "auto, cpu, cuda, cuda:N or reference (auto: cuda where there is one)" },
        { "--cuda-module", NULL, OPTION_TEXT, &s->model.cuda_module, "the file libunetdump-cuda.so, if it is not beside unetdump" },
        { "--cuda-libraries", NULL, OPTION_TEXT, &s->model.cuda_libraries, "the folders of cuBLAS and cuDNN, A:B, if the system does not find them" },
        { "--plan-cache", NULL, OPTION_TEXT, &s->model.plan_cache, "CUDA: the folder that keeps which engines were fastest (~/.cache/unetdump); \"\": measure none" },
        { "--cuda-eager", NULL, OPTION_FLAG, &s->model.cuda_eager, "CUDA: begin operations one by one, not as one graph a step" },
        { "--precision", NULL, OPTION_TEXT, &s->model.precision, "auto, fp32, bf16 or fp16 (auto: fp16 on CUDA, bf16 where the CPU has AMX)" },
        { "--prediction", NULL, OPTION_TEXT, &s->model.prediction, "auto, epsilon or v (auto: the model's config)" },
        { "--lora", NULL, OPTION_LIST, &s->model.loras, "FILE[:WEIGHT][:IN04=0.5,OUT00-OUT08=0,TE=1]; may be given several times" },
        { "--embeddings", NULL, OPTION_TEXT, &s->model.embeddings, "a folder of embeddings (safetensors): a file's name in a prompt stands for it" },
        { "--model-hash", NULL, OPTION_FLAG, &s->model.hash_files, "name single files' SHA-256 in pictures, as the webui does (a second a GB, while loading)" },
        { "--threads", NULL, OPTION_INTEGER, &s->model.threads, "0 is one for each core (0)" },
    };
    _Static_assert(sizeof all / sizeof *all <= SAMPLING_OPTIONS_MOST, "the callers' lists have room for them");
    memcpy(list, all, sizeof all);
    return sizeof all / sizeof *all;
}

static udump_cancel interrupted = UDUMP_CANCEL_INIT;
static volatile sig_atomic_t interrupted_by; /* which signal; 0: none */
static void on_interrupt(int signal_number) {
    interrupted_by = signal_number;
    udump_cancel_raise(&interrupted);
}

void sampling_set_defaults(sampling_arguments *s) {
    *s = (sampling_arguments){ .rng = "nv", .cfg = 7, .eta = NAN, .s_noise = NAN, .strength = NAN };
    udump_style_init(&s->style);
    udump_generate_options_init(&s->options);
    s->options.width_px = s->options.height_px = NOT_GIVEN;
    s->options.steps = 20;
    s->options.batch_size = s->options.batch_count = 1;
    s->options.cancel = &interrupted;
}

static bool check_side(const char *option, int32_t px) {
    if (px >= 1 || px == NOT_GIVEN) return true;
    return fail_usage("%s: expected a multiple of 8 from 8 to 16384, found %d", option, (int)px), false;
}

bool sampling_check(const sampling_arguments *s) {
    const udump_generate_options *o = &s->options;
    if (s->cfg == 0) return fail_usage("--cfg: expected a number other than 0, found 0"), false;
    if (o->steps < 1 || o->steps > 1000) return fail_usage("--steps: expected a number from 1 to 1000, found %d", (int)o->steps), false;
    return check_side("--width", o->width_px) && check_side("--height", o->height_px);
}

/* Sizes that were not given: 0 is what --init's own size goes by. */
static void resolve_sizes(sampling_arguments *s) {
    udump_generate_options *o = &s->options;
    int32_t none = s->init ? 0 : SIDE_PX;
    if (o->width_px == NOT_GIVEN) o->width_px = none;
    if (o->height_px == NOT_GIVEN) o->height_px = none;
}

bool sampling_resolve(sampling_arguments *s, udump_image *init, int *status) {
    static const char *const rngs[] = { "nv", "cpu" };
    udump_generate_options *o = &s->options;
    int rng = find_name(s->rng, rngs, 2);
    *status = EXIT_BAD_INPUT;
    if (rng < 0) return fail_usage("--rng: expected nv or cpu, found '%s'", s->rng), false;
    o->rng = (udump_rng)rng;
    resolve_sizes(s);
    if (s->init && !load_init(s->init, &o->width_px, &o->height_px, init, status)) return false;
    o->init = s->init ? &init->picture : NULL;
    o->cfg = (float)s->cfg;
    o->style = &s->style;
    o->eta = isnan(s->eta) ? NULL : &s->eta;
    o->s_noise = isnan(s->s_noise) ? NULL : &s->s_noise;
    o->strength = isnan(s->strength) ? NULL : &s->strength;
    return true;
}

int sampling_fail(const sampling_arguments *s, const udump_error *error) {
    const udump_generate_options *o = &s->options;
    const struct {
        const char *where, *text;
    } texts[] = { { "prompt", o->prompt }, { "negative prompt", o->negative_prompt }, { "feature layers", o->features }, { "feature steps", o->feature_steps },
        { "attention layers", o->attention }, { "attention steps", o->attention_steps }, { "diff layers", o->diff }, { "diff steps", o->diff_steps },
        { "color", s->style.color }, { "transform", s->style.transform } };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(error->where, texts[i].where) == 0) return fail_text(error, texts[i].text);
    return fail_error(error);
}

void sampling_watch(void) {
    struct sigaction once = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND | SA_RESTART };
    sigaction(SIGINT, &once, NULL);
    sigaction(SIGTERM, &once, NULL);
}

int sampling_end(int status) {
    if (status == EXIT_FAILED && interrupted_by) {
        signal(interrupted_by, SIG_DFL);
        raise(interrupted_by);
    }
    return status;
}
