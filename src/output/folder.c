/* The folder of the public header: a sink that copies what it gets, queues it for the writers and notes it in the manifest. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "base/status.h"
#include "output/budget.h"
#include "output/diff_csv.h"
#include "output/dump.h"
#include "output/infotext.h"
#include "output/journal.h"
#include "output/name.h"
#include "output/picture_job.h"
#include "output/resume.h"
#include "output/run_json.h"

enum {
    QUEUE_BYTES = 64 << 20,
    QUEUE_JOBS = 1024
};

static const char manifest_name[] = "manifest.json", tokens_name[] = "tokens.json", diff_name[] = "diff.csv";

struct udump_folder {
    char *path;
    size_t existing_bytes; /* how much of the path was there before */
    int lock;  /* -1: none */
    udump_sink sink;
    udump_writers *writers;
    udump_manifest *manifest;
    udump_dump dump;
    udump_dumper dumper; /* format NULL: tensors are not written */
    bool begun, forced, resumed;
    bool running;      /* a batch, which is not in the journal yet */
    bool journal_begun, journal_kept; /* the journal is this run's; it names a batch */
    size_t files_before, rows_before; /* where the batch begins in the manifest and in diff.csv */
    udump_resume resume; /* with resumed: what a former run left */
    udump_text tokens, differences; /* tokens.json, diff.csv */
    bool cross;                     /* something of cross-attention came: tokens.json has something to say */
    udump_error error; /* the first failure of a callback; status UDUMP_OK until then */
};

/* What a callback answers: the first failure is kept for udump_folder_close and ends the run. */
static udump_flow answer(udump_folder *folder, udump_status status, const udump_error *error) {
    if (status && !folder->error.status) folder->error = *error;
    return status ? UDUMP_STOP : UDUMP_CONTINUE;
}

/* What a former run left would be taken for this one's; its manifest would make a failed run look whole. */
static udump_status remove_former(const char *folder, udump_error *error) {
    static const char *const names[] = { manifest_name, tokens_name, diff_name, "report.html" };
    udump_status status = UDUMP_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && !status; i++) {
        char *path = udump_file_join(folder, names[i]);
        status = path ? udump_file_remove(path, error) : udump_fail_memory(error, folder, strlen(folder));
        free(path);
    }
    return status;
}

/* The options that only the folder knows join the fingerprint. */
static udump_status set_run(udump_folder *folder, const udump_run_info *run, udump_error *error) {
    static const char *const dumps[] = { "none", "npy", "bin", "safetensors" };
    char fingerprint[64];
    udump_run_info own = *run;
    snprintf(fingerprint, sizeof fingerprint, "%.32s-%s", run->fingerprint ? run->fingerprint : "", dumps[folder->dump]);
    own.fingerprint = fingerprint;
    udump_status status = udump_manifest_set_run(folder->manifest, &own, error);
    if (!status && !udump_run_json_write_tokens(run, &folder->tokens)) status = udump_fail_memory(error, tokens_name, folder->tokens.size);
    return status;
}

/* What the batches that are there take is not to be written again. */
static udump_status check_budget(const udump_folder *folder, const udump_run_info *run, udump_error *error) {
    udump_run_info left = *run;
    int64_t *const amounts[] = { &left.picture_count, &left.picture_bytes, &left.tensor_count, &left.tensor_bytes, &left.tensor_tile_count };
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts && folder->resume.done_count; i++)
        *amounts[i] = *amounts[i] / folder->resume.batches * (folder->resume.batches - folder->resume.done_count);
    return folder->forced ? UDUMP_OK : udump_budget_check(folder->path, &left, folder->dump, error);
}

/* A journal that begins with all that is there: whatever happens from now on, that is not lost. */
static udump_status begin_journal(udump_folder *folder, udump_error *error) {
    udump_text files = { 0 }, rows = { 0 };
    bool good = true, cross = false;
    for (int32_t batch = 0; batch < folder->resume.batches && good; batch++)
        if (folder->resume.done[batch]) good = udump_resume_copy(&folder->resume, batch * folder->resume.batch_size, &files, &rows, &cross);
    const udump_journal_batch kept = { files.data, rows.data, files.size, rows.size };
    folder->journal_kept = folder->resume.done_count > 0;
    udump_status status = good ? udump_journal_begin(folder->path, udump_manifest_run(folder->manifest), folder->dumper.time,
                                     folder->journal_kept ? &kept : NULL, error)
                               : udump_fail_memory(error, UDUMP_JOURNAL_NAME, files.size);
    folder->journal_begun = !status;
    free(files.data);
    free(rows.data);
    return status;
}

static udump_status begin_run(udump_folder *folder, const udump_run_info *run, udump_error *error) {
    if (folder->begun)
        return udump_fail(
            error, UDUMP_ERROR_STATE, folder->path, "a folder takes one run: a second one would overwrite the first one's files");
    folder->begun = true;
    folder->dumper.time = (int64_t)time(NULL);
    udump_status status = set_run(folder, run, error);
    if (!status && folder->resumed) status = udump_resume_read(folder->path, run, udump_manifest_run(folder->manifest), &folder->resume, error);
    if (folder->resume.time) folder->dumper.time = folder->resume.time;
    if (!status) status = check_budget(folder, run, error);
    if (!status && folder->dumper.format && folder->dumper.format->begin)
        status = folder->dumper.format->begin(&folder->dumper, run, error);
    if (!status) status = begin_journal(folder, error);
    return status ? status : remove_former(folder->path, error);
}

/* The batch that ran is whole once its files are; the journal may then say so. */
static udump_status end_batch(udump_folder *folder, udump_error *error) {
    const udump_text *files = udump_manifest_files(folder->manifest);
    const udump_dump_format *format = folder->dumper.format;
    udump_status status = udump_writers_wait(folder->writers, error);
    if (!status && format && format->end_batch) status = format->end_batch(&folder->dumper, error);
    if (status || files->size == folder->files_before) return status;
    size_t first = folder->files_before ? folder->files_before + 1 : 0; /* behind the comma */
    udump_journal_batch batch = { .files = files->data + first, .files_bytes = files->size - first };
    batch.rows = udump_diff_csv_rows(&folder->differences, folder->rows_before, &batch.rows_bytes);
    folder->journal_kept = true;
    return udump_journal_add(folder->path, &batch, error);
}

static udump_status begin_batch(udump_folder *folder, const udump_run_info *run, bool *skip, udump_error *error) {
    udump_status status = folder->running ? end_batch(folder, error) : UDUMP_OK;
    folder->running = false;
    if (!status && !(folder->begun && run->first_image > 0)) status = begin_run(folder, run, error);
    if (status) return status;
    *skip = udump_resume_has(&folder->resume, run->first_image);
    folder->running = !*skip;
    if (*skip) {
        udump_text rows = { 0 };
        bool good = udump_resume_copy(&folder->resume, run->first_image, udump_manifest_files(folder->manifest), &rows, &folder->cross)
            && udump_diff_csv_add_rows(&folder->differences, rows.data, rows.size);
        free(rows.data);
        if (!good) return udump_fail_memory(error, manifest_name, rows.size);
    }
    folder->files_before = udump_manifest_files(folder->manifest)->size;
    folder->rows_before = folder->differences.size;
    return UDUMP_OK;
}

static udump_flow on_begin(void *user, const udump_run_info *run) {
    udump_folder *folder = user;
    udump_error error;
    bool skip = false;
    udump_flow flow = answer(folder, begin_batch(folder, run, &skip, &error), &error);
    return flow == UDUMP_CONTINUE && skip ? UDUMP_SKIP : flow;
}

static udump_status tell_infotext(udump_folder *folder, int32_t image, udump_variant variant, const char *text, udump_error *error) {
    const udump_dump_format *format = folder->dumper.format;
    return format && format->infotext ? format->infotext(&folder->dumper, image, variant, text, error) : UDUMP_OK;
}

static udump_status take_canvas(udump_folder *folder, const udump_canvas *canvas, udump_error *error) {
    char name[UDUMP_NAME_BYTES];
    udump_status status = udump_name_place(&canvas->place, canvas->average, ".png", name, error);
    if (status) return status;
    char *text = udump_infotext_for_canvas(canvas->infotext, &canvas->place, canvas->average);
    status = text ? udump_picture_submit(folder->path, name, folder->writers, &canvas->picture, text, error)
                  : udump_fail_memory(error, name, 0);
    free(text);
    if (!status) status = udump_manifest_add_canvas(folder->manifest, name, canvas, error);
    return status ? status : tell_infotext(folder, canvas->place.image, canvas->place.variant, canvas->infotext, error);
}

static udump_flow on_canvas(void *user, const udump_canvas *canvas) {
    udump_folder *folder = user;
    udump_error error;
    folder->cross |= udump_kind_is_cross(canvas->place.kind);
    return answer(folder, take_canvas(folder, canvas, &error), &error);
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *tensor) {
    udump_folder *folder = user;
    udump_error error;
    folder->cross |= udump_kind_is_cross(place->kind);
    return answer(folder, folder->dumper.format->tensor(&folder->dumper, place, tensor, &error), &error);
}

static udump_flow on_part(
    void *user, const udump_place *place, const udump_view *whole, int32_t axis, int64_t first, const udump_view *part) {
    udump_folder *folder = user;
    udump_error error;
    const udump_rows rows = { whole, axis, first, part };
    return answer(folder, folder->dumper.format->part(&folder->dumper, place, &rows, &error), &error);
}

static udump_flow on_diff(void *user, const udump_place *place, const udump_diff_norms *norms) {
    udump_folder *folder = user;
    udump_error error;
    char name[UDUMP_NAME_BYTES];
    udump_status status = udump_name_place(place, false, "", name, &error); /* for its checks */
    if (!status && !udump_diff_csv_add(&folder->differences, place, norms))
        status = udump_fail_memory(&error, diff_name, folder->differences.size);
    return answer(folder, status, &error);
}

static udump_flow on_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    udump_folder *folder = user;
    udump_error error;
    char name[UDUMP_NAME_BYTES];
    udump_status status = udump_name_image(image, variant, ".png", name, &error);
    if (!status) status = udump_picture_submit(folder->path, name, folder->writers, picture, infotext, &error);
    if (!status) status = udump_manifest_add_image(folder->manifest, name, image, variant, picture, &error);
    if (!status) status = tell_infotext(folder, image, variant, infotext, &error);
    return answer(folder, status, &error);
}

static const udump_dump_format *format_of(udump_dump dump) {
    return dump == UDUMP_DUMP_NPY ? &udump_dump_npy
        : dump == UDUMP_DUMP_BIN ? &udump_dump_bin
        : dump == UDUMP_DUMP_SAFETENSORS ? &udump_dump_safetensors : NULL;
}

static udump_status read_options(const udump_folder_options *given, udump_folder_options *options, udump_error *error) {
    udump_status status = udump_options_take(options, sizeof *options, given, "folder options", error);
    if (status) return status;
    if (!options->writer_threads) options->writer_threads = 1;
    if (options->writer_threads < 0 || options->writer_threads > UDUMP_WRITERS_MOST_THREADS)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "writer_threads", "must be in 0..%d, not %" PRId32, UDUMP_WRITERS_MOST_THREADS,
            options->writer_threads);
    if (options->dump != UDUMP_DUMP_NONE && !format_of(options->dump))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "dump", "unknown format %d", (int)options->dump);
    return UDUMP_OK;
}

static void folder_free(udump_folder *folder) {
    if (folder->lock >= 0) close(folder->lock);
    udump_manifest_free(folder->manifest);
    udump_resume_free(&folder->resume);
    free(folder->tokens.data);
    free(folder->differences.data);
    free(folder->path);
    free(folder);
}

static void set_sink(udump_folder *folder) {
    const udump_dump_format *format = folder->dumper.format;
    folder->sink = (udump_sink){ .struct_bytes = sizeof folder->sink, .user = folder, .begin = on_begin, .canvas = on_canvas,
        .tensor = format ? on_tensor : NULL, .part = format && format->part ? on_part : NULL, .diff = on_diff, .image = on_image };
}

udump_status udump_folder_open(const char *path, const udump_folder_options *given, udump_folder **out, udump_error *error) {
    if (!path || !*path || !out) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "", "a folder's path is needed");
    udump_folder_options options;
    udump_status status = read_options(given, &options, error);
    size_t existing_bytes = udump_file_existing_bytes(path);
    if (!status) status = udump_file_make_folder(path, error);
    if (status) return status;
    udump_folder *folder = calloc(1, sizeof *folder);
    if (!folder) return udump_fail_memory(error, path, sizeof *folder);
    folder->existing_bytes = existing_bytes;
    folder->lock = -1;
    folder->path = strdup(path);
    folder->manifest = udump_manifest_create();
    folder->dump = options.dump;
    folder->forced = options.force != 0;
    folder->resumed = options.resume != 0;
    status = folder->path && folder->manifest
        ? udump_writers_create(options.writer_threads, QUEUE_BYTES, QUEUE_JOBS, &folder->writers, error)
        : udump_fail_memory(error, path, strlen(path));
    folder->dumper = (udump_dumper){ format_of(options.dump), folder->path, folder->writers, folder->manifest, 0, NULL };
    set_sink(folder);
    if (!status) status = udump_file_lock_folder(path, &folder->lock, error);
    if (status && folder->writers) udump_writers_finish(folder->writers, NULL);
    if (status) folder_free(folder);
    else *out = folder;
    return status;
}

const udump_sink *udump_folder_sink(udump_folder *folder) { return folder ? &folder->sink : NULL; }

void udump_folder_count(udump_folder *folder, int64_t *written, int64_t *waiting) {
    udump_writers_count(folder->writers, written, waiting);
}

static udump_status save(const udump_folder *folder, const char *name, const void *data, size_t size, udump_error *error) {
    char *path = udump_file_join(folder->path, name);
    udump_status status = path ? udump_file_save(path, data, size, error) : udump_fail_memory(error, folder->path, strlen(folder->path));
    free(path);
    return status;
}

/* The manifest last: a folder that has one is whole. */
static udump_status write_summary(const udump_folder *folder, udump_error *error) {
    udump_bytes content;
    udump_status status = UDUMP_OK;
    const char *beside[] = { folder->cross && folder->tokens.size ? tokens_name : NULL, folder->differences.size ? diff_name : NULL };
    if (beside[1]) status = save(folder, diff_name, folder->differences.data, folder->differences.size, error);
    if (!status && beside[0]) status = save(folder, tokens_name, folder->tokens.data, folder->tokens.size, error);
    if (!status) status = udump_manifest_format(folder->manifest, beside, 2, &content, error);
    if (status) return status;
    status = save(folder, manifest_name, content.data, content.size, error);
    free(content.data);
    return status;
}

udump_status udump_folder_close(udump_folder *folder, int32_t keep, udump_error *error) {
    if (!folder) return UDUMP_OK;
    udump_error first, last;
    udump_status status = udump_writers_finish(folder->writers, &first);
    if (!status && folder->error.status) {
        status = folder->error.status;
        first = folder->error;
    }
    udump_status finished = UDUMP_OK;
    if (folder->dumper.format) finished = folder->dumper.format->finish(&folder->dumper, keep && !status, &last);
    if (!status && !finished && keep) finished = write_summary(folder, &last);
    /* Of use only to a run that goes on where this one stopped. */
    bool ended = !status && !finished && keep;
    if (folder->journal_begun && (ended || !folder->journal_kept)) {
        udump_status removed = udump_journal_remove(folder->path, status || finished ? NULL : &last);
        if (ended) finished = removed;
    }
    if (error && (status || finished)) *error = status ? first : last;
    if (!ended) udump_file_remove_empty(folder->path, folder->existing_bytes);
    folder_free(folder);
    return status ? status : finished;
}
