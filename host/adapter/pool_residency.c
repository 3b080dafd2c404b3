/* What lies on the device: upload, eviction, use counts. See pool_private.h for the locking. */
#include "host/adapter/pool_private.h"

#include <string.h>

void oclora_pool_move_begin(oclora_pool *pool)
{
    while (pool->moving) pthread_cond_wait(&pool->moved, &pool->mutex);
    pool->moving = true;
}

void oclora_pool_move_end(oclora_pool *pool)
{
    pool->moving = false;
    pthread_cond_broadcast(&pool->moved);
}

static oclora_status list_reserve(oclora_pool *pool, oclora_move_list *list, size_t more,
                                  oclora_error *err)
{
    return oclora_reserve(&pool->env, &list->moves, &list->capacity, list->count + more,
                          sizeof *list->moves, err);
}

/* A block that nobody uses now is always cleared, also one that this adapter never wrote: it may
 * have come with contents, from an adapter that was evicted in between. */
static void detach_parts(oclora_pool *pool, oclora_pool_adapter *adapter)
{
    for (size_t i = 0; i < adapter->n_parts; i++) {
        oclora_pool_part *part = &adapter->parts[i];
        uint64_t offset = 0;
        if (!oclora_blob_detach(&pool->blobs, part, &offset)) continue;
        oclora_arena_give(&pool->arena, offset, part->bytes);
        const oclora_pool_move move = {NULL, offset, oclora_arena_round(part->bytes)};
        pool->clears.moves[pool->clears.count++] = move;
    }
    for (size_t i = 0; i < adapter->n_sites; i++)
        memset(&adapter->sites[i].lane, 0, sizeof adapter->sites[i].lane);
}

void oclora_pool_evict(oclora_pool *pool, oclora_pool_adapter *adapter)
{
    detach_parts(pool, adapter);
    adapter->state = OCLORA_ADAPTER_HOST;
}

oclora_status oclora_pool_move_run(oclora_pool *pool, oclora_error *err)
{
    oclora_status status = OCLORA_OK;
    oclora_event *event = NULL;
    for (size_t i = 0; i < pool->clears.count && status == OCLORA_OK; i++) {
        const oclora_pool_move *move = &pool->clears.moves[i];
        status = oclora_stream_fill(pool->stream, pool->buffer, move->offset, move->bytes, 0, err);
    }
    for (size_t i = 0; i < pool->writes.count && status == OCLORA_OK; i++) {
        const oclora_pool_move *move = &pool->writes.moves[i];
        status = oclora_stream_write(pool->stream, pool->buffer, move->offset, move->host,
                                     move->bytes, err);
    }
    if (status == OCLORA_OK && pool->clears.count + pool->writes.count > 0) {
        status = oclora_stream_record(pool->stream, &event, err);
        if (status == OCLORA_OK) status = oclora_event_wait(event, err);
    }
    oclora_event_destroy(event);
    pool->writes.count = 0;
    /* What could not be cleared is tried again before anything else is written: until then nothing
     * becomes resident, so a late clear never meets a later tenant's data. */
    if (status == OCLORA_OK) pool->clears.count = 0;
    return status;
}

static oclora_pool_adapter *oldest_idle(oclora_pool *pool)
{
    oclora_pool_adapter *oldest = NULL;
    for (size_t i = 0; i < pool->n_slots; i++) {
        oclora_pool_adapter *adapter = pool->slots[i].adapter;
        if (adapter == NULL || adapter->state != OCLORA_ADAPTER_RESIDENT || adapter->pins > 0 ||
            adapter->uses > 0)
            continue;
        if (oldest == NULL || adapter->last_use < oldest->last_use) oldest = adapter;
    }
    return oldest;
}

/* A block for one part, evicting the least recently used idle adapters until it fits. */
static oclora_status take_block(oclora_pool *pool, uint64_t bytes, uint64_t *offset,
                                oclora_error *err)
{
    for (;;) {
        const oclora_status status = oclora_arena_take(&pool->arena, bytes, offset, err);
        if (status != OCLORA_POOL_FULL) return status;
        oclora_pool_adapter *idle = oldest_idle(pool);
        if (idle == NULL) return status;
        oclora_pool_evict(pool, idle);
        pool->evictions++;
    }
}

static oclora_status place_part(oclora_pool *pool, oclora_pool_part *part, oclora_error *err)
{
    uint64_t offset = 0;
    oclora_device_blob *blob = oclora_blob_find(&pool->blobs, part);
    if (blob != NULL) {
        oclora_blob_attach(blob, part);
        return OCLORA_OK;
    }
    OCLORA_TRY(list_reserve(pool, &pool->writes, 1, err));
    /* Room to clear this and every other block, so that taking one off the device cannot fail. */
    OCLORA_TRY(list_reserve(pool, &pool->clears, pool->blobs.n_blobs + 1, err));
    OCLORA_TRY(take_block(pool, part->bytes, &offset, err));
    const oclora_status status = oclora_blob_add(&pool->blobs, part, offset, err);
    if (status != OCLORA_OK) {
        oclora_arena_give(&pool->arena, offset, part->bytes);
        return status;
    }
    const oclora_pool_move move = {part->host, offset, part->bytes};
    pool->writes.moves[pool->writes.count++] = move;
    return OCLORA_OK;
}

static oclora_status place_adapter(oclora_pool *pool, oclora_pool_adapter *adapter,
                                   oclora_error *err)
{
    for (size_t i = 0; i < adapter->n_parts; i++) {
        const oclora_status status = place_part(pool, &adapter->parts[i], err);
        if (status == OCLORA_POOL_FULL)
            return oclora_error_prefix(
                err, status,
                "adapter '%s' needs %llu bytes; of the pool's %llu, %llu are free and the rest is "
                "pinned or in use (release or unpin adapters, or give the pool more)",
                adapter->name, (unsigned long long)adapter->device_bytes,
                (unsigned long long)pool->budget, (unsigned long long)pool->arena.free_bytes);
        if (status != OCLORA_OK) return status;
    }
    adapter->state = OCLORA_ADAPTER_LOADING;
    return OCLORA_OK;
}

static void fill_lanes(oclora_pool_adapter *adapter)
{
    const uint64_t vectors =
        adapter->vectors == NULL ? 0 : adapter->parts[adapter->n_parts - 1].blob->offset;
    for (size_t i = 0; i < adapter->n_sites; i++) {
        oclora_pool_site *site = &adapter->sites[i];
        oclora_lane lane = site->shape;
        uint64_t *const fields[OCLORA_POOL_VECTORS] = {&lane.scale, &lane.core, &lane.u,
                                                       &lane.beta,  &lane.c,    &lane.mul_u,
                                                       &lane.mul_v, &lane.pairs};
        for (uint32_t v = 0; v < OCLORA_POOL_VECTORS; v++)
            if (site->vectors[v] != UINT64_MAX) *fields[v] = vectors + site->vectors[v];
        if (site->a != OCLORA_POOL_ABSENT) lane.a = adapter->parts[site->a].blob->offset;
        if (site->b != OCLORA_POOL_ABSENT) lane.b = adapter->parts[site->b].blob->offset;
        if (site->gate != OCLORA_POOL_ABSENT) lane.gate = adapter->parts[site->gate].blob->offset;
        if (site->gate_b != OCLORA_POOL_ABSENT)
            lane.gate_b = adapter->parts[site->gate_b].blob->offset;
        site->lane = lane;
    }
}

/* The adapters stay in place while this runs: the caller's handles were resolved under the mutex
 * and their uses are counted. */
typedef struct pool_hold {
    const oclora_adapter_handle *handles;
    uint32_t count;
} pool_hold;

static oclora_pool_adapter *held(oclora_pool *pool, const pool_hold *hold, uint32_t i)
{
    return pool->slots[oclora_pool_slot_of(hold->handles[i])].adapter;
}

static oclora_status resolve_all(oclora_pool *pool, const pool_hold *hold, bool *resident,
                                 oclora_error *err)
{
    *resident = true;
    for (uint32_t i = 0; i < hold->count; i++) {
        oclora_pool_adapter *adapter = NULL;
        OCLORA_TRY(oclora_pool_resolve(pool, hold->handles[i], &adapter, err));
        OCLORA_TRY(oclora_pool_check_base(pool, adapter, err));
        if (adapter->state != OCLORA_ADAPTER_RESIDENT) *resident = false;
    }
    return OCLORA_OK;
}

static void count_uses(oclora_pool *pool, const pool_hold *hold, bool add)
{
    pool->clock++;
    for (uint32_t i = 0; i < hold->count; i++) {
        oclora_pool_adapter *adapter = held(pool, hold, i);
        adapter->uses += add ? 1 : UINT32_MAX;
        adapter->last_use = pool->clock;
    }
}

/* Whatever of the hold is LOADING becomes resident or, on failure, leaves the device. */
static void settle(oclora_pool *pool, const pool_hold *hold, bool written, oclora_status status)
{
    for (uint32_t i = 0; i < hold->count; i++) {
        oclora_pool_adapter *adapter = held(pool, hold, i);
        if (status == OCLORA_OK && adapter->state == OCLORA_ADAPTER_LOADING) {
            fill_lanes(adapter);
            adapter->state = OCLORA_ADAPTER_RESIDENT;
            pool->uploads++;
        } else if (status != OCLORA_OK && adapter->state != OCLORA_ADAPTER_RESIDENT) {
            detach_parts(pool, adapter);
            adapter->state = written ? OCLORA_ADAPTER_FAILED : OCLORA_ADAPTER_HOST;
        }
    }
}

/* Runs the lists without the mutex: it is not held while the device works. */
static oclora_status run_unlocked(oclora_pool *pool, oclora_error *err)
{
    pthread_mutex_unlock(&pool->mutex);
    const oclora_status status = oclora_pool_move_run(pool, err);
    pthread_mutex_lock(&pool->mutex);
    return status;
}

static oclora_status place_held(oclora_pool *pool, const pool_hold *hold, oclora_error *err)
{
    for (uint32_t i = 0; i < hold->count; i++) {
        oclora_pool_adapter *adapter = held(pool, hold, i);
        if (adapter->state != OCLORA_ADAPTER_RESIDENT && adapter->state != OCLORA_ADAPTER_LOADING)
            OCLORA_TRY(place_adapter(pool, adapter, err));
    }
    return OCLORA_OK;
}

static oclora_status load_held(oclora_pool *pool, const pool_hold *hold, oclora_error *err)
{
    /* Left from a failure: as long as it fails nothing is planned, so the list does not grow. */
    if (pool->clears.count > 0) OCLORA_TRY(run_unlocked(pool, err));
    oclora_status status = place_held(pool, hold, err);
    if (status != OCLORA_OK) {
        pool->writes.count = 0;
        settle(pool, hold, false, status);
        run_unlocked(pool, NULL); /* evictions made on the way; their failure is not this one */
        return status;
    }
    status = run_unlocked(pool, err);
    settle(pool, hold, true, status);
    if (status == OCLORA_OK) return OCLORA_OK;
    run_unlocked(pool, NULL);
    return oclora_error_prefix(err, status, "adapter upload");
}

oclora_status oclora_pool_acquire(oclora_pool *pool, const oclora_adapter_handle *handles,
                                  uint32_t count, oclora_error *err)
{
    const pool_hold hold = {handles, count};
    bool resident = false;
    pthread_mutex_lock(&pool->mutex);
    oclora_status status = resolve_all(pool, &hold, &resident, err);
    if (status == OCLORA_OK && resident) {
        count_uses(pool, &hold, true);
    } else if (status == OCLORA_OK) {
        oclora_pool_move_begin(pool);
        /* Waiting let others in: what was true before may not be now. */
        status = resolve_all(pool, &hold, &resident, err);
        if (status == OCLORA_OK) {
            count_uses(pool, &hold, true);
            if (!resident) status = load_held(pool, &hold, err);
            if (status != OCLORA_OK) count_uses(pool, &hold, false);
        }
        oclora_pool_move_end(pool);
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

void oclora_pool_release(oclora_pool *pool, const oclora_adapter_handle *handles, uint32_t count)
{
    pthread_mutex_lock(&pool->mutex);
    pool->clock++;
    for (uint32_t i = 0; i < count; i++) {
        oclora_pool_adapter *adapter = NULL;
        if (oclora_pool_resolve(pool, handles[i], &adapter, NULL) != OCLORA_OK) continue;
        if (adapter->uses > 0) adapter->uses--;
        adapter->last_use = pool->clock;
    }
    pthread_mutex_unlock(&pool->mutex);
}
