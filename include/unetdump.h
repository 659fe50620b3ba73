/* libunetdump: sample images with Stable Diffusion and see what happens inside its U-Net.
 *
 * Contents, simple to advanced:
 *   1. status and errors          every function's return value, and its detail
 *   2. models                     load a checkpoint, ask what it holds
 *   3. generating                 one call: a prompt in, an image and its insides out
 *   4. folders                    the ready-made sink that writes pictures, tensors and a manifest; the report of a run
 *   5. rendering                  any [C, H, W] tensor as a tiled, coloured picture
 *   6. notation and tokens        what a layer spec, a step spec or a prompt means
 *   7. contexts and tables        your own conditioning, another one for every block
 *   8. stepping and hooks         drive the loop yourself; change activations while they flow
 *   9. pictures as input          read a PNG, and what it says about how it was made
 *  10. sweeps                     another prompt, or a LoRA, in one block at a time: which blocks does it act on?
 *
 * Conventions
 *   Shapes stand in brackets, slowest dimension first; strides count elements. Images are RGB, 8 bits, rows top to bottom.
 *   Text is UTF-8. Paths are the system's. Sizes named _bytes are bytes, _px pixels.
 *   Options structs start with their size: fill them with their _init, then set what you need; zero means default. They only grow: what an older
 *   program's lack keeps its default, what a newer one's set and this library does not know is refused (ARGUMENT). So with sinks and observers.
 *   Ownership: what a function returns through a `**` is yours, to be given to the matching release/free function; when it fails, the pointer
 *   stays as it was. Pointers inside structs handed to a callback are valid only during that call. Strings returned by value live as long as the
 *   object they came from.
 *   Null pointers: a function that returns a status answers ARGUMENT to one where none is allowed; the others take NULL only where it is said.
 *   Callbacks: a sink's function or a hook may not begin, step or end the session that calls it, encode with it, change its hooks nor view its latent
 *   (STATE), and not destroy it. It has to return: no exception and no longjmp may leave it.
 *   Threads: a model is immutable and may be shared; a session, folder, context-building or table belongs to one thread at a time (a session that
 *   another is using says STATE). A child made by fork goes on with a model on the CPU.
 *   The library never prints, exits, aborts or keeps global state of its own. */
#ifndef UNETDUMP_H
#define UNETDUMP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(UDUMP_STATIC)
#define UDUMP_API
#elif defined(__GNUC__)
#define UDUMP_API __attribute__((visibility("default")))
#else
#define UDUMP_API
#endif

#define UDUMP_VERSION_MAJOR 0
#define UDUMP_VERSION_MINOR 1
#define UDUMP_VERSION_PATCH 0

/* The library's version as "major.minor.patch". Thread-safe. */
UDUMP_API const char *udump_version(void);

/* ---------------------------------------------------------------- 1. status and errors */

typedef enum udump_status {
    UDUMP_OK = 0,
    UDUMP_ERROR_ARGUMENT = 1,    /* a value out of range, an unknown name, a null pointer */
    UDUMP_ERROR_SYNTAX = 2,      /* a spec, prompt or expression does not parse; the detail has the position */
    UDUMP_ERROR_FORMAT = 3,      /* a file is not what it should be: truncated, malformed, hostile */
    UDUMP_ERROR_WEIGHTS = 4,     /* a checkpoint lacks a tensor, or one has the wrong shape */
    UDUMP_ERROR_UNSUPPORTED = 5, /* recognised, and not supported */
    UDUMP_ERROR_FILE = 6,        /* the system refused to open, read or write */
    UDUMP_ERROR_MEMORY = 7,      /* out of memory */
    UDUMP_ERROR_DEVICE = 8,      /* the device cannot be had or failed */
    UDUMP_ERROR_CANCELLED = 9,   /* the cancel flag was raised, or a callback said stop */
    UDUMP_ERROR_STATE = 10,      /* a call out of order (a step before begin) */
    UDUMP_ERROR_INTERNAL = 11    /* a defect in the library */
} udump_status;

/* The detail of a failure: owned by the caller, filled when a function fails, untouched when it succeeds.
 * Every function that takes one accepts NULL. */
typedef struct udump_error {
    udump_status status;
    char what[256];     /* what is wrong, without a full stop: "unknown sampler" */
    char where[256];    /* the file, tensor, option or text it is in; "" if nowhere in particular */
    char expected[256]; /* what was expected; "" if that says nothing */
    char found[256];    /* what was found; "" if that says nothing */
    int64_t offset;     /* position in the text, 0-based, in code points; in a file, in bytes; -1 without one */
    int64_t line;       /* from 1; 0 without one */
    int64_t column;     /* from 1, in code points; 0 without one */
} udump_error;

/* The name of a status: "out of memory". Never NULL. Thread-safe. */
UDUMP_API const char *udump_status_name(udump_status status);

/* One line: `where: what: expected ..., found ...`. Writes at most size_bytes bytes, always terminated; returns the length
 * that the whole line has. */
UDUMP_API size_t udump_error_format(const udump_error *error, char *buffer, size_t size_bytes);

/* The defaults of an options struct: zeros, and its size as your program knows it. In C each has a name of its own for this, as udump_style_init(&style). */
UDUMP_API void udump_options_init(void *options, size_t struct_bytes);

/* ---------------------------------------------------------------- shared plain types */

typedef enum udump_dtype {
    UDUMP_F32 = 0,
    UDUMP_F16 = 1,
    UDUMP_BF16 = 2
} udump_dtype;

/* A view of a tensor that somebody else owns. rank <= 6; strides in elements; any memory order. */
typedef struct udump_view {
    void *data;
    udump_dtype dtype;
    int32_t rank;
    int64_t shape[6];
    int64_t stride[6];
} udump_view;

/* A picture, or a part of one: rows of `channels` bytes a pixel (1: grey, 3: RGB), row_bytes apart. */
typedef struct udump_picture {
    const uint8_t *pixels; /* [height_px, width_px, channels] */
    int32_t width_px, height_px, channels;
    size_t row_bytes;
} udump_picture;

/* What a callback answers. */
typedef enum udump_flow {
    UDUMP_CONTINUE = 0,
    UDUMP_STOP = 1, /* the run ends with UDUMP_ERROR_CANCELLED */
    UDUMP_SKIP = 2  /* of a sink's begin: this batch is not run. udump_generate goes on with the next; udump_begin ends as with UDUMP_STOP */
} udump_flow;

/* A flag safe to raise from any thread or a signal handler; checked between operations, so that a run ends within one step with
 * UDUMP_ERROR_CANCELLED. Start with UDUMP_CANCEL_INIT. */
typedef struct udump_cancel {
    volatile int raised;
} udump_cancel;
#define UDUMP_CANCEL_INIT { 0 }
UDUMP_API void udump_cancel_raise(udump_cancel *cancel);

/* ---------------------------------------------------------------- 2. models */

typedef struct udump_model udump_model;

typedef enum udump_device {
    UDUMP_DEVICE_AUTO = 0,      /* CUDA where a device and the module are there, else the CPU */
    UDUMP_DEVICE_CPU = 1,       /* our own kernels; bf16 by oneDNN */
    UDUMP_DEVICE_REFERENCE = 2, /* plain C: slow, simple, what the others are checked against */
    UDUMP_DEVICE_CUDA = 3       /* by the module libunetdump-cuda.so */
} udump_device;

typedef enum udump_precision {
    UDUMP_PRECISION_AUTO = 0, /* fp16 on CUDA; bf16 where the CPU multiplies bf16 matrices natively (AMX), else fp32 */
    UDUMP_PRECISION_FP32 = 1,
    UDUMP_PRECISION_BF16 = 2, /* weights and activations; sums, norms, softmax and the latent stay fp32 */
    UDUMP_PRECISION_FP16 = 3  /* likewise; not on the CPU. Where the autoencoder overflows, its fp32 copy runs */
} udump_precision;

typedef enum udump_prediction {
    UDUMP_PREDICTION_AUTO = 0, /* the checkpoint's config, or a tensor "v_pred" in it; an SD 2 file without either is asked by running it once,
                                  as in the webui; else epsilon */
    UDUMP_PREDICTION_EPSILON = 1,
    UDUMP_PREDICTION_V = 2 /* Salimans and Ho 2022, progressive distillation */
} udump_prediction;

/* A low-rank difference (Hu et al. 2021) that is added to the weights while they load: kohya's, diffusers' and PEFT's safetensors (PEFT's
 * with its adapter_config.json in the same folder). Of LyCORIS' adapters (Yeh et al. 2023) LoCon, LoHa, LoKr, full differences, and those of norms
 * and biases; with DoRA (Liu et al. 2024), whose weight blends the layer's old and new weight. */
typedef struct udump_lora {
    const char *path;
    const double *weight; /* what the difference is multiplied by; NULL: 1 */
    /* What some blocks' difference is multiplied by besides, the text encoders' ("TE" or "BASE"), or all that is in the U-Net ("UNET"):
     * "IN04=0.5,OUT00-OUT08=0,TE=0.3", layer specs and numbers. The others keep the weight, as does what is in no block. NULL: none */
    const char *block_weights;
} udump_lora;

/* The file that the webui means by "<lora:NAME:0.8>": NAME.safetensors in the folder or in those within it, else the one whose own metadata
 * calls itself so ("ss_output_name", which trainers write); the first, in the order of names' bytes. path: [path_bytes].
 * Errors: FILE (there is none, or the folder cannot be read), ARGUMENT (path is too short), MEMORY. Thread-safe. */
UDUMP_API udump_status udump_lora_find(const char *folder, const char *name, char *path, size_t path_bytes, udump_error *error);

/* The webui's LoRAs in a prompt: "<lora:NAME>", "<lora:NAME:0.8>", "<lora:NAME:0.5:0.8>" (the text encoders' weight, then the U-Net's) or
 * "<lora:NAME:te=0.5:unet=0.8>"; "<lyco:...>" means the same. Runs read them as any other words: whoever loads the model for a prompt takes them off before. */
typedef struct udump_lora_tags udump_lora_tags;

typedef struct udump_lora_tag {
    const char *text; /* the tag as it stands there */
    int64_t offset;   /* where, in bytes */
    const char *name; /* whose file udump_lora_find finds */
    double weight;    /* this and block_weights as udump_lora has them */
    const char *block_weights; /* "TE=0.625", "UNET=0", where the text encoders' weight is another than the U-Net's; NULL: none */
    const char *problem;       /* why it means no LoRA: a hypernetwork, a weight that is none; NULL: it does */
} udump_lora_tag;

/* Errors: MEMORY. Thread-safe. */
UDUMP_API udump_status udump_lora_tags_parse(const char *prompt, udump_lora_tags **tags, udump_error *error);
UDUMP_API void udump_lora_tags_free(udump_lora_tags *tags); /* accepts NULL */
/* The prompt without them, and, if there were any, without blanks at its end; as long as the tags live. */
UDUMP_API const char *udump_lora_tags_prompt(const udump_lora_tags *tags);
/* In the prompt's order, [*count]; as long as the tags live. */
UDUMP_API const udump_lora_tag *udump_lora_tags_list(const udump_lora_tags *tags, int32_t *count);

typedef struct udump_model_options {
    size_t struct_bytes;
    udump_device device;
    udump_precision precision;
    udump_prediction prediction;
    int32_t threads; /* 1..1024; 0: one for each core that this process may use. Where the system refuses to start so many, fewer do the same work */
    int32_t device_index; /* CUDA: which of several devices */
    const char *cuda_module; /* the module's file; NULL: libunetdump-cuda.so beside the library or program, or where the system looks */
    const char *cuda_libraries; /* the folders of cuBLAS and cuDNN, "A:B" (PyTorch's wheels have one each); NULL: where the system looks */
    const char *vae_path; /* an autoencoder instead of the checkpoint's: a .safetensors file (of a whole checkpoint its own) or a diffusers vae folder; NULL: none */
    const udump_lora *loras; /* [lora_count] */
    int32_t lora_count;      /* 0..64 */
    /* A folder of textual inversion embeddings, read with the folders in it: safetensors files, each for the word that its name is. In
     * prompts that word then stands for the file's vectors. Files that are for other models are left out with a warning. NULL: none */
    const char *embeddings;
    /* CUDA: the folder that keeps which of the vendors' engines was fastest here for each shape, by device and versions: found by measuring once, and results
     * repeat to the bit while it is there. NULL: unetdump in $XDG_CACHE_HOME or ~/.cache; "": measures nothing and takes the vendors' first choice. */
    const char *plan_cache;
    int32_t cuda_eager; /* 1: begins operations one by one, not as one CUDA graph a step: the same results, to measure what graphs save */
    /* 1: finds the SHA-256 of a checkpoint and an autoencoder that are single files, whose first ten digits pictures then name ("Model hash", by which the
     * webui and archives of models know them). It takes about a second a GB of another thread, while the model loads. */
    int32_t hash_files;
} udump_model_options;
#define udump_model_options_init(options) udump_options_init((options), sizeof *(options))

/* Loads a checkpoint: a diffusers folder, or one .safetensors file in the original (LDM) layout. Everything is validated before
 * the first large allocation; nothing stays mapped or open. options may be NULL. Here as in every call: the CUDA device that the calling
 * thread has current stays so, whichever the model is on.
 * Errors: FILE, FORMAT, WEIGHTS (names the tensor, expected and found shapes; also one of a LoRA that is for another model), UNSUPPORTED,
 * SYNTAX (block weights, with the position), ARGUMENT, MEMORY, DEVICE. */
UDUMP_API udump_status udump_model_load(const char *path, const udump_model_options *options, udump_model **model, udump_error *error);
/* Models are reference-counted; sessions and tables hold one reference each, contexts none: they may outlive it. Thread-safe. Release accepts NULL. */
UDUMP_API void udump_model_retain(udump_model *model);
UDUMP_API void udump_model_release(udump_model *model);

typedef struct udump_model_info {
    const char *family;      /* "SD 1", "SD 2", "SDXL" */
    const char *layout;      /* "diffusers" or "ldm" */
    const char *device;      /* "cpu", "reference", "cuda" */
    const char *device_note; /* which device was chosen, and why */
    const char *precision;   /* "fp32", "bf16", "fp16" */
    const char *prediction;  /* "epsilon", "v" */
    int32_t block_count;
    int32_t context_dim;    /* width of a context's rows */
    int32_t context_tokens; /* tokens of one chunk, start and end included: 77 */
    int32_t pooled_dim;     /* width of SDXL's pooled vector; 0 without one */
    int32_t latent_channels;
    int32_t pixels_per_latent; /* 8 */
    int32_t threads;
    int64_t parameter_count;
    int64_t weight_bytes; /* as packed for the device */
} udump_model_info;
/* Fills info; its strings live as long as the model. Thread-safe, as are the three functions that follow. */
UDUMP_API void udump_model_get_info(const udump_model *model, udump_model_info *info);

/* One of the U-Net's stages, in the original (LDM) numbering: IN00 is the input convolution, then down, M00, up. */
typedef struct udump_block_info {
    const char *name;        /* "IN00" */
    const char *path;        /* the diffusers module(s): "down_blocks.0.resnets.0 + attentions.0" */
    int32_t channels;        /* of the block's output */
    int32_t downscale;       /* the output is ceil(latent / downscale), where no skip's odd size says otherwise */
    int32_t attention_depth; /* transformer layers; 0 without attention */
    int32_t heads;           /* 0 without attention */
    int32_t head_dim;
} udump_block_info;
/* Errors: ARGUMENT if index is not below block_count. */
UDUMP_API udump_status udump_model_get_block(const udump_model *model, int32_t index, udump_block_info *info, udump_error *error);

/* A place where values can be looked at. */
typedef enum udump_tap_type {
    UDUMP_TAP_TYPE_BLOCK = 0, /* the block's output */
    UDUMP_TAP_TYPE_SELF = 1,  /* self-attention of one of its transformer layers */
    UDUMP_TAP_TYPE_CROSS = 2  /* cross-attention */
} udump_tap_type;

typedef struct udump_tap_info {
    udump_tap_type type;
    int32_t block_index;
    const char *block;   /* "IN04" */
    int32_t depth;       /* of the transformer layer, from 0; 0 for a block */
    char diffusers[256]; /* the module in diffusers' U-Net: "down_blocks.1.attentions.0.transformer_blocks.0.attn2" */
    char original[256];  /* in the original code's, model.diffusion_model: "input_blocks.4.1.transformer_blocks.0.attn2" */
} udump_tap_info;
/* By blocks, and within a block its output first, then each layer's self- and cross-attention. Errors: ARGUMENT past the last. */
UDUMP_API udump_status udump_model_get_tap(const udump_model *model, int32_t index, udump_tap_info *info, udump_error *error);
/* Where a list of `list_size` LoRA block weights has the block's weight; 0 is BASE, the text encoders. SD 1 and 2 have lists of 17 and 26
 * weights, SDXL of 12 and 20; -1 where the list, or the block in it, is not the model's. */
UDUMP_API int32_t udump_model_block_slot(const udump_model *model, int32_t block, int32_t list_size);

/* What loading noticed and went on from: tensors with NaN or infinity. NULL past the last. */
UDUMP_API const char *udump_model_warning(const udump_model *model, int32_t index);

/* The checkpoint's tensors, as they lie in its files. */
typedef struct udump_tensor_info {
    const char *name; /* as in the file */
    const char *part; /* "unet", "vae", "text_encoder", "text_encoder_2" or "" */
    udump_dtype dtype;
    int32_t rank;
    int64_t shape[6];
} udump_tensor_info;
/* Errors: ARGUMENT past the last. */
UDUMP_API udump_status udump_model_get_tensor(const udump_model *model, int64_t index, udump_tensor_info *info, udump_error *error);

/* ---------------------------------------------------------------- 3. generating */

typedef struct udump_session udump_session;

/* A session runs one generation at a time on one thread; it owns the activation arena and the plans, which later runs of the
 * same size reuse. Several sessions may run on one model in several threads. Errors: MEMORY. */
UDUMP_API udump_status udump_session_create(udump_model *model, udump_session **session, udump_error *error);
/* Ends a run that is going on. Accepts NULL. */
UDUMP_API void udump_session_destroy(udump_session *session);

/* In runs with a diff every image then gets a twin by the other model, from the same noise and prompts, and differences are between the
 * two: with and without a LoRA, or two checkpoints. Both are on one device, in one precision, of one family: every block has as many
 * channels. The session holds a reference. Hooks, and udump_latent_view, are of the first alone; such a run takes no table. NULL: diffs
 * are of layer prompts again. Errors: ARGUMENT (models that cannot be compared; says why), STATE (a run is going on), MEMORY. */
UDUMP_API udump_status udump_session_set_other(udump_session *session, udump_model *model, udump_error *error);

typedef enum udump_rng {
    UDUMP_RNG_NV = 0, /* torch.randn on CUDA: Philox 4x32-10; the webui's "GPU"/"NV" */
    UDUMP_RNG_CPU = 1 /* torch.randn on the CPU: mt19937 */
} udump_rng;

typedef enum udump_side {
    UDUMP_SIDE_COND = 0,   /* the prompt's rows */
    UDUMP_SIDE_UNCOND = 1, /* the negative prompt's rows */
    UDUMP_SIDE_BOTH = 2
} udump_side;

typedef enum udump_average {
    UDUMP_AVERAGE_NONE = 0,
    UDUMP_AVERAGE_SUM = 1,  /* mean over channels (the webui extension's name) */
    UDUMP_AVERAGE_L1 = 2,   /* sum |v| / channels; "1-norm" */
    UDUMP_AVERAGE_L2 = 3    /* sqrt(sum v^2) / channels; "2-norm" */
} udump_average;

/* How a tensor becomes a picture. Strings as on the command line; NULL means the default. */
typedef struct udump_style {
    size_t struct_bytes;
    const char *color;     /* "white-black", "red-blue", "rgb:R;G;B", "hsl:H;S;L" (expressions of v); default "hsl:(2+v)/3;1.0;0.5" */
    const char *transform; /* "auto01", "auto11" (by each tile's extremes; "auto01:canvas" by all tiles'), "linear:MIN,MAX", "sigmoid:GAIN,OFFSET"; default "auto01" */
    udump_average average; /* also give the average over channels, as a picture of one tile, before the canvas */
} udump_style;
#define udump_style_init(style) udump_options_init((style), sizeof *(style))

/* What of a block's attention. Sources: Vaswani et al. 2017; the kinds of cross-attention are the webui extension's. */
typedef enum udump_attention_kinds {
    UDUMP_ATTEND_K = 1,       /* cross: K */
    UDUMP_ATTEND_QK = 2,      /* cross: softmax(Q K^T / sqrt(d)) */
    UDUMP_ATTEND_VQK = 4,     /* cross: the attention's output before its output projection */
    UDUMP_ATTEND_SELF = 8,    /* self: where chosen positions look, attention received, entropy, three principal components */
    UDUMP_ATTEND_SELF_MAP = 16 /* self: the whole map, in parts, never as a picture: h * w times as large as a feature map's tile */
} udump_attention_kinds;

typedef struct udump_generate_options {
    size_t struct_bytes;
    /* May hold layer prompts: "a (~: IN00-OUT11: cute; M00: excellent :~) girl"; AND joins prompts: "a cat :1.2 AND a dog :0.8" (Liu et al.
     * 2022): uncond + cfg * the sum of weight * (cond - uncond). NULL: "" */
    const char *prompt;
    const char *negative_prompt; /* NULL: "" */
    int32_t width_px, height_px; /* multiples of 8, 8..16384; 0: 512 */
    int32_t steps;               /* 1..1000, to 999 for DPM2 and DPM2 a, which leave a level out; 0: 20 */
    /* The webui's names and k-diffusion's: "Euler", "Euler a", "LMS", "Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE",
     * "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DDIM", "PLMS", "UniPC", "LCM",
     * "Restart", "DPM fast"; with a schedule joined: "DPM++ 2M Karras".
     * NULL: "Euler a" */
    const char *sampler;
    /* "Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Simple", "Normal", "DDIM", "Beta",
     * "Align Your Steps";
     * NULL: "Automatic" */
    const char *schedule;
    const double *eta;     /* how random the ancestral samplers, the SDE samplers and DDIM are, 0..1; NULL: 1, but for DDIM 0 */
    const double *s_noise; /* what their fresh noise is multiplied by, 0 or more; NULL: 1 */
    int64_t ensd;          /* "eta noise seed delta": added to the seed of the noise after the initial latent, but for the SDE samplers */
    float cfg;                   /* 0: 7.0; 1 runs without the negative prompt, unless AND joins prompts; and so does a distilled model that is told
                                    the scale (LCM's) */
    uint64_t seed;
    /* 1..1024; 0: 1; image i takes its noise from seed + i. The U-Net's batch has at most 2048 rows: of each image one for each prompt that AND
     * joins and one for the negative prompt; with a diff as many again for its twin */
    int32_t batch_size;
    udump_rng rng;
    int32_t clip_skip; /* 1..the text encoder's layers: takes the clip_skip-th last hidden state; 0: 1, the last. SD 1 only, as in the
                          webui: SD 2 and SDXL always take the one before the last, whatever stands here */
    const udump_view *noise; /* [batch, 4, height/8, width/8] of unit variance, instead of the rng's; NULL: none */

    /* The webui's variation: every image begins with seed's noise, turned by variation_strength (0..1; 0: not at all) towards that of
     * variation_seed + i. */
    uint64_t variation_seed;
    double variation_strength;
    int32_t batch_count; /* so many batches one after the other, numbered on, of at most 1000 images in all: udump_generate alone, without noise; 0: 1 */

    /* img2img: a picture of width_px x height_px to begin from, and how much of the way to go, 0..1 (NULL: 0.75): the sampler runs the last
     * steps * strength + 1 of its steps, from the picture's latent (the mean of what the encoder gives) and that level's noise. */
    const udump_picture *init;
    const double *strength;
    int32_t vae_tile_px; /* encode and decode in tiles of this size, a multiple of 8 from 128 on, that overlap and are blended; 0: whole */

    /* What to look at. Layer specs: NULL is none, "" all blocks, else "IN00,M00-OUT11(+2)". Step specs: NULL is all, else "1,5,10-20(+5)"; steps,
     * kinds, words and queries of what is not looked at are refused. */
    const char *features; /* the outputs of blocks */
    const char *feature_steps;
    const char *attention; /* attention maps; blocks without attention are skipped */
    const char *attention_steps;
    uint32_t attention_kinds;     /* udump_attention_kinds, or'ed; 0: UDUMP_ATTEND_QK, or with attention_words those alone */
    const char *attention_words;  /* words of the prompt, white space between them: one map a word of what `attention` selects; NULL: none */
    const int32_t *self_queries_px; /* [self_query_count, 2]: x, y in the image; of UDUMP_ATTEND_SELF: where the positions that cover these look */
    int32_t self_query_count;       /* 0..64 */
    /* The outputs of blocks with the prompts' layer prompts, minus those without; or minus those of the session's other model. Every image
     * then has a twin. */
    const char *diff;
    const char *diff_steps;
    udump_side side; /* whose rows are shown */
    const udump_style *style; /* of all pictures but the images; NULL: the default */
    int32_t no_canvas;    /* 1: no pictures, tensors only */
    int32_t want_tensors; /* 1: the sink's tensor and part functions are called */

    udump_cancel *cancel; /* NULL: none */
} udump_generate_options;
#define udump_generate_options_init(options) udump_options_init((options), sizeof *(options))

/* What was captured, and its tensor's shape. h, w: the block's; depth: see udump_place. */
typedef enum udump_kind {
    UDUMP_KIND_FEATURES = 0,      /* [channels, h, w] */
    UDUMP_KIND_DIFF = 1,          /* [channels, h, w]: features with the layer prompts minus those without */
    UDUMP_KIND_K = 2,             /* [heads, tokens, head_dim] */
    UDUMP_KIND_QK = 3,            /* [heads, tokens, h, w]: where each token is seen; over tokens the sum is 1 */
    UDUMP_KIND_VQK = 4,           /* [channels, h, w] */
    UDUMP_KIND_WORDS = 5,         /* [words, h, w]: QK, the mean over heads, summed over a word's tokens */
    UDUMP_KIND_SELF_QUERIES = 6,  /* [heads, queries, h, w]: where the chosen positions look */
    UDUMP_KIND_SELF_RECEIVED = 7, /* [heads, h, w]: mean attention that a position receives; 1 / (h * w) on average */
    UDUMP_KIND_SELF_ENTROPY = 8,  /* [heads, h, w]: of where a position looks, in nats: 0 .. ln(h * w) */
    UDUMP_KIND_SELF_PCA = 9,      /* [3, h, w]: scores of the positions' rows of the map (mean over heads) on its first 3 principal components;
                                     each component's largest score in magnitude is positive */
    UDUMP_KIND_SELF_MAP = 10,     /* [heads, h * w, h * w]: from position, to position; in parts */
    UDUMP_KIND_HEAT = 11,         /* [words, H/8, W/8]: WORDS resized (bicubic, a = -0.75, cut at 0), the mean over blocks and steps
                                     whose prompt has the word (Tang et al. 2022, DAAM); once an image */
    UDUMP_KIND_OVERLAY = 12       /* a picture only: one word's heat over the image */
} udump_kind;

/* Of an image in a run with a diff: the twins. Without, every image is ENABLED. */
typedef enum udump_variant {
    UDUMP_VARIANT_ENABLED = 0, /* with the layer prompts */
    UDUMP_VARIANT_ERASED = 1,  /* without */
    UDUMP_VARIANT_OTHER = 2    /* by the session's other model; of a difference: this one's minus the other's */
} udump_variant;

/* Where something was captured. */
typedef struct udump_place {
    udump_kind kind;
    int32_t image;      /* in the batch, from 0; -1 in a hook */
    udump_variant variant;
    const char *block;  /* "OUT11"; "" for HEAT and OVERLAY */
    int32_t block_index; /* -1 for HEAT and OVERLAY, whose steps are 0 */
    int32_t depth;      /* of the transformer layer in the block, from 0; 0 for what is not attention */
    int32_t step;       /* ordinal of the U-Net evaluation, from 1 */
    int32_t sampler_step; /* from 1 */
    double sigma, timestep;
    udump_side side;    /* COND or UNCOND; BOTH in a hook */
    int32_t context;    /* cross-attention: index into udump_run_info's contexts; else -1 */
    const char *word;   /* of an OVERLAY; else NULL */
    int32_t part;       /* of the prompts that AND joins, from 0; 0 for UNCOND and in a hook */
} udump_place;

/* One picture of tiles. Tiles stand in the grid of the webui extension, but: QK, WORDS, HEAT and SELF_QUERIES have a column for each
 * token, word or query and a row for each head; K has one column, a row for each head, and tiles tokens wide and head_dim high. */
typedef struct udump_canvas {
    udump_picture picture;
    udump_place place;
    int32_t average;       /* 1: the style's average over channels (over heads, for attention: one row) instead of all tiles */
    int32_t columns, rows; /* the grid */
    int32_t tile_width_px, tile_height_px;
    const char *infotext; /* the image's "parameters" text */
} udump_canvas;

/* How far a block's output moved: b with the layer prompts, a without; or b the model's, a the other one's. */
typedef struct udump_diff_norms {
    double l2;          /* |b - a| */
    double relative_l2; /* |b - a| / |a|; 0 where |a| is 0, whatever l2 is */
    double max;         /* most |b - a| of one value */
    double cosine;      /* a . b / (|a| |b|); where |a| or |b| is 0: 1 if both are, else 0 */
} udump_diff_norms;

typedef struct udump_progress {
    int32_t step, steps;       /* sampler steps finished, and all */
    double seconds;            /* since sampling began */
    double seconds_per_step;   /* of the steps so far, median */
} udump_progress;

/* A token's column in attention maps. */
typedef struct udump_column {
    int32_t id;        /* CLIP's; from 49408 on a vector of an embedding */
    char text[64];     /* the token's own text, the embedding's name; "<start>", "<end>" (padding too) */
    int32_t word;      /* which word of the prompt, from 0: tokens of one word share it; -1 for start and end */
    float weight;
} udump_column;

/* A context of a run. */
typedef struct udump_run_context {
    const char *text;            /* NULL: made from a tensor, without labels */
    int32_t tokens;
    const udump_column *columns; /* [tokens], or NULL */
} udump_run_context;

/* What a block attends to in one row of the batch. */
typedef struct udump_run_prompt {
    const char *block;
    udump_side side;
    udump_variant variant;
    int32_t context; /* index into the run's contexts */
    int32_t until;   /* the last evaluation for which it holds, from 1 */
    int32_t part;    /* of the prompts that AND joins, from 0 */
    float weight;    /* the part's */
} udump_run_prompt;

/* What a run is, told before its first step. Everything it points to is valid only during the call. */
typedef struct udump_run_info {
    const char *prompt, *negative_prompt;
    const char *sampler, *schedule; /* resolved: "DPM++ 2M", "Karras"; DDIM has its own, "DDIM" */
    const char *rng;                /* "nv", "cpu" or "given" */
    const char *model, *model_hash; /* the checkpoint's name without folder and suffix; 10 hex digits, "" where it was not computed */
    const char *device, *precision;
    const char *infotext; /* of this batch's first image: the webui's "parameters" text */
    uint64_t seed;        /* likewise */
    float cfg;
    int32_t width_px, height_px;
    int32_t steps; /* the sampler's, as many as are run: "DPM fast" takes fewer than steps_asked, img2img only the last ones */
    int32_t batch_size;
    int32_t batch_count; /* a sink's begin is called for each of them */
    int32_t first_image; /* of this batch */
    int32_t evaluations; /* of the U-Net for each image */
    int32_t variants;    /* 2 with a diff: every image comes twice; else 1 */
    const udump_run_context *contexts; /* [context_count]: all that any block attends to */
    int32_t context_count;
    const udump_run_prompt *prompts; /* [prompt_count]: of the first image, by stretch of steps, side, part, variant and block, as far as they are run */
    int32_t prompt_count;
    const char *const *words; /* [word_count]: attention_words */
    int32_t word_count;
    const char *const *skipped; /* [skipped_count]: blocks that `attention` names and that have none */
    int32_t skipped_count;
    /* What the sink will get, from all batches, images included. Bytes are those of the values: pictures take less as PNG. */
    int64_t picture_count, picture_bytes;
    int64_t tensor_count, tensor_bytes; /* as fp32; 0 unless want_tensors */
    const char *fingerprint; /* 16 hex digits: equal where options, texts, a table's contexts, noise, LoRAs and pictures to begin from are; the model and its autoencoder by their names;
                                hooks are not in it */
    int64_t tensor_tile_count;          /* a file each in a dump as bin: channels of features and differences, maps of a head and token of QK */
    /* Memory that the run works in: activations, and canvases on their way from a device. The model's weight_bytes are there already. */
    int64_t work_bytes;
    const udump_block_info *blocks; /* [block_count]: all of the U-Net's, in order */
    int32_t block_count;
    const char *device_note; /* which device was chosen, and why */
    const char *loras; /* the model's, as pictures name them: "<lora:NAME:0.8>", a blank between them; "" for none */
    /* The same of the session's other model (udump_session_set_other) in a run with a diff; NULL in all other runs */
    const char *other_model, *other_model_hash, *other_loras;
    int32_t steps_asked; /* what the options said, and pictures say */
    const char *color, *transform; /* of its canvases, as udump_style has them; of the default color the default's own text, however it was written */
} udump_run_info;

/* Receives results in the order they are made; on CUDA up to one step after they are made, but before the images. Of what is captured come the canvas of the
 * average, that of all tiles, then the tensor; of a difference the norms, the tensor, then the canvases, which in "white-black" show absolute values (the tensor
 * keeps its signs). Any member may be NULL. A function that takes its time holds sampling back; nothing is dropped. Everything pointed to is valid only during
 * the call. */
typedef struct udump_sink {
    size_t struct_bytes;
    void *user;
    udump_flow (*begin)(void *user, const udump_run_info *run);
    udump_flow (*canvas)(void *user, const udump_canvas *canvas);
    udump_flow (*tensor)(void *user, const udump_place *place, const udump_view *tensor); /* shape: udump_kind; any dtype and strides */
    /* A tensor too large to be whole: its next rows along dimension `axis`, from row `first` on. whole: shape only, data is NULL. */
    udump_flow (*part)(void *user, const udump_place *place, const udump_view *whole, int32_t axis, int64_t first, const udump_view *part);
    udump_flow (*diff)(void *user, const udump_place *place, const udump_diff_norms *norms);
    udump_flow (*image)(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext);
    udump_flow (*progress)(void *user, const udump_progress *progress);
} udump_sink;

/* Samples batch_size images, batch_count times, and hands the sink everything asked for. Capturing never changes the image.
 * Errors: ARGUMENT, SYNTAX (specs, colours, prompt; a prompt's with line and column), UNSUPPORTED (a prompt too long, or AND as the model or the
 * blocks' prompts cannot have it), MEMORY, CANCELLED, DEVICE. */
UDUMP_API udump_status udump_generate(
    udump_session *session, const udump_generate_options *options, const udump_sink *sink, udump_error *error);

/* How many values of the pictures decoded since the last udump_generate or udump_begin were NaN or infinite: these are black, or the
 * brightest. Not 0 means that the model, or its precision, is not up to the task. */
UDUMP_API int64_t udump_session_bad_values(const udump_session *session);

/* ---------------------------------------------------------------- 4. folders */

typedef struct udump_folder udump_folder;

typedef enum udump_dump {
    UDUMP_DUMP_NONE = 0,
    UDUMP_DUMP_NPY = 1,
    UDUMP_DUMP_BIN = 2,        /* the webui extension's: one raw file a channel; of attention only QK */
    UDUMP_DUMP_SAFETENSORS = 3 /* one file an image, all metadata in its header */
} udump_dump;

typedef struct udump_folder_options {
    size_t struct_bytes;
    udump_dump dump;         /* what the tensors are written as; NONE: not written */
    int32_t writer_threads;  /* 0: 1 */
    int32_t force;           /* 1: begin even if the disk has less room than the run may write */
    /* 1: go on where a run of the same options was interrupted: batches that are there and whole are skipped (UDUMP_SKIP), the others are run
     * again, and the folder becomes what it would have been, byte for byte where runs repeat to the bit. A folder without a run is begun. */
    int32_t resume;
} udump_folder_options;
#define udump_folder_options_init(options) udump_options_init((options), sizeof *(options))

/* Creates path if need be and returns a folder whose sink writes everything it gets: pictures as PNG, tensors as chosen, diff.csv,
 * tokens.json and manifest.json; while the run goes on, and if it does not end well once a batch is whole, unfinished.jsonl: which are. Files appear
 * whole or not at all. Names (image, source, block, step; then, where it applies, -uncond,
 * -and1 for the second of the prompts that AND joins, -erased or -other, the kind, -d2 for a block's third transformer layer, -average):
 *   000.png  000-erased.png  000-unet-OUT11-020.png  000-unet-OUT11-020-average.png  000-unet-OUT11-020.npy  000-diff-OUT11-020.png
 *   000-attn-OUT11-020-qk.png  -k  -vqk  -words  -self-queries  -self-received  -self-entropy  -self-pca  -self-map
 *   000-heat.png  000-heat-red.png (the word's overlay)
 *   000.safetensors; features/, attention/ and diff/000-OUT11-020-0000-1700000000.bin (channel, or head * tokens + token; seconds)
 * One folder at a time is open for a path. A run that leaves no file leaves no folder either, if there was none before.
 * Errors: FILE (also: another run is writing there; from the sink's begin: the disk has too little room), ARGUMENT (from the sink's begin: another run is in the folder that is
 * to be resumed; says in what it differs), MEMORY. */
UDUMP_API udump_status udump_folder_open(const char *path, const udump_folder_options *options, udump_folder **folder, udump_error *error);
/* The folder's sink; lives as long as the folder. */
UDUMP_API const udump_sink *udump_folder_sink(udump_folder *folder);
/* Files finished so far, and waiting. Thread-safe. */
UDUMP_API void udump_folder_count(udump_folder *folder, int64_t *written, int64_t *waiting);
/* Waits for the writers, then writes manifest.json if keep is not 0. With keep 0 (the run failed) the manifest is not written.
 * Frees the folder in any case. Returns the first error of any writer. Accepts NULL. */
UDUMP_API udump_status udump_folder_close(udump_folder *folder, int32_t keep, udump_error *error);

/* Writes path/report.html from what a finished run left in the folder: one page that needs nothing else, neither a server nor the
 * folder's other files. Errors: FILE, FORMAT (no manifest of ours), MEMORY. */
UDUMP_API udump_status udump_report_write(const char *path, udump_error *error);

/* ---------------------------------------------------------------- 5. rendering */

/* A finished picture that you own. */
typedef struct udump_image {
    udump_picture picture;
    int32_t columns, rows, tile_width_px, tile_height_px;
    void *owner;
} udump_image;
/* Frees the pixels and clears the struct; one of zeros is fine. */
UDUMP_API void udump_image_free(udump_image *image);

/* Renders a [channels, h, w] tensor in host memory, of any dtype and strides: all channels as tiles, and, where average is not NULL
 * and the style asks for one, the average as a second picture. Thread-safe. Errors: ARGUMENT, SYNTAX (colour, transform), MEMORY. */
UDUMP_API udump_status udump_render(
    const udump_view *tensor, const udump_style *style, udump_image *canvas, udump_image *average, udump_error *error);

/* Renders tensors that lie on a CUDA device, other people's too, without taking them off it: what crosses to the host is the picture. One thread at a
 * time uses a renderer. */
typedef struct udump_renderer udump_renderer;
typedef struct udump_renderer_options {
    size_t struct_bytes;
    int32_t device_index;    /* the tensors' */
    const char *cuda_module; /* as in udump_model_options */
} udump_renderer_options;
#define udump_renderer_options_init(options) udump_options_init((options), sizeof *(options))
/* options may be NULL. Errors: ARGUMENT, DEVICE, MEMORY. */
UDUMP_API udump_status udump_renderer_create(const udump_renderer_options *options, udump_renderer **renderer, udump_error *error);
/* Accepts NULL. */
UDUMP_API void udump_renderer_destroy(udump_renderer *renderer);
/* As udump_render, but tensor->data is a pointer to the device's memory (DLPack's data and byte_offset; strides in elements). stream: the cudaStream_t in
 * which the tensor is made, NULL for the default stream; nothing else waits for it. The tensor may change once this returns.
 * Errors: as udump_render, ARGUMENT (a stream that is being captured), UNSUPPORTED (a channel of over 2^30 values), DEVICE. */
UDUMP_API udump_status udump_renderer_render(udump_renderer *renderer, const udump_view *tensor, void *stream, const udump_style *style,
    udump_image *canvas, udump_image *average, udump_error *error);

/* Writes a PNG: 1 channel as 8-bit grey, 3 as RGB. parameters (may be NULL) goes into a text chunk of that name. Whole or not at all.
 * Thread-safe. Errors: ARGUMENT (a picture that is none), FILE (path and the system's reason), MEMORY. */
UDUMP_API udump_status udump_png_write(const char *path, const udump_picture *picture, const char *parameters, udump_error *error);

/* An array read from a .npy file, as fp32; yours to free. */
typedef struct udump_array {
    udump_view view; /* C order strides or Fortran's, as in the file */
    void *owner;
} udump_array;
/* Reads float32 ('<f4') arrays of rank 0..6 in either memory order. Errors: FILE, FORMAT, UNSUPPORTED, MEMORY. */
UDUMP_API udump_status udump_npy_read(const char *path, udump_array *array, udump_error *error);
/* Frees the values and clears the struct; one of zeros is fine. */
UDUMP_API void udump_array_free(udump_array *array);

/* ---------------------------------------------------------------- 6. notation and tokens */

/* Which blocks a layer spec names: selected[i] becomes 1 or 0 for each of the model's block_count blocks.
 * model NULL means SD 1's 25 blocks. Errors: SYNTAX, with the position; ARGUMENT (a capacity below block_count). */
UDUMP_API udump_status udump_layers_parse(
    const udump_model *model, const char *spec, uint8_t *selected, int32_t capacity, udump_error *error);
/* The name of block index in the same numbering; NULL past the last. */
UDUMP_API const char *udump_block_name(const udump_model *model, int32_t index);

/* Which steps of 1..total a step spec names: selected[step - 1] becomes 1 or 0. *beyond (may be NULL) counts the steps of
 * items that lie wholly past total; a range that only ends there is cut. Errors: SYNTAX, with the position. */
UDUMP_API udump_status udump_steps_parse(const char *spec, int32_t total, uint8_t *selected, int32_t *beyond, udump_error *error);

/* How many evaluations of the U-Net each image of a run takes, which is what step specs count: by steps, sampler, schedule, strength, and whether
 * there is an init. Mostly it is steps; nearly twice as many where a sampler is of second order, fewer from a picture, one less for DDIM's 20.
 * Thread-safe. Errors: ARGUMENT (a null pointer, options that are not initialised, an unknown name, steps, strength), MEMORY. */
UDUMP_API udump_status udump_evaluations_count(
    const udump_model *model, const udump_generate_options *options, int32_t *evaluations, udump_error *error);

/* A prompt, taken apart: layer prompts first, then each block's schedule. model NULL means SD 1's 25 blocks. */
typedef struct udump_prompt udump_prompt;
/* steps: of the run that the schedule is for, 1..2000: twice the run's where the sampler is of second order (Heun, DPM2, DPM2 a, DPM++ 2S a, DPM++ SDE,
 * Restart), for schedules count evaluations. negative: not 0 for a negative prompt, in which AND and a weight at the end are text.
 * Errors: SYNTAX (with offset, line, column and what was expected), UNSUPPORTED (more than 16 prompts joined by AND; too much different text), ARGUMENT (not
 * UTF-8, longer than 32 KiB, steps), MEMORY. */
UDUMP_API udump_status udump_prompt_parse(
    const udump_model *model, const char *text, int32_t steps, int32_t negative, udump_prompt **prompt, udump_error *error);
UDUMP_API void udump_prompt_free(udump_prompt *prompt); /* accepts NULL */
/* The block's own prompt, layer prompts resolved; NULL past the last block. This and what follows live as long as the prompt. */
UDUMP_API const char *udump_prompt_block(const udump_prompt *prompt, int32_t block);
/* The prompt without its layer prompts. */
UDUMP_API const char *udump_prompt_erased(const udump_prompt *prompt);

/* A run of text of one weight. "BREAK" with weight -1 starts a new chunk. */
typedef struct udump_prompt_piece {
    const char *text;
    double weight;
} udump_prompt_piece;
/* One side of an AND; a prompt without AND is one part, of weight 1 but for what a ":" and a number at its end say ("16:9"). */
typedef struct udump_prompt_part {
    const char *text;
    float weight;
    const udump_prompt_piece *pieces; /* [piece_count] */
    int32_t piece_count;
} udump_prompt_part;
/* What a block's prompt is until an evaluation, that one included. */
typedef struct udump_prompt_entry {
    int32_t until;
    const udump_prompt_part *parts; /* [part_count] */
    int32_t part_count;
} udump_prompt_entry;
/* A block's schedule, [*count], in order of steps; NULL past the last block. */
UDUMP_API const udump_prompt_entry *udump_prompt_schedule(const udump_prompt *prompt, int32_t block, int32_t *count);

typedef struct udump_token {
    int32_t id;
    char text[64];  /* the token's own text; a word's end is not marked; cut at 63 bytes on a character's border */
    float weight;
    int32_t chunk;
    int32_t column; /* in attention maps: 77 x chunk + 1 + position */
} udump_token;
/* CLIP's tokens of one fixed prompt with the webui's emphasis and BREAK, without start, end and padding. As in a run a ":1" at its end is AND's weight, and no
 * text. *count is what was needed, however small capacity is; tokens may be NULL when capacity is 0. Thread-safe. Errors: ARGUMENT (not UTF-8, layer
 * prompts, prompt editing), SYNTAX, UNSUPPORTED (AND, another weight than 1 at the end, too long), MEMORY. */
UDUMP_API udump_status udump_tokens(const char *text, udump_token *tokens, int32_t capacity, int32_t *count, udump_error *error);

/* ---------------------------------------------------------------- 7. contexts and tables */

/* One encoded prompt, [tokens, context_dim]. Immutable, reference-counted, shared by threads. */
typedef struct udump_context udump_context;
/* A prompt with the webui's emphasis and BREAK, of any length: 77 tokens for each 75 of its own; a schedule as at step 1 of 20. Encoded on the
 * session's device. Errors: SYNTAX, UNSUPPORTED (AND, another weight than 1 at the end, layer prompts), ARGUMENT (not UTF-8), STATE (during a run), MEMORY, DEVICE. */
UDUMP_API udump_status udump_context_encode(udump_session *session, const char *prompt, udump_context **context, udump_error *error);
/* From your own tensor [tokens, context_dim] (copied), of 1 to 1048576 tokens, any dtype and strides. Errors: ARGUMENT (shape, a value that is not
 * finite), MEMORY. */
UDUMP_API udump_status udump_context_from_tensor(udump_model *model, const udump_view *tensor, udump_context **context, udump_error *error);
/* Another context with your own values for the same prompt: from's text, columns and pooled vector, and a tensor [tokens, context_dim] of from's shape (copied; any
 * dtype and strides). Errors: ARGUMENT (shape, a value that is not finite), MEMORY. */
UDUMP_API udump_status udump_context_replace(
    const udump_context *from, const udump_view *tensor, udump_context **context, udump_error *error);
/* SDXL's pooled vector, [pooled_dim], which goes with a context: every residual block gets that of its own
 * block's context. A context from a tensor has zeros until it is set (copied; any dtype and strides); not to be changed while a run uses the context.
 * Errors: ARGUMENT (shape, a value that is not finite, or a family without pooled vectors), MEMORY. get: fp32; returns 0, and an empty view, where there is none. */
UDUMP_API udump_status udump_context_set_pooled(udump_context *context, const udump_view *tensor, udump_error *error);
UDUMP_API int32_t udump_context_get_pooled(const udump_context *context, udump_view *view);
/* The text it was encoded from, and its tokens, [tokens]; NULL for a context made from a tensor. They live as long as the context. */
UDUMP_API const char *udump_context_text(const udump_context *context);
UDUMP_API const udump_column *udump_context_columns(const udump_context *context);
/* The columns of a word, of all places where it stands: whole words of the prompt that are its tokens, or the embedding of that name. columns: [tokens], a
 * context's or a run's; NULL has no words. found: [tokens], rising; *count of them, 0 where the word is nowhere. Thread-safe. Errors: ARGUMENT (no
 * word, not UTF-8), MEMORY. */
UDUMP_API udump_status udump_columns_find(
    const udump_column *columns, int32_t tokens, const char *word, int32_t *found, int32_t *count, udump_error *error);
/* The context's values: fp32, [tokens, context_dim]; lives as long as the context. */
UDUMP_API void udump_context_get_view(const udump_context *context, udump_view *view);
/* Contexts are reference-counted; tables hold one reference for each entry. Thread-safe. Release accepts NULL. */
UDUMP_API void udump_context_retain(udump_context *context);
UDUMP_API void udump_context_release(udump_context *context);

/* For every block and every row of the batch, the context it attends to. Rows: the prompt's rows of all images, in a run with a diff
 * followed by those of their erased twins; for each further prompt that AND joins the same again; then the negative prompt's rows in the
 * same order (none if cfg is 1 and there is one prompt of weight 1). */
typedef struct udump_table udump_table;
/* Every entry starts as NULL. Errors: ARGUMENT (rows not in 1..2048), MEMORY. */
UDUMP_API udump_status udump_table_create(udump_model *model, int32_t rows, udump_table **table, udump_error *error);
/* From prompts with layer prompts, for a run of options' batch_size, cfg and diff: every distinct text is encoded once, on the session's
 * device. Of prompts that change over the steps, as they are at step 1. SDXL's blocks whose negative prompt is empty get a context, and a pooled vector, of
 * zeros, as in the webui; udump_context_encode gives that of the text "". Errors: SYNTAX (a layer prompt; with line and column), as
 * udump_context_encode; ARGUMENT (a diff without layer prompts). */
UDUMP_API udump_status udump_table_encode(
    udump_session *session, const udump_generate_options *options, udump_table **table, udump_error *error);
/* Sets one entry, or with block or row -1 all blocks or all rows. The table holds a reference. Errors: ARGUMENT. */
UDUMP_API udump_status udump_table_set(udump_table *table, int32_t block, int32_t row, udump_context *context, udump_error *error);
/* The entry, still the table's; NULL if unset or out of range. */
UDUMP_API udump_context *udump_table_get(const udump_table *table, int32_t block, int32_t row);
/* As created. */
UDUMP_API int32_t udump_table_rows(const udump_table *table);
/* Releases the contexts. Accepts NULL. */
UDUMP_API void udump_table_free(udump_table *table);

/* ---------------------------------------------------------------- 8. stepping and hooks */

/* A writable view of a block's output, [rows, h, w, channels] in stream order: what it writes is what the following blocks see. Host memory: on CUDA a
 * copy, which goes back to the device when the hook returns.
 * dtype is the run's precision. rows are as in a table. Returning UDUMP_STOP ends the run. */
typedef udump_flow (*udump_hook_fn)(void *user, const udump_place *place, const udump_view *view);
/* Calls hook after block (-1: every block) of every evaluation; NULL removes it. Lasts until changed, which may be between the steps of a run.
 * place->image is -1 and place->side UDUMP_SIDE_BOTH: the view holds all rows, in the order of a table's. Errors: ARGUMENT; STATE (from a callback). */
UDUMP_API udump_status udump_session_set_hook(udump_session *session, int32_t block, udump_hook_fn hook, void *user, udump_error *error);

/* The same run as udump_generate, a sampler step at a time. Between steps the latent may be read and written.
 * table (may be NULL: made from the options' prompts) overrides the prompts; it is read during begin, not kept.
 * options and sink are copied by begin; the texts, style and noise they point to are too.
 * Errors: as udump_generate; ARGUMENT (a table of another model, with other rows, or with an entry not set; several batches), STATE (a run is going on). */
UDUMP_API udump_status udump_begin(
    udump_session *session, const udump_generate_options *options, const udump_table *table, const udump_sink *sink, udump_error *error);
/* Runs the next sampler step. *remaining (may be NULL) is the number of steps left after it. After a failure only udump_end is left.
 * Errors: STATE past the last step or outside of a run, CANCELLED, MEMORY, DEVICE. */
UDUMP_API udump_status udump_step(udump_session *session, int32_t *remaining, udump_error *error);
/* The latent as it is, [batch, h/8, w/8, 4], fp32 (with a diff the erased twins follow: [2 * batch, ...]), writable until the next call. Errors: STATE outside of a run, and
 * from a callback. */
UDUMP_API udump_status udump_latent_view(udump_session *session, udump_view *view, udump_error *error);
/* With decode not 0, decodes the latent and hands the images to the sink. Ends the run in any case. Errors: STATE outside of a run,
 * CANCELLED, DEVICE. */
UDUMP_API udump_status udump_end(udump_session *session, int32_t decode, udump_error *error);

/* ---------------------------------------------------------------- 9. pictures as input */

/* Reads a PNG as RGB: greys and palettes widened, 16 bits cut to 8, what is transparent laid over white. The pixels are yours
 * (udump_image_free). Thread-safe. Errors: FILE, FORMAT, UNSUPPORTED (no PNG; sides over 16384 pixels), MEMORY. */
UDUMP_API udump_status udump_png_read(const char *path, udump_image *image, udump_error *error);

/* Resizes an RGB picture as the Lanczos filter of Pillow up to 12 does (a = 3, antialiased, rows first, bytes between the two passes), which the webui takes
 * for pictures to begin from. Thread-safe. Errors: ARGUMENT (sizes not in 1..16384, not 3 channels), MEMORY. */
UDUMP_API udump_status udump_picture_resize(
    const udump_picture *picture, int32_t width_px, int32_t height_px, udump_image *image, udump_error *error);

/* What the text "parameters" of a picture says: the webui's infotext, or ours. */
typedef struct udump_parameters udump_parameters;

/* What udump_parameters_apply makes of a value. */
typedef enum udump_parameter_use {
    UDUMP_PARAMETER_USED = 0,
    UDUMP_PARAMETER_SILENT = 1,  /* says nothing that could be done: names and hashes of files, versions */
    UDUMP_PARAMETER_LACKING = 2, /* changes the picture, and is not there: "Hires upscale", "ControlNet 0" */
    UDUMP_PARAMETER_UNKNOWN = 3
} udump_parameter_use;

typedef struct udump_parameter {
    const char *key, *value; /* "Prompt", "Negative prompt", then the last line's: "Steps", "20"; unquoted */
    udump_parameter_use use;
} udump_parameter;

/* From a PNG's text, or from the text itself. Without a last line of parameters (at least three) everything is prompt, as in the webui.
 * Errors: FILE, FORMAT (a broken PNG; not UTF-8), UNSUPPORTED (no PNG, or one without that text), MEMORY. */
UDUMP_API udump_status udump_parameters_read(const char *path, udump_parameters **parameters, udump_error *error);
UDUMP_API udump_status udump_parameters_parse(const char *text, udump_parameters **parameters, udump_error *error);
UDUMP_API void udump_parameters_free(udump_parameters *parameters); /* accepts NULL */
/* In the text's order, [*count]; as long as the parameters live. The first two are always there. */
UDUMP_API const udump_parameter *udump_parameters_list(const udump_parameters *parameters, int32_t *count);
/* The value of a key, the last one's if it comes twice; NULL if it does not come. */
UDUMP_API const char *udump_parameters_get(const udump_parameters *parameters, const char *key);
/* Sets what is USED in options, and leaves the rest as it is; texts and numbers are pointed to: parameters must live as long as the options.
 * The prompt is the text's own, "<lora:NAME:0.8>" included, which our texts have at its end for each of the model's LoRAs: what they ask for, and "Lora block
 * weights" with them, is for whoever loads the model, and so is taking them off (udump_lora_tags_parse), since a run would read them as words and name the LoRAs
 * once more.
 * "Denoising strength" sets options->strength unless it belongs to a second, larger pass ("Hires ...", "First pass size"). Errors: ARGUMENT (a value that
 * is none, with its key as where). */
UDUMP_API udump_status udump_parameters_apply(udump_parameters *parameters, udump_generate_options *options, udump_error *error);

/* ---------------------------------------------------------------- 10. sweeps */

/* A sweep makes one picture, the base, and many that differ from it in a few blocks alone, all from the same noise, and measures how far each
 * is from the base. Its cells are blocks x variants x seeds x LoRA weights, and a base for each seed and weight:
 *   with variants   a cell's prompt is the variant's in its blocks and the base's in all others, as a layer prompt would have it; all LoRAs'
 *                   weights are multiplied by the cell's;
 *   without         the LoRAs themselves are what varies: they work in the cell's blocks, with its weight, and nowhere in the base. Their
 *                   text encoders' part is left out; what lies in no block (time embedding, last convolution) is in all cells.
 * Cells are done in batches, and batches do not depend on one another: any process may run any of them, in any order, at the same time and in
 * one folder. What a cell leaves there is named by its key, the hash of all that decides the result: what is there and whole is not made
 * again. Cells of one key, as where a variant is the base's prompt in the chosen blocks, are made once, by the first one's batch.
 *
 * What is exact: a batch gives the same bytes every time (on one machine, device, precision and number of threads), so a sweep that was
 * interrupted, or done in parts, leaves the same folder as one that was not. Another batch size may round otherwise, where the device's
 * libraries choose by shape: as between a batch and single images of udump_generate, pictures then differ by single levels. On the reference device
 * they do not. The batch size and the number of threads are no part of a key. */
typedef struct udump_sweep udump_sweep;

typedef struct udump_sweep_options {
    size_t struct_bytes;
    /* Prompt, negative prompt, size, sampler and so on of all cells. `diff` and `diff_steps`, if not NULL: also measures how far these
     * blocks' outputs are from the base's, for `side`; not where LoRAs vary. There may be no features, attention, noise or batches. */
    const udump_generate_options *base;
    const char *const *variants; /* [variant_count]: prompts; may hold layer prompts */
    int32_t variant_count;       /* 0: the LoRAs vary */
    const char *const *blocks;   /* [block_count]: layer specs, which name the blocks of a cell together; NULL: each block by itself */
    int32_t block_count;
    const uint64_t *seeds; /* [seed_count]; NULL: the base's */
    int32_t seed_count;
    const double *lora_weights; /* [lora_weight_count]; NULL: 1 */
    int32_t lora_weight_count;
    /* Pictures in a batch, 1..256, and of at most 2048 rows, as in udump_generate_options; 0: 8. With `diff` the base is one of them, in every
     * batch: from 2 on */
    int32_t batch_size;
    int32_t force;      /* 1: begin even if the disk has less room than is needed */
    udump_model *model; /* path's, loaded with the same options: then it is not loaded again, unless there are LoRAs. Retained. NULL: loads it */
} udump_sweep_options;
#define udump_sweep_options_init(options) udump_options_init((options), sizeof *(options))

/* Reads what decides the results (the checkpoint's and LoRAs' bytes, for their hash), loads the model and checks everything. Nothing is
 * copied: path, both options and all they point to must stay as they are until udump_sweep_free. model may be NULL.
 * Errors: as udump_model_load and udump_generate; ARGUMENT (nothing varies; something is listed twice; more than 100,000 cells; an option that a sweep has not),
 * SYNTAX (a layer spec or prompt), UNSUPPORTED (a prompt with ":~)" in it, which no layer prompt can say). */
UDUMP_API udump_status udump_sweep_create(const char *path, const udump_model_options *model, const udump_sweep_options *options,
    udump_sweep **sweep, udump_error *error);
/* Accepts NULL. */
UDUMP_API void udump_sweep_free(udump_sweep *sweep);
/* What a worker is given: a range of these. */
UDUMP_API int32_t udump_sweep_batch_count(const udump_sweep *sweep);

typedef struct udump_sweep_cell {
    const char *key; /* 32 hexadecimal digits; that of another cell, if both are the same picture */
    int32_t is_base;
    const char *blocks;  /* the layer spec; "" for a base */
    const char *variant; /* its prompt; "" for a base, and where LoRAs vary */
    const char *prompt;  /* what `unetdump generate -p` would be given */
    uint64_t seed;
    double lora_weight; /* 0 for the base where LoRAs vary */
    int32_t batch;      /* the one that makes it */
} udump_sweep_cell;
/* In the order in which they are made. The strings live as long as the sweep. Errors: ARGUMENT past the last. */
UDUMP_API udump_status udump_sweep_get_cell(const udump_sweep *sweep, int32_t index, udump_sweep_cell *cell, udump_error *error);

typedef struct udump_sweep_progress {
    int32_t cells, cells_done; /* of this call; done: those that were there, too */
    int32_t cells_there;       /* before it began */
    udump_progress run; /* of the batch that is running, or was the last to; zeros before any */
} udump_sweep_progress;

typedef struct udump_sweep_observer {
    size_t struct_bytes;
    void *user;
    /* Once before anything is made, even where all is there; after every step; and when a batch's cells are there. UDUMP_STOP ends the call with CANCELLED. */
    udump_flow (*progress)(void *user, const udump_sweep_progress *progress);
} udump_sweep_observer;

/* Makes what is not there of `count` batches from `first` on, and sweep.json, which says what the sweep is:
 *   cells/KEY.png, .npy (the final latent, [4, H/8, W/8]), .json (what it is; hashes of the other two; its blocks' differences: written last)
 * base->cancel ends it within a step; cells that were finished stay. One thread at a time uses a sweep. observer may be NULL.
 * Errors: ARGUMENT (no such batches), as udump_generate; FILE (also: the disk has too little room). */
UDUMP_API udump_status udump_sweep_run(
    udump_sweep *sweep, const char *folder, int32_t first, int32_t count, const udump_sweep_observer *observer, udump_error *error);

/* Whether a cell is there and whole: its record's hashes are those of its other two files. key: 32 hexadecimal digits. Of machines without a common
 * file system one collects: the others make cells in folders of their own; from there cells' files go into its folder as they are, the record
 * last, and sweep.json. Thread-safe. Errors: ARGUMENT, FILE, MEMORY. */
UDUMP_API udump_status udump_sweep_cell_there(const char *folder, const char *key, int32_t *there, udump_error *error);

/* How far a cell is from its base; pictures as values from 0 to 1. */
typedef struct udump_sweep_measure {
    udump_diff_norms picture, latent;
} udump_sweep_measure;

/* What blocks change on average, over seeds, LoRA weights and variants. */
typedef struct udump_sweep_rank {
    const char *blocks;
    int32_t cells; /* that were there */
    udump_sweep_measure mean;
} udump_sweep_rank;

typedef struct udump_sweep_result udump_sweep_result;
/* Measures what is in the folder, of the sweep that sweep.json says, and writes
 *   sweep.csv      a line for each cell but the bases
 *   results.json   the same, the ranking, and the blocks' differences
 *   sheet.png      all pictures, small, each under its blocks; a band for each LoRA weight, seed and variant, which the base begins; what passes 64
 *                  million pixels is left out
 *   index.html     all pictures with the ranking; it shows the files in cells/
 * It needs no model. Once all cells are there it also removes what interrupted runs left half-written. Thread-safe.
 * Errors: FILE, FORMAT (no sweep; a file that is none of ours), MEMORY. */
UDUMP_API udump_status udump_sweep_collect(const char *folder, udump_sweep_result **result, udump_error *error);
/* Accepts NULL. */
UDUMP_API void udump_sweep_result_free(udump_sweep_result *result);
/* All cells, and those that are not there or not whole. */
UDUMP_API void udump_sweep_result_count(const udump_sweep_result *result, int32_t *cells, int32_t *missing);
/* The cell as udump_sweep_get_cell; *measure (may be NULL) is its distance from the base; a base has none from itself: zeros, and cosines of 1. *there: whether both are there.
 * Strings live as long as the result. Errors: ARGUMENT past the last. */
UDUMP_API udump_status udump_sweep_result_get(
    const udump_sweep_result *result, int32_t index, udump_sweep_cell *cell, int32_t *there, udump_sweep_measure *measure, udump_error *error);
/* The prompt of a variant; NULL past the last. Lives as long as the result. */
UDUMP_API const char *udump_sweep_result_variant(const udump_sweep_result *result, int32_t variant);
/* [*count], those that change the picture most first: by the mean of picture.relative_l2. variant: an index, or -1 for all together (the only one
 * where LoRAs vary); NULL for one that is not there. Lives as long as the result. */
UDUMP_API const udump_sweep_rank *udump_sweep_result_ranking(const udump_sweep_result *result, int32_t variant, int32_t *count);

#ifdef __cplusplus
}
#endif
#endif
