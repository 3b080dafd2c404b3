#include "host/op/lanes.h"

#include <string.h>

/* The kernels declare the same structs in cl/lora_types.cl. */
_Static_assert(sizeof(oclora_lane) == 128, "cl/lora_types.cl: lora_lane");
_Static_assert(offsetof(oclora_lane, rank) == 96, "cl/lora_types.cl: lora_lane");
_Static_assert(sizeof(oclora_chunk) == 32, "cl/lora_types.cl: lora_chunk");

static oclora_lane_summary summarise(const oclora_lane *lanes, uint32_t n_adapters)
{
    oclora_lane_summary summary = {0, 0, 0};
    for (uint32_t k = 0; k < n_adapters; k++) {
        const oclora_lane *lane = &lanes[k];
        if (lane->rank > summary.rank_max) summary.rank_max = lane->rank;
        if (lane->rank || lane->u || lane->c || lane->n_mul) summary.flags |= OCLORA_LANES_TOUCHED;
        if (lane->core) summary.flags |= OCLORA_LANES_CORE;
        if (lane->n_mul) summary.flags |= OCLORA_LANES_MULTIPLY;
        if (lane->u) summary.flags |= OCLORA_LANES_SCALED;
        if (lane->router) summary.flags |= OCLORA_LANES_ROUTER;
        if (lane->rank && !lane->n_mul) summary.flags |= OCLORA_LANES_LOW_RANK;
        const bool pairs = (lane->router & 255u) == OCLORA_ROUTER_PAIRS;
        const uint32_t gates = (lane->router >> 16) << pairs;
        if (pairs) summary.flags |= OCLORA_LANES_PAIRS;
        if (gates > summary.experts_max) summary.experts_max = gates;
    }
    return summary;
}

oclora_status oclora_lane_table_create_from(oclora_lane_table **out, oclora_stream *stream,
                                            const oclora_buffer *pool, const oclora_lane *lanes,
                                            uint32_t n_weights, uint32_t n_adapters,
                                            oclora_error *err)
{
    oclora_context *context = oclora_stream_context(stream);
    const oclora_env *env = oclora_context_env(context);
    uint64_t bytes = (uint64_t)n_weights * n_adapters * sizeof *lanes;
    if (!bytes)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "a lane table needs at least one weight and one adapter (%u, %u)",
                           (unsigned)n_weights, (unsigned)n_adapters);
    oclora_status status;
    oclora_lane_table *table = oclora_alloc(env, 1, sizeof *table);
    if (!table) return oclora_fail_memory(err, sizeof *table, "a lane table");
    table->env = *env;
    table->pool = pool;
    table->n_weights = n_weights;
    table->n_adapters = n_adapters;
    table->summaries = oclora_alloc(env, n_weights, sizeof *table->summaries);
    table->mul_max = oclora_alloc(env, n_adapters, sizeof *table->mul_max);
    if (!table->summaries || !table->mul_max) {
        status = oclora_fail_memory(err, n_weights * sizeof *table->summaries, "a lane table");
        goto fail;
    }
    for (size_t i = 0; i < (size_t)n_weights * n_adapters; i++)
        if (lanes[i].n_mul > table->mul_max[i % n_adapters])
            table->mul_max[i % n_adapters] = lanes[i].n_mul;
    for (uint32_t w = 0; w < n_weights; w++)
        table->summaries[w] = summarise(lanes + (size_t)w * n_adapters, n_adapters);
    status = oclora_buffer_create(&table->lanes, context, bytes, err);
    if (status != OCLORA_OK) goto fail;
    status = oclora_stream_write(stream, table->lanes, 0, lanes, bytes, err);
    if (status != OCLORA_OK) goto fail;
    *out = table;
    return OCLORA_OK;
fail:
    oclora_lane_table_destroy(table);
    return status;
}

bool oclora_lane_table_needs_instances(const oclora_lane_table *table)
{
    for (uint32_t w = 0; w < table->n_weights; w++)
        if (table->summaries[w].flags & OCLORA_LANES_PAIRS) return true;
    return false;
}

void oclora_lane_table_destroy(oclora_lane_table *table)
{
    if (!table) return;
    oclora_env env = table->env;
    oclora_buffer_destroy(table->lanes);
    oclora_release(&env, table->summaries);
    oclora_release(&env, table->mul_max);
    oclora_release(&env, table);
}
