#include "plugin/ggml/plugin.h"
#include "plugin/ggml/translate.h"

/* One stream of work of the host: in llama.cpp, a context's share of one device. */
typedef struct backend {
    oclora_host_words host; /* first: the host's view */
    oclora_ggml_device *device;
    struct oclora_ggml_session *session;
    oclora_stream *stream;
    oclora_runner *runner;
    oclora_ggml_translator translator;
    bool ran; /* the last graph reached the engine, which counts its own refusals */
} backend;

static backend *backend_of(ggml_backend_t host)
{
    return (backend *)(void *)host;
}

static const char *get_name(ggml_backend_t host)
{
    return backend_of(host)->device->name;
}

static void destroy(ggml_backend_t host)
{
    backend *own = backend_of(host);
    oclora_runner_destroy(own->runner);
    oclora_stream_destroy(own->stream);
    oclora_ggml_translator_free(&own->translator);
    if (own->session != NULL) {
        oclora_ggml_session_count_backend(own->session, -1);
        oclora_ggml_session_release(own->session);
    }
    oclora_release(&own->device->plugin->env, own);
}

/* The map that this graph is served under, NULL for none, and the base that its adapters expect. */
static oclora_status find_map(backend *own, oclora_session **out, oclora_error *err)
{
    struct oclora_ggml_session *session = own->session;
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&session->lock);
    bool here = session->map != NULL && session->device == (int32_t)own->device->index;
    *out = here ? session->map : NULL;
    own->translator.base = here ? oclora_pool_base(session->pool) : NULL;
    if (session->refusal.status != OCLORA_OK) {
        *err = session->refusal;
        status = err->status;
    }
    pthread_mutex_unlock(&session->lock);
    return status;
}

/* Leaves the base of the graph's weights held, if it has some, as they were when they were found:
 * until the graph is done no other context frees them or brings them into another order. */
static oclora_status translate_held(backend *own, struct ggml_cgraph *graph, oclora_graph *out,
                                    oclora_error *err)
{
    for (;;) {
        OCLORA_TRY(oclora_ggml_translate(&own->translator, graph, out, err));
        OCLORA_TRY(oclora_ggml_device_settle(own->device, err));
        oclora_base *base = own->translator.weights;
        if (base == NULL) return OCLORA_OK;
        oclora_base_hold(base);
        if (oclora_base_changes(base) == own->translator.weights_changes) return OCLORA_OK;
        oclora_base_let_go(base);
    }
}

static oclora_status run_held(backend *own, oclora_session *map, const oclora_graph *graph,
                              oclora_error *err)
{
    if (map != NULL && own->translator.foreign) {
        if (oclora_session_is_mapped(map))
            return oclora_fail(err, OCLORA_SESSION_CONFLICT,
                               "the model's weights were loaded under another session than the "
                               "adapters; bind the session before loading the model");
        map = NULL; /* one that is made from here on must not meet this graph either */
    }
    if (graph->n_nodes == 0) return OCLORA_OK;
    own->ran = map != NULL;
    return oclora_runner_run(own->runner, map, graph, err);
}

static oclora_status compute(backend *own, struct ggml_cgraph *graph, oclora_error *err)
{
    oclora_graph translated;
    oclora_session *map;
    own->ran = false;
    OCLORA_TRY(oclora_ggml_session_renew(own->session, own->runner, err));
    OCLORA_TRY(oclora_ggml_session_configure(own->session, err));
    OCLORA_TRY(find_map(own, &map, err));
    OCLORA_TRY(translate_held(own, graph, &translated, err));
    const oclora_status status = run_held(own, map, &translated, err);
    if (own->translator.weights != NULL) oclora_base_let_go(own->translator.weights);
    return status;
}

static enum ggml_status graph_compute(ggml_backend_t host, struct ggml_cgraph *graph)
{
    backend *own = backend_of(host);
    oclora_error err = {0};
    oclora_status status = compute(own, graph, &err);
    if (status == OCLORA_OK) return GGML_STATUS_SUCCESS;
    pthread_mutex_lock(&own->session->lock);
    own->session->last_error = err;
    if (!own->ran) own->session->refusals++;
    pthread_mutex_unlock(&own->session->lock);
    oclora_ggml_log(own->device->plugin, OCLORA_LOG_ERROR, "%s: graph refused: %s (%s)",
                    own->device->name, err.text, oclora_status_name(status));
    return status == OCLORA_OUT_OF_DEVICE_MEMORY || status == OCLORA_OUT_OF_HOST_MEMORY
               ? GGML_STATUS_ALLOC_FAILED
               : GGML_STATUS_FAILED;
}

static oclora_status start(backend *own, oclora_error *err)
{
    OCLORA_TRY(oclora_ggml_device_open(own->device, err));
    OCLORA_TRY(oclora_stream_create(&own->stream, own->device->context, err));
    OCLORA_TRY(oclora_runner_create(&own->runner, own->stream, err));
    OCLORA_TRY(oclora_ggml_session_configure(own->session, err));
    pthread_mutex_lock(&own->session->lock);
    oclora_session *map =
        own->session->device == (int32_t)own->device->index ? own->session->map : NULL;
    oclora_status status = map != NULL ? oclora_runner_bind(own->runner, map, err) : OCLORA_OK;
    pthread_mutex_unlock(&own->session->lock);
    return status;
}

ggml_backend_t oclora_ggml_backend_create(ggml_backend_dev_t host, const char *params)
{
    static const oclora_host_backend_calls calls = {get_name, destroy, graph_compute};
    static const uint8_t guid[16] = {0x6f, 0x63, 0x6c, 0x6f, 0x72, 0x61, 0x2d, 0x67,
                                     0x67, 0x6d, 0x6c, 0x2d, 0x00, 0x00, 0x00, 0x01};
    oclora_ggml_device *device = (oclora_ggml_device *)(void *)host;
    oclora_ggml_plugin *plugin = device->plugin;
    oclora_error err = {0};
    (void)params;
    backend *own = oclora_alloc(&plugin->env, 1, sizeof *own);
    if (own == NULL) {
        oclora_ggml_log(plugin, OCLORA_LOG_ERROR, "%s: no memory for a context (%s)", device->name,
                        oclora_status_name(OCLORA_OUT_OF_HOST_MEMORY));
        return NULL;
    }
    own->device = device;
    own->translator.device = device;
    if (oclora_ggml_handle_bound(&own->session, plugin, &err) == OCLORA_OK) {
        oclora_ggml_session_count_backend(own->session, 1);
        oclora_host_fill_backend(&plugin->abi, &own->host, &calls, guid, host);
        if (start(own, &err) == OCLORA_OK) return (ggml_backend_t)(void *)own;
    }
    oclora_ggml_log(plugin, OCLORA_LOG_ERROR, "%s: no context: %s (%s)", device->name, err.text,
                    oclora_status_name(err.status));
    destroy((ggml_backend_t)(void *)own);
    return NULL;
}
