/* The residual block of the U-Net and the VAE (Ho et al. 2020): norm, SiLU, convolution, twice; the time embedding joins between. */
#ifndef UDUMP_MODEL_RESNET_H
#define UDUMP_MODEL_RESNET_H

#include "model/loader.h"

typedef struct udump_resnet {
    udump_norm norm1, norm2;
    udump_conv conv1, conv2;
    udump_linear time;     /* [time_dim -> out]; packed is NULL in the VAE */
    udump_linear shortcut; /* a 1x1 convolution; packed is NULL where in == out */
    int32_t in, out;
} udump_resnet;

/* out 0: as many channels as the tensor has. time_dim 0: no time embedding. */
udump_resnet udump_resnet_load(
    udump_loader *l, const char *name, int32_t in, int32_t out, int32_t time_dim, int32_t groups, float eps, int32_t latent_side);
/* out may be anywhere but in in. time: [1 or n, 1, 1, out], already projected; NULL in the VAE. in may be overwritten if nobody needs it
 * afterwards: where the channels change, that saves a tensor of its size. */
void udump_resnet_forward(
    udump_exec *x, const udump_resnet *resnet, udump_tensor out, udump_tensor in, const udump_tensor *time, bool in_is_free);

#endif
