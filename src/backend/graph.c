#include "backend/graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

uint64_t udump_graph_key(uint64_t key, uint64_t value) { return udump_hash_add(key ? key : UDUMP_HASH_START, &value, sizeof value); }

uint64_t udump_graph_key_tensor(uint64_t key, udump_tensor tensor) {
    key = udump_graph_key(key, tensor.offset_bytes);
    key = udump_graph_key(key, (uint64_t)(uint32_t)tensor.n << 32 | (uint32_t)tensor.h);
    key = udump_graph_key(key, (uint64_t)(uint32_t)tensor.w << 32 | (uint32_t)tensor.c);
    return udump_graph_key(key, (uint64_t)tensor.dtype);
}

/* Where operations will put what they make. */
static uint64_t key_of_exec(uint64_t key, const udump_exec *x) {
    key = udump_graph_key(key, (uint64_t)x->generation);
    key = udump_graph_key(key, x->low_bytes);
    return udump_graph_key(key, x->high_bytes);
}

static void forget(udump_graph *graph, udump_exec *x) {
    while (graph->count) x->backend->graph_free(x, graph->pieces[--graph->count]);
}

void udump_graphs_free(udump_graphs *graphs, udump_exec *x) {
    for (int32_t i = 0; i < graphs->count; i++) {
        forget(&graphs->graphs[i], x);
        free(graphs->graphs[i].pieces);
    }
    memset(graphs, 0, sizeof *graphs);
}

static udump_graph *find(udump_graphs *graphs, uint64_t key) {
    for (int32_t i = 0; i < graphs->count; i++)
        if (graphs->graphs[i].key == key) return &graphs->graphs[i];
    return NULL;
}

static udump_graph *make_room(udump_graphs *graphs, udump_exec *x) {
    if (graphs->count < UDUMP_GRAPHS_MOST) return &graphs->graphs[graphs->count++];
    udump_graph *oldest = graphs->graphs;
    for (int32_t i = 1; i < graphs->count; i++)
        if (graphs->graphs[i].used < oldest->used) oldest = &graphs->graphs[i];
    forget(oldest, x);
    return oldest;
}

static bool add_piece(udump_graph *graph, void *piece) {
    if (!piece) return false;
    if (graph->count == graph->room) {
        int32_t room = 2 * graph->room + 4;
        void **grown = realloc(graph->pieces, (size_t)room * sizeof(*grown));
        if (!grown) return false;
        graph->pieces = grown;
        graph->room = room;
    }
    graph->pieces[graph->count++] = piece;
    return true;
}

/* Ends a piece. */
static void close_piece(udump_graphs *graphs, udump_exec *x) {
    void *piece = x->backend->graph_end(x);
    if (!graphs->now->failed && add_piece(graphs->now, piece)) return;
    if (piece) x->backend->graph_free(x, piece);
    graphs->now->failed = true;
}

static void open_piece(udump_graphs *graphs, udump_exec *x) {
    if (!x->backend->graph_begin(x)) graphs->now->failed = x->replaying = true; /* what comes is not run now, and not written down either */
}

/* Walks once without running anything. What fails here is tried again as it stands, and fails there if it must. */
static void write_down(udump_graphs *graphs, udump_exec *x, udump_graph *graph, void (*walk)(void *user), void *user) {
    size_t low_bytes = x->low_bytes, high_bytes = x->high_bytes;
    graphs->now = graph;
    graphs->writing = true;
    open_piece(graphs, x);
    walk(user);
    if (!x->replaying) close_piece(graphs, x);
    bool cancelled = x->status == UDUMP_ERROR_CANCELLED;
    if (x->status) graph->failed = true;
    if (graph->failed) forget(graph, x);
    if (cancelled) graph->failed = false;
    else x->status = UDUMP_OK;
    x->low_bytes = low_bytes;
    x->high_bytes = high_bytes;
    x->replaying = graphs->writing = false;
    graphs->now = NULL;
}

static void launch_next(udump_graphs *graphs, udump_exec *x) {
    x->replaying = false;
    if (udump_exec_stopped(x)) return;
    if (graphs->next < graphs->now->count) x->backend->graph_launch(x, graphs->now->pieces[graphs->next++]);
    else udump_exec_fail(x, UDUMP_ERROR_INTERNAL, "graph", "more cuts than when it was written down: %d", (int)graphs->now->count);
}

static void replay(udump_graphs *graphs, udump_exec *x, udump_graph *graph, void (*walk)(void *user), void *user) {
    graphs->now = graph;
    graphs->next = 0;
    x->replaying = true;
    walk(user);
    launch_next(graphs, x);
    graphs->now = NULL;
}

void udump_graphs_run(udump_graphs *graphs, udump_exec *x, uint64_t key, void (*walk)(void *user), void *user) {
    udump_graph *graph = NULL;
    bool known = false;
    if (x->backend->graph_begin && !x->dry && !udump_exec_stopped(x)) {
        key = key_of_exec(key, x);
        graph = find(graphs, key);
        known = graph != NULL;
        if (!known) {
            graph = make_room(graphs, x);
            graph->key = key;
            graph->failed = false;
        }
        graph->used = ++graphs->uses;
    }
    if (known && !graph->failed && !graph->count) write_down(graphs, x, graph, walk, user);
    if (known && graph->count) replay(graphs, x, graph, walk, user);
    else walk(user);
}

bool udump_graphs_cut(udump_graphs *graphs, udump_exec *x) {
    if (!graphs->now) return true;
    if (!graphs->writing) {
        launch_next(graphs, x);
        return !udump_exec_stopped(x);
    }
    if (x->replaying) return false; /* given up */
    close_piece(graphs, x);
    open_piece(graphs, x);
    return false;
}

void udump_graphs_resume(udump_graphs *graphs, udump_exec *x) { x->replaying = graphs->now != NULL; }
