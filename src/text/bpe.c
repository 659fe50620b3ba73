#include "text/bpe.h"

#include "base/memory.h"
#include "base/status.h"
#include "text/merges.h"

#include <stdlib.h>

typedef struct udump_bpe_node {
    int32_t id;
    int32_t previous, next; /* -1 at the ends */
    int32_t rank;           /* of the pair that this node and the next one form; NO_PAIR if none, or if the node is gone */
} udump_bpe_node;

enum { NO_PAIR = -1, LEAST_CAPACITY = 64 };

udump_status udump_id_list_push(udump_id_list *list, int32_t id, udump_error *error) {
    if (list->count == list->capacity) {
        int32_t capacity = list->capacity ? list->capacity + list->capacity / 2 : LEAST_CAPACITY;
        int32_t *ids = realloc(list->ids, (size_t)capacity * sizeof *ids);
        if (!ids) return udump_fail_memory(error, "tokens", (size_t)capacity * sizeof *ids);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return UDUMP_OK;
}

void udump_bpe_free(udump_bpe *bpe) {
    free(bpe->nodes);
    free(bpe->heap);
    *bpe = (udump_bpe){ 0 };
}

static udump_status reserve(udump_bpe *bpe, int32_t count, udump_error *error) {
    if (count <= bpe->capacity) return UDUMP_OK;
    int32_t capacity = count > 2 * LEAST_CAPACITY ? count : 2 * LEAST_CAPACITY;
    udump_bpe_free(bpe);
    size_t node_bytes = 0, heap_bytes = 0;
    if (udump_size_mul((size_t)capacity, sizeof *bpe->nodes, &node_bytes)) bpe->nodes = malloc(node_bytes);
    /* Every pair of the word is pushed once, and two more after every merge: below three times its length. */
    if (udump_size_mul((size_t)capacity, 3 * sizeof *bpe->heap, &heap_bytes)) bpe->heap = malloc(heap_bytes);
    if (!bpe->nodes || !bpe->heap) {
        udump_bpe_free(bpe);
        return udump_fail_memory(error, "tokens", node_bytes > heap_bytes ? node_bytes : heap_bytes);
    }
    bpe->capacity = capacity;
    return UDUMP_OK;
}

static int32_t pair_rank(int32_t left, int32_t right) {
    uint32_t key = (uint32_t)left << 16 | (uint32_t)right;
    int32_t low = 0, high = UDUMP_CLIP_MERGES;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        const uint16_t *pair = udump_clip_merges[udump_clip_merge_order[middle]];
        uint32_t found = (uint32_t)pair[0] << 16 | pair[1];
        if (found == key) return udump_clip_merge_order[middle];
        if (found < key) low = middle + 1;
        else high = middle;
    }
    return NO_PAIR;
}

static void heap_push(udump_bpe *bpe, uint64_t entry) {
    int32_t at = bpe->heap_count++;
    for (int32_t parent; at > 0 && bpe->heap[parent = (at - 1) / 2] > entry; at = parent) bpe->heap[at] = bpe->heap[parent];
    bpe->heap[at] = entry;
}

static uint64_t heap_pop(udump_bpe *bpe) {
    uint64_t top = bpe->heap[0], entry = bpe->heap[--bpe->heap_count];
    int32_t at = 0, count = bpe->heap_count;
    for (int32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && bpe->heap[child + 1] < bpe->heap[child]) child++;
        if (bpe->heap[child] >= entry) break;
        bpe->heap[at] = bpe->heap[child];
    }
    bpe->heap[at] = entry;
    return top;
}

static void look_at_pair(udump_bpe *bpe, int32_t node) {
    udump_bpe_node *nodes = bpe->nodes;
    nodes[node].rank = nodes[node].next < 0 ? NO_PAIR : pair_rank(nodes[node].id, nodes[nodes[node].next].id);
    if (nodes[node].rank != NO_PAIR) heap_push(bpe, (uint64_t)nodes[node].rank << 32 | (uint32_t)node);
}

static void merge_with_next(udump_bpe *bpe, int32_t node) {
    udump_bpe_node *nodes = bpe->nodes;
    int32_t gone = nodes[node].next, after = nodes[gone].next;
    nodes[node].id = UDUMP_CLIP_FIRST_MERGE + nodes[node].rank;
    nodes[node].next = after;
    nodes[gone].rank = NO_PAIR;
    if (after >= 0) nodes[after].previous = node;
    look_at_pair(bpe, node);
    if (nodes[node].previous >= 0) look_at_pair(bpe, nodes[node].previous);
}

udump_status udump_bpe_word(udump_bpe *bpe, const uint8_t *word, int32_t count, udump_id_list *out, udump_error *error) {
    udump_status status = reserve(bpe, count, error);
    if (status) return status;
    for (int32_t i = 0; i < count; i++)
        bpe->nodes[i] = (udump_bpe_node){ .id = udump_clip_byte_ids[word[i]], .previous = i - 1, .next = i + 1 < count ? i + 1 : -1 };
    bpe->nodes[count - 1].id += UDUMP_CLIP_WORD_END;
    bpe->heap_count = 0;
    for (int32_t i = 0; i < count; i++) look_at_pair(bpe, i);
    while (bpe->heap_count > 0) {
        uint64_t entry = heap_pop(bpe);
        int32_t node = (int32_t)(entry & 0xFFFFFFFFu), rank = (int32_t)(entry >> 32);
        if (bpe->nodes[node].rank == rank) merge_with_next(bpe, node); /* else the pair is no longer there */
    }
    for (int32_t i = 0; i >= 0; i = bpe->nodes[i].next) { /* node 0 is never merged away */
        if ((status = udump_id_list_push(out, bpe->nodes[i].id, error))) return status;
    }
    return UDUMP_OK;
}
