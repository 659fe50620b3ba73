#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STEPS_MOST = 4096 }; /* evaluations: at most 3 for each of 1000 steps */

/* What the run will write, before it does. */
static void print_budget(const progress_bar *bar, const udump_run_info *run) {
    int64_t files = run->picture_count, images = (int64_t)run->batch_size * run->batch_count;
    if (bar->dump == UDUMP_DUMP_NPY) files += run->tensor_count;
    if (bar->dump == UDUMP_DUMP_BIN) files += run->tensor_tile_count;
    if (bar->dump == UDUMP_DUMP_SAFETENSORS) files += images;
    double bytes = (double)(run->picture_bytes + run->tensor_bytes);
    printf("%lld file%s, up to ", (long long)files, files == 1 ? "" : "s");
    if (bytes < 1e6) printf("%.0f kB", bytes * 1e-3);
    else printf("%.1f MB", bytes * 1e-6);
    if (strcmp(run->device, "cuda") == 0) printf("; %.1f MB of the device's memory to work in", (double)run->work_bytes * 1e-6);
    printf("; %s\n", run->device_note);
    fflush(stdout);
}

/* The steps that a spec names past the end select nothing: worth a word. Steps are the U-Net's evaluations, which are more than the sampler's in second order. */
static void warn_about_steps(const char *option, const char *spec, int32_t steps) {
    uint8_t selected[STEPS_MOST];
    int32_t beyond = 0;
    if (!spec || steps > STEPS_MOST || udump_steps_parse(spec, steps, selected, &beyond, NULL) || !beyond) return;
    warn("%s: %d of the steps named lie past the last, %d", option, (int)beyond, (int)steps);
}

static udump_flow on_begin(void *user, const udump_run_info *run) {
    const progress_bar *bar = user;
    if (run->first_image == 0) {
        warn_about_steps("--feature-steps", bar->options->feature_steps, run->evaluations);
        warn_about_steps("--attention-steps", bar->options->attention_steps, run->evaluations);
        warn_about_steps("--diff-steps", bar->options->diff_steps, run->evaluations);
    }
    if (!bar->quiet && run->first_image == 0) print_budget(bar, run);
    udump_flow flow = bar->inner->begin(bar->inner->user, run);
    if (!bar->quiet && flow == UDUMP_SKIP) {
        int last = (int)(run->first_image + run->batch_size) - 1;
        if (run->batch_size > 1) printf("images %03d to %03d are there already\n", (int)run->first_image, last);
        else printf("image %03d is there already\n", last);
        fflush(stdout);
    }
    return flow;
}

static udump_flow on_canvas(void *user, const udump_canvas *canvas) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->canvas(inner->user, canvas);
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *tensor) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->tensor(inner->user, place, tensor);
}

static udump_flow on_part(
    void *user, const udump_place *place, const udump_view *whole, int32_t axis, int64_t first, const udump_view *part) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->part(inner->user, place, whole, axis, first, part);
}

static udump_flow on_diff(void *user, const udump_place *place, const udump_diff_norms *norms) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->diff(inner->user, place, norms);
}

static udump_flow on_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->image(inner->user, image, variant, picture, infotext);
}

static udump_flow on_progress(void *user, const udump_progress *p) {
    progress_bar *bar = user;
    int64_t written, waiting;
    udump_folder_count(bar->folder, &written, &waiting);
    double left = p->seconds_per_step * (p->steps - p->step);
    fprintf(stderr, "\r\033[Kstep %d/%d, %.2f s a step, %.0f s left", (int)p->step, (int)p->steps, p->seconds_per_step, left);
    if (written + waiting > 0) fprintf(stderr, "; %lld files written, %lld waiting", (long long)written, (long long)waiting);
    if (p->step == p->steps) fprintf(stderr, "; decoding");
    fflush(stderr);
    return UDUMP_CONTINUE;
}

udump_sink progress_wrap(progress_bar *bar, udump_folder *folder, const udump_generate_options *options, udump_dump dump, bool quiet) {
    const udump_sink *inner = udump_folder_sink(folder);
    *bar = (progress_bar){ folder, inner, options, dump, quiet, !quiet && isatty(STDERR_FILENO) };
    return (udump_sink){ .struct_bytes = sizeof(udump_sink), .user = bar, .begin = on_begin, .canvas = on_canvas,
        .tensor = inner->tensor ? on_tensor : NULL, .part = inner->part ? on_part : NULL, .diff = on_diff, .image = on_image,
        .progress = bar->shown ? on_progress : NULL };
}

void progress_end(progress_bar *bar) {
    if (bar->shown) fputs("\r\033[K", stderr);
}
