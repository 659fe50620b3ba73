/* A cell's key: the hash of a JSON object of all that decides its result; its record keeps the object. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/json.h"
#include "pipeline/session.h"
#include "pipeline/sweep.h"
#include "weights/identity.h"

static udump_status find_sources(const udump_sweep *sweep, udump_sweep_sources *sources, udump_error *error) {
    const udump_model_options *o = &sweep->model_options;
    *sources = (udump_sweep_sources){ 0 };
    udump_status status = udump_identity_find(sweep->path, sources->model, error);
    if (!status && o->vae_path) status = udump_identity_find(o->vae_path, sources->vae, error);
    if (!status && o->embeddings) status = udump_identity_find(o->embeddings, sources->embeddings, error);
    for (int32_t i = 0; !status && i < o->lora_count; i++) status = udump_identity_find(o->loras[i].path, sources->loras[i], error);
    const udump_picture *init = sweep->base.init;
    if (status || !init) return status;
    udump_digest digest;
    udump_digest_start(&digest);
    for (int32_t y = 0; y < init->height_px; y++) udump_digest_add(&digest, init->pixels + (size_t)y * init->row_bytes, 3 * (size_t)init->width_px);
    udump_digest_finish(&digest, sources->init);
    return UDUMP_OK;
}

static json_t *loras_json(const udump_sweep_sources *sources, const udump_sweep_loras *loras, int32_t count) {
    json_t *array = json_array();
    for (int32_t i = 0; i < count; i++) {
        udump_json json = udump_json_start();
        udump_json_put_text(&json, "file", sources->loras[i]);
        udump_json_put_real(&json, "weight", loras->weights[i]);
        udump_json_put_text(&json, "block_weights", loras->items[i].block_weights);
        if (json.failed || json_array_append_new(array, json.object)) return json_decref(array), NULL;
    }
    return array;
}

static void put_sources(udump_json *json, const udump_sweep *sweep, const udump_sweep_sources *sources) {
    udump_model_info info;
    udump_model_get_info(sweep->model, &info);
    udump_json_put_text(json, "version", udump_version());
    udump_json_put_text(json, "name", sweep->plan.model); /* it stands in the pictures' text */
    udump_json_put_text(json, "model_hash", sweep->model->hash); /* as these do */
    udump_json_put_text(json, "vae_hash", sweep->model->vae_hash);
    udump_json_put_text(json, "model", sources->model);
    udump_json_put_text(json, "vae", sources->vae);
    udump_json_put_text(json, "embeddings", sources->embeddings);
    udump_json_put_text(json, "init", sources->init);
    udump_json_put_text(json, "device", info.device);
    udump_json_put_text(json, "precision", info.precision);
    udump_json_put_text(json, "prediction", info.prediction);
}

static void put_number(udump_json *json, const char *key, const double *number) {
    udump_json_put(json, key, number ? json_real(*number) : json_null());
}

static void put_options(udump_json *json, const udump_sweep *sweep) {
    const udump_generate_options *o = &sweep->base;
    udump_json_put_text(json, "negative_prompt", sweep->plan.negative_prompt);
    udump_json_put_integer(json, "width", sweep->plan.width_px);
    udump_json_put_integer(json, "height", sweep->plan.height_px);
    udump_json_put_integer(json, "steps", o->steps ? o->steps : UDUMP_DEFAULT_STEPS);
    udump_json_put_text(json, "sampler", o->sampler ? o->sampler : "Euler a");
    udump_json_put_text(json, "schedule", o->schedule ? o->schedule : "Automatic");
    put_number(json, "eta", o->eta);
    put_number(json, "s_noise", o->s_noise);
    udump_json_put_integer(json, "ensd", o->ensd);
    udump_json_put_float(json, "cfg", o->cfg != 0 ? o->cfg : 7);
    udump_json_put_integer(json, "rng", o->rng);
    udump_json_put_integer(json, "clip_skip", o->clip_skip ? o->clip_skip : 1);
    udump_json_put(json, "variation_seed", json_sprintf("%" PRIu64, o->variation_seed));
    udump_json_put_real(json, "variation_strength", o->variation_strength);
    put_number(json, "strength", o->strength);
    udump_json_put_integer(json, "vae_tile", o->vae_tile_px);
    udump_json_put(json, "diff", udump_json_string(o->diff));
    udump_json_put(json, "diff_steps", udump_json_string(o->diff_steps));
    udump_json_put_integer(json, "side", o->side);
}

udump_status udump_sweep_identify(const udump_sweep *sweep, int32_t index, char **identity, udump_error *error) {
    const udump_sweep_sources *sources = &sweep->sources;
    const udump_sweep_plan_cell *cell = &sweep->plan.cells[index];
    int32_t blocks = sweep->plan.varies_loras ? cell->blocks : -1, count = cell->weight < 0 ? 0 : sweep->model_options.lora_count;
    udump_sweep_loras loras;
    udump_text text = { 0 };
    udump_json json = udump_json_start();
    udump_status status = udump_sweep_loras_make(sweep, cell->weight, blocks, &loras, error);
    put_sources(&json, sweep, sources);
    udump_json_put(&json, "loras", status ? NULL : loras_json(sources, &loras, count));
    put_options(&json, sweep);
    udump_json_put_text(&json, "prompt", cell->prompt);
    /* Its record says how far its outputs are from the base's: of a base, that they are not compared. */
    if (sweep->base.diff && cell->base != index) udump_json_put_text(&json, "base", sweep->plan.prompt);
    udump_json_put(&json, "seed", json_sprintf("%" PRIu64, sweep->plan.seeds[cell->seed]));
    bool written = udump_json_finish(&json, &text);
    udump_sweep_loras_free(&loras);
    if (!status && !written) status = udump_fail_memory(error, "sweep", text.size);
    if (status) free(text.data);
    else *identity = text.data;
    return status;
}

udump_status udump_sweep_make_keys(udump_sweep *sweep, udump_error *error) {
    udump_status status = find_sources(sweep, &sweep->sources, error);
    for (int32_t i = 0; !status && i < sweep->plan.cell_count; i++) {
        char *identity = NULL, hash[UDUMP_DIGEST_TEXT];
        status = udump_sweep_identify(sweep, i, &identity, error);
        if (status) return status;
        udump_digest_of(identity, strlen(identity), hash);
        memcpy(sweep->plan.cells[i].key, hash, UDUMP_SWEEP_KEY_TEXT - 1);
        free(identity);
    }
    return status;
}
