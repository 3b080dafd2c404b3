/* engine.h - inside of an engine, for the sources of host/serve. */
#ifndef OCLORA_SERVE_ENGINE_H
#define OCLORA_SERVE_ENGINE_H

#include "host/serve/serve.h"

#include <pthread.h>

struct oclora_engine {
    oclora_env env;
    oclora_context *context;
    oclora_base *base;
    oclora_stream *stream; /* work; with `lock` */
    oclora_stream *reader; /* results and weights, so that reading one does not wait for later work;
                              with `read_lock` */
    pthread_mutex_t lock;
    pthread_mutex_t read_lock;
    uint32_t n_locks;
    bool host_context; /* over the host's cl_context: only then can its cl_mem be ours too */
};

struct oclora_layer {
    oclora_engine *engine;
    oclora_buffer *buffer;
    oclora_buffer *bias;
    const oclora_weight *weight;
};

struct oclora_roster {
    oclora_engine *engine;
    oclora_pool *pool;
    uint32_t n_rows;
    uint32_t n_adapters;
    oclora_adapter_handle *adapters; /* distinct */
    bool held;
    oclora_lane_table *lanes; /* NULL: no row has an adapter */
    oclora_row_work *work;
};

#endif
