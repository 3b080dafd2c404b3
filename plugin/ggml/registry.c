/* The two entry points of the library, and the registry they give to the host. */
#include "plugin/ggml/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the loader looks up; no other symbol is exported (exports.map). */
#define EXPORT __attribute__((visibility("default")))
EXPORT ggml_backend_reg_t ggml_backend_init(void);
EXPORT int ggml_backend_score(void);

static oclora_ggml_plugin plugin;
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static bool loaded;

oclora_ggml_plugin *oclora_ggml_plugin_get(void)
{
    return &plugin;
}

/* Through the host's log, so that its settings apply; its levels count the other way. */
static void write_log(void *user, int32_t level, const char *text, size_t length)
{
    const oclora_ggml_plugin *own = user;
    static const int levels[] = {GGML_LOG_LEVEL_NONE, GGML_LOG_LEVEL_ERROR, GGML_LOG_LEVEL_WARN,
                                 GGML_LOG_LEVEL_INFO, GGML_LOG_LEVEL_DEBUG};
    int number = level >= OCLORA_LOG_ERROR && level <= OCLORA_LOG_DEBUG ? levels[level] : 0;
    if (own->abi.log != NULL) {
        own->abi.log(number, "oclora: %.*s\n", (int)length, text);
        return;
    }
    if (level > OCLORA_LOG_WARN) return;
    fputs("oclora: ", stderr);
    fwrite(text, 1, length, stderr);
    fputc('\n', stderr);
}

void oclora_ggml_log(const oclora_ggml_plugin *own, int32_t level, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (length < 0) return;
    size_t size = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    write_log((void *)(uintptr_t)own, level, text, size);
}

static const char *get_name(ggml_backend_reg_t reg)
{
    (void)reg;
    return "OCLORA";
}

static size_t get_device_count(ggml_backend_reg_t reg)
{
    return ((oclora_ggml_plugin *)(void *)reg)->n_devices;
}

static ggml_backend_dev_t get_device(ggml_backend_reg_t reg, size_t index)
{
    oclora_ggml_plugin *own = (oclora_ggml_plugin *)(void *)reg;
    return index < own->n_devices ? (ggml_backend_dev_t)(void *)&own->devices[index] : NULL;
}

static void *get_proc_address(ggml_backend_reg_t reg, const char *name)
{
    (void)reg;
    if (strcmp(name, OCLORA_GGML_GET_API) != 0) return NULL;
    const oclora_ggml_get_api_fn function = oclora_ggml_get_api;
    void *address;
    memcpy(&address, &function, sizeof address);
    return address;
}

static void read_config(oclora_ggml_plugin *own)
{
    const char *text = getenv("OCLORA_CONFIG");
    if (text == NULL || text[0] == '\0') return;
    struct oclora_ggml_session *session = &own->default_session;
    oclora_error *err = &own->config_error;
    if (oclora_ggml_config_read(&own->config, &own->env, text, err) != OCLORA_OK) return;
    session->partial = own->config->partial;
    if (oclora_ggml_session_options(session, own->config->model, own->config->pool_bytes,
                                    own->config->store, err) != OCLORA_OK)
        oclora_error_prefix(err, err->status, "OCLORA_CONFIG");
}

/* OCLORA_DEVICES lists devices by selector, separated by commas; unset, the engine's choice. */
static oclora_status list_devices(oclora_ggml_plugin *own, oclora_error *err)
{
    const char *list = getenv("OCLORA_DEVICES");
    char selector[256];
    do {
        size_t length = list != NULL ? strcspn(list, ",") : 0;
        if (length >= sizeof selector)
            return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "OCLORA_DEVICES: a name is too long");
        memcpy(selector, list != NULL ? list : "", length);
        selector[length] = '\0';
        if (own->n_devices == OCLORA_GGML_DEVICES)
            return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "OCLORA_DEVICES: at most %d",
                               OCLORA_GGML_DEVICES);
        oclora_device info;
        OCLORA_TRY(oclora_device_find(&own->env, selector, &info, err));
        for (uint32_t i = 0; i < own->n_devices; i++)
            if (own->devices[i].info.index == info.index)
                return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                                   "OCLORA_DEVICES: %s is named "
                                   "twice",
                                   info.name);
        oclora_ggml_device_init(&own->devices[own->n_devices], own, own->n_devices, &info);
        own->n_devices++;
        list = list != NULL && list[length] == ',' ? list + length + 1 : NULL;
    } while (list != NULL);
    return OCLORA_OK;
}

static oclora_status load(oclora_ggml_plugin *own, const void *caller, oclora_error *err)
{
    OCLORA_TRY(oclora_host_bind(&own->abi, caller, err));
    own->env.log = write_log;
    own->env.log_user = own;
    own->env.log_level = OCLORA_LOG_WARN;
    own->next_base = (uint64_t)1 << 44;
    own->process = getpid();
    pthread_mutex_init(&own->lock, NULL);
    OCLORA_TRY(oclora_ggml_session_init(&own->default_session, own, err));
    static const oclora_host_reg_calls calls = {get_name, get_device_count, get_device,
                                                get_proc_address};
    oclora_host_fill_reg(&own->abi, &own->host, &calls);
    read_config(own);
    oclora_status status = list_devices(own, err);
    if (status == OCLORA_OK) return OCLORA_OK;
    /* A host that was given a configuration must not go on without it: it gets a device that
     * refuses every context. */
    if (own->config == NULL && own->config_error.status == OCLORA_OK) return status;
    oclora_ggml_log(own, OCLORA_LOG_ERROR, "%s", err->text);
    own->config_error = *err;
    own->n_devices = 1;
    memset(&own->devices[0], 0, sizeof own->devices[0]);
    oclora_ggml_device_init(&own->devices[0], own, 0, NULL);
    return OCLORA_OK;
}

static void at_exit(void)
{
    if (getpid() != plugin.process) return; /* a fork has none of the threads */
    for (uint32_t i = 0; i < plugin.n_devices; i++)
        if (plugin.devices[i].context != NULL) oclora_context_quiet(plugin.devices[i].context);
}

/* What was registered last is called first: so every step of a driver's work gets another. */
void oclora_ggml_watch_exit(void)
{
    atexit(at_exit);
}

ggml_backend_reg_t ggml_backend_init(void)
{
    const void *caller = __builtin_return_address(0);
    oclora_error err = {0};
    pthread_mutex_lock(&load_lock);
    if (!loaded && load(&plugin, caller, &err) == OCLORA_OK) loaded = true;
    bool ready = loaded;
    if (!ready) {
        oclora_ggml_log(&plugin, OCLORA_LOG_ERROR, "not loaded: %s (%s)", err.text,
                        oclora_status_name(err.status));
        oclora_ggml_config_free(plugin.config);
        oclora_release(&plugin.env, plugin.default_session.model_path);
        memset(&plugin, 0, sizeof plugin);
    }
    pthread_mutex_unlock(&load_lock);
    return ready ? (ggml_backend_reg_t)(void *)&plugin : NULL;
}

int ggml_backend_score(void)
{
    return 1;
}
