#include "host/op/family.h"

#include <stdio.h>

/* ggml: a [k, m, b2, b3], x [k, n, c2, c3], y [m, n, c2, c3]; c2, c3 multiples of b2, b3. */
static bool matmul_fits(const oclora_tensor *a, const oclora_tensor *x, const oclora_tensor *y)
{
    if (a->type > OCLORA_TYPE_Q6_K || y->type != OCLORA_TYPE_F32) return false;
    if (!oclora_type_is_dense(x->type) || !oclora_tensor_row_contiguous(y)) return false;
    if (oclora_tensor_empty(a) || oclora_tensor_empty(x)) return false;
    return a->ne[0] == x->ne[0] && y->ne[0] == a->ne[1] && y->ne[1] == x->ne[1] &&
           y->ne[2] == x->ne[2] && y->ne[3] == x->ne[3] && x->ne[2] % a->ne[2] == 0 &&
           x->ne[3] % a->ne[3] == 0;
}

/* With two rows an expert or more on average, an expert's rows are computed together. */
static bool worth_grouping(const oclora_tensor *a, const oclora_tensor *ids)
{
    return ids->ne[0] * ids->ne[1] >= 2 * a->ne[2];
}

/* `ids` NULL: planes of a repeat over those of x. Else its rows choose planes of a. */
static oclora_status launch(oclora_stream *stream, const oclora_tensor *a, const oclora_tensor *x,
                            const oclora_tensor *ids, const oclora_tensor *y, oclora_error *err)
{
    enum { CPU_SPAN = 32, EXPERT_SPAN = 128, GPU_WIDTH = 64 };
    const oclora_tensor none = {.ne = {1, 1, 1, 1}};
    const bool cpu = oclora_stream_is_cpu(stream);
    const bool grouped = cpu && ids != NULL && worth_grouping(a, ids);
    const uint64_t tile_n = !grouped && (ids != NULL || y->ne[1] == 1) ? 1 : 4;
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, y);
    oclora_args_tensor(&list, a);
    oclora_args_tensor(&list, x);
    oclora_args_u64(&list, a->ne[0]);
    oclora_args_u64(&list, a->ne[1]);
    oclora_args_u64(&list, y->ne[1]);
    oclora_args_u64(&list, x->ne[2]);
    oclora_args_u64(&list, ids != NULL ? 1 : x->ne[2] / a->ne[2]);
    oclora_args_u64(&list, x->ne[3] / a->ne[3]);
    oclora_args_nb123(&list, y);
    oclora_args_nb(&list, a);
    oclora_args_nb(&list, x);
    oclora_args_u32(&list, x->type);
    oclora_args_tensor(&list, ids != NULL ? ids : &none);
    oclora_args_u64(&list, a->ne[2]);
    oclora_args_u64(&list, ids != NULL ? ids->nb[0] : 0);
    oclora_args_u64(&list, ids != NULL ? ids->nb[1] : 0);
    oclora_args_u64(&list, x->ne[1]);
    oclora_args_u32(&list, ids != NULL);
    char defines[60];
    snprintf(defines, sizeof(defines), "-DA_TYPE=%u -DNT=%u%s", a->type, (unsigned)tile_n,
             grouped ? " -DBY_EXPERT=1" : "");
    const oclora_kernel_ref kernel = {"matmul_plain",
                                      grouped ? "matmul_id_cpu"
                                      : cpu   ? "matmul_cpu"
                                              : "matmul_gpu",
                                      defines};
    const uint64_t per_group = grouped ? EXPERT_SPAN : cpu ? CPU_SPAN : GPU_WIDTH;
    const uint64_t groups[3] = {(a->ne[1] + per_group - 1) / per_group,
                                grouped ? a->ne[2] : (y->ne[1] + tile_n - 1) / tile_n,
                                grouped ? 1 : y->ne[2] * y->ne[3]};
    return oclora_launch_groups(stream, &kernel, &list, groups, cpu ? 1 : GPU_WIDTH, err);
}

oclora_status oclora_matmul(oclora_stream *stream, const oclora_tensor *a, const oclora_tensor *x,
                            const oclora_tensor *y, oclora_error *err)
{
    if (!matmul_fits(a, x, y))
        return oclora_fail(
            err, OCLORA_NOT_SUPPORTED,
            "matmul of %s[%llu,%llu] with %s[%llu,%llu] is not done: types or shapes "
            "do not fit",
            oclora_type_name(a->type), (unsigned long long)a->ne[0], (unsigned long long)a->ne[1],
            oclora_type_name(x->type), (unsigned long long)x->ne[0], (unsigned long long)x->ne[1]);
    if (oclora_tensor_empty(y)) return OCLORA_OK;
    return launch(stream, a, x, NULL, y, err);
}

bool oclora_matmul_op_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    return matmul_fits(&call->src[0], &call->src[1], &call->dst);
}

oclora_status oclora_matmul_op_run(oclora_stream *stream, const oclora_op_call *call,
                                   oclora_error *err)
{
    return oclora_matmul(stream, &call->src[0], &call->src[1], &call->dst, err);
}

/* ggml: a [k, m, experts], x [k, 1 or used, tokens], ids [used, tokens], y [m, used, tokens]. */
bool oclora_matmul_id_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *a = &call->src[0], *x = &call->src[1], *ids = &call->src[2];
    const oclora_tensor *y = &call->dst;
    if (a->type > OCLORA_TYPE_Q6_K || y->type != OCLORA_TYPE_F32) return false;
    if (!oclora_type_is_dense(x->type) || ids->type != OCLORA_TYPE_I32) return false;
    if (!oclora_tensor_row_contiguous(y) || oclora_tensor_empty(a) || oclora_tensor_empty(x))
        return false;
    return a->ne[0] == x->ne[0] && a->ne[3] == 1 && x->ne[3] == 1 && y->ne[3] == 1 &&
           ids->ne[2] == 1 && ids->ne[3] == 1 && y->ne[0] == a->ne[1] && y->ne[1] == ids->ne[0] &&
           y->ne[2] == ids->ne[1] && x->ne[2] == ids->ne[1] && ids->ne[0] % x->ne[1] == 0;
}

oclora_status oclora_matmul_id_run(oclora_stream *stream, const oclora_op_call *call,
                                   oclora_error *err)
{
    return launch(stream, &call->src[0], &call->src[1], &call->src[2], &call->dst, err);
}
