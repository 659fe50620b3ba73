#include "output/resume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "base/walk.h"
#include "output/file.h"
#include "output/journal.h"
#include "output/json.h"

static udump_status fail_memory(const char *folder, udump_error *error) { return udump_fail_memory(error, folder, 0); }

/* ---- what killed processes left */

/* Whatever has this process's number is of an earlier one: nothing is written yet. */
static udump_status remove_if_left(void *error, const char *path, const char *name) {
    long process = udump_file_writer(name);
    return process == (long)getpid() || udump_file_is_left(name) ? udump_file_remove(path, error) : UDUMP_OK;
}

/* The deepest are the bin dump's: features/erased/. */
static udump_status remove_left(const char *folder, udump_error *error) { return udump_walk(folder, 2, false, remove_if_left, error, error); }

/* ---- whose the folder is */

/* Where what differs begins: of a picture's text the key before it. */
static size_t difference(const char *a, const char *b) {
    size_t at = 0;
    while (a[at] && a[at] == b[at]) at++;
    while (at > 1 && strncmp(a + at - 2, ", ", 2) != 0) at--;
    return at > 1 ? at : 0;
}

static udump_status fail_values(const char *folder, const char *what, const json_t *own, const json_t *former, udump_error *error) {
    char *expected = json_dumps(own, JSON_ENCODE_ANY), *found = former ? json_dumps(former, JSON_ENCODE_ANY) : strdup("nothing");
    size_t from = expected && found ? difference(expected, found) : 0;
    udump_status status = expected && found ? udump_fail_values(error, UDUMP_ERROR_ARGUMENT, folder, what, expected + from, found + from) : fail_memory(folder, error);
    free(expected);
    free(found);
    return status;
}

/* Names the first thing in which the runs differ. */
static udump_status compare_runs(const char *folder, const char *version, const json_t *former, const json_t *own, udump_error *error) {
    const char *key;
    json_t *value;
    char what[128];
    if (!version || strcmp(version, udump_version()))
        return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, folder, "another version's run is in the folder", udump_version(), version);
    if (json_equal(former, own)) return UDUMP_OK;
    json_object_foreach((json_t *)own, key, value) {
        const json_t *other = json_object_get(former, key);
        if (json_equal(value, other)) continue;
        if (strcmp(key, "fingerprint") == 0)
            return udump_fail(error, UDUMP_ERROR_ARGUMENT, folder,
                "a run with other options (of what is shown, or how), or with other LoRA files, is in the folder");
        snprintf(what, sizeof what, "another run is in the folder: %s differs", key);
        return fail_values(folder, what, value, other, error);
    }
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, folder, "another run is in the folder");
}

/* ---- the journal, or else the manifest */

static udump_status read_json(const char *folder, const char *name, char **text, udump_error *error) {
    char *path = udump_file_join(folder, name);
    if (!path) return fail_memory(folder, error);
    udump_status status = udump_file_read_text(path, text, error);
    free(path);
    return status;
}

/* One line's batch. What is no whole line is what a kill left: nothing follows it. */
static udump_status take_batch(udump_resume *resume, const char *line, size_t size, bool *more, udump_error *error) {
    json_t *batch = json_loadb(line, size, 0, NULL), *rows = json_object_get(batch, "diff"), *files = json_object_get(batch, "files");
    *more = json_is_string(rows) && json_is_array(files);
    bool good = !*more || (udump_text_add(&resume->rows, json_string_value(rows), json_string_length(rows)) && json_array_extend(resume->files, files) == 0);
    json_decref(batch);
    return good ? UDUMP_OK : fail_memory(UDUMP_JOURNAL_NAME, error);
}

static udump_status read_journal(const char *folder, const json_t *own, const char *text, udump_resume *resume, udump_error *error) {
    const char *end = strchr(text, '\n');
    if (!end) return UDUMP_OK;
    json_t *head = json_loadb(text, (size_t)(end - text), 0, NULL);
    udump_status status = UDUMP_OK;
    if (head) {
        resume->time = json_integer_value(json_object_get(head, "time"));
        status = compare_runs(folder, json_string_value(json_object_get(head, "unetdump")), json_object_get(head, "run"), own, error);
    }
    bool more = head && !status;
    json_decref(head);
    for (const char *line = end + 1; more && !status && (end = strchr(line, '\n')); line = end + 1)
        status = take_batch(resume, line, (size_t)(end - line), &more, error);
    return status;
}

/* "features/000-IN05-001-0000-1700000000.bin": of the bin dump alone. */
static int64_t time_of(const json_t *files) {
    size_t i;
    const json_t *entry;
    json_array_foreach(files, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "file")), *dash = name ? strrchr(name, '-') : NULL;
        int64_t time;
        int length = 0;
        if (dash && sscanf(dash, "-%" SCNd64 ".bin%n", &time, &length) == 1 && length && !dash[length]) return time;
    }
    return 0;
}

static udump_status read_manifest(const char *folder, const json_t *own, const char *text, udump_resume *resume, udump_error *error) {
    json_t *manifest = json_loads(text, 0, NULL);
    char *rows = NULL;
    if (!manifest) return UDUMP_OK; /* nobody's: to be written anew */
    udump_status status
        = compare_runs(folder, json_string_value(json_object_get(manifest, "unetdump")), json_object_get(manifest, "run"), own, error);
    const json_t *files = json_object_get(manifest, "files");
    if (!status) status = read_json(folder, "diff.csv", &rows, error);
    const char *first = rows ? strchr(rows, '\n') : NULL; /* behind the header */
    if (!status && first && !udump_text_add(&resume->rows, first + 1, strlen(first + 1))) status = fail_memory(folder, error);
    if (!status && json_is_array(files) && json_array_extend(resume->files, (json_t *)files)) status = fail_memory(folder, error);
    if (!status && !(resume->time = time_of(files))) resume->time = 1; /* anything but nothing */
    free(rows);
    json_decref(manifest);
    return status;
}

static udump_status read_former(const char *folder, const json_t *own, udump_resume *resume, udump_error *error) {
    char *text = NULL;
    udump_status status = read_json(folder, UDUMP_JOURNAL_NAME, &text, error);
    if (!status && text) status = read_journal(folder, own, text, resume, error);
    else if (!status && !(status = read_json(folder, "manifest.json", &text, error)) && text)
        status = read_manifest(folder, own, text, resume, error);
    free(text);
    return status;
}

/* ---- which batches are whole */

static int64_t batch_of(const udump_resume *resume, const json_t *entry) {
    const json_t *image = json_object_get(entry, "image");
    int64_t batch = json_is_integer(image) ? (int64_t)json_integer_value(image) / resume->batch_size : -1;
    return batch < resume->batches ? batch : -1;
}

/* A batch is whole if it has all its pictures and no file of it is missing. */
static udump_status find_whole(const char *folder, const udump_run_info *run, udump_resume *resume, udump_error *error) {
    size_t i;
    const json_t *entry;
    int32_t *images = calloc((size_t)resume->batches, sizeof *images);
    resume->done = calloc((size_t)resume->batches, sizeof *resume->done);
    if (!images || !resume->done) {
        free(images);
        return fail_memory(folder, error);
    }
    json_array_foreach(resume->files, i, entry) {
        int64_t batch = batch_of(resume, entry);
        const char *source = json_string_value(json_object_get(entry, "source"));
        if (batch < 0) continue;
        if (images[batch] >= 0 && !udump_file_is_whole(folder, entry)) images[batch] = -1;
        else if (images[batch] >= 0) images[batch] += source && strcmp(source, "image") == 0;
    }
    for (int32_t batch = 0; batch < resume->batches; batch++)
        resume->done_count += resume->done[batch] = images[batch] == run->batch_size * run->variants;
    free(images);
    return UDUMP_OK;
}

udump_status udump_resume_read(
    const char *folder, const udump_run_info *run, const char *run_json, udump_resume *resume, udump_error *error) {
    *resume = (udump_resume){ .files = json_array(), .batch_size = run->batch_size > 0 ? run->batch_size : 1,
        .batches = run->batch_count > 0 ? run->batch_count : 1 };
    json_t *own = json_loads(run_json, 0, NULL);
    udump_status status = own && resume->files ? read_former(folder, own, resume, error) : fail_memory(folder, error);
    json_decref(own);
    if (!status) status = remove_left(folder, error);
    return status ? status : find_whole(folder, run, resume, error);
}

void udump_resume_free(udump_resume *resume) {
    json_decref(resume->files);
    free(resume->rows.data);
    free(resume->done);
    *resume = (udump_resume){ 0 };
}

bool udump_resume_has(const udump_resume *resume, int32_t first_image) {
    return resume->done && first_image / resume->batch_size < resume->batches && resume->done[first_image / resume->batch_size];
}

/* ---- and what they have */

static bool copy_files(const udump_resume *resume, int64_t batch, udump_text *files, bool *cross) {
    size_t i;
    json_t *entry;
    json_array_foreach(resume->files, i, entry) {
        if (batch_of(resume, entry) != batch) continue;
        *cross |= json_object_get(entry, "context") != NULL;
        if (!udump_text_print(files, files->size ? ",\n  " : "\n  ") || !udump_json_write(json_incref(entry), files)) return false;
    }
    return true;
}

static bool copy_rows(const udump_resume *resume, int64_t batch, udump_text *rows) {
    for (const char *row = resume->rows.data, *end; row && (end = strchr(row, '\n')); row = end + 1)
        if (strtol(row, NULL, 10) / resume->batch_size == batch && !udump_text_add(rows, row, (size_t)(end + 1 - row))) return false;
    return true;
}

bool udump_resume_copy(const udump_resume *resume, int32_t first_image, udump_text *files, udump_text *rows, bool *cross) {
    int64_t batch = first_image / resume->batch_size;
    return copy_files(resume, batch, files, cross) && copy_rows(resume, batch, rows);
}
