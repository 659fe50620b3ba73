/* The options of attention that are lists: kinds and positions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

bool parse_kinds(const char *text, uint32_t *kinds) {
    static const struct {
        const char *name;
        uint32_t kind;
    } known[] = { { "k", UDUMP_ATTEND_K }, { "qk", UDUMP_ATTEND_QK }, { "vqk", UDUMP_ATTEND_VQK }, { "self", UDUMP_ATTEND_SELF },
        { "self-map", UDUMP_ATTEND_SELF_MAP } };
    *kinds = 0;
    for (const char *at = text, *rest; at; at = *rest ? rest + 1 : NULL) {
        at += strspn(at, " ");
        size_t length = strcspn(at, ", "), i = 0, count = sizeof known / sizeof *known;
        rest = at + length + strspn(at + length, " ");
        while (i < count && (strlen(known[i].name) != length || strncmp(at, known[i].name, length) != 0)) i++;
        if (i == count || (*rest && *rest != ','))
            return fail_usage("--attention-kind: expected k, qk, vqk, self or self-map, with commas between, found '%s'", text), false;
        *kinds |= known[i].kind;
    }
    return true;
}

/* "grid:4x3": the centres of 4 columns and 3 rows of cells. */
static int32_t fill_grid(const char *text, int32_t width_px, int32_t height_px, int32_t *queries_px, int32_t most) {
    int columns, rows, used = 0;
    if (sscanf(text, "grid:%dx%d%n", &columns, &rows, &used) != 2 || text[used] || columns < 1 || rows < 1 || columns > most
        || rows > most || columns * rows > most)
        return -1;
    for (int i = 0; i < columns * rows; i++) {
        queries_px[2 * i] = (int32_t)((2 * (int64_t)(i % columns) + 1) * width_px / (2 * columns));
        queries_px[2 * i + 1] = (int32_t)((2 * (int64_t)(i / columns) + 1) * height_px / (2 * rows));
    }
    return columns * rows;
}

/* "64,64;10,20" */
static int32_t fill_list(const char *text, int32_t *queries_px, int32_t most) {
    int32_t count = 0;
    for (int used = 0; *text; text += used) {
        int px, py;
        if (count == most || sscanf(text, "%d,%d%n", &px, &py, &used) != 2) return -1;
        queries_px[2 * count] = px;
        queries_px[2 * count++ + 1] = py;
        if (text[used] == ';' && text[used + 1]) used++;
        else if (text[used]) return -1;
    }
    return count ? count : -1;
}

int32_t parse_queries(const char *text, int32_t width_px, int32_t height_px, int32_t *queries_px, int32_t most) {
    if (!text) return 0;
    int32_t count = strncmp(text, "grid:", 5) == 0 ? fill_grid(text, width_px, height_px, queries_px, most) : fill_list(text, queries_px, most);
    if (count < 0) fail_usage("--self-query: expected x,y;x,y;... or grid:COLUMNSxROWS, at most %d positions, found '%s'", (int)most, text);
    return count;
}
