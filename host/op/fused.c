#include "host/op/fused.h"

#include "host/op/family.h"

/* f32, contiguous in dimension 0, all rows at the stride nb[1]. */
static bool is_row_list(const oclora_tensor *t)
{
    return t->type == OCLORA_TYPE_F32 && oclora_tensor_row_contiguous(t) && t->nb[1] % 4 == 0 &&
           (t->ne[2] == 1 || t->nb[2] == t->nb[1] * t->ne[1]) &&
           (t->ne[3] == 1 || t->nb[3] == t->nb[2] * t->ne[2]);
}

bool oclora_add_norm_fits(const oclora_norm_call *call)
{
    const oclora_tensor *a = &call->a, *b = &call->b, *w = &call->weight;
    if (!is_row_list(a) || !is_row_list(&call->scaled) || !is_row_list(&call->y)) return false;
    if (!oclora_tensor_same_shape(a, &call->scaled) || !oclora_tensor_same_shape(a, &call->y))
        return false;
    if (w->type != OCLORA_TYPE_F32 || !oclora_tensor_row_contiguous(w) || w->ne[0] != a->ne[0] ||
        w->ne[1] != 1 || w->ne[2] != 1 || w->ne[3] != 1)
        return false;
    return b->ne[0] == 0 ||
           (is_row_list(b) && is_row_list(&call->sum) && oclora_tensor_same_shape(a, b) &&
            oclora_tensor_same_shape(a, &call->sum));
}

static void push_rows(oclora_arg_list *list, const oclora_tensor *tensor)
{
    oclora_args_tensor(list, tensor);
    oclora_args_u64(list, tensor->nb[1]);
}

oclora_status oclora_add_norm(oclora_stream *stream, const oclora_norm_call *call,
                              oclora_error *err)
{
    const bool cpu = oclora_stream_is_cpu(stream);
    const bool has_sum = call->b.ne[0] != 0;
    oclora_arg_list list = {.count = 0};
    push_rows(&list, &call->y);
    push_rows(&list, &call->scaled);
    push_rows(&list, has_sum ? &call->sum : &call->y);
    push_rows(&list, &call->a);
    push_rows(&list, has_sum ? &call->b : &call->a);
    oclora_args_tensor(&list, &call->weight);
    oclora_args_u64(&list, call->a.ne[0]);
    oclora_args_f32(&list, call->eps);
    oclora_args_u32(&list, has_sum);
    const oclora_kernel_ref kernel = {"norm", cpu ? "add_norm_cpu" : "add_norm_gpu", ""};
    const uint64_t groups[3] = {call->a.ne[1] * call->a.ne[2] * call->a.ne[3], 1, 1};
    return oclora_launch_groups(stream, &kernel, &list, groups, cpu ? 1 : 128, err);
}

/* [head, heads, tokens], the heads of one token behind each other. */
static bool is_heads(const oclora_tensor *t)
{
    return t->type == OCLORA_TYPE_F32 && oclora_tensor_row_contiguous(t) && t->ne[3] == 1 &&
           t->nb[1] % 4 == 0 && t->nb[2] % 4 == 0;
}

static bool is_cache(const oclora_tensor *cache, const oclora_tensor *index, uint64_t width,
                     uint64_t tokens)
{
    return oclora_type_is_dense(cache->type) && oclora_tensor_row_contiguous(cache) &&
           cache->ne[0] == width && cache->ne[2] == 1 && cache->ne[3] == 1 &&
           index->type == OCLORA_TYPE_I64 && oclora_tensor_row_contiguous(index) &&
           index->ne[0] == tokens && index->ne[1] == 1 && index->ne[2] == 1 && index->ne[3] == 1;
}

bool oclora_rope_store_fits(const oclora_rope_call *call)
{
    const oclora_tensor *q = &call->q, *k = &call->k, *v = &call->v;
    const uint64_t head = k->ne[0], tokens = k->ne[2];
    const int32_t n_dims = call->params.i[0];
    if (call->params.variant != 0 && call->params.variant != 2) return false;
    if (n_dims <= 0 || n_dims % 2 != 0 || (uint64_t)n_dims > head) return false;
    if (!is_heads(k) || !is_heads(&call->k_out) || !oclora_tensor_same_shape(k, &call->k_out) ||
        call->k_out.nb[1] != head * 4)
        return false;
    if (!is_cache(&call->k_cache, &call->k_index, head * k->ne[1], tokens)) return false;
    if (q->ne[0] != 0 &&
        (!is_heads(q) || !is_heads(&call->q_out) || !oclora_tensor_same_shape(q, &call->q_out) ||
         q->ne[0] != head || q->ne[2] != tokens))
        return false;
    if (v->ne[0] != 0 && (!is_row_list(v) || v->ne[1] != tokens || v->ne[2] != 1 || v->ne[3] != 1 ||
                          !is_cache(&call->v_cache, &call->v_index, v->ne[0], tokens)))
        return false;
    const oclora_tensor *factors = &call->factors;
    return call->positions.type == OCLORA_TYPE_I32 && call->positions.ne[0] == tokens &&
           oclora_tensor_row_contiguous(&call->positions) &&
           (factors->ne[0] == 0 ||
            (factors->type == OCLORA_TYPE_F32 && factors->ne[0] >= (uint64_t)n_dims / 2 &&
             oclora_tensor_row_contiguous(factors)));
}

static void push_rope_tensors(oclora_arg_list *list, const oclora_rope_call *call)
{
    const bool has_q = call->q.ne[0] != 0, has_v = call->v.ne[0] != 0;
    oclora_args_tensor(list, has_q ? &call->q_out : &call->k_out);
    oclora_args_tensor(list, has_q ? &call->q : &call->k);
    oclora_args_tensor(list, &call->k_out);
    oclora_args_tensor(list, &call->k);
    oclora_args_tensor(list, &call->k_cache);
    oclora_args_tensor(list, &call->k_index);
    oclora_args_tensor(list, has_v ? &call->v : &call->k);
    oclora_args_tensor(list, has_v ? &call->v_cache : &call->k_cache);
    oclora_args_tensor(list, has_v ? &call->v_index : &call->k_index);
    oclora_args_tensor(list, &call->positions);
    oclora_args_tensor(list, &call->factors);
}

static void push_rope_shapes(oclora_arg_list *list, const oclora_rope_call *call)
{
    const oclora_tensor *q = &call->q, *k = &call->k, *v = &call->v;
    oclora_args_u32(list, (uint32_t)k->ne[0]);
    oclora_args_u32(list, q->ne[0] != 0 ? (uint32_t)q->ne[1] : 0);
    oclora_args_u32(list, (uint32_t)k->ne[1]);
    oclora_args_u64(list, call->q_out.nb[1]);
    oclora_args_u64(list, call->q_out.nb[2]);
    oclora_args_u64(list, q->nb[1]);
    oclora_args_u64(list, q->nb[2]);
    oclora_args_u64(list, call->k_out.nb[2]);
    oclora_args_u64(list, k->nb[1]);
    oclora_args_u64(list, k->nb[2]);
    oclora_args_u64(list, call->k_cache.nb[1]);
    oclora_args_u64(list, call->k_cache.ne[1]);
    oclora_args_u64(list, v->ne[0]);
    oclora_args_u64(list, v->nb[1]);
    oclora_args_u64(list, call->v_cache.nb[1]);
    oclora_args_u64(list, call->v_cache.ne[1]);
    oclora_args_u32(list, call->k_cache.type | call->v_cache.type << 8);
    oclora_args_u32(list, (uint32_t)call->params.i[0]);
    oclora_args_u32(list, (call->params.variant == 2) | (call->factors.ne[0] != 0 ? 2u : 0u));
    oclora_args_angles(list, &call->params);
}

oclora_status oclora_rope_store(oclora_stream *stream, const oclora_rope_call *call,
                                oclora_error *err)
{
    const uint64_t n_dims = (uint64_t)call->params.i[0];
    const uint64_t rest = call->k.ne[0] - n_dims;
    const uint64_t heads = call->q.ne[1] > call->k.ne[1] ? call->q.ne[1] : call->k.ne[1];
    oclora_arg_list list = {.count = 0};
    push_rope_tensors(&list, call);
    push_rope_shapes(&list, call);
    const uint64_t groups[3] = {oclora_rope_groups(stream, n_dims / 2, rest) + 1,
                                oclora_stream_is_cpu(stream) ? 1 : heads, call->k.ne[2]};
    const oclora_kernel_ref kernel = {"rope", "rope_store", ""};
    return oclora_launch_groups(stream, &kernel, &list, groups, oclora_rope_width(stream), err);
}
