/* The control table of abi/oclora_ggml.h: arguments in, status out. */
#include "plugin/ggml/plugin.h"

#include <string.h>

#define MIN_ARGS_SIZE  (offsetof(oclora_ggml_session_args, reserved) + sizeof(uint32_t))
#define MIN_INFO_SIZE  (offsetof(oclora_ggml_adapter_info, hash) + 32)
#define MIN_STATS_SIZE (offsetof(oclora_ggml_stats, evictions) + sizeof(uint64_t))

enum { TEXT_MAX = 4096 };

/* The session of a call, locked; leave it at the end. */
static oclora_status enter(struct oclora_ggml_session **out, const oclora_ggml_session *handle,
                           oclora_error *err)
{
    OCLORA_TRY(oclora_ggml_handle_get(out, oclora_ggml_plugin_get(), handle, err));
    pthread_mutex_lock(&(*out)->lock);
    return OCLORA_OK;
}

static void leave(struct oclora_ggml_session *session)
{
    pthread_mutex_unlock(&session->lock);
    oclora_ggml_session_release(session);
}

static oclora_status finish(oclora_status status, const oclora_error *err,
                            oclora_ggml_message *message)
{
    const size_t head = offsetof(oclora_ggml_message, text);
    if (message == NULL || message->struct_size <= head) return status;
    size_t room = (size_t)(message->struct_size - head);
    if (room > sizeof err->text) room = sizeof err->text;
    const char *text = status == OCLORA_OK ? "" : err->text; /* success may have no error object */
    size_t length = strnlen(text, room - 1);
    memcpy(message->text, text, length);
    message->text[length] = '\0';
    return status;
}

/* Copies a text of the caller into `out`. */
static oclora_status take_text(char *out, size_t room, const char *text, uint64_t length,
                               const char *what, oclora_error *err)
{
    if (text == NULL || length == 0 || length >= room || memchr(text, 0, (size_t)length) != NULL)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "%s must have 1 to %zu bytes and no zero byte", what, room - 1);
    memcpy(out, text, (size_t)length);
    out[length] = '\0';
    return OCLORA_OK;
}

/* Answers are written as far as the caller's structure goes. */
static oclora_status give(void *out, uint64_t caller_size, const void *value, uint64_t own_size,
                          uint64_t least, oclora_error *err)
{
    if (caller_size < least)
        return oclora_fail(err, OCLORA_ABI_MISMATCH, "struct_size %llu is below %llu",
                           (unsigned long long)caller_size, (unsigned long long)least);
    uint64_t size = caller_size < own_size ? caller_size : own_size;
    memcpy(out, value, (size_t)size);
    memcpy(out, &caller_size, sizeof caller_size);
    return OCLORA_OK;
}

static oclora_status set_options(struct oclora_ggml_session *session,
                                 const oclora_ggml_session_args *args, oclora_error *err)
{
    char path[TEXT_MAX];
    if (args == NULL) return OCLORA_OK;
    if (args->struct_size < MIN_ARGS_SIZE)
        return oclora_fail(err, OCLORA_ABI_MISMATCH, "struct_size %llu is below %zu",
                           (unsigned long long)args->struct_size, MIN_ARGS_SIZE);
    if (args->model_path != NULL)
        OCLORA_TRY(take_text(path, sizeof path, args->model_path, args->model_path_length,
                             "model_path", err));
    return oclora_ggml_session_options(session, args->model_path != NULL ? path : NULL,
                                       args->pool_bytes, args->store, err);
}

static oclora_status session_create(const oclora_ggml_session_args *args, oclora_ggml_session **out,
                                    oclora_ggml_message *message)
{
    oclora_ggml_plugin *plugin = oclora_ggml_plugin_get();
    oclora_error err = {0};
    if (out == NULL)
        return finish(oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "out is NULL"), &err, message);
    struct oclora_ggml_session *session = oclora_alloc(&plugin->env, 1, sizeof *session);
    if (session == NULL)
        return finish(oclora_fail_memory(&err, sizeof *session, "a session"), &err, message);
    oclora_status status = oclora_ggml_session_init(session, plugin, &err);
    if (status != OCLORA_OK) {
        oclora_release(&plugin->env, session);
        return finish(status, &err, message);
    }
    status = set_options(session, args, &err);
    if (status == OCLORA_OK)
        *out = oclora_ggml_handle_publish(session);
    else
        oclora_ggml_session_release(session);
    return finish(status, &err, message);
}

static void session_destroy(oclora_ggml_session *session)
{
    oclora_ggml_handle_close(oclora_ggml_plugin_get(), session);
}

static oclora_status session_bind(oclora_ggml_session *session, oclora_ggml_message *message)
{
    oclora_error err = {0};
    return finish(oclora_ggml_handle_bind(oclora_ggml_plugin_get(), session, &err), &err, message);
}

static oclora_status configure(const oclora_ggml_session_args *args, oclora_ggml_message *message)
{
    oclora_error err = {0};
    struct oclora_ggml_session *own = &oclora_ggml_plugin_get()->default_session;
    return finish(set_options(own, args, &err), &err, message);
}

static oclora_status adapter_load(oclora_ggml_session *session, const char *name,
                                  uint64_t name_length, const char *path, uint64_t path_length,
                                  oclora_ggml_message *message)
{
    struct oclora_ggml_session *own = NULL;
    char name_text[128], path_text[TEXT_MAX];
    oclora_error err = {0};
    oclora_status status =
        take_text(name_text, sizeof name_text, name, name_length, "the adapter's name", &err);
    if (status == OCLORA_OK)
        status = take_text(path_text, sizeof path_text, path, path_length, "the path", &err);
    if (status == OCLORA_OK)
        status = oclora_ggml_handle_get(&own, oclora_ggml_plugin_get(), session, &err);
    if (status == OCLORA_OK) {
        status = oclora_ggml_session_load(own, name_text, path_text, &err);
        oclora_ggml_session_release(own);
    }
    return finish(status, &err, message);
}

/* Runs the rest with the session locked and the adapter found. */
static oclora_status find(struct oclora_ggml_session *own, const char *name, uint64_t length,
                          oclora_adapter_handle *handle, oclora_error *err)
{
    char text[128];
    OCLORA_TRY(take_text(text, sizeof text, name, length, "the adapter's name", err));
    oclora_ggml_config_use use = {text, 1.0f};
    oclora_weighted_adapter found;
    OCLORA_TRY(oclora_ggml_session_resolve(own, &use, 1, &found, err));
    *handle = found.handle;
    return OCLORA_OK;
}

static oclora_status adapter_unload(oclora_ggml_session *session, const char *name,
                                    uint64_t name_length, oclora_ggml_message *message)
{
    struct oclora_ggml_session *own = NULL;
    oclora_error err = {0};
    oclora_adapter_handle handle;
    oclora_status status = enter(&own, session, &err);
    if (status == OCLORA_OK) {
        status = find(own, name, name_length, &handle, &err);
        if (status == OCLORA_OK) status = oclora_pool_remove(own->pool, handle, &err);
        leave(own);
    }
    return finish(status, &err, message);
}

static oclora_status adapter_query(oclora_ggml_session *session, const char *name,
                                   uint64_t name_length, oclora_ggml_adapter_info *out,
                                   oclora_ggml_message *message)
{
    struct oclora_ggml_session *own = NULL;
    oclora_error err = {0};
    oclora_adapter_handle handle;
    oclora_adapter_info info;
    oclora_status status = OCLORA_OK;
    if (out == NULL) status = oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "out is NULL");
    if (status == OCLORA_OK) status = enter(&own, session, &err);
    if (status == OCLORA_OK) {
        status = find(own, name, name_length, &handle, &err);
        if (status == OCLORA_OK) status = oclora_pool_info(own->pool, handle, &info, &err);
        leave(own);
    }
    if (status != OCLORA_OK) return finish(status, &err, message);
    oclora_ggml_adapter_info value = {
        .device_bytes = info.device_bytes,
        .kind = info.kind,
        .state = info.state,
        .generation = info.generation,
        .n_modules = info.n_modules,
        .rank_min = info.rank_min,
        .rank_max = info.rank_max,
    };
    memcpy(value.hash, info.hash, sizeof value.hash);
    return finish(give(out, out->struct_size, &value, sizeof value, MIN_INFO_SIZE, &err), &err,
                  message);
}

static oclora_status resolve(struct oclora_ggml_session *own, const oclora_ggml_adapter *adapters,
                             uint32_t count, oclora_weighted_adapter *weighted, oclora_error *err)
{
    if (count > OCLORA_MIXTURE_MAX)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "%u adapters in one mixture; at most %d",
                           count, OCLORA_MIXTURE_MAX);
    if (count > 0 && adapters == NULL)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "adapters is NULL");
    for (uint32_t i = 0; i < count; i++) {
        weighted[i] = (oclora_weighted_adapter){.weight = adapters[i].weight};
        OCLORA_TRY(find(own, adapters[i].name, adapters[i].name_length, &weighted[i].handle, err));
    }
    return OCLORA_OK;
}

/* A map without any adapter ever loaded still is one: it asks for a sequence to be told apart. */
static oclora_status assign(oclora_ggml_session *session, int64_t seq,
                            const oclora_ggml_adapter *adapters, uint32_t count,
                            oclora_ggml_message *message)
{
    struct oclora_ggml_session *own = NULL;
    oclora_weighted_adapter weighted[OCLORA_MIXTURE_MAX];
    oclora_error err = {0};
    oclora_status status = enter(&own, session, &err);
    if (status != OCLORA_OK) return finish(status, &err, message);
    status = resolve(own, adapters, count, weighted, &err);
    if (status == OCLORA_OK) status = oclora_ggml_session_open(own, &err);
    if (status == OCLORA_OK && seq >= 0)
        status = oclora_session_map(own->map, (uint32_t)seq, weighted, count, &err);
    else if (status == OCLORA_OK)
        status = oclora_session_map_all(own->map, weighted, count, &err);
    leave(own);
    return finish(status, &err, message);
}

static oclora_status map(oclora_ggml_session *session, uint32_t seq,
                         const oclora_ggml_adapter *adapters, uint32_t count,
                         oclora_ggml_message *message)
{
    return assign(session, seq, adapters, count, message);
}

static oclora_status map_all(oclora_ggml_session *session, const oclora_ggml_adapter *adapters,
                             uint32_t count, oclora_ggml_message *message)
{
    return assign(session, -1, adapters, count, message);
}

static oclora_status clear(oclora_ggml_session *session, oclora_ggml_message *message)
{
    struct oclora_ggml_session *own = NULL;
    oclora_error err = {0};
    const oclora_status status = enter(&own, session, &err);
    if (status != OCLORA_OK) return finish(status, &err, message);
    if (own->map != NULL) oclora_session_clear(own->map);
    leave(own);
    return finish(OCLORA_OK, NULL, message);
}

static oclora_status stats(oclora_ggml_session *session, oclora_ggml_stats *out,
                           oclora_ggml_message *message)
{
    struct oclora_ggml_session *own = NULL;
    oclora_session_stats served = {0};
    oclora_pool_stats pool = {0};
    oclora_error err = {0};
    if (out == NULL)
        return finish(oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "out is NULL"), &err, message);
    const oclora_status status = enter(&own, session, &err);
    if (status != OCLORA_OK) return finish(status, &err, message);
    if (own->map != NULL) oclora_session_get_stats(own->map, &served);
    if (own->pool != NULL) oclora_pool_get_stats(own->pool, &pool);
    uint64_t refusals = served.refusals + own->refusals;
    leave(own);
    const oclora_ggml_stats value = {
        .graphs = served.graphs,
        .adapted_graphs = served.adapted_graphs,
        .rows = served.rows,
        .adapted_rows = served.adapted_rows,
        .launches = served.launches,
        .refusals = refusals,
        .pool_budget_bytes = pool.budget_bytes,
        .pool_used_bytes = pool.used_bytes,
        .adapters = pool.n_adapters,
        .resident = pool.n_resident,
        .uploads = pool.uploads,
        .evictions = pool.evictions,
    };
    return finish(give(out, out->struct_size, &value, sizeof value, MIN_STATS_SIZE, &err), &err,
                  message);
}

static oclora_status last_error(oclora_ggml_session *session, oclora_ggml_message *message)
{
    struct oclora_ggml_session *own = NULL;
    oclora_error err = {0};
    const oclora_status status = enter(&own, session, &err);
    if (status != OCLORA_OK) return finish(status, &err, message);
    err = own->last_error;
    leave(own);
    return finish(err.status, &err, message);
}

const oclora_ggml_api *oclora_ggml_get_api(uint32_t major)
{
    static const oclora_ggml_api api = {
        .struct_size = sizeof(oclora_ggml_api),
        .major = OCLORA_GGML_MAJOR,
        .minor = OCLORA_GGML_MINOR,
        .session_create = session_create,
        .session_destroy = session_destroy,
        .session_bind = session_bind,
        .configure = configure,
        .adapter_load = adapter_load,
        .adapter_unload = adapter_unload,
        .adapter_query = adapter_query,
        .map = map,
        .map_all = map_all,
        .clear = clear,
        .stats = stats,
        .last_error = last_error,
        .status_name = oclora_status_name,
    };
    return major == OCLORA_GGML_MAJOR ? &api : NULL;
}
