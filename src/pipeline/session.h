/* A session: one execution context on a model, the hooks, and the run that is going on. */
#ifndef UDUMP_PIPELINE_SESSION_H
#define UDUMP_PIPELINE_SESSION_H

#include "capture/conditioning.h"
#include "pipeline/look.h"
#include "sample/sampler.h"

typedef struct udump_hook {
    udump_hook_fn call;
    void *user;
} udump_hook;

/* What begin resolved the options to, and what the steps need. Everything is the run's own. */
typedef struct udump_run {
    bool active;
    int32_t width_px, height_px, batch, rows; /* rows: of the U-Net's batch, cond first, then uncond unless cfg is 1 */
    int32_t latent_h, latent_w;
    float cfg;
    uint64_t seed;
    char *prompt, *negative_prompt;
    const char *rng_name; /* "nv", "cpu", "given" */
    udump_sampler_choice choice;
    float *noise; /* [batch, 4, h, w], or NULL */

    udump_sink sink;
    udump_sampling sampling;
    udump_conditioning conditioning;
    udump_look look;
    udump_tensor *times;            /* [resnet_count] */
    const udump_evaluation *now;    /* the evaluation that is running */
    udump_tensor unet_in, unet_out; /* [rows, h, w, 4] */
    udump_tensor scaled, eps;       /* F32, [batch, h, w, 4] */
    size_t mark;                    /* the arena above everything that stays */

    char **infotexts;      /* [batch] */
    float *decoded;        /* host, [height, width, 3] */
    uint8_t *pixels;       /* [height, width, 3] */
    double *step_seconds;  /* [steps] */
    double begin_seconds;
} udump_run;

struct udump_session {
    udump_model *model;
    udump_exec x;
    udump_noise_levels levels;
    udump_hook hooks[UDUMP_BLOCKS_MOST];
    udump_run run;
};

/* Contexts of the prompts, and the table for rows rows: cond for the first batch rows, uncond for the rest. */
udump_status udump_encode_table(udump_session *session, const char *prompt, const char *negative_prompt, int32_t batch, int32_t rows,
    udump_table **table, udump_error *error);

/* options checked and copied into run; the run owns everything afterwards, also after a failure. */
udump_status udump_run_create(
    udump_session *session, const udump_generate_options *options, const udump_sink *sink, udump_run *run, udump_error *error);
void udump_run_free(udump_run *run);

#endif
