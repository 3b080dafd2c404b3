/* serve.h - a device that serves adapted linear layers: what a plugin for a plain host needs, in
 * host terms. Thread rule: any thread (locked inside); work runs in the order of the submits. */
#ifndef OCLORA_SERVE_SERVE_H
#define OCLORA_SERVE_SERVE_H

#include "host/adapter/pool.h"
#include "host/op/linear.h"

typedef struct oclora_engine oclora_engine;

typedef struct oclora_engine_options {
    const char *device; /* as in oclora_device_find */
    void *cl_device;    /* with context.cl_context: which device of it; wins over `device` */
    void *cl_queue;     /* with context.cl_context: in-order; NULL = a queue is made */
    oclora_context_options context;
} oclora_engine_options;

oclora_status oclora_engine_create(oclora_engine **out, const oclora_env *env,
                                   const oclora_engine_options *options, oclora_error *err);
void oclora_engine_destroy(oclora_engine *engine); /* after all its children; NULL is allowed */
oclora_context *oclora_engine_context(oclora_engine *engine);
oclora_base *oclora_engine_base(oclora_engine *engine);

/* A base weight in memory of its own, with the layer's bias. */
typedef struct oclora_layer oclora_layer;
typedef struct oclora_layer_spec {
    const char *name;
    oclora_type type;
    uint32_t d_in;
    uint32_t d_out;
    const void *data; /* rows in ggml's layout */
    uint64_t data_bytes;
    const float *bias; /* [d_out] or NULL */
} oclora_layer_spec;

/* Errors: INVALID_ARGUMENT (name, shape, or bytes that do not match), UNSUPPORTED_DTYPE,
 * ALREADY_EXISTS, device errors. Rows in multiples of 16 and inputs of 32 are the fast shapes. */
oclora_status oclora_layer_create(oclora_layer **out, oclora_engine *engine,
                                  const oclora_layer_spec *spec, oclora_error *err);
void oclora_layer_destroy(oclora_layer *layer);
bool oclora_layer_type_served(oclora_type type);

/* Whether the engine computes adapters of this kind. */
bool oclora_kind_served(oclora_kind kind);

/* Who serves each row of a batch; holds its adapters on the device until destroyed. `weight` NULL
 * = 1. `instance` [n_rows] numbers the rows' sequences; NULL: not known, which is ROWS_UNKNOWN when
 * an adapter averages over them. */
typedef struct oclora_roster oclora_roster;
oclora_status oclora_roster_create(oclora_roster **out, oclora_engine *engine, oclora_pool *pool,
                                   uint32_t n_rows, const uint32_t *row_start,
                                   const oclora_adapter_handle *adapter, const float *weight,
                                   const uint32_t *instance, oclora_error *err);
void oclora_roster_destroy(oclora_roster *roster); /* after the jobs that use it */

typedef struct oclora_job oclora_job;
typedef struct oclora_job_spec {
    oclora_layer *layer;
    oclora_roster *roster; /* NULL = the base alone */
    const float *x;        /* host memory, or NULL and x_mem */
    float *y;
    void *x_mem; /* cl_mem */
    void *y_mem;
    uint64_t x_offset;
    uint64_t y_offset;
    uint32_t n_rows;
    uint32_t flags; /* OCLORA_LINEAR_* */
} oclora_job_spec;

/* Enqueues one layer. x is copied; layer, roster and y must live until the job is destroyed. */
oclora_status oclora_job_submit(oclora_job **out, oclora_engine *engine,
                                const oclora_job_spec *spec, oclora_error *err);
/* Waits, then fills y where it is host memory. Again: returns the same at once. */
oclora_status oclora_job_wait(oclora_job *job, oclora_error *err);
oclora_status oclora_job_done(oclora_job *job, bool *done, oclora_error *err);
/* Waits for the work, so that what it uses may be freed; does not touch y. */
void oclora_job_destroy(oclora_job *job);

#endif
