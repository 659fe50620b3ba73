/* index.html of a sweep: the ranking, and all pictures by reference. Plain HTML: it needs no script. */
#include <stdio.h>
#include <stdlib.h>

#include "pipeline/sweep_result.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sweep</title>\n<style>\n"
    "body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; background: #181818; color: #e6e6e6 }\n"
    "table { border-collapse: collapse } th, td { padding: .15rem .8rem; text-align: right } td:nth-child(2), th:nth-child(2) { text-align: left }\n"
    "tr:nth-child(even) { background: #222 } .pictures { display: flex; flex-wrap: wrap; gap: .5rem }\n"
    "figure { margin: 0; width: 160px } figure img { width: 100%; display: block } figcaption { font-size: 13px }\n"
    "h2 { font-size: 1rem; margin: 2rem 0 .5rem } .bar { background: #6a9fd4; height: .7rem }\n</style></head><body>\n";

static bool add_escaped(udump_text *text, const char *value) {
    bool good = true;
    for (; good && *value; value++)
        good = *value == '<' ? udump_text_print(text, "&lt;") : *value == '&' ? udump_text_print(text, "&amp;")
            : *value == '"' ? udump_text_print(text, "&quot;") : udump_text_add(text, value, 1);
    return good;
}

static bool add_fixed(udump_text *text, double value) {
    long thousandths = (long)(value * 1e4 + 0.5); /* by hand: the C library's point follows the locale */
    return udump_text_print(text, "<td>%ld.%04ld</td>", thousandths / 10000, thousandths % 10000);
}

static bool add_ranking(const udump_sweep_result *result, udump_text *text) {
    int32_t count;
    const udump_sweep_rank *ranks = udump_sweep_result_ranking(result, -1, &count);
    double most = count && ranks[0].mean.picture.relative_l2 > 0 ? ranks[0].mean.picture.relative_l2 : 1;
    bool good = udump_text_print(text, "<table><tr><th>rank<th>blocks<th>picture changed (L2, of the base's)<th><th>cosine<th>most<th>latent (L2)<th>cells</tr>\n");
    for (int32_t i = 0; good && i < count; i++) {
        const udump_sweep_measure *mean = &ranks[i].mean;
        good = udump_text_print(text, "<tr><td>%d<td>", (int)i + 1) && add_escaped(text, ranks[i].blocks) && add_fixed(text, mean->picture.relative_l2)
            && udump_text_print(text, "<td style=\"width:12rem\"><div class=\"bar\" style=\"width:%d%%\"></div>", (int)(100 * mean->picture.relative_l2 / most + 0.5))
            && add_fixed(text, mean->picture.cosine) && add_fixed(text, mean->picture.max) && add_fixed(text, mean->latent.relative_l2)
            && udump_text_print(text, "<td>%d</tr>\n", (int)ranks[i].cells);
    }
    return good && udump_text_print(text, "</table>\n");
}

static bool add_picture(const udump_sweep_result *result, int32_t cell, const char *label, udump_text *text) {
    bool good = udump_text_print(text, "<figure><figcaption>") && add_escaped(text, label) && udump_text_print(text, "</figcaption>");
    if (good && cell >= 0 && result->entries[cell].whole) {
        good = udump_text_print(text, "<img loading=\"lazy\" alt=\"\" src=\"cells/%s.png\" title=\"", result->plan.cells[cell].key)
            && add_escaped(text, result->plan.cells[cell].prompt) && udump_text_print(text, "\">");
    } else good = good && udump_text_print(text, "not there yet");
    return good && udump_text_print(text, "</figure>\n");
}

static bool add_band(const udump_sweep_result *result, int32_t band, int32_t *cells, udump_text *text) {
    char *title = udump_sweep_band_title(&result->plan, band);
    bool good = title && udump_text_print(text, "<h2>") && add_escaped(text, title) && udump_text_print(text, "</h2>\n<div class=\"pictures\">\n");
    free(title);
    udump_sweep_band_cells(&result->plan, band, cells);
    good = good && add_picture(result, cells[0], "base", text);
    for (int32_t i = 0; good && i < result->plan.block_count; i++) good = add_picture(result, cells[1 + i], result->plan.blocks[i], text);
    return good && udump_text_print(text, "</div>\n");
}

bool udump_sweep_page_write(const udump_sweep_result *result, udump_text *text) {
    int32_t *cells = malloc((size_t)(result->plan.block_count + 1) * sizeof *cells);
    bool good = cells && udump_text_print(text, "%s", head) && udump_text_print(text, "<h1>") && add_escaped(text, result->plan.prompt)
        && udump_text_print(text, "</h1>\n<p>%d pictures, %d of them not there. Each differs from its base in the named blocks alone.</p>\n",
            (int)result->plan.cell_count, (int)result->missing)
        && add_ranking(result, text);
    for (int32_t band = 0; good && band < udump_sweep_band_count(&result->plan); band++) good = add_band(result, band, cells, text);
    free(cells);
    return good && udump_text_print(text, "</body></html>\n");
}
