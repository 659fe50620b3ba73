/* What a run tells its sink before the first step. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "pipeline/session.h"

/* What the info points to. */
struct lists {
    udump_run_context *contexts;
    udump_run_prompt *prompts;
    const char **skipped;
};

static void lists_free(struct lists *lists) {
    free(lists->contexts);
    free(lists->prompts);
    free(lists->skipped);
}

/* Behind those that are there. */
static void list_contexts(udump_run *run, struct lists *lists, udump_run_info *info) {
    run->look.first_context = info->context_count;
    info->contexts = lists->contexts;
    for (int32_t i = 0; i < run->conditioning.context_count; i++) {
        const udump_context *context = run->conditioning.contexts[i];
        lists->contexts[info->context_count++] = (udump_run_context){ context->text, context->tokens, context->columns };
    }
}

/* Of the first image: one for each table, side, variant and block; behind those that are there. */
static void list_prompts(udump_session *session, struct lists *lists, udump_run_info *info) {
    udump_run *run = &session->run;
    const udump_conditioning *c = &run->conditioning;
    const udump_sizes *sizes = &run->sizes;
    udump_run_prompt *next = lists->prompts + info->prompt_count;
    int32_t evaluations = run->sampling.evaluation_count;
    for (int32_t table = 0; table < c->table_count; table++)
        for (int32_t row = 0; row < c->rows; row += sizes->images) {
            int32_t part = row / sizes->latents, variant = row / sizes->images % sizes->variants;
            bool cond = part < sizes->parts.most;
            for (int32_t block = 0; block < c->blocks && (!cond || part < sizes->parts.count[variant > 0]); block++, next++)
                *next = (udump_run_prompt){ .block = session->model->unet.blocks[block].name,
                    .side = cond ? UDUMP_SIDE_COND : UDUMP_SIDE_UNCOND,
                    .variant = run->look.is_other ? UDUMP_VARIANT_OTHER : (udump_variant)variant,
                    .context = run->look.first_context + c->which[udump_conditioning_entry(c, table, block, row)],
                    .until = c->until[table] < evaluations ? c->until[table] : evaluations,
                    .part = cond ? part : 0,
                    .weight = cond ? sizes->parts.weights[variant > 0][part] : 1 };
        }
    info->prompts = lists->prompts;
    info->prompt_count = (int32_t)(next - lists->prompts);
}

static void list_skipped(const udump_session *session, struct lists *lists, udump_run_info *info) {
    const udump_unet *unet = &session->model->unet;
    const udump_selection *attention = &session->run.look.attention;
    for (int32_t block = 0; attention->any && block < unet->block_count; block++)
        if (attention->blocks[block] && !unet->blocks[block].depth) lists->skipped[info->skipped_count++] = unet->blocks[block].name;
    info->skipped = lists->skipped;
}

static int64_t work_bytes(const udump_session *session) {
    return (int64_t)(session->x.arena_bytes + udump_outbox_device_bytes(&session->run.look.outbox, &session->x));
}

static void describe(udump_session *session, udump_run_info *info) {
    udump_run *run = &session->run;
    const udump_look_totals *totals = &run->look.totals;
    int64_t images = run->sink.image ? run->sizes.latents : 0, batches = run->batches;
    udump_model_info model;
    udump_model_get_info(session->model, &model);
    *info = (udump_run_info){ .prompt = run->prompt,
        .negative_prompt = run->negative_prompt,
        .sampler = run->sizes.choice.sampler->name,
        .schedule = run->sizes.choice.sampler->own_timesteps ? run->sizes.choice.sampler->name : udump_schedule_name(run->sizes.choice.schedule),
        .rng = run->rng_name,
        .model = session->model->name,
        .model_hash = session->model->hash,
        .loras = session->model->lora_tags,
        .device = model.device,
        .device_note = model.device_note,
        .precision = model.precision,
        .infotext = run->infotexts[0],
        .fingerprint = run->fingerprint,
        .seed = run->seed,
        .cfg = run->sizes.cfg,
        .color = run->look.color,
        .transform = run->look.transform,
        .width_px = run->sizes.width_px,
        .height_px = run->sizes.height_px,
        .steps = run->sampling.steps,
        .steps_asked = run->sizes.steps,
        .batch_size = run->sizes.images,
        .batch_count = run->batches,
        .first_image = run->first_image,
        .evaluations = run->sampling.evaluation_count,
        .variants = run->sizes.variants,
        .words = (const char *const *)run->look.words.names,
        .word_count = run->look.words.count,
        .picture_count = batches * (totals->pictures + images),
        .picture_bytes = batches * (totals->picture_bytes + images * run->sizes.width_px * run->sizes.height_px * 3),
        .tensor_count = batches * totals->tensors,
        .tensor_bytes = batches * totals->tensor_bytes,
        .tensor_tile_count = batches * totals->tensor_tiles,
        .work_bytes = work_bytes(session) };
}

/* What the other model's run adds. */
static void add_other(udump_session *other, struct lists *lists, udump_run_info *info) {
    const udump_look_totals *totals = &other->run.look.totals;
    int64_t images = other->run.sink.image ? other->run.sizes.latents : 0, batches = other->run.batches;
    info->other_model = other->model->name;
    info->other_model_hash = other->model->hash;
    info->other_loras = other->model->lora_tags;
    info->variants++;
    info->picture_count += batches * (totals->pictures + images);
    info->picture_bytes += batches * (totals->picture_bytes + images * info->width_px * info->height_px * 3);
    info->tensor_count += batches * totals->tensors;
    info->tensor_bytes += batches * totals->tensor_bytes;
    info->tensor_tile_count += batches * totals->tensor_tiles;
    info->work_bytes += work_bytes(other);
    list_contexts(&other->run, lists, info);
    list_prompts(other, lists, info);
}

static size_t prompts_of(const udump_conditioning *c) { return (size_t)c->table_count * (size_t)c->blocks * (size_t)c->rows; }

udump_status udump_run_announce(udump_session *session, udump_error *error) {
    udump_run *run = &session->run;
    const udump_conditioning *c = &run->conditioning, *more = run->paired ? &session->other->run.conditioning : NULL;
    if (!run->sink.begin) return UDUMP_OK;
    size_t prompts = prompts_of(c) + (more ? prompts_of(more) : 0);
    struct lists lists = { .contexts = malloc((size_t)(c->context_count + (more ? more->context_count : 0)) * sizeof *lists.contexts),
        .prompts = malloc(prompts * sizeof *lists.prompts),
        .skipped = malloc((size_t)c->blocks * sizeof(*lists.skipped)) };
    udump_run_info info;
    udump_block_info blocks[UDUMP_BLOCKS_MOST];
    udump_status status = UDUMP_OK;
    if (!lists.contexts || !lists.prompts || !lists.skipped) status = udump_fail_memory(error, "run info", prompts * sizeof *lists.prompts);
    if (!status) {
        describe(session, &info);
        for (int32_t b = 0; b < c->blocks; b++) udump_model_get_block(session->model, b, &blocks[b], NULL);
        info.blocks = blocks;
        info.block_count = c->blocks;
        list_contexts(run, &lists, &info);
        list_prompts(session, &lists, &info);
        list_skipped(session, &lists, &info);
        if (more) add_other(session->other, &lists, &info);
        udump_flow flow = run->sink.begin(run->sink.user, &info);
        session->skipped = flow == UDUMP_SKIP;
        if (flow == UDUMP_STOP) status = udump_fail(error, UDUMP_ERROR_CANCELLED, "", "stopped by a callback");
        if (flow == UDUMP_SKIP) status = udump_fail(error, UDUMP_ERROR_CANCELLED, "", "skipped by a callback");
    }
    lists_free(&lists);
    return status;
}
