#include "model/resnet.h"

udump_resnet udump_resnet_load(
    udump_loader *l, const char *name, int32_t in, int32_t out, int32_t time_dim, int32_t groups, float eps, int32_t latent_side) {
    udump_name norm1 = udump_name_format("%s.norm1", name), conv1 = udump_name_format("%s.conv1", name),
               shortcut = udump_name_format("%s.conv_shortcut", name);
    int32_t rows = 2 * latent_side * latent_side;
    udump_resnet resnet = { .in = in, .out = out ? out : udump_load_size(l, conv1.text, 4, 0) };
    resnet.norm1 = udump_load_norm(l, norm1.text, resnet.in, groups, eps);
    resnet.conv1 = udump_load_conv(l, conv1.text, resnet.in, resnet.out, 1, latent_side);
    if (time_dim) resnet.time = udump_load_linear(l, udump_name_format("%s.time_emb_proj", name).text, time_dim, resnet.out, 32);
    resnet.norm2 = udump_load_norm(l, udump_name_format("%s.norm2", name).text, resnet.out, groups, eps);
    resnet.conv2 = udump_load_conv(l, udump_name_format("%s.conv2", name).text, resnet.out, resnet.out, 1, latent_side);
    if (resnet.in != resnet.out) resnet.shortcut = udump_load_linear(l, shortcut.text, resnet.in, resnet.out, rows);
    return resnet;
}

void udump_resnet_forward(
    udump_exec *x, const udump_resnet *resnet, udump_tensor out, udump_tensor in, const udump_tensor *time, bool in_is_free) {
    size_t mark = udump_arena_mark(x);
    /* On the host first, so that the input's memory is free then. A device's library promises nothing of a convolution whose residual is its output; of a product it does. */
    bool shortcut = resnet->shortcut.packed != NULL, last = shortcut && !x->backend->host_memory, first = shortcut && !last;
    if (first) udump_into_linear(x, out, in, &resnet->shortcut, NULL);
    udump_tensor h = udump_tensor_new(x, x->compute, in.n, in.h, in.w, resnet->out), normed = in;
    size_t mark_h = udump_arena_mark(x);
    if (first && in_is_free) udump_into_group_norm(x, in, &resnet->norm1, true, NULL);
    else normed = udump_group_norm(x, in, &resnet->norm1, true, NULL);
    udump_into_conv2d(x, h, normed, &resnet->conv1, NULL);
    udump_arena_release(x, mark_h);
    udump_into_group_norm(x, h, &resnet->norm2, true, time); /* norm(h + time) */
    udump_into_conv2d(x, out, h, &resnet->conv2, first ? &out : last ? NULL : &in);
    if (last) udump_into_linear(x, out, in, &resnet->shortcut, &out);
    udump_arena_release(x, mark);
}
