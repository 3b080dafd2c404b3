/* calls.h - the functions behind the table, by noun, and the objects they share. */
#ifndef OCLORA_NATIVE_CALLS_H
#define OCLORA_NATIVE_CALLS_H

#include "host/serve/serve.h"
#include "plugin/native/args.h"
#include "plugin/native/object.h"

typedef struct native_context {
    native_object object;
    oclora_engine *engine;
} native_context;

typedef struct native_weight {
    native_object object; /* of the context */
    native_context *context;
    oclora_layer *layer;
} native_weight;

typedef struct native_pool {
    native_object object; /* of the context */
    native_context *context;
    oclora_pool *pool;
} native_pool;

typedef struct native_batch {
    native_object object; /* of the pool */
    native_pool *pool;
    oclora_roster *roster;
} native_batch;

typedef struct native_event {
    native_object object; /* of the weight */
    native_batch *batch;  /* holds a reference, or NULL */
    oclora_job *job;
} native_event;

/* device.c */
oclora_status native_device_count(uint32_t *out, oclora_message *message);
oclora_status native_device_info(uint32_t index, oclora_device_desc *out, oclora_message *message);

/* context.c */
oclora_status native_context_create(const oclora_context_args *args, oclora_context_t **out,
                                    oclora_message *message);
void native_context_destroy(oclora_context_t *context);
oclora_status native_context_capabilities(oclora_context_t *context, oclora_capabilities *out,
                                          oclora_message *message);
oclora_status native_context_health(oclora_context_t *context, oclora_message *message);

/* weight.c */
oclora_status native_weight_create(oclora_context_t *context, const oclora_weight_args *args,
                                   oclora_weight_t **out, oclora_message *message);
void native_weight_destroy(oclora_weight_t *weight);

/* pool.c */
oclora_status native_pool_create(oclora_context_t *context, const oclora_pool_args *args,
                                 oclora_pool_t **out, oclora_message *message);
void native_pool_destroy(oclora_pool_t *pool);
oclora_status native_pool_query(oclora_pool_t *pool, oclora_pool_desc *out,
                                oclora_message *message);

/* adapter.c */
oclora_status native_adapter_load(oclora_pool_t *pool, const oclora_adapter_args *args,
                                  oclora_adapter_t *out, oclora_message *message);
oclora_status native_adapter_load_memory(oclora_pool_t *pool,
                                         const oclora_adapter_memory_args *args,
                                         oclora_adapter_t *out, oclora_message *message);
oclora_status native_adapter_find(oclora_pool_t *pool, const char *name, uint64_t name_length,
                                  oclora_adapter_t *out, oclora_message *message);
oclora_status native_adapter_query(oclora_pool_t *pool, oclora_adapter_t adapter,
                                   oclora_adapter_desc *out, oclora_message *message);
oclora_status native_adapter_pin(oclora_pool_t *pool, oclora_adapter_t adapter,
                                 oclora_message *message);
oclora_status native_adapter_unpin(oclora_pool_t *pool, oclora_adapter_t adapter,
                                   oclora_message *message);
oclora_status native_adapter_unload(oclora_pool_t *pool, oclora_adapter_t adapter,
                                    oclora_message *message);

/* batch.c */
oclora_status native_batch_create(oclora_pool_t *pool, const oclora_batch_args *args,
                                  oclora_batch_t **out, oclora_message *message);
void native_batch_destroy(oclora_batch_t *batch);

/* linear.c */
oclora_status native_linear(const oclora_linear_args *args, oclora_message *message);
oclora_status native_linear_submit(const oclora_linear_args *args, oclora_event_t **out,
                                   oclora_message *message);
oclora_status native_event_wait(oclora_event_t *event, oclora_message *message);
oclora_status native_event_done(oclora_event_t *event, uint32_t *done, oclora_message *message);
void native_event_destroy(oclora_event_t *event);

#endif
