/*
 * oclora_ggml.h - control of the ggml plugin (libggml-oclora.so) inside llama.cpp and its kin.
 *
 * The plugin is loaded by the host: GGML_BACKEND_PATH, or ggml_backend_load(path). A program that
 * wants to load adapters and assign them to sequences asks the plugin's registry for this table:
 *
 *     ggml_backend_reg_t reg = ggml_backend_load("libggml-oclora.so");
 *     oclora_ggml_get_api_fn get = (oclora_ggml_get_api_fn)
 *         ggml_backend_reg_get_proc_address(reg, OCLORA_GGML_GET_API);
 *     const oclora_ggml_api *api = get(OCLORA_GGML_MAJOR);       // NULL: other major version
 *
 * Hosts one cannot program read the same settings from OCLORA_CONFIG: the path of a JSON file, or the
 * JSON itself:
 *
 *     {"model": "base.gguf", "pool_bytes": 268435456, "store": "auto",
 *      "adapters": {"pirate": "path/to/folder", "json": "path/to/lora.gguf"},
 *      "slots": {"0": "pirate", "1": [{"name": "json", "weight": 0.5}], "2": null},
 *      "all": "pirate"}
 *
 * ("slots" or "all", not both; null = the base alone; "store" is auto, f32, f16 or q8_0.) Unknown keys
 * are refused. A host whose configuration cannot be put into force gets no context: the adapters are
 * loaded when it creates one, so all layers must be on the device by then (-ngl 99).
 *
 * {"partial": true} is for RPC workers (ggml-rpc-server), which hold some of a model's layers and get
 * them later: adapters are cut to the weights that this process has, at its first graph. That the
 * workers together hold every adapted layer is then the user's to see to.
 *
 * OCLORA_DEVICES lists the OpenCL devices to offer, separated by commas, each a number or a part of
 * "platform / name"; without it one is offered (a GPU, else Intel's CPU runtime, else PoCL).
 *
 * Thread rule: every function may be called from any thread. Text arguments are UTF-8, pointer and
 * length in bytes, and are copied. Out-parameters are untouched on error.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OCLORA_GGML_H
#define OCLORA_GGML_H

#include <stddef.h>
#include <stdint.h>

#include "oclora_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OCLORA_GGML_MAJOR 1
#define OCLORA_GGML_MINOR 0
#define OCLORA_GGML_GET_API "oclora_ggml_get_api"

/* A caller's room for an error text; set struct_size before the first call. May be NULL everywhere. */
typedef struct oclora_ggml_message {
    uint64_t struct_size;
    char text[504]; /* zero-terminated; empty on success */
} oclora_ggml_message;

/* One session serves one llama_context. NULL stands for the default session everywhere. */
typedef struct oclora_ggml_session oclora_ggml_session;

typedef struct oclora_ggml_session_args {
    uint64_t struct_size;
    const char *model_path; /* the base model's GGUF: names, heads; may be NULL (then PEFT folders are
                               refused, GGUF LoRA is not) */
    uint64_t model_path_length;
    uint64_t pool_bytes;    /* device bytes for adapters; 0 = 256 MiB, at most a quarter of memory */
    uint32_t store;         /* OCLORA_STORE_* */
    uint32_t reserved;
} oclora_ggml_session_args;

typedef struct oclora_ggml_adapter {
    const char *name;
    uint64_t name_length;
    float weight;
    uint32_t reserved;
} oclora_ggml_adapter;

typedef struct oclora_ggml_adapter_info {
    uint64_t struct_size;
    uint64_t device_bytes;
    uint32_t kind;  /* OCLORA_KIND_* */
    uint32_t state; /* 1 host memory, 2 loading, 3 on the device, 4 failed */
    uint32_t generation;
    uint32_t n_modules;
    uint32_t rank_min;
    uint32_t rank_max;
    uint8_t hash[32]; /* SHA-256 of the adapter's files */
} oclora_ggml_adapter_info;

typedef struct oclora_ggml_stats {
    uint64_t struct_size;
    uint64_t graphs;         /* computed */
    uint64_t adapted_graphs; /* with at least one adapted row */
    uint64_t rows;
    uint64_t adapted_rows;
    uint64_t launches;       /* kernels enqueued */
    uint64_t refusals;       /* graphs refused */
    uint64_t pool_budget_bytes;
    uint64_t pool_used_bytes;
    uint64_t adapters;
    uint64_t resident;
    uint64_t uploads;
    uint64_t evictions;
} oclora_ggml_stats;

/* Append only within a major version. */
typedef struct oclora_ggml_api {
    uint64_t struct_size;
    uint32_t major;
    uint32_t minor;

    /* A session of its own for another context or model in this process. Weights and contexts that a
     * thread creates while the session is bound there belong to it. Destroy after the llama_context
     * and llama_model are freed; NULL is allowed. A session that was destroyed, or never was one, is
     * refused everywhere (STALE_HANDLE); destroying it again does nothing. */
    oclora_status (*session_create)(const oclora_ggml_session_args *args, oclora_ggml_session **out,
                                    oclora_ggml_message *message);
    void (*session_destroy)(oclora_ggml_session *session);
    oclora_status (*session_bind)(oclora_ggml_session *session, oclora_ggml_message *message);

    /* Sets the default session's options; before its first adapter is loaded. */
    oclora_status (*configure)(const oclora_ggml_session_args *args, oclora_ggml_message *message);

    /* Loads an adapter (PEFT folder or GGUF LoRA file) after the model is loaded; checks that every
     * weight it targets is on this device and fits. */
    oclora_status (*adapter_load)(oclora_ggml_session *session, const char *name,
                                  uint64_t name_length, const char *path, uint64_t path_length,
                                  oclora_ggml_message *message);
    oclora_status (*adapter_unload)(oclora_ggml_session *session, const char *name,
                                    uint64_t name_length, oclora_ggml_message *message);
    oclora_status (*adapter_query)(oclora_ggml_session *session, const char *name,
                                   uint64_t name_length, oclora_ggml_adapter_info *out,
                                   oclora_ggml_message *message);

    /* Sequence `seq` is served by `count` weighted adapters (0 = the base alone). Takes effect with
     * the next graph. The host must not reuse KV computed under another assignment. */
    oclora_status (*map)(oclora_ggml_session *session, uint32_t seq,
                         const oclora_ggml_adapter *adapters, uint32_t count,
                         oclora_ggml_message *message);
    /* All rows of the context, also with a unified KV cache. */
    oclora_status (*map_all)(oclora_ggml_session *session, const oclora_ggml_adapter *adapters,
                             uint32_t count, oclora_ggml_message *message);
    oclora_status (*clear)(oclora_ggml_session *session, oclora_ggml_message *message);

    oclora_status (*stats)(oclora_ggml_session *session, oclora_ggml_stats *out,
                           oclora_ggml_message *message);
    /* Status and text of the session's last refused graph; OK if none was. */
    oclora_status (*last_error)(oclora_ggml_session *session, oclora_ggml_message *message);

    const char *(*status_name)(oclora_status status);
} oclora_ggml_api;

typedef const oclora_ggml_api *(*oclora_ggml_get_api_fn)(uint32_t major);

#ifdef __cplusplus
}
#endif

#endif /* OCLORA_GGML_H */
