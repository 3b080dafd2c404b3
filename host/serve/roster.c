/* Rows of a batch -> adapters held on the device, their lanes and the work list. */
#include "host/serve/engine.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    const oclora_adapter_handle x = *(const oclora_adapter_handle *)a;
    const oclora_adapter_handle y = *(const oclora_adapter_handle *)b;
    return (x > y) - (x < y);
}

/* The distinct handles of all entries, sorted. */
static oclora_status collect(oclora_roster *made, const oclora_adapter_handle *adapter,
                             uint32_t n_entries, oclora_error *err)
{
    const oclora_env *env = &made->engine->env;
    made->adapters = oclora_alloc(env, n_entries, sizeof *made->adapters);
    if (made->adapters == NULL)
        return oclora_fail_memory(err, n_entries * sizeof *made->adapters, "a batch's adapters");
    memcpy(made->adapters, adapter, n_entries * sizeof *adapter);
    qsort(made->adapters, n_entries, sizeof *made->adapters, by_value);
    for (uint32_t i = 0; i < n_entries; i++)
        if (i == 0 || made->adapters[i] != made->adapters[made->n_adapters - 1])
            made->adapters[made->n_adapters++] = made->adapters[i];
    return OCLORA_OK;
}

static oclora_status check_rows(uint32_t n_rows, const uint32_t *row_start, oclora_error *err)
{
    if (row_start[0] != 0)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "row_start begins with %u, not 0",
                           row_start[0]);
    for (uint32_t t = 0; t < n_rows; t++)
        if (row_start[t + 1] < row_start[t])
            return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                               "row %u: row_start falls from %u to %u", t, row_start[t],
                               row_start[t + 1]);
    return OCLORA_OK;
}

/* The entries as indices into the distinct handles, turned into a work list. */
static oclora_status build_list(const oclora_roster *made, const uint32_t *row_start,
                                const oclora_adapter_handle *adapter, const float *weight,
                                const uint32_t *instance, oclora_worklist *list, oclora_error *err)
{
    const oclora_env *env = &made->engine->env;
    const uint32_t n_entries = row_start[made->n_rows];
    uint32_t *index = oclora_alloc(env, n_entries, sizeof *index);
    float *weights = oclora_alloc(env, n_entries, sizeof *weights);
    oclora_status status = OCLORA_OK;
    if (index == NULL || weights == NULL)
        status = oclora_fail_memory(err, n_entries * sizeof *index, "a batch's entries");
    for (uint32_t i = 0; i < n_entries && status == OCLORA_OK; i++) {
        const oclora_adapter_handle *at = bsearch(&adapter[i], made->adapters, made->n_adapters,
                                                  sizeof *made->adapters, by_value);
        index[i] = (uint32_t)(at - made->adapters);
        weights[i] = weight == NULL ? 1.0f : weight[i];
    }
    if (status == OCLORA_OK) {
        const oclora_batch batch = {made->n_rows, made->n_adapters, row_start,
                                    index,        weights,          instance};
        const uint32_t chunk_rows =
            oclora_context_tuned(oclora_engine_context(made->engine), OCLORA_TUNE_CHUNK_ROWS);
        status = oclora_worklist_build(list, env, &batch, chunk_rows, err);
    }
    oclora_release(env, index);
    oclora_release(env, weights);
    return status;
}

/* With the work list known good: the adapters on the device, and what kernels need of them. */
static oclora_status place(oclora_roster *made, const oclora_worklist *list, oclora_error *err)
{
    oclora_engine *engine = made->engine;
    OCLORA_TRY(oclora_pool_acquire(made->pool, made->adapters, made->n_adapters, err));
    made->held = true;
    pthread_mutex_lock(&engine->lock);
    oclora_status status = oclora_lane_table_create(&made->lanes, engine->stream, made->pool,
                                                    made->adapters, made->n_adapters, err);
    if (status == OCLORA_OK && list->peers == NULL &&
        oclora_lane_table_needs_instances(made->lanes))
        status = oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                             "an adapter of the batch averages over the rows of its sequence: say "
                             "which rows belong to one (oclora_batch_args.instance)");
    if (status == OCLORA_OK) status = oclora_row_work_create(&made->work, engine->stream, err);
    if (status == OCLORA_OK) status = oclora_row_work_update(made->work, list, err);
    /* Kernels take row numbers and addresses from these uploads: none may run before they are known
     * to be there. */
    if (status == OCLORA_OK) status = oclora_stream_finish(engine->stream, err);
    pthread_mutex_unlock(&engine->lock);
    return status;
}

static oclora_status fill(oclora_roster *made, const uint32_t *row_start,
                          const oclora_adapter_handle *adapter, const float *weight,
                          const uint32_t *instance, oclora_error *err)
{
    OCLORA_TRY(check_rows(made->n_rows, row_start, err));
    if (row_start[made->n_rows] == 0) return OCLORA_OK;
    OCLORA_TRY(collect(made, adapter, row_start[made->n_rows], err));
    oclora_worklist list = {0};
    oclora_status status = build_list(made, row_start, adapter, weight, instance, &list, err);
    if (status == OCLORA_OK) status = place(made, &list, err);
    oclora_worklist_free(&list);
    return status;
}

oclora_status oclora_roster_create(oclora_roster **out, oclora_engine *engine, oclora_pool *pool,
                                   uint32_t n_rows, const uint32_t *row_start,
                                   const oclora_adapter_handle *adapter, const float *weight,
                                   const uint32_t *instance, oclora_error *err)
{
    oclora_roster *made = oclora_alloc(&engine->env, 1, sizeof *made);
    if (made == NULL) return oclora_fail_memory(err, sizeof *made, "a batch");
    made->engine = engine;
    made->pool = pool;
    made->n_rows = n_rows;
    const oclora_status status = fill(made, row_start, adapter, weight, instance, err);
    if (status != OCLORA_OK) {
        oclora_roster_destroy(made);
        return status;
    }
    *out = made;
    return OCLORA_OK;
}

void oclora_roster_destroy(oclora_roster *made)
{
    if (made == NULL) return;
    oclora_engine *engine = made->engine;
    oclora_row_work_destroy(made->work);
    oclora_lane_table_destroy(made->lanes);
    if (made->held) oclora_pool_release(made->pool, made->adapters, made->n_adapters);
    oclora_release(&engine->env, made->adapters);
    oclora_release(&engine->env, made);
}
