/* Evaluations that come again and again, begun as one: the first time they run as they stand, the second time they are also written down (backend.h's
 * graphs), and from then on they are launched. Whoever must act in between, a hook or whoever looks, cuts the graph where it stands.
 * Model code walks its way every time and knows of nothing: in a replay its operations do nothing. */
#ifndef UDUMP_BACKEND_GRAPH_H
#define UDUMP_BACKEND_GRAPH_H

#include "backend/exec.h"

enum { UDUMP_GRAPHS_MOST = 8 };

/* One evaluation's graphs, from cut to cut. */
typedef struct udump_graph {
    uint64_t key;
    int64_t used;  /* when last */
    bool failed;   /* it could not be written down: it runs as it stands */
    void **pieces; /* [count]; none until it is written down */
    int32_t count, room;
} udump_graph;

/* A session's. */
typedef struct udump_graphs {
    udump_graph graphs[UDUMP_GRAPHS_MOST]; /* the one not used for longest makes room */
    int32_t count;
    int64_t uses;
    udump_graph *now; /* that is being written down or launched; NULL: operations run as they stand */
    bool writing;
    int32_t next;     /* piece */
} udump_graphs;

/* What an evaluation is known by: of everything that its operations are given but what is in memory. Begins with 0. */
uint64_t udump_graph_key(uint64_t key, uint64_t value);
uint64_t udump_graph_key_tensor(uint64_t key, udump_tensor tensor);

/* Calls walk, or, where it is written down, walks and launches. The same key must mean the same operations and the same cuts; where the arena is and what
 * is in use of it is added here. Failures stick in x; where writing down fails, it runs as it stands. */
void udump_graphs_run(udump_graphs *graphs, udump_exec *x, uint64_t key, void (*walk)(void *user), void *user);
/* Within walk: whether to act now, on what has been computed so far. If so, resume comes after. */
bool udump_graphs_cut(udump_graphs *graphs, udump_exec *x);
void udump_graphs_resume(udump_graphs *graphs, udump_exec *x);
void udump_graphs_free(udump_graphs *graphs, udump_exec *x);

#endif
