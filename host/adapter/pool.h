/* pool.h - adapters of one base on one device: a byte budget, residency, generations.
 *
 * An adapter is kept in host memory once added; its factors are uploaded when first needed (or at
 * once, see `oclora_pool_load`), on the pool's own queue, and may be evicted (LRU) while no work
 * uses them and nobody pinned them. Evicted device memory is zeroed. Equal factors (by content
 * hash) share memory. Ranks are stored as they are; blocks come from a best-fit allocator over one
 * buffer. Thread rule: any thread (locked inside). */
#ifndef OCLORA_ADAPTER_POOL_H
#define OCLORA_ADAPTER_POOL_H

#include "host/adapter/terms.h"
#include "host/base/weight.h"

typedef struct oclora_pool oclora_pool;

enum { OCLORA_POOL_ADAPTERS_MAX = 4096 };

/* Slot and a mark of the pool in the low, generation in the high 32 bits; 0 is never a valid
 * handle. */
typedef uint64_t oclora_adapter_handle;

oclora_status oclora_pool_create(oclora_pool **out, oclora_context *context, oclora_base *base,
                                 uint64_t budget_bytes, oclora_error *err);
void oclora_pool_destroy(oclora_pool *pool);

/* Takes ownership of `image` on success. Binds every module to the base weight of its name (a tied
 * "output" falls back to "token_embd"), checks shapes, resolves what needs the base (DoRA norms),
 * and refuses with MODULE_MISMATCH (names up to four missing modules and how many match),
 * SHAPE_MISMATCH, ALREADY_EXISTS (a different live adapter has the name), POOL_FULL (larger than
 * the whole budget). A live adapter of this name with the same contents (hash, kind, bytes) is that
 * adapter: its handle is returned and `image` destroyed, or WRONG_STATE if its base changed (see
 * acquire). `name` is the caller's name for it, 1 to
 * 127 bytes. */
oclora_status oclora_pool_add(oclora_pool *pool, const char *name, oclora_adapter_image *image,
                              oclora_adapter_handle *out, oclora_error *err);

/* ADAPTER_IN_USE while pinned or acquired; STALE_HANDLE if gone. The slot's generation moves on. */
oclora_status oclora_pool_remove(oclora_pool *pool, oclora_adapter_handle handle,
                                 oclora_error *err);

oclora_status oclora_pool_find(oclora_pool *pool, const char *name, oclora_adapter_handle *out,
                               oclora_error *err);

/* Pinned adapters are resident and never evicted. Counted. */
oclora_status oclora_pool_pin(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err);
oclora_status oclora_pool_unpin(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err);

enum {
    OCLORA_ADAPTER_HOST = 1,
    OCLORA_ADAPTER_LOADING = 2,
    OCLORA_ADAPTER_RESIDENT = 3,
    OCLORA_ADAPTER_FAILED = 4
};

typedef struct oclora_adapter_info {
    char name[128];
    oclora_kind kind;
    uint32_t state; /* OCLORA_ADAPTER_* */
    uint32_t generation;
    uint32_t n_modules;
    uint32_t rank_min;
    uint32_t rank_max;
    uint32_t pins;
    uint32_t uses;         /* acquired by work that has not been released */
    uint64_t device_bytes; /* its blocks, shared ones included */
    uint8_t hash[32];
} oclora_adapter_info;

oclora_status oclora_pool_info(oclora_pool *pool, oclora_adapter_handle handle,
                               oclora_adapter_info *out, oclora_error *err);

typedef struct oclora_pool_stats {
    uint64_t budget_bytes;
    uint64_t used_bytes; /* device blocks in use, shared ones once */
    uint64_t n_adapters;
    uint64_t n_resident;
    uint64_t uploads;
    uint64_t evictions;
} oclora_pool_stats;
void oclora_pool_get_stats(oclora_pool *pool, oclora_pool_stats *out);

/* One adapted module of one adapter, as kernels see it: byte offsets into the pool's buffer, 0 =
 * absent. Layout shared with cl/lora_types.cl. */
typedef struct oclora_lane {
    uint64_t a;      /* [rank][d_in / group] of type_a */
    uint64_t b;      /* [rank][d_out] of type_b */
    uint64_t scale;  /* f32 [rank] */
    uint64_t core;   /* f32 [rank][rank] */
    uint64_t u;      /* f32 [d_out] */
    uint64_t beta;   /* f32 [d_out] */
    uint64_t c;      /* f32 [d_out] */
    uint64_t mul_u;  /* f32 [n_mul][d_out] */
    uint64_t mul_v;  /* f32 [n_mul][d_in] */
    uint64_t gate;   /* router's [n_experts][d_in] of type_gate */
    uint64_t gate_b; /* PAIRS: the same for B, of type_gate_b */
    uint64_t pairs;  /* PAIRS: f32 [top_k][n_experts][n_experts], 0 = gate_b alone decides */
    uint32_t rank;   /* 0 and all offsets 0: the adapter leaves this module alone */
    uint32_t group;
    uint32_t type_a; /* OCLORA_TYPE_F32, _F16, _BF16 or _Q8_0 */
    uint32_t type_b;
    uint32_t n_mul;
    uint32_t router;    /* kind in the low 8 bits, top_k in the next 8, n_experts in the high 16 */
    float temperature;  /* PAIRS: pair_weight */
    uint32_t type_gate; /* and type_gate_b in bits 8 to 15 */
} oclora_lane;

/* The adapters of one batch made resident and held until released: upload what is missing (evicting
 * others if needed), wait for it, count a use on each. Errors: STALE_HANDLE, WRONG_STATE (a base
 * weight that one of them adapts was freed or written anew since it was added), POOL_FULL (the
 * batch alone exceeds what is not pinned), DEVICE_LOST... On error nothing is held. */
oclora_status oclora_pool_acquire(oclora_pool *pool, const oclora_adapter_handle *handles,
                                  uint32_t count, oclora_error *err);
/* Call when the work that used them has finished. Unknown handles are ignored. */
void oclora_pool_release(oclora_pool *pool, const oclora_adapter_handle *handles, uint32_t count);

/* The lane of an acquired adapter for base weight `weight_id`; zeroed if the module is not adapted.
 * STALE_HANDLE, or WRONG_STATE if the adapter is not on the device; `*out` is zeroed then. Cheap.
 */
oclora_status oclora_pool_lane(oclora_pool *pool, oclora_adapter_handle handle, uint32_t weight_id,
                               oclora_lane *out);
/* Whether held adapters were bound to `weight` as it is: WRONG_STATE if one was to another weight
 * of its name, now gone, or to bytes that it no longer has. Other weights do not matter. */
oclora_status oclora_pool_check(oclora_pool *pool, const oclora_adapter_handle *handles,
                                uint32_t count, const oclora_weight *weight, oclora_error *err);
/* The ids of the base weights an adapter targets. `ids` NULL asks for the count. */
oclora_status oclora_pool_targets(oclora_pool *pool, oclora_adapter_handle handle, uint32_t *ids,
                                  uint32_t *count, oclora_error *err);

oclora_buffer *oclora_pool_buffer(oclora_pool *pool);
oclora_base *oclora_pool_base(oclora_pool *pool);

#endif
