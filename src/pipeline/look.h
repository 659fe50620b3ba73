/* From what model code shows at a tap to what the sink gets: pictures, tensors and differences of the wanted rows.
 * In the dry pass the same code reserves scratch in the arena and counts what will come. */
#ifndef UDUMP_PIPELINE_LOOK_H
#define UDUMP_PIPELINE_LOOK_H

#include "capture/conditioning.h"
#include "capture/selection.h"
#include "capture/words.h"
#include "pipeline/kept.h"
#include "pipeline/outbox.h"
#include "render/render.h"
#include "sample/sampler.h"

enum { UDUMP_QUERIES_MOST = 64 };

/* What the sink will get. */
typedef struct udump_look_totals {
    int64_t pictures, picture_bytes, tensors, tensor_bytes, tensor_tiles;
} udump_look_totals;

/* The words' heat: what the WORDS of blocks and steps add up to. */
typedef struct udump_heat {
    int32_t h, w;    /* the latent's */
    float *sums;     /* [rows, words, h, w]: the device's */
    float *means;    /* [words, h, w]: the host's, of one row at the end */
    int32_t *counts; /* [rows, words] */
    float *overlay;  /* [height, width] of the image */
    uint8_t *pixels; /* [height, width, 3] */
} udump_heat;

typedef struct udump_look {
    const udump_unet *unet;
    const udump_conditioning *conditioning;
    const udump_sampling *sampling;
    const udump_sink *sink;
    char *const *infotexts;               /* [variants, images] */
    int32_t first_image;                  /* of a later batch: how many came before */
    int32_t images, variants, sides;      /* the batch's rows are [sides, variants, images] */
    bool swept;                           /* the variants are a sweep's: images of their own to the sink, compared with the first */
    const udump_parts *parts;             /* the first sides: the prompts that AND joins */
    int32_t width_px, height_px;
    udump_selection features, attention, diff;
    udump_kept *kept; /* a pair's: where the first model's blocks are kept for a diff; NULL: the diff is within the batch */
    bool is_other;    /* of a pair the second */
    int32_t first_context; /* where its contexts begin among those that were announced */
    uint32_t kinds;   /* of attention */
    udump_side side;
    udump_average average;
    bool canvases, tensors;
    udump_style_program style;
    uint64_t drawing; /* a hash of how is drawn, and what for */
    char *color, *transform; /* what it was made of, to be told */
    udump_words words;
    int32_t *word_columns; /* of one word in one context, as they are found */
    uint64_t *worded; /* [blocks, rows]: a bit for each word: whether a context that the row ever attends to there has it */
    udump_heat heat;
    int32_t *queries_px; /* [query_count, 2] */
    int32_t query_count;
    udump_outbox outbox;
    udump_look_totals totals;
} udump_look;

/* What a run tells of itself: images, variants, sides, sizes, conditioning, sampling, sink and infotexts are set before. Errors: SYNTAX, ARGUMENT, MEMORY. */
udump_status udump_look_create(udump_look *look, const udump_model *model, const udump_generate_options *options, udump_error *error);
/* x: of the session. */
void udump_look_free(udump_look *look, udump_exec *x);
/* After the conditioning is there: finds the words in its contexts, and makes room for their heat. Errors: ARGUMENT (a word that none of them has),
 * MEMORY, DEVICE. */
udump_status udump_look_find_words(udump_look *look, udump_exec *x, udump_error *error);
/* Whether any tap is wanted. */
bool udump_look_wants(const udump_look *look);

/* Whether it will look at all at a tap of this kind in this block, at this evaluation. */
bool udump_look_acts(const udump_look *look, udump_tap_kind kind, int32_t block, const udump_evaluation *now);
/* Whether all that it looks at at this evaluation is the device's work alone, and fits where it waits: then looking is a part of the evaluation's graph, and
 * in a replay begins nothing. */
bool udump_look_is_within(const udump_look *look, const udump_evaluation *now);
/* What such a graph is of, besides where tensors are and which taps act. */
uint64_t udump_look_key(const udump_look *look, const udump_evaluation *now);
/* Looks at what is tapped now. Failures, and a sink that says stop, stick in x. */
void udump_look_at(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_evaluation *now);
/* After the last step, with the decoded picture of the latent [variants, images]: the words' heat and its overlays. In the dry pass
 * picture is NULL. */
void udump_look_finish(udump_look *look, udump_exec *x, int32_t latent, const udump_picture *picture);

#endif
