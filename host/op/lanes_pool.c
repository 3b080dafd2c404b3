/* lanes_pool.c - the lane table of acquired adapters. Apart from lanes.c so that kernels can be
 * tested without a pool. */
#include "host/op/lanes.h"

oclora_status oclora_lane_table_create(oclora_lane_table **out, oclora_stream *stream,
                                       oclora_pool *pool, const oclora_adapter_handle *handles,
                                       uint32_t n_adapters, oclora_error *err)
{
    const oclora_env *env = oclora_context_env(oclora_stream_context(stream));
    uint32_t n_weights = oclora_base_id_limit(oclora_pool_base(pool));
    size_t count = (size_t)n_weights * n_adapters;
    oclora_lane *lanes = oclora_alloc(env, count, sizeof *lanes);
    if (!lanes) return oclora_fail_memory(err, count * sizeof *lanes, "a lane table");
    oclora_status status = OCLORA_OK;
    for (size_t i = 0; i < count && status == OCLORA_OK; i++)
        status =
            oclora_pool_lane(pool, handles[i % n_adapters], (uint32_t)(i / n_adapters), &lanes[i]);
    if (status != OCLORA_OK)
        status = oclora_fail(err, status, "a lane table needs %u adapters that are held",
                             (unsigned)n_adapters);
    else
        status = oclora_lane_table_create_from(out, stream, oclora_pool_buffer(pool), lanes,
                                               n_weights, n_adapters, err);
    oclora_release(env, lanes);
    return status;
}
