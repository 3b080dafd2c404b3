/* A session's adapters: loaded, checked against what is on the device, and put into force. */
#include "host/file/gguf.h"
#include "plugin/ggml/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t default_pool_bytes = (uint64_t)256 << 20;

/* The device that holds weights of `from`, -1 for none, -2 for several. */
static int32_t device_of_weights(const struct oclora_ggml_session *from)
{
    int32_t found = -1;
    for (int32_t i = 0; i < OCLORA_GGML_DEVICES; i++)
        if (from->part[i].n_records > 0) found = found == -1 ? i : -2;
    return found;
}

oclora_status oclora_ggml_session_open(struct oclora_ggml_session *session, oclora_error *err)
{
    if (session->pool != NULL) return OCLORA_OK;
    oclora_ggml_plugin *plugin = session->plugin;
    const struct oclora_ggml_session *owner = session;
    int32_t device = device_of_weights(session);
    if (device == -1) { /* a second context over the default session's model */
        owner = &plugin->default_session;
        device = device_of_weights(owner);
    }
    if (device == -1)
        return oclora_fail(err, OCLORA_WEIGHT_NOT_ON_DEVICE,
                           "no weight of a model is on the device; load the model first, with all "
                           "its layers on the device (-ngl 99)");
    if (device == -2)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "the model is split over several devices; adapters need it on one "
                           "(choose one with --device)");
    oclora_ggml_device *own = &plugin->devices[device];
    uint64_t quarter = own->info.global_bytes / 4;
    uint64_t bytes = session->pool_bytes;
    if (bytes == 0) bytes = default_pool_bytes < quarter ? default_pool_bytes : quarter;
    oclora_pool *pool;
    OCLORA_TRY(oclora_pool_create(&pool, own->context, owner->part[device].base, bytes, err));
    oclora_status status = oclora_session_create(&session->map, &plugin->env, pool, err);
    if (status != OCLORA_OK) {
        oclora_pool_destroy(pool);
        return status;
    }
    session->pool = pool;
    session->device = device;
    return OCLORA_OK;
}

/* Number N of "blk.N.", -1 for other names. */
static long layer_of(const char *name)
{
    if (strncmp(name, "blk.", 4) != 0 || name[4] < '0' || name[4] > '9') return -1;
    return strtol(name + 4, NULL, 10);
}

static bool has_layer(oclora_base *base, long layer)
{
    uint32_t limit = oclora_base_id_limit(base);
    for (uint32_t id = 0; id < limit; id++) {
        const oclora_weight *weight = oclora_base_find_id(base, id);
        if (weight != NULL && layer_of(weight->name) == layer) return true;
    }
    return false;
}

/* Layers that the host computes elsewhere would silently miss their adapter. */
static oclora_status check_layers(const struct oclora_ggml_session *session,
                                  const oclora_adapter_image *image, oclora_error *err)
{
    if (!session->has_model) return OCLORA_OK;
    oclora_base *base = oclora_pool_base(session->pool);
    long known = -1;
    for (size_t i = 0; i < image->n_modules; i++) {
        long layer = layer_of(image->modules[i].name);
        if (layer < 0 || layer == known || layer >= (long)session->model.n_layer) continue;
        if (!has_layer(base, layer))
            return oclora_fail(err, OCLORA_WEIGHT_NOT_ON_DEVICE,
                               "it adapts %s, and layer %ld is not on the device; put all layers "
                               "there (-ngl 99)",
                               image->modules[i].name, layer);
        known = layer;
    }
    return OCLORA_OK;
}

/* Over RPC each worker serves the weights it was given and the adapters' share of them. */
static bool is_here(void *user, const char *module)
{
    char name[OCLORA_WEIGHT_NAME];
    int length = snprintf(name, sizeof name, "%s.weight", module);
    if (length < 0 || (size_t)length >= sizeof name) return false;
    if (oclora_base_find(user, name) != NULL) return true;
    return strcmp(module, "output") == 0 && oclora_base_find(user, "token_embd.weight") != NULL;
}

/* Whether the model's file has a bias of this module, which the base here has not. */
static bool misses_bias(const oclora_gguf *file, oclora_base *base, const oclora_module *module)
{
    char name[OCLORA_WEIGHT_NAME];
    if (!module->scales_bias || module->u == NULL) return false;
    int length = snprintf(name, sizeof name, "%s.bias", module->name);
    return length > 0 && (size_t)length < sizeof name && oclora_base_find(base, name) == NULL &&
           oclora_gguf_find(file, name) != NULL;
}

/* An adapter that scales a bias needs it: one that lies elsewhere would keep its old size. */
static oclora_status check_biases(const struct oclora_ggml_session *session,
                                  const oclora_adapter_image *image, oclora_error *err)
{
    oclora_map map = {0};
    oclora_gguf *file = NULL;
    if (image->kind != OCLORA_KIND_IA3 || session->model_path == NULL) return OCLORA_OK;
    OCLORA_TRY(oclora_map_open(&map, session->model_path, err));
    oclora_status status = oclora_gguf_parse(&file, &session->plugin->env, &map, err);
    for (size_t i = 0; i < image->n_modules && status == OCLORA_OK; i++)
        if (misses_bias(file, oclora_pool_base(session->pool), &image->modules[i]))
            status = oclora_fail(err, OCLORA_WEIGHT_NOT_ON_DEVICE,
                                 "%s.bias, which the adapter scales, is not on this device",
                                 image->modules[i].name);
    oclora_gguf_free(file);
    oclora_map_close(&map);
    return status;
}

static oclora_status add_image(struct oclora_ggml_session *session, const char *name,
                               oclora_adapter_image *image, oclora_error *err)
{
    oclora_adapter_handle handle;
    if (name[0] == '\0')
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "an adapter needs a name");
    if (oclora_pool_find(session->pool, name, &handle, NULL) == OCLORA_OK)
        return oclora_fail(err, OCLORA_ALREADY_EXISTS, "an adapter of this name is loaded");
    OCLORA_TRY(
        oclora_adapter_to_gguf_names(image, session->has_model ? &session->model : NULL, err));
    if (session->store != OCLORA_STORE_AUTO)
        OCLORA_TRY(oclora_adapter_narrow(image, session->store, err));
    if (session->partial)
        oclora_adapter_image_keep(image, is_here, oclora_pool_base(session->pool));
    else
        OCLORA_TRY(check_layers(session, image, err));
    OCLORA_TRY(check_biases(session, image, err));
    return oclora_pool_add(session->pool, name, image, &handle, err);
}

/* Narrowed after renaming: rounded blocks cannot follow the row order of q and k. */
static oclora_status read_image(const struct oclora_ggml_session *session, const char *path,
                                oclora_adapter_image **out, oclora_error *err)
{
    return oclora_adapter_load(out, &session->plugin->env, path, OCLORA_STORE_AUTO, err);
}

/* With the lock; takes over the image. */
static oclora_status add_read(struct oclora_ggml_session *session, const char *name,
                              oclora_adapter_image *image, oclora_error *err)
{
    oclora_status status = oclora_ggml_session_open(session, err);
    if (status == OCLORA_OK) status = add_image(session, name, image, err);
    if (status != OCLORA_OK) oclora_adapter_image_destroy(image);
    return status;
}

static oclora_status load_locked(struct oclora_ggml_session *session, const char *name,
                                 const char *path, oclora_error *err)
{
    oclora_adapter_image *image = NULL;
    oclora_status status = read_image(session, path, &image, err);
    if (status == OCLORA_OK) status = add_read(session, name, image, err);
    if (status == OCLORA_OK) return OCLORA_OK;
    return oclora_error_prefix(err, status, "adapter '%s' (%s)", name, oclora_path_shown(path));
}

oclora_status oclora_ggml_session_load(struct oclora_ggml_session *session, const char *name,
                                       const char *path, oclora_error *err)
{
    oclora_adapter_image *image = NULL;
    pthread_mutex_lock(&session->lock);
    oclora_status status = oclora_ggml_session_open(session, err);
    pthread_mutex_unlock(&session->lock);
    OCLORA_TRY(status);
    status = read_image(session, path, &image, err);
    if (status == OCLORA_OK) {
        pthread_mutex_lock(&session->lock);
        status = add_read(session, name, image, err);
        pthread_mutex_unlock(&session->lock);
    }
    if (status == OCLORA_OK) return OCLORA_OK;
    return oclora_error_prefix(err, status, "adapter '%s' (%s)", name, oclora_path_shown(path));
}

oclora_status oclora_ggml_session_resolve(struct oclora_ggml_session *session,
                                          const oclora_ggml_config_use *uses, uint32_t count,
                                          oclora_weighted_adapter *weighted, oclora_error *err)
{
    if (count > OCLORA_MIXTURE_MAX)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "%u adapters in one mixture; at most %d",
                           count, OCLORA_MIXTURE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        weighted[i] = (oclora_weighted_adapter){.weight = uses[i].weight};
        oclora_error missing = {0};
        if (session->pool == NULL || oclora_pool_find(session->pool, uses[i].name,
                                                      &weighted[i].handle, &missing) != OCLORA_OK)
            return oclora_fail(err, OCLORA_ADAPTER_NOT_LOADED, "no adapter '%s' is loaded",
                               uses[i].name);
    }
    return OCLORA_OK;
}

static oclora_status apply_slot(struct oclora_ggml_session *session,
                                const oclora_ggml_config_slot *slot, bool all, oclora_error *err)
{
    oclora_weighted_adapter weighted[OCLORA_MIXTURE_MAX];
    OCLORA_TRY(oclora_ggml_session_resolve(session, slot->uses, slot->count, weighted, err));
    return all ? oclora_session_map_all(session->map, weighted, slot->count, err)
               : oclora_session_map(session->map, slot->seq, weighted, slot->count, err);
}

static oclora_status apply(struct oclora_ggml_session *session, const oclora_ggml_config *config,
                           oclora_error *err)
{
    OCLORA_TRY(oclora_ggml_session_open(session, err));
    for (size_t i = 0; i < config->n_adapters; i++)
        OCLORA_TRY(load_locked(session, config->adapters[i].name, config->adapters[i].path, err));
    for (size_t i = 0; i < config->n_slots; i++)
        OCLORA_TRY(apply_slot(session, &config->slots[i], false, err));
    return config->has_all ? apply_slot(session, &config->all, true, err) : OCLORA_OK;
}

oclora_status oclora_ggml_session_configure(struct oclora_ggml_session *session, oclora_error *err)
{
    oclora_ggml_plugin *plugin = session->plugin;
    if (plugin->config_error.status != OCLORA_OK) {
        *err = plugin->config_error;
        return err->status;
    }
    const oclora_ggml_config *config = plugin->config;
    if (config == NULL || session != &plugin->default_session) return OCLORA_OK;
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&session->lock);
    bool later = session->partial && device_of_weights(session) == -1;
    if (!session->configured && !later && config->n_adapters > 0) {
        status = apply(session, config, err);
        if (status != OCLORA_OK) oclora_ggml_session_drop(session);
        session->configured = status == OCLORA_OK;
    }
    pthread_mutex_unlock(&session->lock);
    return status != OCLORA_OK ? oclora_error_prefix(err, status, "OCLORA_CONFIG") : OCLORA_OK;
}
