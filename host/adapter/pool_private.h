/* pool_private.h - shared by the pool's own sources.
 *
 * Two levels of locking. The mutex guards every field and is never held while the device works. The
 * transfer token (`moving`) is held, without the mutex, by the one thread that changes what lies on
 * the device: it owns the stream and the lists below. What it decides is booked under the mutex
 * before the device is asked, so that the others always see a consistent pool. */
#ifndef OCLORA_ADAPTER_POOL_PRIVATE_H
#define OCLORA_ADAPTER_POOL_PRIVATE_H

#include "host/adapter/pool.h"
#include "host/adapter/pool_arena.h"
#include "host/adapter/pool_blobs.h"

#include <pthread.h>

enum { OCLORA_POOL_SLOT_BITS = 12, OCLORA_POOL_SLOTS = 1 << OCLORA_POOL_SLOT_BITS };
enum { OCLORA_POOL_VECTORS = 8 };
_Static_assert((int)OCLORA_POOL_SLOTS == (int)OCLORA_POOL_ADAPTERS_MAX, "slots of a pool");
#define OCLORA_POOL_ABSENT UINT32_MAX

/* One adapted module: where its pieces are, and the lane made of them once they are on the device.
 */
typedef struct oclora_pool_site {
    uint32_t weight_id;
    uint32_t weight_version;
    uint32_t bias_id; /* the base bias that `c` was made of, or OCLORA_POOL_ABSENT */
    uint32_t bias_version;
    uint32_t module; /* of the image */
    uint32_t a;      /* index into parts, or OCLORA_POOL_ABSENT */
    uint32_t b;
    uint32_t gate;
    uint32_t gate_b;
    uint64_t vectors[OCLORA_POOL_VECTORS]; /* offsets in the packed vectors, UINT64_MAX = absent */
    oclora_lane shape;                     /* all but the offsets */
    oclora_lane lane;                      /* zeroed while not resident */
} oclora_pool_site;

typedef struct oclora_pool_adapter {
    char name[OCLORA_WEIGHT_NAME];
    oclora_adapter_image *image;
    uint32_t state; /* OCLORA_ADAPTER_* */
    uint32_t pins;
    uint32_t uses;
    uint32_t rank_min;
    uint32_t rank_max;
    uint64_t last_use;
    uint64_t device_bytes;
    uint64_t base_changes;   /* of the base, when all sites were last known to be right */
    oclora_pool_site *sites; /* by weight_id */
    size_t n_sites;
    oclora_pool_part *parts; /* distinct contents; the packed vectors are the last, if any */
    size_t n_parts;
    uint8_t *vectors;
    uint64_t vector_bytes;
} oclora_pool_adapter;

typedef struct oclora_pool_slot {
    oclora_pool_adapter *adapter; /* NULL = free */
    uint32_t generation;          /* of the adapter, or of the next one; 0 = used up */
} oclora_pool_slot;

/* A piece of device memory to clear (host NULL) or to write. */
typedef struct oclora_pool_move {
    const void *host;
    uint64_t offset;
    uint64_t bytes;
} oclora_pool_move;

typedef struct oclora_move_list {
    oclora_pool_move *moves;
    size_t count;
    size_t capacity;
} oclora_move_list;

struct oclora_pool {
    oclora_env env;
    oclora_context *context;
    oclora_base *base;
    oclora_buffer *buffer;
    oclora_stream *stream;
    uint64_t budget;
    uint32_t salt; /* in the low half of every handle, above the slot: other pools' handles fail;
                      a context's pools have 2^20 of them in turn */

    pthread_mutex_t mutex;
    pthread_cond_t moved;
    bool mutex_made;
    bool cond_made;
    bool moving;

    oclora_arena arena;
    oclora_blob_table blobs;
    oclora_pool_slot *slots;
    size_t n_slots;
    size_t slot_capacity;
    uint64_t clock;
    uint64_t uploads;
    uint64_t evictions;
    oclora_move_list clears; /* has room for all blobs beside what it lists */
    oclora_move_list writes;
};

/* pool_bind.c: the image bound to the base and described as sites and parts. On error the image is
 * the caller's as before. The result does not own the image until the pool takes both. */
oclora_status oclora_pool_adapter_create(oclora_pool_adapter **out, oclora_pool *pool,
                                         const char *name, oclora_adapter_image *image,
                                         oclora_error *err);
void oclora_pool_adapter_destroy(oclora_pool *pool, oclora_pool_adapter *adapter);

/* With the pool's mutex held. WRONG_STATE if a base weight that the adapter was bound to is gone or
 * has other bytes now: its shares were computed from those it had. */
oclora_status oclora_pool_check_base(oclora_pool *pool, oclora_pool_adapter *adapter,
                                     oclora_error *err);

static inline uint32_t oclora_pool_slot_of(oclora_adapter_handle handle)
{
    return (uint32_t)handle & (OCLORA_POOL_SLOTS - 1);
}
static inline oclora_adapter_handle oclora_pool_handle(const oclora_pool *pool, size_t slot)
{
    return (uint64_t)pool->slots[slot].generation << 32 | pool->salt | (uint32_t)slot;
}

/* pool.c, with the mutex held: the live adapter of a handle, or STALE_HANDLE. */
oclora_status oclora_pool_resolve(oclora_pool *pool, oclora_adapter_handle handle,
                                  oclora_pool_adapter **out, oclora_error *err);

/* pool_residency.c */
void oclora_pool_move_begin(oclora_pool *pool); /* mutex held; waits for the token */
void oclora_pool_move_end(oclora_pool *pool);   /* mutex held */
/* Token and mutex held: takes the adapter off the device; its memory joins `clears`. */
void oclora_pool_evict(oclora_pool *pool, oclora_pool_adapter *adapter);
/* Token held, mutex not: clears, then writes, then waits. Empties both lists; what could not be
 * cleared stays listed. */
oclora_status oclora_pool_move_run(oclora_pool *pool, oclora_error *err);

#endif
