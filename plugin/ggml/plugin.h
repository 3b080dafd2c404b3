/* plugin.h - what the files of the ggml plugin share. One plugin a process: its devices, the
 * default session and the settings of OCLORA_CONFIG. Nothing is computed here; see host/. */
#ifndef OCLORA_GGML_PLUGIN_H
#define OCLORA_GGML_PLUGIN_H

#include "abi/oclora_ggml.h"
#include "host/adapter/load.h"
#include "host/adapter/pool.h"
#include "host/graph/session.h"
#include "plugin/ggml/config.h"
#include "plugin/ggml/host_abi.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { OCLORA_GGML_DEVICES = 8, OCLORA_GGML_ALIGNMENT = 256 };

/* A device as the host sees it, with its buffer type. */
typedef struct oclora_ggml_type {
    oclora_host_words host; /* first: the host's view */
    struct oclora_ggml_device *device;
} oclora_ggml_type;

typedef struct oclora_ggml_device {
    oclora_host_words host; /* first: the host's view */
    oclora_ggml_type type;
    struct oclora_ggml_plugin *plugin;
    uint32_t index;
    char name[16];
    char description[224];
    oclora_device info;
    bool absent;             /* stands in for a missing device, so that a configured host stops */
    pthread_mutex_t lock;    /* of all below, and of the transfer stream */
    oclora_context *context; /* made when first needed */
    oclora_stream *transfer;
    bool pending; /* the transfer stream holds writes that nobody waited for */
    atomic_uint_fast64_t used_bytes;
} oclora_ggml_device;

/* One session's share of one device. */
typedef struct oclora_ggml_part {
    oclora_base *base;
    uint32_t n_records; /* buffers that hold weights of `base` */
} oclora_ggml_part;

/* Counted: the host's buffers and backends hold it beside its creator. */
struct oclora_ggml_session {
    struct oclora_ggml_plugin *plugin;
    struct oclora_ggml_session *next; /* of those that callers have a handle of; plugin->lock */
    uintptr_t handle;
    uint32_t references;
    pthread_mutex_t lock;
    char *model_path; /* or NULL */
    uint64_t pool_bytes;
    uint32_t store;
    bool partial; /* adapters may target weights that another process serves */
    bool has_model;
    oclora_model_info model;
    oclora_ggml_part part[OCLORA_GGML_DEVICES];
    int32_t device; /* of the pool; -1 = none yet */
    oclora_pool *pool;
    oclora_session *map;
    uint32_t n_backends;     /* of the host, alive */
    bool orphaned;           /* the model of `pool` was freed under a living backend */
    bool configured;         /* the settings of OCLORA_CONFIG are in force */
    oclora_error refusal;    /* why the session's graphs are refused, if not OK */
    oclora_error last_error; /* of the last graph that was refused */
    uint64_t refusals;       /* graphs refused before they reached the engine */
};

typedef struct oclora_ggml_plugin {
    oclora_host_words host; /* first: the registry, as the host sees it */
    oclora_host abi;
    oclora_env env;
    pthread_mutex_t lock;
    uint64_t next_base; /* of the addresses that buffers pretend to have */
    struct oclora_ggml_session *sessions; /* published */
    uintptr_t last_handle;
    pid_t process; /* that loaded the plugin */
    uint32_t n_devices;
    oclora_ggml_device devices[OCLORA_GGML_DEVICES];
    struct oclora_ggml_session default_session;
    oclora_ggml_config *config; /* NULL: none was given */
    oclora_error config_error;  /* why the one given cannot be used */
} oclora_ggml_plugin;

/* A weight that lies in a buffer as a record of the engine. */
typedef struct oclora_ggml_record {
    const oclora_weight *weight;
    uint64_t offset;
    uint64_t bytes;
} oclora_ggml_record;

typedef struct oclora_ggml_buffer {
    oclora_ggml_device *device;
    struct oclora_ggml_session *session; /* of the thread that made it */
    oclora_buffer *memory;
    uint64_t address; /* what the host takes for its base */
    uint64_t bytes;
    pthread_mutex_t lock;
    oclora_ggml_record *records; /* by offset, disjoint */
    size_t n_records;
    size_t capacity;
    bool holds_cache; /* a KV cache lies here: some graph wrote rows into it */
} oclora_ggml_buffer;

/* registry.c: hosts exit while their contexts live; what the drivers do for them ends before that. */
void oclora_ggml_watch_exit(void);

/* device.c */
void oclora_ggml_device_init(oclora_ggml_device *device, oclora_ggml_plugin *plugin, uint32_t index,
                             const oclora_device *info);
/* The device's context and transfer stream, made on first use. */
oclora_status oclora_ggml_device_open(oclora_ggml_device *device, oclora_error *err);
/* Waits for transfers, so that another stream sees their data. */
oclora_status oclora_ggml_device_settle(oclora_ggml_device *device, oclora_error *err);

/* buffer.c */
void oclora_ggml_type_init(oclora_ggml_device *device);
/* The plugin's buffer that a tensor lies in, or NULL if it is another's. */
oclora_ggml_buffer *oclora_ggml_buffer_of(const oclora_ggml_plugin *plugin,
                                          const struct ggml_tensor *tensor);

/* records.c; the caller holds the buffer's lock. */
/* The record that covers exactly [offset, offset + bytes), else NULL; `*overlap` says whether any
 * record has bytes in common with it. */
const oclora_weight *oclora_ggml_record_at(const oclora_ggml_buffer *buffer, uint64_t offset,
                                           uint64_t bytes, bool *overlap);
/* The first record that ends behind `offset`, or NULL. */
const oclora_weight *oclora_ggml_record_first(const oclora_ggml_buffer *buffer, uint64_t offset);
/* Writes the whole of `tensor` where no record lies, as a weight of the engine if it is one to keep
 * so. The caller holds the device's lock too. */
oclora_status oclora_ggml_record_add(oclora_ggml_buffer *buffer, const struct ggml_tensor *tensor,
                                     uint64_t offset, const void *data, oclora_error *err);
/* Puts the bytes of all records in the range into ggml's order, where they stay records. */
oclora_status oclora_ggml_record_unpack(oclora_ggml_buffer *buffer, uint64_t offset, uint64_t bytes,
                                        oclora_error *err);
/* As unpack, and forgets them: another tensor is about to lie there. */
oclora_status oclora_ggml_record_drop(oclora_ggml_buffer *buffer, uint64_t offset, uint64_t bytes,
                                      oclora_error *err);
/* Byte access in ggml's order, whatever lies there. The caller holds the device's lock too. */
oclora_status oclora_ggml_buffer_write(oclora_ggml_buffer *buffer, uint64_t offset,
                                       const void *data, uint64_t bytes, oclora_error *err);
oclora_status oclora_ggml_buffer_read(oclora_ggml_buffer *buffer, uint64_t offset, void *data,
                                      uint64_t bytes, oclora_error *err);

/* backend.c */
ggml_backend_t oclora_ggml_backend_create(ggml_backend_dev_t device, const char *params);

/* session.c */
oclora_status oclora_ggml_session_init(struct oclora_ggml_session *session,
                                       oclora_ggml_plugin *plugin, oclora_error *err);
void oclora_ggml_session_retain(struct oclora_ggml_session *session);
void oclora_ggml_session_release(struct oclora_ggml_session *session);
/* The base that weights uploaded to `device` belong to. */
oclora_status oclora_ggml_session_base(struct oclora_ggml_session *session,
                                       oclora_ggml_device *device, oclora_base **out,
                                       oclora_error *err);
/* A buffer with weights was made (+1) or is gone (-1). */
void oclora_ggml_session_count(struct oclora_ggml_session *session,
                               const oclora_ggml_device *device, int change);
/* `bytes` at `at` of a KV cache's tensor are written from outside, with those of `source` (or NULL:
 * of unknown origin). Under a map, its sequences are not served until they are mapped anew, unless
 * both are served alike. */
void oclora_ggml_session_restored(struct oclora_ggml_session *session,
                                  const struct ggml_tensor *tensor, uint64_t at, uint64_t bytes,
                                  const struct ggml_tensor *source);
/* A whole KV cache was zeroed. */
void oclora_ggml_session_emptied(struct oclora_ggml_session *session);
/* A host that keeps its backend (an RPC worker) may free one model and load another: the adapters
 * of the first are dropped before the next graph of that backend. */
oclora_status oclora_ggml_session_renew(struct oclora_ggml_session *session, oclora_runner *runner,
                                        oclora_error *err);
/* A backend of the host was made (+1) or is gone (-1). */
void oclora_ggml_session_count_backend(struct oclora_ggml_session *session, int change);
/* Sets options; fails once an adapter is loaded. `model_path` may be NULL. Takes the lock. */
oclora_status oclora_ggml_session_options(struct oclora_ggml_session *session,
                                          const char *model_path, uint64_t pool_bytes,
                                          uint32_t store, oclora_error *err);
/* Errors of calls that cannot report any: the session's graphs are refused from now on. */
void oclora_ggml_session_poison(struct oclora_ggml_session *session, const oclora_error *cause);

/* Adapters and their map go when the weights they were made for go. The caller holds the lock, or
 * is the last who has the session. */
void oclora_ggml_session_drop(struct oclora_ggml_session *session);

/* adapters.c */
/* Makes the session's pool and map, once the model's weights are on a device. The caller holds the
 * session's lock. Errors: WEIGHT_NOT_ON_DEVICE, NOT_SUPPORTED (weights on several devices). */
oclora_status oclora_ggml_session_open(struct oclora_ggml_session *session, oclora_error *err);
/* Loads an adapter from a file. Takes the session's lock, but not while the file is read: graphs go on
 * meanwhile. */
oclora_status oclora_ggml_session_load(struct oclora_ggml_session *session, const char *name,
                                       const char *path, oclora_error *err);
/* Resolves names; the caller holds the session's lock. `weighted` has OCLORA_MIXTURE_MAX entries.
 */
oclora_status oclora_ggml_session_resolve(struct oclora_ggml_session *session,
                                          const oclora_ggml_config_use *uses, uint32_t count,
                                          oclora_weighted_adapter *weighted, oclora_error *err);
/* Puts OCLORA_CONFIG into force, once the weights are on the device; nothing to do else. */
oclora_status oclora_ggml_session_configure(struct oclora_ggml_session *session, oclora_error *err);

/* handle.c: what callers have is a number in the shape of a pointer, looked up and never dereferenced,
 * so that a session destroyed twice, or used after that, is an error. */
/* Makes the session known; the handle takes over the creator's reference. */
oclora_ggml_session *oclora_ggml_handle_publish(struct oclora_ggml_session *session);
/* The session of a handle, NULL the default one, with a reference to release. STALE_HANDLE. */
oclora_status oclora_ggml_handle_get(struct oclora_ggml_session **out, oclora_ggml_plugin *plugin,
                                     const oclora_ggml_session *handle, oclora_error *err);
/* The handle is no more, and is no longer bound on this thread. Unknown ones are ignored. */
void oclora_ggml_handle_close(oclora_ggml_plugin *plugin, const oclora_ggml_session *handle);
/* Which session this thread's contexts and weights belong to: NULL, the default one. */
oclora_status oclora_ggml_handle_bind(oclora_ggml_plugin *plugin, oclora_ggml_session *handle,
                                      oclora_error *err);
/* That session, with a reference to release. STALE_HANDLE: another thread destroyed it. */
oclora_status oclora_ggml_handle_bound(struct oclora_ggml_session **out, oclora_ggml_plugin *plugin,
                                       oclora_error *err);

/* control.c */
const oclora_ggml_api *oclora_ggml_get_api(uint32_t major);

/* registry.c: the plugin of this process, after ggml_backend_init. */
oclora_ggml_plugin *oclora_ggml_plugin_get(void);
void oclora_ggml_log(const oclora_ggml_plugin *plugin, int32_t level, const char *fmt, ...)
    OCLORA_PRINTF(3, 4);

#endif
