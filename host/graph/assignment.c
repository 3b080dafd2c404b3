/* assignment.c - one state of a session's map, made whole before it becomes visible. */
#include "host/graph/session_private.h"

#include <math.h>

oclora_status oclora_mixture_make(oclora_mixture *out, const oclora_weighted_adapter *adapters,
                                  uint32_t count, oclora_error *err)
{
    if (count > OCLORA_MIXTURE_MAX || (count > 0 && adapters == NULL))
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "a mixture of %u adapters; at most %d are served on one row", count,
                           OCLORA_MIXTURE_MAX);
    oclora_mixture made = {.mapped = 1};
    for (uint32_t i = 0; i < count; i++) {
        if (adapters[i].handle == 0)
            return oclora_fail(err, OCLORA_ADAPTER_NOT_LOADED,
                               "entry %u of the mixture names no loaded adapter", i);
        uint32_t k = 0;
        while (k < made.count && made.entries[k].handle != adapters[i].handle) k++;
        if (k == made.count) {
            made.entries[k].handle = adapters[i].handle;
            made.count++;
        }
        made.entries[k].weight += adapters[i].weight;
        if (!isfinite(made.entries[k].weight))
            return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                               "the weight of entry %u of the mixture is not finite", i);
    }
    *out = made;
    return OCLORA_OK;
}

void oclora_assignment_free(oclora_assignment *assignment, const oclora_env *env)
{
    if (assignment == NULL) return;
    oclora_release(env, assignment->handles);
    oclora_release(env, assignment->adapter);
    oclora_release(env, assignment->weight);
    oclora_release(env, assignment->targets);
    oclora_release(env, assignment);
}

/* Inserts into the ascending list unless present. */
static void insert_handle(oclora_assignment *made, oclora_adapter_handle handle)
{
    uint32_t at = made->n_handles;
    while (at > 0 && made->handles[at - 1] > handle) at--;
    if (at > 0 && made->handles[at - 1] == handle) return;
    for (uint32_t i = made->n_handles; i > at; i--) made->handles[i] = made->handles[i - 1];
    made->handles[at] = handle;
    made->n_handles++;
}

static uint32_t find_handle(const oclora_assignment *made, oclora_adapter_handle handle)
{
    uint32_t first = 0;
    uint32_t last = made->n_handles;
    while (last - first > 1) {
        uint32_t middle = first + (last - first) / 2;
        if (made->handles[middle] <= handle)
            first = middle;
        else
            last = middle;
    }
    return first;
}

static void fill_entries(oclora_assignment *made, uint32_t n_rows, const oclora_mixture *rows)
{
    for (uint32_t s = 0; s < n_rows; s++)
        for (uint32_t i = 0; i < rows[s].count; i++) insert_handle(made, rows[s].entries[i].handle);
    uint32_t at = 0;
    for (uint32_t s = 0; s < OCLORA_SEQUENCE_MAX; s++) {
        made->start[s] = at;
        for (uint32_t i = 0; s < n_rows && i < rows[s].count; i++, at++) {
            made->adapter[at] = find_handle(made, rows[s].entries[i].handle);
            made->weight[at] = rows[s].entries[i].weight;
        }
    }
    made->start[OCLORA_SEQUENCE_MAX] = at;
}

static oclora_status add_targets(oclora_assignment *made, const oclora_env *env, oclora_pool *pool,
                                 oclora_adapter_handle handle, oclora_error *err)
{
    uint32_t count = 0;
    OCLORA_TRY(oclora_pool_targets(pool, handle, NULL, &count, err));
    uint32_t *ids = oclora_alloc(env, count, sizeof *ids);
    if (ids == NULL) return oclora_fail_memory(err, count * sizeof *ids, "an adapter's targets");
    oclora_status status = oclora_pool_targets(pool, handle, ids, &count, err);
    for (uint32_t i = 0; status == OCLORA_OK && i < count; i++)
        if (ids[i] < made->n_weights) made->targets[ids[i]] = 1;
    oclora_release(env, ids);
    return status;
}

/* Pins every handle, or none. */
static oclora_status pin_all(oclora_assignment *made, const oclora_env *env, oclora_pool *pool,
                             oclora_error *err)
{
    uint32_t pinned = 0;
    oclora_status status = OCLORA_OK;
    while (pinned < made->n_handles) {
        status = oclora_pool_pin(pool, made->handles[pinned], err);
        if (status != OCLORA_OK) break;
        pinned++;
        status = add_targets(made, env, pool, made->handles[pinned - 1], err);
        if (status != OCLORA_OK) break;
    }
    if (status == OCLORA_OK) return OCLORA_OK;
    while (pinned > 0) (void)oclora_pool_unpin(pool, made->handles[--pinned], NULL);
    return status;
}

void oclora_assignment_unpin(const oclora_assignment *assignment, oclora_pool *pool)
{
    for (uint32_t i = 0; i < assignment->n_handles; i++)
        (void)oclora_pool_unpin(pool, assignment->handles[i], NULL);
}

oclora_status oclora_assignment_create(oclora_assignment **out, const oclora_env *env,
                                       oclora_pool *pool, uint32_t mode, const oclora_mixture *rows,
                                       oclora_error *err)
{
    uint32_t n_rows = mode == OCLORA_MAP_SEQUENCES ? OCLORA_SEQUENCE_MAX : mode == OCLORA_MAP_ALL;
    size_t count = 0;
    for (uint32_t s = 0; s < n_rows; s++) count += rows[s].count;

    oclora_status status = OCLORA_OUT_OF_HOST_MEMORY;
    oclora_assignment *made = oclora_alloc(env, 1, sizeof *made);
    if (made == NULL) return oclora_fail_memory(err, sizeof *made, "a session's map");
    made->mode = mode;
    made->references = 1;
    made->n_weights = count > 0 ? oclora_base_id_limit(oclora_pool_base(pool)) : 0;
    made->handles = oclora_alloc(env, count, sizeof *made->handles);
    made->adapter = oclora_alloc(env, count, sizeof *made->adapter);
    made->weight = oclora_alloc(env, count, sizeof *made->weight);
    made->targets = oclora_alloc(env, made->n_weights, 1);
    if (!made->handles || !made->adapter || !made->weight || !made->targets) {
        oclora_fail_memory(err, count * 16 + made->n_weights, "a session's map");
        goto fail;
    }
    fill_entries(made, n_rows, rows);
    status = pin_all(made, env, pool, err);
    if (status != OCLORA_OK) goto fail;
    *out = made;
    return OCLORA_OK;

fail:
    oclora_assignment_free(made, env);
    return status;
}
