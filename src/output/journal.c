#include "output/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "output/file.h"
#include "output/json.h"

/* The manifest's line breaks stand between objects alone: in strings they are escaped. */
static bool format_batch(const udump_journal_batch *batch, udump_text *line) {
    json_t *rows = json_stringn(batch->rows ? batch->rows : "", batch->rows_bytes);
    bool good = udump_text_print(line, "{\"diff\": ") && udump_json_write(rows, line) && udump_text_print(line, ", \"files\": [");
    size_t begin = line->size;
    good = good && udump_text_add(line, batch->files ? batch->files : "", batch->files_bytes);
    for (size_t i = begin; good && i < line->size; i++)
        if (line->data[i] == '\n') line->data[i] = ' ';
    return good && udump_text_print(line, "]}\n");
}

udump_status udump_journal_begin(const char *folder, const char *run, int64_t time, const udump_journal_batch *kept, udump_error *error) {
    udump_text text = { 0 };
    char *path = udump_file_join(folder, UDUMP_JOURNAL_NAME);
    bool good = path
        && udump_text_print(&text, "{\"unetdump\": \"%s\", \"time\": %" PRId64 ", \"run\": %s}\n", udump_version(), time, run)
        && (!kept || format_batch(kept, &text));
    udump_status status = good ? udump_file_save(path, text.data, text.size, error) : udump_fail_memory(error, UDUMP_JOURNAL_NAME, text.size);
    free(text.data);
    free(path);
    return status;
}

/* 0, or an errno. */
static int append(const char *path, const char *data, size_t size) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return fd < 0 ? errno : udump_file_write_and_close(fd, (const uint8_t *)data, size);
}

udump_status udump_journal_add(const char *folder, const udump_journal_batch *batch, udump_error *error) {
    udump_text line = { 0 };
    char *path = udump_file_join(folder, UDUMP_JOURNAL_NAME);
    udump_status status = UDUMP_OK;
    if (!path || !format_batch(batch, &line)) status = udump_fail_memory(error, UDUMP_JOURNAL_NAME, line.size);
    int code = status ? 0 : append(path, line.data, line.size);
    if (code) status = udump_file_fail(error, path, "written", code);
    free(line.data);
    free(path);
    return status;
}

udump_status udump_journal_remove(const char *folder, udump_error *error) {
    char *path = udump_file_join(folder, UDUMP_JOURNAL_NAME);
    udump_status status = path ? udump_file_remove(path, error) : udump_fail_memory(error, folder, strlen(folder));
    free(path);
    return status;
}
