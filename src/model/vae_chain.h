/* What the autoencoder's two halves share: a chain of large tensors. Each lies at the arena's other end than the one before, so that
 * only two are there at a time. */
#ifndef UDUMP_MODEL_VAE_CHAIN_H
#define UDUMP_MODEL_VAE_CHAIN_H

#include "model/vae.h"

enum { UDUMP_VAE_LAYERS_MOST = 4, UDUMP_VAE_LEVELS_MOST = 6 };

/* half: "encoder" or "decoder"; c: the middle's channels. */
void udump_vae_middle_load(udump_loader *l, udump_vae_middle *middle, const char *half, int32_t c, int32_t groups);
/* The residual blocks "<prefix>.resnets.N", until there is none. c: the channels that go in; returns those that come out. */
int32_t udump_vae_level_load(udump_loader *l, udump_vae_level *level, const char *prefix, int32_t c, int32_t groups, int32_t side);

typedef struct udump_chain {
    udump_exec *x;
    udump_tensor h; /* the last so far */
    size_t base;    /* the mark below everything of ours */
    bool on_top;    /* h is on the skip stack */
} udump_chain;

/* Where the next tensor of the chain goes; _step makes it the last. */
udump_tensor udump_chain_next(udump_chain *chain, int32_t h, int32_t w, int32_t c);
void udump_chain_step(udump_chain *chain, udump_tensor next);
void udump_chain_resnet(udump_chain *chain, const udump_resnet *resnet);
void udump_chain_middle(udump_chain *chain, const udump_vae_middle *middle);
/* Lets go of the last. */
void udump_chain_end(udump_chain *chain);

#endif
