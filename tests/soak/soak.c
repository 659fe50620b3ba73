/* Many generations in one process, everything captured and written: soak MODEL FOLDER [GENERATIONS [SIDE_PX [STEPS]]]
 * Memory and descriptors must stay what they are after the first tenth, and the last run's files be those of the first, byte for byte. The resident size
 * wobbles with what the allocator keeps: it may grow by 2% and 4 MiB; a leak of a page a run would be 8 MiB in 2,000. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unetdump.h"

enum { SLACK_PAGES = 1024 };

static long resident_pages(void) {
    long all, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &all, &resident) != 2) resident = 0;
    if (file) fclose(file);
    return resident;
}

static int open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (folder && readdir(folder)) count++;
    if (folder) closedir(folder);
    return count;
}

static udump_generate_options everything(int32_t side_px, int32_t steps) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = "a (~: _: red; OUT06-OUT08: green :~) circle [on a blue|on a red] background AND a (square:1.2) :0.5";
    o.width_px = o.height_px = side_px;
    o.steps = steps;
    o.features = o.attention = o.diff = "";
    o.attention_kinds = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF;
    o.attention_words = "circle";
    o.side = UDUMP_SIDE_BOTH;
    static const udump_style averaged = { .struct_bytes = sizeof averaged, .average = UDUMP_AVERAGE_L2 };
    o.style = &averaged;
    o.want_tensors = 1;
    return o;
}

/* A session of its own in every other run, so that both making and reusing one are seen. */
static udump_status run_once(udump_model *model, udump_session *kept, const char *path, const udump_generate_options *o, int own, udump_error *error) {
    udump_folder_options options;
    udump_folder *folder = NULL;
    udump_session *session = kept;
    udump_folder_options_init(&options);
    options.dump = UDUMP_DUMP_SAFETENSORS;
    udump_status status = udump_folder_open(path, &options, &folder, error);
    if (!status && own) status = udump_session_create(model, &session, error);
    if (!status) status = udump_generate(session, o, udump_folder_sink(folder), error);
    if (own) udump_session_destroy(session);
    udump_error closing;
    udump_status closed = udump_folder_close(folder, !status, status ? &closing : error);
    if (!status) status = closed;
    return status ? status : udump_report_write(path, error);
}

static int soak(udump_model *model, const char *out, int runs, const udump_generate_options *o, udump_error *error) {
    char first[4096], last[4096];
    udump_session *kept = NULL;
    long pages = 0;
    int descriptors = 0, flat_from = runs / 10 > 2 ? runs / 10 : 2;
    snprintf(first, sizeof first, "%s/first", out);
    snprintf(last, sizeof last, "%s/last", out);
    if (udump_session_create(model, &kept, error)) return 1;
    for (int run = 1; run <= runs; run++) {
        if (run_once(model, kept, run == 1 ? first : last, o, run % 2, error)) return 1;
        if (run == flat_from) pages = resident_pages(), descriptors = open_descriptors();
        if (run == flat_from || run % (runs / 10 ? runs / 10 : 1) == 0)
            printf("run %d: %.1f MB resident, %d descriptors\n", run, (double)resident_pages() * (double)sysconf(_SC_PAGESIZE) * 1e-6, open_descriptors() - 3);
        fflush(stdout);
    }
    udump_session_destroy(kept);
    long grown = resident_pages() - pages;
    if (grown > pages / 50 + SLACK_PAGES) return printf("grew by %ld pages\n", grown), 2;
    if (open_descriptors() != descriptors) return printf("%d descriptors more\n", open_descriptors() - descriptors), 2;
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: soak MODEL FOLDER [GENERATIONS [SIDE_PX [STEPS]]]\n"), 2;
    int runs = argc > 3 ? atoi(argv[3]) : 2000;
    udump_generate_options o = everything(argc > 4 ? atoi(argv[4]) : 64, argc > 5 ? atoi(argv[5]) : 2);
    udump_model *model = NULL;
    udump_error error;
    char line[1200];
    int status = udump_model_load(argv[1], NULL, &model, &error) ? 1 : soak(model, argv[2], runs > 1 ? runs : 2, &o, &error);
    if (status == 1 && udump_error_format(&error, line, sizeof line)) fprintf(stderr, "soak: %s\n", line);
    udump_model_release(model);
    return status;
}
