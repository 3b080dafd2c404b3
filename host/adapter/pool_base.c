/* Whether the base is still what an adapter was bound to. Row norms, shares of biases and the
 * lanes' places in tables come from the weights that were there when the adapter was added; served
 * on others they would give wrong numbers, or be left out without a word. */
#include "host/adapter/pool_private.h"

#include <string.h>

static bool keeps(oclora_base *base, const oclora_pool_site *site)
{
    return oclora_base_keeps(base, site->weight_id, site->weight_version) &&
           (site->bias_id == OCLORA_POOL_ABSENT ||
            oclora_base_keeps(base, site->bias_id, site->bias_version));
}

static oclora_status out_of_date(const oclora_pool_adapter *adapter, const oclora_pool_site *site,
                                 oclora_error *err)
{
    return oclora_fail(err, OCLORA_WRONG_STATE,
                       "adapter '%s': the base weight of %s was freed or written anew since the "
                       "adapter was loaded; unload it and load it again",
                       adapter->name, adapter->image->modules[site->module].name);
}

oclora_status oclora_pool_check_base(oclora_pool *pool, oclora_pool_adapter *adapter,
                                     oclora_error *err)
{
    const uint64_t changes = oclora_base_changes(pool->base);
    if (adapter->base_changes == changes) return OCLORA_OK;
    for (size_t i = 0; i < adapter->n_sites; i++)
        if (!keeps(pool->base, &adapter->sites[i]))
            return out_of_date(adapter, &adapter->sites[i], err);
    adapter->base_changes = changes;
    return OCLORA_OK;
}

/* Whether the module would be bound to a weight of this name. */
static bool names(const char *module, const char *weight)
{
    const size_t length = strlen(module);
    if (strncmp(module, weight, length) == 0 &&
        (weight[length] == '\0' || strcmp(weight + length, ".weight") == 0))
        return true;
    return strcmp(module, "output") == 0 && names("token_embd", weight);
}

static oclora_status check_sites(oclora_pool *pool, const oclora_pool_adapter *adapter,
                                 const oclora_weight *weight, oclora_error *err)
{
    if (adapter->base_changes == oclora_base_changes(pool->base)) return OCLORA_OK;
    for (size_t i = 0; i < adapter->n_sites; i++) {
        const oclora_pool_site *site = &adapter->sites[i];
        if (names(adapter->image->modules[site->module].name, weight->name) &&
            !keeps(pool->base, site))
            return out_of_date(adapter, site, err);
    }
    return OCLORA_OK;
}

oclora_status oclora_pool_check(oclora_pool *pool, const oclora_adapter_handle *handles,
                                uint32_t count, const oclora_weight *weight, oclora_error *err)
{
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&pool->mutex);
    for (uint32_t i = 0; i < count && status == OCLORA_OK; i++) {
        oclora_pool_adapter *adapter = NULL;
        status = oclora_pool_resolve(pool, handles[i], &adapter, err);
        if (status == OCLORA_OK) status = check_sites(pool, adapter, weight, err);
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}
