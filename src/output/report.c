/* The report: one page with everything that a run left in its folder. The page is src/output/report; here it gets its data. */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/draft.h"
#include "output/file.h"

extern const char udump_report_html[], udump_report_css[], udump_report_js[];

enum {
    PIECE_BYTES = 3 << 16 /* of a picture at a time: a multiple of 3, which base64 makes 4 of */
};

/* The page being written. */
struct page {
    const char *folder;
    udump_draft draft;
    uint64_t at;
    uint8_t *piece; /* [PIECE_BYTES] */
    char *encoded;  /* [PIECE_BYTES / 3 * 4] */
    udump_error *error;
};

static udump_status put_bytes(struct page *page, const void *data, size_t size) {
    udump_status status = udump_draft_write(&page->draft, data, size, page->at, page->error);
    page->at += size;
    return status;
}

static udump_status put(struct page *page, const char *text) { return put_bytes(page, text, strlen(text)); }

/* A file of the folder; *text stays NULL where there is none. */
static udump_status read_text(const char *folder, const char *name, char **text, udump_error *error) {
    *text = NULL;
    char *path = udump_file_join(folder, name);
    udump_status status = path ? udump_file_read_text(path, text, error) : udump_fail_memory(error, folder, strlen(folder));
    free(path);
    return status;
}

/* The manifest, if it is one of ours. */
static udump_status read_manifest(const char *folder, json_t **manifest, udump_error *error) {
    char *text;
    json_error_t problem;
    udump_status status = read_text(folder, "manifest.json", &text, error);
    if (status) return status;
    if (!text) return udump_fail(error, UDUMP_ERROR_FORMAT, folder, "no finished run: manifest.json is not there");
    *manifest = json_loads(text, 0, &problem);
    free(text);
    const json_t *run = json_object_get(*manifest, "run");
    bool ours = json_is_string(json_object_get(*manifest, "unetdump")) && json_is_array(json_object_get(*manifest, "files"))
        && json_is_array(json_object_get(run, "prompts")) && json_is_array(json_object_get(*manifest, "contexts"));
    if (ours) return UDUMP_OK;
    json_decref(*manifest);
    *manifest = NULL;
    return udump_fail(error, UDUMP_ERROR_FORMAT, folder, "manifest.json is not a manifest of a run");
}

/* JSON in a script element: no "<" may stand there as such. */
static udump_status put_json(struct page *page, const char *id, const json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!text) return udump_fail_memory(page->error, page->folder, 0);
    udump_status status = put(page, "<script type=\"application/json\" id=\"");
    if (!status) status = put(page, id);
    if (!status) status = put(page, "\">");
    for (const char *at = text; !status && *at;) {
        size_t length = strcspn(at, "<");
        status = put_bytes(page, at, length);
        at += length;
        if (status || !*at) continue;
        status = put(page, "\\u003c");
        at++;
    }
    free(text);
    return status ? status : put(page, "</script>\n");
}

/* What lies beside the manifest, parsed or as one string; nothing where it is not there. */
static udump_status put_beside(struct page *page, const char *id, const char *name, bool parse) {
    char *text;
    udump_status status = read_text(page->folder, name, &text, page->error);
    if (status || !text) return status;
    json_t *value = parse ? json_loads(text, 0, NULL) : json_string(text);
    free(text);
    if (!value) return udump_fail(page->error, UDUMP_ERROR_FORMAT, name, "it is not what a run writes");
    status = put_json(page, id, value);
    json_decref(value);
    return status;
}

/* A picture's name as a run gives it: in the folder itself. */
static bool is_picture(const char *name) {
    size_t length = name ? strlen(name) : 0;
    return length > 4 && length < 256 && name[0] != '.' && strcmp(name + length - 4, ".png") == 0
        && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == length;
}

static size_t encode(const uint8_t *bytes, size_t count, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t written = 0;
    for (size_t i = 0; i < count; i += 3) {
        size_t left = count - i;
        uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        out[written++] = digits[three >> 18];
        out[written++] = digits[three >> 12 & 63];
        out[written++] = left > 1 ? digits[three >> 6 & 63] : '=';
        out[written++] = left > 2 ? digits[three & 63] : '=';
    }
    return written;
}

static udump_status put_content(struct page *page, FILE *file) {
    udump_status status = UDUMP_OK;
    for (size_t count; !status && (count = fread(page->piece, 1, PIECE_BYTES, file)) > 0;)
        status = put_bytes(page, page->encoded, encode(page->piece, count, page->encoded));
    return status;
}

/* Pictures that were deleted since are left out: the page says so by not having them. */
static udump_status put_picture(struct page *page, const char *name) {
    char *path = udump_file_join(page->folder, name);
    if (!path) return udump_fail_memory(page->error, page->folder, strlen(page->folder));
    FILE *file = fopen(path, "rbe");
    udump_status status = UDUMP_OK;
    if (!file && errno != ENOENT) status = udump_file_fail(page->error, path, "read", errno);
    if (file) {
        status = put(page, "<script type=\"text/plain\" class=\"png\" data-file=\"");
        if (!status) status = put(page, name);
        if (!status) status = put(page, "\">");
        if (!status) status = put_content(page, file);
        if (!status) status = ferror(file) ? udump_file_fail(page->error, path, "read", EIO) : put(page, "</script>\n");
        fclose(file);
    }
    free(path);
    return status;
}

static udump_status put_data(struct page *page, const json_t *manifest) {
    size_t i;
    const json_t *file;
    udump_status status = put_json(page, "manifest", manifest);
    if (!status) status = put_beside(page, "tokenfile", "tokens.json", true);
    if (!status) status = put_beside(page, "difffile", "diff.csv", false);
    json_array_foreach(json_object_get(manifest, "files"), i, file) {
        const char *name = json_string_value(json_object_get(file, "file"));
        if (!status && is_picture(name)) status = put_picture(page, name);
    }
    return status;
}

/* The page up to its next mark, `<!--NAME-->`; *at moves behind that. */
static udump_status put_until(struct page *page, const char **at, const char *mark) {
    const char *found = strstr(*at, mark);
    udump_status status = put_bytes(page, *at, (size_t)(found - *at));
    *at = found + strlen(mark);
    return status;
}

static udump_status put_page(struct page *page, const json_t *manifest) {
    const char *at = udump_report_html;
    udump_status status = put_until(page, &at, "<!--CSS-->");
    if (!status) status = put(page, udump_report_css);
    if (!status) status = put_until(page, &at, "<!--DATA-->");
    if (!status) status = put_data(page, manifest);
    if (!status) status = put_until(page, &at, "<!--JS-->");
    if (!status) status = put(page, udump_report_js);
    return status ? status : put(page, at);
}

static udump_status write_page(struct page *page, const json_t *manifest) {
    char *path = udump_file_join(page->folder, "report.html");
    page->piece = malloc(PIECE_BYTES);
    page->encoded = malloc(PIECE_BYTES / 3 * 4);
    udump_status status = path && page->piece && page->encoded ? UDUMP_OK : udump_fail_memory(page->error, page->folder, PIECE_BYTES);
    if (!status) status = udump_draft_open(path, &page->draft, page->error);
    if (!status) status = put_page(page, manifest);
    if (!status) status = udump_draft_keep(&page->draft, page->error);
    else udump_draft_discard(&page->draft);
    free(page->piece);
    free(page->encoded);
    free(path);
    return status;
}

udump_status udump_report_write(const char *path, udump_error *error) {
    if (!path || !*path) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "report", "a folder's path is needed");
    json_t *manifest = NULL;
    udump_status status = read_manifest(path, &manifest, error);
    if (status) return status;
    struct page page = { .folder = path, .error = error };
    status = write_page(&page, manifest);
    json_decref(manifest);
    return status;
}
