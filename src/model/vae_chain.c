#include "model/vae_chain.h"

udump_tensor udump_chain_next(udump_chain *chain, int32_t h, int32_t w, int32_t c) {
    return chain->on_top ? udump_tensor_new(chain->x, chain->x->compute, chain->h.n, h, w, c)
                         : udump_skip_push(chain->x, chain->h.n, h, w, c);
}

void udump_chain_end(udump_chain *chain) {
    if (chain->on_top) udump_skip_pop(chain->x, chain->h);
    else udump_arena_release(chain->x, chain->base);
}

void udump_chain_step(udump_chain *chain, udump_tensor next) {
    udump_chain_end(chain);
    chain->on_top = !chain->on_top;
    chain->h = next;
}

void udump_chain_resnet(udump_chain *chain, const udump_resnet *resnet) {
    udump_tensor next = udump_chain_next(chain, chain->h.h, chain->h.w, resnet->out);
    udump_resnet_forward(chain->x, resnet, next, chain->h, NULL, true);
    udump_chain_step(chain, next);
}

/* One head over all positions. */
static void attend(udump_chain *chain, const udump_vae_middle *middle) {
    udump_exec *x = chain->x;
    udump_tensor next = udump_chain_next(chain, chain->h.h, chain->h.w, chain->h.c);
    size_t mark = udump_arena_mark(x);
    udump_tensor qkv = udump_apply_linear(
        x, udump_group_norm(x, chain->h, &middle->attention_norm, false, NULL), &middle->attention_qkv, UDUMP_ACTIVATION_NONE);
    udump_into_linear(x, next, udump_attention(x, qkv, 1, false), &middle->attention_out, &chain->h);
    udump_arena_release(x, mark);
    udump_chain_step(chain, next);
}

void udump_chain_middle(udump_chain *chain, const udump_vae_middle *middle) {
    udump_chain_resnet(chain, &middle->first);
    attend(chain, middle);
    udump_chain_resnet(chain, &middle->last);
}
