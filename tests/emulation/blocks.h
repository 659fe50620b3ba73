#ifndef UDUMP_EMULATION_BLOCKS_H
#define UDUMP_EMULATION_BLOCKS_H

#include "emulation.h"

struct udump_emulated_launch {
    dim3 grid, block;
    size_t shared_bytes;
    std::function<void()> thread;
};
/* Runs it now. */
void udump_emulation_run(const udump_emulated_launch &launch);

#endif
