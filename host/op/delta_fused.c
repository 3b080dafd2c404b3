#include "host/op/delta.h"
#include "host/op/family.h"

enum { N_ARGS = 31 };

bool oclora_linear_fuses(const oclora_linear_call *c)
{
    const uint32_t never =
        OCLORA_LANES_CORE | OCLORA_LANES_MULTIPLY | OCLORA_LANES_ROUTER | OCLORA_LANES_SCALED;
    if (c->gpu || c->flags & OCLORA_LINEAR_TILES || c->summary.flags & never ||
        !(c->summary.flags & OCLORA_LANES_LOW_RANK))
        return false;
    /* A fused work-item does a whole chunk; above so many multiply-adds in one, and with too few
     * chunks to keep the device busy, tiles of two launches are better. */
    const oclora_context *context = oclora_stream_context(c->stream);
    const uint64_t items = (uint64_t)oclora_context_tuned(context, OCLORA_TUNE_FUSED_ITEMS) *
                           oclora_context_device(context)->compute_units;
    uint64_t rows = c->work->n_hidden / c->work->n_chunks + 1;
    uint64_t work = rows * c->summary.rank_max * ((uint64_t)c->weight->d_in + c->weight->d_out);
    return work <= oclora_context_tuned(context, OCLORA_TUNE_FUSED_WORK) ||
           c->work->n_chunks >= items;
}

oclora_status oclora_linear_fused(const oclora_linear_call *calls, uint32_t count,
                                  oclora_error *err)
{
    const oclora_linear_call *c = &calls[0];
    uint32_t stride = 1;
    for (uint32_t i = 0; i < count; i++)
        if (calls[i].summary.rank_max > stride) stride = calls[i].summary.rank_max;
    uint64_t floats = (uint64_t)c->work->n_hidden * stride;
    oclora_buffer *hidden = NULL;
    OCLORA_TRY(
        oclora_stream_scratch(c->stream, OCLORA_SCRATCH_HIDDEN, count * floats * 4, &hidden, err));
    oclora_arg a[N_ARGS];
    a[0] = oclora_arg_buffer(c->lanes->pool);
    a[1] = oclora_arg_u64(0);
    a[2] = oclora_arg_buffer(c->lanes->lanes);
    a[6] = oclora_arg_buffer(c->work->buffer);
    a[7] = oclora_arg_u64(0);
    a[8] = oclora_arg_u64(c->work->row_offset);
    a[9] = oclora_arg_u64(c->work->entry_offset);
    a[10] = oclora_arg_u64(c->work->weight_offset);
    a[11] = oclora_arg_buffer(c->x->buffer);
    a[12] = oclora_arg_u64(c->x->offset);
    a[13] = oclora_arg_u64(c->x->nb[1]);
    a[14] = oclora_arg_buffer(hidden);
    a[15] = oclora_arg_u64(0);
    a[16] = oclora_arg_u64(floats);
    a[17] = oclora_arg_u32(stride);
    for (uint32_t i = 0; i < OCLORA_FUSED_LAYERS; i++) {
        const oclora_linear_call *m = &calls[i < count ? i : 0];
        a[3 + i] =
            oclora_arg_u64((uint64_t)m->weight->id * m->lanes->n_adapters * sizeof(oclora_lane));
        a[18 + 2 * i] = oclora_arg_buffer(m->y->buffer);
        a[19 + 2 * i] = oclora_arg_u64(m->y->offset);
        a[24 + i] = oclora_arg_u64(m->y->nb[1]);
        a[27 + i] = oclora_arg_u32(m->weight->d_out);
    }
    a[30] = oclora_arg_u32(c->weight->d_in);
    const oclora_kernel_ref kernel = {"lora_fused", "lora_fused", oclora_lora_define(c->stream)};
    const size_t global[2] = {count, c->work->n_chunks}, local[2] = {1, 1};
    return oclora_stream_launch(c->stream, &kernel, a, N_ARGS, 2, global, local, err);
}
