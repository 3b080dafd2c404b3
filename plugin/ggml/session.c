#include "plugin/ggml/plugin.h"

#include <string.h>

oclora_status oclora_ggml_session_init(struct oclora_ggml_session *session,
                                       oclora_ggml_plugin *plugin, oclora_error *err)
{
    memset(session, 0, sizeof *session);
    session->plugin = plugin;
    session->references = 1;
    session->device = -1;
    if (pthread_mutex_init(&session->lock, NULL) != 0)
        return oclora_fail(err, OCLORA_INTERNAL, "no mutex for a session");
    return OCLORA_OK;
}

void oclora_ggml_session_drop(struct oclora_ggml_session *session)
{
    oclora_session_destroy(session->map);
    oclora_pool_destroy(session->pool);
    session->map = NULL;
    session->pool = NULL;
    session->device = -1;
    session->configured = false;
}

void oclora_ggml_session_retain(struct oclora_ggml_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->references++;
    pthread_mutex_unlock(&session->lock);
}

void oclora_ggml_session_release(struct oclora_ggml_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool last = --session->references == 0;
    pthread_mutex_unlock(&session->lock);
    if (!last) return;
    const oclora_env *env = &session->plugin->env;
    oclora_ggml_session_drop(session);
    for (uint32_t i = 0; i < OCLORA_GGML_DEVICES; i++) oclora_base_destroy(session->part[i].base);
    oclora_release(env, session->model_path);
    pthread_mutex_destroy(&session->lock);
    oclora_release(env, session);
}

oclora_status oclora_ggml_session_base(struct oclora_ggml_session *session,
                                       oclora_ggml_device *device, oclora_base **out,
                                       oclora_error *err)
{
    oclora_ggml_part *part = &session->part[device->index];
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&session->lock);
    if (part->base == NULL) status = oclora_base_create(&part->base, device->context, err);
    *out = part->base;
    pthread_mutex_unlock(&session->lock);
    return status;
}

void oclora_ggml_session_count(struct oclora_ggml_session *session,
                               const oclora_ggml_device *device, int change)
{
    oclora_ggml_part *part = &session->part[device->index];
    pthread_mutex_lock(&session->lock);
    part->n_records += (uint32_t)change;
    bool gone = part->n_records == 0 && session->pool != NULL &&
                oclora_pool_base(session->pool) == part->base;
    if (gone && session->n_backends == 0)
        oclora_ggml_session_drop(session);
    else if (gone)
        session->orphaned = true;
    pthread_mutex_unlock(&session->lock);
}

oclora_status oclora_ggml_session_renew(struct oclora_ggml_session *session, oclora_runner *runner,
                                        oclora_error *err)
{
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&session->lock);
    if (session->orphaned && session->n_backends > 1) {
        status = oclora_fail(err, OCLORA_WRONG_STATE,
                             "the model that the session's adapters were loaded for was freed "
                             "while other contexts live");
    } else if (session->orphaned) {
        (void)oclora_runner_bind(runner, NULL, NULL);
        oclora_ggml_session_drop(session);
        session->orphaned = false;
    }
    pthread_mutex_unlock(&session->lock);
    return status;
}

void oclora_ggml_session_count_backend(struct oclora_ggml_session *session, int change)
{
    pthread_mutex_lock(&session->lock);
    session->n_backends += (uint32_t)change;
    pthread_mutex_unlock(&session->lock);
}

oclora_status oclora_ggml_session_options(struct oclora_ggml_session *session,
                                          const char *model_path, uint64_t pool_bytes,
                                          uint32_t store, oclora_error *err)
{
    const oclora_env *env = &session->plugin->env;
    oclora_model_info model = {0};
    char *path = NULL;
    if (store > OCLORA_STORE_Q8_0)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "%u is no storage type", store);
    if (model_path != NULL) {
        OCLORA_TRY(oclora_model_info_read(&model, env, model_path, err));
        path = oclora_string_copy(env, model_path, strlen(model_path));
        if (path == NULL) return oclora_fail_memory(err, strlen(model_path) + 1, "a path");
    }
    pthread_mutex_lock(&session->lock);
    bool late = session->pool != NULL;
    if (!late) {
        char *old = session->model_path;
        session->model_path = path;
        path = old;
        session->has_model = model_path != NULL;
        session->model = model;
        session->pool_bytes = pool_bytes;
        session->store = store;
    }
    pthread_mutex_unlock(&session->lock);
    oclora_release(env, path);
    if (late)
        return oclora_fail(err, OCLORA_WRONG_STATE,
                           "options must be set before the session's first adapter is loaded");
    return OCLORA_OK;
}

/* The KV streams that a range of a cache tensor lies in; caches are [row, cell, stream]. */
static bool streams_of(const struct ggml_tensor *tensor, uint64_t at, uint64_t bytes,
                       uint32_t *first, uint32_t *last)
{
    const struct ggml_tensor *root = tensor->view_src != NULL ? tensor->view_src : tensor;
    uint64_t begin = at + (tensor->view_src != NULL ? tensor->view_offs : 0);
    if (root->ne[2] <= 1 || root->nb[2] == 0 || bytes == 0) return false;
    *first = (uint32_t)(begin / root->nb[2]);
    *last = (uint32_t)((begin + bytes - 1) / root->nb[2]);
    return *last < OCLORA_SEQUENCE_MAX;
}

void oclora_ggml_session_restored(struct oclora_ggml_session *session,
                                  const struct ggml_tensor *tensor, uint64_t at, uint64_t bytes,
                                  const struct ggml_tensor *source)
{
    uint32_t first, last, from, from_last;
    pthread_mutex_lock(&session->lock);
    if (session->map == NULL || !oclora_session_is_mapped(session->map)) {
        /* Nothing is mapped, so nothing can be mistaken. */
    } else if (!streams_of(tensor, at, bytes, &first, &last)) {
        oclora_session_taint(session->map, OCLORA_SEQUENCE_ANY);
    } else if (source == NULL || first != last ||
               !streams_of(source, 0, bytes, &from, &from_last) || from != from_last ||
               !oclora_session_same(session->map, from, first)) {
        for (uint32_t seq = first; seq <= last; seq++) oclora_session_taint(session->map, seq);
    }
    pthread_mutex_unlock(&session->lock);
}

void oclora_ggml_session_emptied(struct oclora_ggml_session *session)
{
    pthread_mutex_lock(&session->lock);
    if (session->map != NULL) oclora_session_trust(session->map);
    pthread_mutex_unlock(&session->lock);
}

void oclora_ggml_session_poison(struct oclora_ggml_session *session, const oclora_error *cause)
{
    oclora_ggml_log(session->plugin, OCLORA_LOG_ERROR, "%s (%s)", cause->text,
                    oclora_status_name(cause->status));
    pthread_mutex_lock(&session->lock);
    if (session->refusal.status == OCLORA_OK) session->refusal = *cause;
    pthread_mutex_unlock(&session->lock);
}
