#include "progress.h"

#include <stdio.h>
#include <unistd.h>

static udump_flow on_begin(void *user, const udump_run_info *run) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->begin(inner->user, run);
}

static udump_flow on_canvas(void *user, const udump_canvas *canvas) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->canvas(inner->user, canvas);
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *tensor) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->tensor(inner->user, place, tensor);
}

static udump_flow on_image(void *user, int32_t image, const udump_picture *picture, const char *infotext) {
    const udump_sink *inner = ((progress_bar *)user)->inner;
    return inner->image(inner->user, image, picture, infotext);
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

udump_sink progress_wrap(progress_bar *bar, udump_folder *folder, bool quiet) {
    *bar = (progress_bar){ folder, udump_folder_sink(folder), !quiet && isatty(STDERR_FILENO) };
    return (udump_sink){ sizeof(udump_sink), bar, on_begin, on_canvas, on_tensor, on_image, bar->shown ? on_progress : NULL };
}

void progress_end(progress_bar *bar) {
    if (bar->shown) fputs("\r\033[K", stderr);
}
