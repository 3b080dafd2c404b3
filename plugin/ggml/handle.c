#include "plugin/ggml/plugin.h"

#include <string.h>

static _Thread_local oclora_ggml_session *bound;

static oclora_ggml_session *shape_of(uintptr_t number)
{
    oclora_ggml_session *handle;
    memcpy(&handle, &number, sizeof handle);
    return handle;
}

oclora_ggml_session *oclora_ggml_handle_publish(struct oclora_ggml_session *session)
{
    oclora_ggml_plugin *plugin = session->plugin;
    pthread_mutex_lock(&plugin->lock);
    /* Odd, as no pointer to an object is, and never the same twice. */
    plugin->last_handle = (plugin->last_handle + 2) | 1;
    session->handle = plugin->last_handle;
    session->next = plugin->sessions;
    plugin->sessions = session;
    pthread_mutex_unlock(&plugin->lock);
    return shape_of(session->handle);
}

/* Where the list has it; the end of the list if it has not. */
static struct oclora_ggml_session **find(oclora_ggml_plugin *plugin,
                                         const oclora_ggml_session *handle)
{
    struct oclora_ggml_session **at = &plugin->sessions;
    while (*at != NULL && (*at)->handle != (uintptr_t)handle) at = &(*at)->next;
    return at;
}

oclora_status oclora_ggml_handle_get(struct oclora_ggml_session **out, oclora_ggml_plugin *plugin,
                                     const oclora_ggml_session *handle, oclora_error *err)
{
    struct oclora_ggml_session *session = &plugin->default_session;
    pthread_mutex_lock(&plugin->lock);
    if (handle != NULL) session = *find(plugin, handle);
    if (session != NULL) oclora_ggml_session_retain(session);
    pthread_mutex_unlock(&plugin->lock);
    if (session == NULL)
        return oclora_fail(err, OCLORA_STALE_HANDLE,
                           "%p is no session: it was destroyed, or never was one",
                           (const void *)handle);
    *out = session;
    return OCLORA_OK;
}

void oclora_ggml_handle_close(oclora_ggml_plugin *plugin, const oclora_ggml_session *handle)
{
    if (handle == NULL) return;
    if (bound == handle) bound = NULL;
    pthread_mutex_lock(&plugin->lock);
    struct oclora_ggml_session **at = find(plugin, handle);
    struct oclora_ggml_session *session = *at;
    if (session != NULL) *at = session->next;
    pthread_mutex_unlock(&plugin->lock);
    if (session != NULL) oclora_ggml_session_release(session);
}

oclora_status oclora_ggml_handle_bind(oclora_ggml_plugin *plugin, oclora_ggml_session *handle,
                                      oclora_error *err)
{
    struct oclora_ggml_session *session = NULL;
    OCLORA_TRY(oclora_ggml_handle_get(&session, plugin, handle, err));
    oclora_ggml_session_release(session);
    bound = handle;
    return OCLORA_OK;
}

oclora_status oclora_ggml_handle_bound(struct oclora_ggml_session **out, oclora_ggml_plugin *plugin,
                                       oclora_error *err)
{
    return oclora_ggml_handle_get(out, plugin, bound, err);
}
