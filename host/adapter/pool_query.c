/* Names, pins and questions to the pool. Nothing here touches the device but pin. */
#include "host/adapter/pool_private.h"

#include <string.h>

oclora_status oclora_pool_find(oclora_pool *pool, const char *name, oclora_adapter_handle *out,
                               oclora_error *err)
{
    oclora_status status = OCLORA_ADAPTER_NOT_LOADED;
    pthread_mutex_lock(&pool->mutex);
    for (size_t i = 0; i < pool->n_slots && status != OCLORA_OK; i++) {
        const oclora_pool_slot *slot = &pool->slots[i];
        if (slot->adapter == NULL || strcmp(slot->adapter->name, name) != 0) continue;
        *out = oclora_pool_handle(pool, i);
        status = OCLORA_OK;
    }
    pthread_mutex_unlock(&pool->mutex);
    if (status == OCLORA_OK) return status;
    return oclora_fail(err, status, "no adapter called '%.*s' is loaded", OCLORA_WEIGHT_NAME, name);
}

oclora_status oclora_pool_pin(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err)
{
    /* The use taken here keeps the adapter in place until the pin does. */
    OCLORA_TRY(oclora_pool_acquire(pool, &handle, 1, err));
    oclora_pool_adapter *adapter = NULL;
    pthread_mutex_lock(&pool->mutex);
    const oclora_status status = oclora_pool_resolve(pool, handle, &adapter, err);
    if (status == OCLORA_OK) {
        adapter->pins++;
        adapter->uses--;
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

oclora_status oclora_pool_unpin(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err)
{
    oclora_pool_adapter *adapter = NULL;
    pthread_mutex_lock(&pool->mutex);
    oclora_status status = oclora_pool_resolve(pool, handle, &adapter, err);
    if (status == OCLORA_OK && adapter->pins == 0)
        status = oclora_fail(err, OCLORA_WRONG_STATE, "adapter '%s' is not pinned", adapter->name);
    else if (status == OCLORA_OK)
        adapter->pins--;
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

oclora_status oclora_pool_info(oclora_pool *pool, oclora_adapter_handle handle,
                               oclora_adapter_info *out, oclora_error *err)
{
    oclora_pool_adapter *adapter = NULL;
    pthread_mutex_lock(&pool->mutex);
    const oclora_status status = oclora_pool_resolve(pool, handle, &adapter, err);
    if (status == OCLORA_OK) {
        memset(out, 0, sizeof *out);
        memcpy(out->name, adapter->name, sizeof out->name);
        memcpy(out->hash, adapter->image->hash, sizeof out->hash);
        out->kind = adapter->image->kind;
        out->state = adapter->state;
        out->generation = (uint32_t)(handle >> 32);
        out->n_modules = (uint32_t)adapter->n_sites;
        out->rank_min = adapter->rank_min;
        out->rank_max = adapter->rank_max;
        out->pins = adapter->pins;
        out->uses = adapter->uses;
        out->device_bytes = adapter->device_bytes;
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

void oclora_pool_get_stats(oclora_pool *pool, oclora_pool_stats *out)
{
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&pool->mutex);
    out->budget_bytes = pool->budget;
    out->used_bytes = pool->arena.end - pool->arena.first - pool->arena.free_bytes;
    for (size_t i = 0; i < pool->n_slots; i++) {
        const oclora_pool_adapter *adapter = pool->slots[i].adapter;
        if (adapter == NULL) continue;
        out->n_adapters++;
        if (adapter->state == OCLORA_ADAPTER_RESIDENT) out->n_resident++;
    }
    out->uploads = pool->uploads;
    out->evictions = pool->evictions;
    pthread_mutex_unlock(&pool->mutex);
}

static const oclora_pool_site *site_of(const oclora_pool_adapter *adapter, uint32_t weight_id)
{
    size_t low = 0;
    size_t high = adapter->n_sites;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (adapter->sites[mid].weight_id < weight_id)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == adapter->n_sites || adapter->sites[low].weight_id != weight_id) return NULL;
    return &adapter->sites[low];
}

oclora_status oclora_pool_lane(oclora_pool *pool, oclora_adapter_handle handle, uint32_t weight_id,
                               oclora_lane *out)
{
    oclora_pool_adapter *adapter = NULL;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&pool->mutex);
    oclora_status status = oclora_pool_resolve(pool, handle, &adapter, NULL);
    if (status == OCLORA_OK && adapter->state != OCLORA_ADAPTER_RESIDENT)
        status = OCLORA_WRONG_STATE;
    if (status == OCLORA_OK) {
        const oclora_pool_site *site = site_of(adapter, weight_id);
        if (site != NULL) *out = site->lane;
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

oclora_status oclora_pool_targets(oclora_pool *pool, oclora_adapter_handle handle, uint32_t *ids,
                                  uint32_t *count, oclora_error *err)
{
    oclora_pool_adapter *adapter = NULL;
    pthread_mutex_lock(&pool->mutex);
    oclora_status status = oclora_pool_resolve(pool, handle, &adapter, err);
    if (status == OCLORA_OK && ids != NULL && *count < adapter->n_sites)
        status = oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                             "adapter '%s' targets %zu weights, there is room for %u",
                             adapter->name, adapter->n_sites, *count);
    if (status == OCLORA_OK) {
        for (size_t i = 0; ids != NULL && i < adapter->n_sites; i++)
            ids[i] = adapter->sites[i].weight_id;
        *count = (uint32_t)adapter->n_sites;
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

oclora_buffer *oclora_pool_buffer(oclora_pool *pool)
{
    return pool->buffer;
}
oclora_base *oclora_pool_base(oclora_pool *pool)
{
    return pool->base;
}
