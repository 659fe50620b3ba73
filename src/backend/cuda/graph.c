/* Graphs, by stream capture. In a capture nothing may be allocated and nobody may wait: the vendors' plans and workspaces, and the scratch, are there from the
 * evaluation that ran as it stood. Other threads may do as they like (ThreadLocal): they have streams and sessions of their own. */
#include "backend/cuda/cuda.h"

bool udump_cuda_graph_begin(udump_exec *x) {
    const udump_cuda_state *state = udump_cuda_state_of(x);
    if (!state->device->eager && cudaStreamBeginCapture(state->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess) return true;
    cudaGetLastError(); /* it would be reported again, as below */
    return false;
}

void *udump_cuda_graph_end(udump_exec *x) {
    cudaGraph_t graph = NULL;
    cudaGraphExec_t made = NULL;
    cudaError_t result = cudaStreamEndCapture(udump_cuda_stream(x), &graph);
    if (result == cudaSuccess) result = cudaGraphInstantiateWithFlags(&made, graph, 0);
    if (graph) cudaGraphDestroy(graph);
    if (result != cudaSuccess) cudaGetLastError();
    return result == cudaSuccess ? made : NULL;
}

void udump_cuda_graph_launch(udump_exec *x, void *graph) {
    cudaGraphLaunch(graph, udump_cuda_stream(x));
    udump_cuda_check(x, "graph");
}

/* It may still run. */
void udump_cuda_graph_free(udump_exec *x, void *graph) {
    cudaStreamSynchronize(udump_cuda_stream(x));
    cudaGraphExecDestroy(graph);
}
