/* A cell's prompt: the variant's in some blocks, the base's in the others, written as one prompt with layer prompts. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/text.h"
#include "pipeline/sweep.h"

/* A text as an entry of a group: "\;" stands for ";", and other pairs of a backslash and what follows pass. A backslash before ";", or at the
 * end, means nothing to the emphasis and is dropped. */
static bool add_entry_text(udump_text *out, const char *text) {
    bool good = true;
    for (; good && *text; text++) {
        bool pair = *text == '\\' && text[1] && text[1] != ';';
        if (*text == ';') good = udump_text_add(out, "\\;", 2);
        else if (pair) good = udump_text_add(out, text, 2);
        else if (*text != '\\') good = udump_text_add(out, text, 1);
        text += pair;
    }
    return good;
}

static const char *text_of(const udump_prompt *base, const udump_prompt *variant, const uint8_t *selected, int32_t block) {
    return udump_prompt_block(selected[block] ? variant : base, block);
}

/* The text that most blocks have, the first of them: it goes without names. */
static const char *most_common(const udump_prompt *base, const udump_prompt *variant, const uint8_t *selected, int32_t blocks) {
    const char *best = text_of(base, variant, selected, 0);
    int32_t most = 0;
    for (int32_t b = 0; b < blocks; b++) {
        int32_t count = 0;
        const char *own = text_of(base, variant, selected, b);
        for (int32_t other = 0; other < blocks; other++) count += strcmp(own, text_of(base, variant, selected, other)) == 0;
        if (count > most) best = own, most = count;
    }
    return best;
}

static bool write_group(const udump_prompt *base, const udump_prompt *variant, const uint8_t *selected, const udump_model *model, udump_text *out) {
    int32_t blocks = model->unet.block_count;
    const char *common = most_common(base, variant, selected, blocks);
    bool good = udump_text_print(out, "(~: _: ") && add_entry_text(out, common);
    for (int32_t first = 0, last; good && first < blocks; first = last + 1) {
        const char *own = text_of(base, variant, selected, first);
        last = first;
        while (last + 1 < blocks && strcmp(own, text_of(base, variant, selected, last + 1)) == 0) last++;
        if (strcmp(own, common) == 0) continue;
        good = udump_text_print(out, "; %s", model->unet.blocks[first].name);
        if (good && last > first) good = udump_text_print(out, "-%s", model->unet.blocks[last].name);
        good = good && udump_text_print(out, ":") && add_entry_text(out, own);
    }
    return good && udump_text_print(out, ":~)");
}

udump_status udump_sweep_compose(const udump_prompt *base, const udump_prompt *variant, const uint8_t *selected, const udump_model *model,
    char **text, udump_error *error) {
    const char *first = text_of(base, variant, selected, 0);
    bool same = !strstr(first, "(~:"); /* which only in a group is text */
    for (int32_t b = 0; b < model->unet.block_count; b++) {
        const char *own = text_of(base, variant, selected, b);
        same &= strcmp(own, first) == 0;
        if (strstr(own, ":~)")) return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "':~)' would end a block's prompt: '%s'", own);
    }
    udump_text out = { 0 };
    if (!(same ? udump_text_print(&out, "%s", first) : write_group(base, variant, selected, model, &out)))
        return free(out.data), udump_fail_memory(error, "prompt", out.size);
    *text = out.data;
    return UDUMP_OK;
}
