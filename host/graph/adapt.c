/* adapt.c - from a graph's rows and a session's map to lanes and work lists, or a refusal. */
#include "host/graph/runner_private.h"

#include <string.h>

enum { SNAPSHOT_TRIES = 8 };

/* The base weight a member of the step is a product with, or with a part of it, or NULL. */
static const oclora_weight *member_weight(const oclora_run *run, const oclora_step *step,
                                          uint32_t member)
{
    if (step->kind > OCLORA_STEP_LINEAR) return NULL;
    const oclora_node *node = &run->graph->nodes[step->member[member]];
    const bool product = node->op == OCLORA_OP_MUL_MAT || node->op == OCLORA_OP_MUL_MAT_ID;
    return product ? run->graph->tensors[node->src[0]].weight : NULL;
}

static bool is_targeted(const oclora_run *run, const oclora_step *step)
{
    for (uint32_t i = 0; i < step->n_members; i++) {
        const oclora_weight *weight = member_weight(run, step, i);
        if (weight != NULL && oclora_assignment_targets(run->map, weight->id)) return true;
    }
    return false;
}

static oclora_status check_target(const oclora_run *run, const oclora_step *step,
                                  const oclora_weight *weight, oclora_error *err)
{
    const char *name = weight->name;
    if (weight->ambiguous)
        return oclora_fail(err, OCLORA_AMBIGUOUS_WEIGHT,
                           "two loaded models hold a weight '%s'; use one session per model", name);
    if (step->kind != OCLORA_STEP_LINEAR)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "the graph uses part of '%s' or unusual rows; adapters on it cannot be "
                           "served",
                           name);
    if (step->flags & OCLORA_STEP_SCALED)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "'%s' has a scale of its own behind it; adapters on it cannot be served",
                           name);
    if (step->row_set == OCLORA_ROW_SET_NONE)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "the graph has more than %d kinds of rows; '%s' is one too many",
                           OCLORA_ROW_SETS, name);
    if (run->map->mode == OCLORA_MAP_SEQUENCES &&
        run->plan->row_sets[step->row_set].kind == OCLORA_ROWS_OTHER)
        return oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                           "which sequence each row of '%s' belongs to cannot be followed", name);
    return OCLORA_OK;
}

static bool any_target(const oclora_run *run)
{
    for (uint32_t i = 0; i < run->plan->n_steps; i++)
        if (is_targeted(run, &run->plan->steps[i])) return true;
    return false;
}

static oclora_status check_targets(const oclora_run *run, oclora_error *err)
{
    for (uint32_t i = 0; i < run->plan->n_steps; i++) {
        const oclora_step *step = &run->plan->steps[i];
        for (uint32_t m = 0; m < step->n_members; m++) {
            const oclora_weight *weight = member_weight(run, step, m);
            if (weight != NULL && oclora_assignment_targets(run->map, weight->id))
                OCLORA_TRY(check_target(run, step, weight, err));
        }
    }
    return OCLORA_OK;
}

static oclora_status check_caches(const oclora_run *run, bool targeted, oclora_error *err)
{
    const oclora_row_plan *rows = &run->plan->rows;
    if (run->map->mode != OCLORA_MAP_SEQUENCES) return OCLORA_OK;
    for (uint32_t i = 0; i < rows->n_caches; i++)
        if (rows->caches[i].streams == 1)
            return oclora_fail(err, OCLORA_SINGLE_STREAM,
                               "the KV cache has one stream for all sequences, so rows cannot be "
                               "told apart: use kv_unified=false (llama-server: -np N with "
                               "--no-kv-unified), or assign adapters to the whole context");
    if (targeted && rows->n_caches == 0)
        return oclora_fail(err, OCLORA_WEIGHT_NOT_ON_DEVICE,
                           "a graph with adapted weights writes no K cache on this device, so its "
                           "rows' sequences are unknown: put all layers and the KV cache there");
    return OCLORA_OK;
}

/* Sequence of each row: streams for TOKENS, streams[ids[i]] for SELECTED. */
static oclora_status read_streams(oclora_run *run, const void **data, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    const oclora_row_plan *rows = &run->plan->rows;
    OCLORA_TRY(oclora_reserve(&runner->env, &runner->streams, &runner->streams_capacity,
                              rows->n_tokens, sizeof *runner->streams, err));
    OCLORA_TRY(oclora_run_gather(run, data, err));
    const int64_t *indices[sizeof rows->caches / sizeof rows->caches[0]];
    for (uint32_t i = 0; i < rows->n_caches; i++) indices[i] = data[i];
    OCLORA_TRY(oclora_row_streams(rows, indices, runner->streams, err));
    for (uint32_t i = 0; i < rows->n_tokens; i++)
        if (runner->streams[i] >= OCLORA_SEQUENCE_MAX)
            return oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                               "token %u is in KV stream %u; only %d can be mapped", i,
                               runner->streams[i], OCLORA_SEQUENCE_MAX);
    for (uint32_t s = 0; s < rows->n_selections; s++) {
        const int32_t *ids = data[rows->n_caches + s];
        uint64_t count = run->graph->tensors[rows->selections[s]].view.ne[0];
        for (uint64_t i = 0; i < count; i++)
            if (ids[i] < 0 || (uint32_t)ids[i] >= rows->n_tokens)
                return oclora_fail(err, OCLORA_ROWS_UNKNOWN, "selected row %llu is token %d of %u",
                                   (unsigned long long)i, (int)ids[i], rows->n_tokens);
    }
    return OCLORA_OK;
}

static uint32_t sequence_of(const oclora_run *run, const oclora_row_set *set, const void **data,
                            uint32_t row)
{
    if (run->map->mode == OCLORA_MAP_ALL) return 0;
    if (set->kind == OCLORA_ROWS_TOKENS) return run->runner->streams[row];
    const int32_t *ids = data[run->plan->rows.n_caches + set->selection];
    return run->runner->streams[ids[row]];
}

/* Rows of a sequence are one instance; without a map per sequence they are not known. */
static bool wants_instances(const oclora_run *run)
{
    return run->map->mode == OCLORA_MAP_SEQUENCES &&
           oclora_lane_table_needs_instances(run->runner->lanes);
}

/* Writes the set's CSR into the runner's scratch: starts, adapters, weights, and the rows'
 * sequences where an adapter asks for them. @return its length. */
static oclora_status make_csr(oclora_run *run, const oclora_row_set *set, const void **data,
                              size_t *length, uint64_t *adapted, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    const oclora_assignment *map = run->map;
    uint32_t most = 0;
    for (uint32_t s = 0; s < OCLORA_SEQUENCE_MAX; s++)
        if (map->start[s + 1] - map->start[s] > most) most = map->start[s + 1] - map->start[s];
    OCLORA_TRY(oclora_reserve(&runner->env, &runner->scratch, &runner->scratch_capacity,
                              (size_t)set->n_rows * (2 + 2 * (size_t)most) + 1,
                              sizeof *runner->scratch, err));
    uint32_t *start = runner->scratch;
    uint32_t n = 0;
    *adapted = 0;
    for (uint32_t row = 0; row < set->n_rows; row++) {
        uint32_t seq = sequence_of(run, set, data, row);
        start[row] = n;
        n += map->start[seq + 1] - map->start[seq];
        *adapted += map->start[seq + 1] > map->start[seq];
    }
    start[set->n_rows] = n;
    uint32_t *adapter = start + set->n_rows + 1;
    for (uint32_t row = 0; row < set->n_rows; row++) {
        uint32_t first = map->start[sequence_of(run, set, data, row)];
        uint32_t count = start[row + 1] - start[row];
        memcpy(adapter + start[row], map->adapter + first, count * sizeof *adapter);
        memcpy(adapter + n + start[row], map->weight + first, count * sizeof *adapter);
    }
    *length = (size_t)set->n_rows + 1 + 2 * (size_t)n;
    if (!wants_instances(run)) return OCLORA_OK;
    for (uint32_t row = 0; row < set->n_rows; row++)
        runner->scratch[(*length)++] = sequence_of(run, set, data, row);
    return OCLORA_OK;
}

static oclora_status upload_work(oclora_run *run, const oclora_row_set *set, oclora_row_slot *slot,
                                 size_t length, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    uint32_t n = runner->scratch[set->n_rows];
    uint32_t *adapter = runner->scratch + set->n_rows + 1;
    slot->csr_length = 0;
    OCLORA_TRY(oclora_reserve(&runner->env, &slot->csr, &slot->csr_capacity, length,
                              sizeof *slot->csr, err));
    if (slot->work == NULL) OCLORA_TRY(oclora_row_work_create(&slot->work, runner->stream, err));
    /* Weights were copied as they are, so their storage may be read as floats again. */
    memcpy(slot->csr, runner->scratch, length * sizeof *slot->csr);
    float *weights = oclora_alloc(&runner->env, n, sizeof *weights);
    if (weights == NULL) return oclora_fail_memory(err, n * sizeof *weights, "a batch's weights");
    memcpy(weights, adapter + n, n * sizeof *weights);
    oclora_batch batch = {set->n_rows,     run->map->n_handles,
                          runner->scratch, adapter,
                          weights,         wants_instances(run) ? adapter + 2 * (size_t)n : NULL};
    const uint32_t chunk_rows =
        oclora_context_tuned(oclora_stream_context(runner->stream), OCLORA_TUNE_CHUNK_ROWS);
    oclora_worklist list = {0};
    oclora_status status = oclora_worklist_build(&list, &runner->env, &batch, chunk_rows, err);
    if (status == OCLORA_OK) {
        status = oclora_row_work_update(slot->work, &list, err);
        oclora_worklist_free(&list);
    }
    oclora_release(&runner->env, weights);
    if (status != OCLORA_OK) return status;
    slot->csr_length = length;
    slot->n_adapters = run->map->n_handles;
    return OCLORA_OK;
}

static oclora_status ready_slot(oclora_run *run, uint32_t number, const void **data,
                                oclora_error *err)
{
    const oclora_row_set *set = &run->plan->row_sets[number];
    oclora_row_slot *slot = &run->runner->slots[number];
    size_t length = 0;
    uint64_t adapted = 0;
    OCLORA_TRY(make_csr(run, set, data, &length, &adapted, err));
    if (set->kind == OCLORA_ROWS_TOKENS) run->adapted_rows = adapted;
    slot->ready = adapted > 0;
    bool same = slot->csr_length == length && slot->n_adapters == run->map->n_handles &&
                memcmp(slot->csr, run->runner->scratch, length * sizeof *slot->csr) == 0;
    if (same || adapted == 0) return OCLORA_OK;
    return upload_work(run, set, slot, length, err);
}

/* Work lists for the sets that adapted products use. */
static oclora_status ready_slots(oclora_run *run, const void **data, oclora_error *err)
{
    bool wanted[OCLORA_ROW_SETS] = {false};
    for (uint32_t i = 0; i < run->plan->n_steps; i++)
        if (is_targeted(run, &run->plan->steps[i])) wanted[run->plan->steps[i].row_set] = true;
    for (uint32_t s = 0; s < run->plan->n_row_sets; s++)
        if (wanted[s]) OCLORA_TRY(ready_slot(run, s, data, err));
    return OCLORA_OK;
}

void oclora_runner_forget_adapters(oclora_runner *runner)
{
    oclora_lane_table_destroy(runner->lanes);
    runner->lanes = NULL;
    runner->lanes_pool = NULL;
    runner->lanes_count = 0;
    for (uint32_t s = 0; s < OCLORA_ROW_SETS; s++) runner->slots[s].csr_length = 0;
}

/* A table stays right while the same handles have been resident without a break: an eviction may
 * have moved one of them. */
static oclora_status ready_lanes(oclora_run *run, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    const oclora_assignment *map = run->map;
    oclora_pool *pool = oclora_session_pool(run->session);
    oclora_pool_stats stats;
    oclora_pool_get_stats(pool, &stats);
    uint32_t n_weights = oclora_base_id_limit(oclora_pool_base(pool));
    size_t bytes = map->n_handles * sizeof *map->handles;
    if (runner->lanes != NULL && runner->lanes_pool == pool &&
        runner->lanes_evictions == stats.evictions && runner->lanes_weights == n_weights &&
        runner->lanes_count == map->n_handles &&
        memcmp(runner->lanes_handles, map->handles, bytes) == 0)
        return OCLORA_OK;
    OCLORA_TRY(oclora_reserve(&runner->env, &runner->lanes_handles, &runner->lanes_capacity,
                              map->n_handles, sizeof *map->handles, err));
    oclora_lane_table *made = NULL;
    OCLORA_TRY(
        oclora_lane_table_create(&made, runner->stream, pool, map->handles, map->n_handles, err));
    oclora_lane_table_destroy(runner->lanes);
    runner->lanes = made;
    runner->lanes_pool = pool;
    runner->lanes_evictions = stats.evictions;
    runner->lanes_weights = n_weights;
    runner->lanes_count = map->n_handles;
    memcpy(runner->lanes_handles, map->handles, bytes);
    return OCLORA_OK;
}

/* Takes the session's map and holds its adapters. A map that was replaced in between may name
 * adapters that are gone; then the newer one counts. */
static oclora_status take_map(oclora_run *run, oclora_error *err)
{
    for (unsigned tries = 0;; tries++) {
        run->map = oclora_session_snapshot(run->session);
        if (run->map->n_handles == 0) return OCLORA_OK;
        oclora_status status = oclora_pool_acquire(oclora_session_pool(run->session),
                                                   run->map->handles, run->map->n_handles, err);
        run->held = status == OCLORA_OK;
        if (status != OCLORA_STALE_HANDLE || tries == SNAPSHOT_TRIES) return status;
        oclora_session_drop(run->session, run->map);
        run->map = NULL;
    }
}

oclora_status oclora_run_adapt(oclora_run *run, oclora_error *err)
{
    for (uint32_t s = 0; s < OCLORA_ROW_SETS; s++) run->runner->slots[s].ready = 0;
    if (run->session == NULL) return OCLORA_OK;
    OCLORA_TRY(take_map(run, err));
    if (run->map->mode == OCLORA_MAP_NONE) return OCLORA_OK;
    OCLORA_TRY(oclora_session_check(run->session, true, err));

    bool targeted = any_target(run);
    OCLORA_TRY(check_caches(run, targeted, err));
    if (!targeted) return OCLORA_OK;
    OCLORA_TRY(check_targets(run, err));

    const void *data[16];
    bool sequences = run->map->mode == OCLORA_MAP_SEQUENCES;
    if (sequences) OCLORA_TRY(read_streams(run, data, err));
    OCLORA_TRY(oclora_session_check_taint(run->session, sequences ? run->runner->streams : NULL,
                                          run->plan->rows.n_tokens, err));
    OCLORA_TRY(ready_lanes(run, err));
    OCLORA_TRY(ready_slots(run, data, err));
    run->adapted = 1;
    return OCLORA_OK;
}
