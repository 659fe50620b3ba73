/* unetdump inspect --map: where every tap is in diffusers, in the original code, and in lists of LoRA block weights. */
#include <stdio.h>

#include "cli.h"

static const int sizes[] = { 12, 17, 20, 26 };
enum { LISTS = sizeof sizes / sizeof *sizes };
static const char *const types[] = { [UDUMP_TAP_TYPE_BLOCK] = "block", [UDUMP_TAP_TYPE_SELF] = "self", [UDUMP_TAP_TYPE_CROSS] = "cross" };

/* Whether the model's family has such a list: every full one has its last block, every short one M00. */
static bool has_list(const udump_model *model, int size) {
    udump_model_info info;
    udump_model_get_info(model, &info);
    for (int32_t block = 0; block < info.block_count; block++)
        if (udump_model_block_slot(model, block, size) >= 0) return true;
    return false;
}

static json_t *slots_json(const udump_model *model, int32_t block) {
    json_t *slots = json_object();
    for (int i = 0; i < LISTS; i++) {
        char size[8];
        int32_t slot = udump_model_block_slot(model, block, sizes[i]);
        snprintf(size, sizeof size, "%d", sizes[i]);
        if (has_list(model, sizes[i])) json_object_set_new(slots, size, slot < 0 ? json_null() : json_integer(slot));
    }
    return slots;
}

json_t *map_json(const udump_model *model) {
    json_t *list = json_array();
    udump_tap_info tap;
    for (int32_t i = 0; !udump_model_get_tap(model, i, &tap, NULL); i++)
        json_array_append_new(list,
            json_pack("{s:s, s:s, s:i, s:s, s:s, s:o}", "block", tap.block, "tap", types[tap.type], "depth", (int)tap.depth, "diffusers",
                tap.diffusers, "original", tap.original, "slots", slots_json(model, tap.block_index)));
    return list;
}

static void print_slots(const udump_model *model, int32_t block) {
    for (int i = 0; i < LISTS; i++) {
        int32_t slot = block < 0 ? 0 : udump_model_block_slot(model, block, sizes[i]);
        if (!has_list(model, sizes[i])) continue;
        if (slot < 0) printf("   -");
        else printf("  %2d", (int)slot);
    }
    putchar('\n');
}

static void tap_name(const udump_tap_info *tap, char *name, size_t size) {
    const char *type = tap->type == UDUMP_TAP_TYPE_BLOCK ? "" : types[tap->type];
    if (tap->depth) snprintf(name, size, "%s %s-d%d", tap->block, type, (int)tap->depth);
    else snprintf(name, size, "%s%s%s", tap->block, *type ? " " : "", type);
}

int print_map(const udump_model *model) {
    udump_tap_info tap;
    printf("%-15s%-58s%-48s", "tap", "in diffusers", "in the original code");
    for (int i = 0; i < LISTS; i++)
        if (has_list(model, sizes[i])) printf("  %2d", sizes[i]);
    printf("  (slots of LoRA block weights)\n%-15s%-106s", "BASE", "the text encoders");
    print_slots(model, -1);
    for (int32_t i = 0; !udump_model_get_tap(model, i, &tap, NULL); i++) {
        char name[64];
        tap_name(&tap, name, sizeof name);
        printf("%-15s%-58s%-48s", name, tap.diffusers, tap.original);
        print_slots(model, tap.block_index);
    }
    return finish_output(EXIT_DONE);
}
