/* A session: one execution context on a model, the hooks, and the run that is going on. */
#ifndef UDUMP_PIPELINE_SESSION_H
#define UDUMP_PIPELINE_SESSION_H

#include "backend/graph.h"
#include "capture/conditioning.h"
#include "pipeline/look.h"
#include "sample/sampler.h"

/* What options of 0 or NULL stand for. */
enum { UDUMP_DEFAULT_STEPS = 20 };
#define UDUMP_DEFAULT_STRENGTH 0.75

/* The noise levels that a model was trained on. Errors: ARGUMENT (betas), MEMORY; levels are then empty. */
udump_status udump_model_noise_levels(const udump_model *model, udump_noise_levels *levels, udump_error *error);

typedef struct udump_hook {
    udump_hook_fn call;
    void *user;
} udump_hook;

/* The sizes that options come to. The U-Net's batch has the rows [sides, variants, images]: cond first, a side for each of the prompts
 * that AND joins, then uncond unless cfg is 1 and there is one prompt of weight 1. */
typedef struct udump_sizes {
    int32_t width_px, height_px, latent_h, latent_w;
    int32_t images, variants, sides; /* variants: 2 with a diff, as many as prompts in a sweep; sides: parts.most, and one more with uncond */
    udump_parts parts;
    bool uncond, joined; /* uncond: not with cfg 1, nor where cfg is the U-Net's input; joined: there is more than one prompt of weight 1 */
    int32_t latents, rows;           /* variants * images; sides * latents */
    int32_t tile;                    /* of the autoencoder, in latents; 0: pictures whole */
    int32_t steps;                   /* as asked for; a sampler may take others */
    udump_sampler_choice choice;
    int32_t prompt_steps;            /* what a prompt's fractions are of, in evaluations */
    float cfg;
} udump_sizes;
/* The prompts' parts are the table's, or if that is NULL the prompts' own. Errors: ARGUMENT; of prompts as udump_prompt_parse. */
udump_status udump_sizes_resolve(
    const udump_session *session, const udump_generate_options *options, const udump_table *table, udump_sizes *sizes, udump_error *error);
/* The parts of a run's prompts, with layer prompts and (variants 2) without. Where blocks differ: those with one part of weight 1 have it
 * in every row; the others must have as many, of the same weights. Errors: as udump_prompt_parse, UNSUPPORTED (they do not). */
udump_status udump_parts_find(const udump_model *model, const char *prompt, int32_t variants, udump_parts *parts, udump_error *error);
/* The same of a sweep's prompts: variant 0 is the first, 1 all others. Errors: likewise; UNSUPPORTED (their parts differ). */
udump_status udump_parts_find_swept(const udump_model *model, const char *const *prompts, int32_t count, udump_parts *parts, udump_error *error);

/* What begin resolved the options to, and what the steps need. Everything is the run's own. */
typedef struct udump_run {
    bool active;
    udump_sizes sizes;
    int32_t first_image; /* of a later batch, how many images came before */
    int32_t batches;     /* all of them */
    uint64_t seed;       /* of this batch's first image */
    uint64_t variation_seed;
    double variation_strength;
    double strength;     /* of img2img */
    char *prompt, *negative_prompt;
    const char *rng_name; /* "nv", "cpu", "given" */
    float *noise; /* [images, 4, h, w], or NULL */
    float *init;  /* img2img: the picture's latent, [h, w, 4], or NULL */

    udump_sink sink;
    udump_sampling sampling;
    udump_conditioning conditioning;
    udump_look look;
    udump_tensor *times;            /* [resnet_count], each [evaluations * vectors, 1, 1, channels] */
    udump_tensor *times_now;        /* [resnet_count], each [1 or rows, 1, 1, channels]: the evaluation's that is running */
    int32_t vectors;                /* 1, or as many as there are pooled vectors */
    const udump_evaluation *now;    /* the evaluation that is running */
    bool within; /* what is looked at in it is a part of its graph */
    udump_tensor unet_in, unet_out; /* [rows, h, w, 4] */
    udump_tensor scaled, eps;       /* F32, [latents, h, w, 4] */
    size_t mark;                    /* the arena above everything that stays */
    udump_ticket stepped;           /* the end of the last step */
    bool latent_lent;               /* as a copy, which may have been written: it goes back before anything else */
    void *hooked;                   /* host: a block's output, for hooks; NULL where they see the arena */
    size_t hooked_bytes;

    bool paired;      /* the session's other model runs in step */
    udump_kept kept;  /* of a pair's first */

    char **infotexts;      /* [latents] */
    char fingerprint[17];  /* of what was asked for: see udump_run_info */
    float *decoded;        /* host, [height, width, 3] */
    float *tile, *latent;  /* host, where the autoencoder works in tiles: [8 * tile, 8 * tile, 3]; [h, w, 4] */
    uint8_t *pixels;       /* [height, width, 3] */
    double *step_seconds;  /* [steps] */
    double begin_seconds;
} udump_run;

/* Contexts by their text: every distinct one is encoded once. */
typedef struct udump_context_cache {
    udump_context **contexts; /* [count], held */
    int32_t count, capacity;
} udump_context_cache;

struct udump_session {
    udump_model *model;
    udump_exec x;
    udump_graphs graphs; /* of x: the U-Net's evaluations */
    udump_exec wide; /* the autoencoder's in fp32; opened when it is first needed */
    udump_noise_levels levels;
    udump_hook hooks[UDUMP_BLOCKS_MOST];
    udump_session *other; /* what a diff compares with; or NULL */
    const char *const *swept; /* [swept_count]: a batch of a sweep: prompts of the same noise, all but the first compared with the first; or NULL */
    int32_t swept_count;
    udump_context_cache contexts; /* of a sweep's batches so far */
    udump_ring ring;
    int32_t first_image; /* of the batch that begins next */
    bool skipped;        /* the last that was begun: its sink has it already */
    bool inside; /* a call uses the session: atomic */
    udump_current before; /* what the calling thread had current then */
    int64_t bad_values;  /* of the pictures decoded so far: NaN or infinite */
    udump_run run;
};

/* The tables of a run, one for each stretch of steps in which no prompt changes. */
typedef struct udump_tables {
    int32_t count;
    udump_table **tables; /* [count] */
    int32_t *until; /* [count]: the last evaluation of each, from 1 */
} udump_tables;
/* That a context can be made of every part of a prompt, at all its steps. Errors: UNSUPPORTED (too many chunks), MEMORY. */
udump_status udump_prompt_check_length(const udump_model *model, const udump_prompt *prompt, udump_error *error);
/* From the prompts; every distinct text is encoded once. Errors: as udump_table_encode. */
udump_status udump_tables_encode(
    udump_session *session, const udump_generate_options *options, const udump_sizes *sizes, udump_tables *tables, udump_error *error);
void udump_tables_free(udump_tables *tables);
void udump_context_cache_free(udump_context_cache *cache);
/* Joins the runs that the session and its other one have created for a diff. Errors: SYNTAX, ARGUMENT, MEMORY. */
udump_status udump_pair_create(udump_session *session, const udump_generate_options *options, udump_error *error);
/* autoencode.c. The picture's latent, [h, w, 4] on the host: the mean of the encoder's distribution, scaled. Sizes the arena first.
 * Errors: MEMORY, CANCELLED, DEVICE. */
udump_status udump_encode_picture(udump_session *session, const udump_picture *picture, float *latent, udump_error *error);
/* The picture of the run's latent `at` into run->decoded, whole or in tiles; in a dry pass measures. */
void udump_decode_latent(udump_session *session, int32_t at);
/* The same in fp32, on models that have their autoencoder so too, where the picture has values that are not finite: fp16 ends at 65504. Errors: MEMORY,
 * CANCELLED, DEVICE. */
udump_status udump_decode_again(udump_session *session, int32_t at, udump_error *error);
/* Tells the sink what the run is, or the pair of them. Errors: CANCELLED (it said stop), MEMORY. */
udump_status udump_run_announce(udump_session *session, udump_error *error);

/* options checked and copied into run; the run owns everything afterwards, also after a failure. */
udump_status udump_run_create(udump_session *session, const udump_generate_options *options, const udump_table *table, const udump_sink *sink,
    udump_run *run, udump_error *error);
/* fingerprint.c. 16 hex digits of everything in the options, in the models' names and LoRAs, and in a table of the caller's (or NULL), that decides what
 * comes out; of all batches alike. */
void udump_run_fingerprint(const udump_session *session, const udump_generate_options *options, const udump_table *given, char text[17]);
/* What the session's run holds. */
void udump_run_free(udump_session *session);

/* While a call uses the session, nothing else of it may begin, step or end: it would free or move what the call works on. Enter keeps, and leave restores, what the
 * thread has current; leave returns status. Errors: STATE. */
udump_status udump_session_enter(udump_session *session, const char *function, udump_error *error);
udump_status udump_session_leave(udump_session *session, udump_status status);
/* STATE, of what must not come between a run's calls. */
udump_status udump_session_running(const char *where, udump_error *error);

#endif
