#include "host/adapter/pool_private.h"

#include <string.h>

static oclora_status pool_open(oclora_pool *pool, oclora_error *err)
{
    if (pthread_mutex_init(&pool->mutex, NULL) != 0)
        return oclora_fail(err, OCLORA_INTERNAL, "adapter pool: no mutex could be made");
    pool->mutex_made = true;
    if (pthread_cond_init(&pool->moved, NULL) != 0)
        return oclora_fail(err, OCLORA_INTERNAL, "adapter pool: no condition could be made");
    pool->cond_made = true;
    /* Offset 0 means "absent" in lanes, so the first granule is never handed out. */
    OCLORA_TRY(
        oclora_arena_init(&pool->arena, &pool->env, OCLORA_ARENA_GRANULE, pool->budget, err));
    OCLORA_TRY(oclora_stream_create(&pool->stream, pool->context, err));
    return oclora_buffer_create(&pool->buffer, pool->context, pool->arena.end, err);
}

oclora_status oclora_pool_create(oclora_pool **out, oclora_context *context, oclora_base *base,
                                 uint64_t budget_bytes, oclora_error *err)
{
    const oclora_env *env = oclora_context_env(context);
    oclora_pool *pool = oclora_alloc(env, 1, sizeof *pool);
    if (pool == NULL) return oclora_fail_memory(err, sizeof *pool, "an adapter pool");
    pool->env = *env;
    pool->blobs.env = *env;
    pool->context = context;
    pool->base = base;
    pool->budget = budget_bytes;
    pool->salt = oclora_context_mark(context) << OCLORA_POOL_SLOT_BITS;
    const oclora_status status = pool_open(pool, err);
    if (status != OCLORA_OK) {
        oclora_pool_destroy(pool);
        return status;
    }
    *out = pool;
    return OCLORA_OK;
}

/* Device memory goes back to the driver cleared. */
static void pool_clear(oclora_pool *pool)
{
    for (size_t i = 0; i < pool->n_slots; i++)
        if (pool->slots[i].adapter != NULL) oclora_pool_evict(pool, pool->slots[i].adapter);
    if (pool->stream == NULL || pool->buffer == NULL || pool->clears.count == 0) return;
    oclora_error error = {0};
    if (oclora_pool_move_run(pool, &error) != OCLORA_OK)
        oclora_log(&pool->env, OCLORA_LOG_ERROR, "adapter pool: clearing failed: %s", error.text);
}

void oclora_pool_destroy(oclora_pool *pool)
{
    if (pool == NULL) return;
    const oclora_env env = pool->env;
    pool_clear(pool);
    for (size_t i = 0; i < pool->n_slots; i++)
        oclora_pool_adapter_destroy(pool, pool->slots[i].adapter);
    oclora_buffer_destroy(pool->buffer);
    oclora_stream_destroy(pool->stream);
    oclora_release(&env, pool->slots);
    oclora_release(&env, pool->clears.moves);
    oclora_release(&env, pool->writes.moves);
    oclora_blob_table_free(&pool->blobs);
    oclora_arena_free(&pool->arena);
    if (pool->cond_made) pthread_cond_destroy(&pool->moved);
    if (pool->mutex_made) pthread_mutex_destroy(&pool->mutex);
    oclora_release(&env, pool);
}

oclora_status oclora_pool_resolve(oclora_pool *pool, oclora_adapter_handle handle,
                                  oclora_pool_adapter **out, oclora_error *err)
{
    const uint32_t slot = oclora_pool_slot_of(handle);
    if (slot >= pool->n_slots || pool->slots[slot].adapter == NULL ||
        oclora_pool_handle(pool, slot) != handle)
        return oclora_fail(err, OCLORA_STALE_HANDLE,
                           "adapter handle %016llx names no live adapter: it was unloaded, or is "
                           "from another pool",
                           (unsigned long long)handle);
    *out = pool->slots[slot].adapter;
    return OCLORA_OK;
}

/* Index of the live adapter called `name`, or n_slots. */
static size_t slot_named(const oclora_pool *pool, const char *name)
{
    size_t slot = 0;
    while (slot < pool->n_slots && (pool->slots[slot].adapter == NULL ||
                                    strcmp(pool->slots[slot].adapter->name, name) != 0))
        slot++;
    return slot;
}

static oclora_status slot_free(oclora_pool *pool, size_t *out, oclora_error *err)
{
    size_t slot = 0;
    while (slot < pool->n_slots &&
           (pool->slots[slot].adapter != NULL || pool->slots[slot].generation == 0))
        slot++;
    if (slot == OCLORA_POOL_SLOTS)
        return oclora_fail(err, OCLORA_POOL_FULL,
                           "adapter pool: %d adapters are loaded; unload some first",
                           OCLORA_POOL_SLOTS);
    if (slot == pool->n_slots) {
        OCLORA_TRY(oclora_reserve(&pool->env, &pool->slots, &pool->slot_capacity, slot + 1,
                                  sizeof *pool->slots, err));
        pool->slots[slot].adapter = NULL;
        pool->slots[slot].generation = 1;
        pool->n_slots++;
    }
    *out = slot;
    return OCLORA_OK;
}

static bool same_content(const oclora_pool_adapter *a, const oclora_pool_adapter *b)
{
    return a->image->kind == b->image->kind && a->n_sites == b->n_sites &&
           a->device_bytes == b->device_bytes &&
           memcmp(a->image->hash, b->image->hash, sizeof a->image->hash) == 0;
}

/* Books the adapter under the mutex. `*known`: it is loaded already under this name. */
static oclora_status pool_insert(oclora_pool *pool, oclora_pool_adapter *adapter, bool *known,
                                 oclora_adapter_handle *out, oclora_error *err)
{
    size_t slot = slot_named(pool, adapter->name);
    *known = slot < pool->n_slots;
    if (*known) {
        if (!same_content(pool->slots[slot].adapter, adapter))
            return oclora_fail(err, OCLORA_ALREADY_EXISTS,
                               "adapter '%s' is loaded with other contents; unload it first or "
                               "choose another name",
                               adapter->name);
        OCLORA_TRY(oclora_pool_check_base(pool, pool->slots[slot].adapter, err));
        *out = oclora_pool_handle(pool, slot);
        return OCLORA_OK;
    }
    OCLORA_TRY(slot_free(pool, &slot, err));
    pool->slots[slot].adapter = adapter;
    *out = oclora_pool_handle(pool, slot);
    return OCLORA_OK;
}

oclora_status oclora_pool_add(oclora_pool *pool, const char *name, oclora_adapter_image *image,
                              oclora_adapter_handle *out, oclora_error *err)
{
    if (name == NULL || name[0] == '\0' || strlen(name) >= OCLORA_WEIGHT_NAME)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "an adapter's name has 1 to %d bytes",
                           OCLORA_WEIGHT_NAME - 1);
    oclora_pool_adapter *adapter = NULL;
    OCLORA_TRY(oclora_pool_adapter_create(&adapter, pool, name, image, err));
    bool known = false;
    oclora_status status = OCLORA_OK;
    const uint64_t room = pool->arena.end - pool->arena.first;
    if (adapter->device_bytes > room)
        status =
            oclora_fail(err, OCLORA_POOL_FULL,
                        "adapter '%s' needs %llu bytes, the whole pool has %llu: give it a "
                        "larger budget",
                        name, (unsigned long long)adapter->device_bytes, (unsigned long long)room);
    if (status == OCLORA_OK) {
        pthread_mutex_lock(&pool->mutex);
        status = pool_insert(pool, adapter, &known, out, err);
        pthread_mutex_unlock(&pool->mutex);
    }
    if (status != OCLORA_OK) adapter->image = NULL; /* stays the caller's */
    if (status != OCLORA_OK || known) oclora_pool_adapter_destroy(pool, adapter);
    return status;
}

static oclora_status take_out(oclora_pool *pool, oclora_adapter_handle handle,
                              oclora_pool_adapter **out, oclora_error *err)
{
    oclora_pool_adapter *adapter = NULL;
    OCLORA_TRY(oclora_pool_resolve(pool, handle, &adapter, err));
    if (adapter->pins > 0 || adapter->uses > 0)
        return oclora_fail(err, OCLORA_ADAPTER_IN_USE,
                           "adapter '%s' cannot be unloaded: pinned %u times, used by %u pieces of "
                           "work",
                           adapter->name, adapter->pins, adapter->uses);
    oclora_pool_evict(pool, adapter);
    oclora_pool_slot *slot = &pool->slots[oclora_pool_slot_of(handle)];
    slot->adapter = NULL;
    slot->generation++; /* 0 after the last one: the slot is never used again */
    *out = adapter;
    return OCLORA_OK;
}

oclora_status oclora_pool_remove(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err)
{
    oclora_pool_adapter *adapter = NULL;
    pthread_mutex_lock(&pool->mutex);
    oclora_pool_move_begin(pool);
    const oclora_status status = take_out(pool, handle, &adapter, err);
    if (status == OCLORA_OK) {
        oclora_error error = {0};
        pthread_mutex_unlock(&pool->mutex);
        if (oclora_pool_move_run(pool, &error) != OCLORA_OK)
            oclora_log(&pool->env, OCLORA_LOG_ERROR, "adapter '%s': clearing failed: %s",
                       adapter->name, error.text);
        oclora_pool_adapter_destroy(pool, adapter);
        pthread_mutex_lock(&pool->mutex);
    }
    oclora_pool_move_end(pool);
    pthread_mutex_unlock(&pool->mutex);
    return status;
}
