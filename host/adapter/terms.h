/* terms.h - what every adapter file becomes: one set of terms per adapted module.
 *
 * For row x of a module with base product f(x) = W x (no bias), an adapter k gives
 *
 *   f_k(x) = u o W x  +  beta o B^T M (scale o A P x)  +  c            (additive kinds)
 *   f_k(x) = sum_j mul_u[j] o W (mul_v[j] o x)  +  c                   (multiplicative, n_mul > 0)
 *
 * with A [rank, d_in/group], B kept rank-major [rank, d_out], P the sum over `group` neighbouring
 * inputs, M an optional [rank, rank] core (h' = M h). A row with weighted adapters gets
 * f(x) + sum_k w_k (f_k(x) - f(x)). Scales stay f32 beside the factors. With a router, h = scale o
 * A x is weighted or rewired per row before B (see oclora_router). Pure data, no OpenCL.
 *
 * Some files do not say everything: see host/adapter/bind.h for what happens once the base weight
 * of a module is known (open dimensions, DoRA's norms, IA3's share of the base bias). */
#ifndef OCLORA_ADAPTER_TERMS_H
#define OCLORA_ADAPTER_TERMS_H

#include "host/core/env.h"
#include "host/file/map.h"

#include <stdbool.h>
#include <stdint.h>

enum { OCLORA_RANK_MAX = 1024, OCLORA_DIM_MAX = 1 << 20 };

/* rows x cols values of `type` (F32, F16, BF16 or Q8_0), rows contiguous and
 * oclora_factor_row_bytes(type, cols) apart, data 64-byte aligned. */
typedef struct oclora_factor {
    oclora_type type;
    uint32_t rows;
    uint32_t cols;
    void *data; /* owned by the image; equal factors of one image share it; never written to */
    uint8_t hash[16]; /* oclora_mark of type, shape and values: equal factors share device memory */
} oclora_factor;

/* Bytes of one row; a Q8_0 row is padded with zeros to whole blocks of 32. */
uint64_t oclora_factor_row_bytes(oclora_type type, uint32_t cols);
uint64_t oclora_factor_bytes(const oclora_factor *factor);

enum { OCLORA_ROUTER_NONE = 0, OCLORA_ROUTER_TOP_K = 1, OCLORA_ROUTER_PAIRS = 2 };

/* A router inside the layer.
 * TOP_K (MeteoRA), per row: logits = gate x; the top_k largest, softmax(kept / temperature) weighs
 *   them; expert i owns rank rows [i * rank / n_experts, (i + 1) * rank / n_experts) of A and B,
 * all other rank rows are zero. Ties go to the lower index. PAIRS (conditional MixLoRA), per
 * sequence of the call: xm = mean of its rows; ia = indices of the top_k of gate xm in descending
 * order; ib = the same of gate_b xm (pair_table NULL) softmax(gate_b xm) + pair_weight *
 * softmax(sum_j pair_table[j][ia_j])  (else); then y += sum_j b[ib_j] * scale[ia_j] * (a[ia_j] .
 * x). rank == n_experts; scores do not weigh. */
typedef struct oclora_router {
    uint32_t kind; /* OCLORA_ROUTER_* */
    uint32_t n_experts;
    uint32_t top_k;
    float temperature;
    oclora_factor gate;   /* [n_experts, d_in]; F32, F16 or BF16, never rounded */
    oclora_factor gate_b; /* [n_experts, d_in]; PAIRS only */
    float *pair_table;    /* [top_k, n_experts, n_experts] or NULL */
    float pair_weight;
} oclora_router;

typedef struct oclora_module {
    char *name;     /* PEFT: without "base_model.model."; GGUF: the weight's without ".weight" */
    uint32_t d_in;  /* 0: the file does not say; see bind.h */
    uint32_t d_out; /* 0: the file does not say */
    uint32_t rank;  /* 0: no low-rank part */
    uint32_t group; /* >= 1 */
    oclora_factor
        a; /* [rank, d_in / group]; before binding it may be wider: leading columns count */
    oclora_factor b; /* [rank, d_out] */
    float *scale;    /* [rank], includes alpha / rank and any diagonal; NULL iff rank == 0 */
    float *core;     /* [rank, rank] row-major or NULL */
    float *u;        /* [d_out] or NULL = 1 */
    float *beta;     /* [d_out] or NULL = 1 */
    float *c;        /* [d_out] or NULL = 0 */
    uint32_t n_mul;
    float *mul_u;     /* [n_mul, d_out] or NULL = 1 */
    float *mul_v;     /* [n_mul, d_in] or NULL = 1 */
    float *magnitude; /* DoRA: [d_out], turned into u and beta when the base is known */
    bool scales_bias; /* u multiplies the base bias as well (IA3) */
    oclora_router router;
} oclora_module;

typedef struct oclora_blob oclora_blob;

typedef struct oclora_adapter_image {
    oclora_env env;
    oclora_kind kind;
    uint32_t naming;        /* OCLORA_NAMING_* of module names */
    oclora_module *modules; /* sorted by name, unique */
    size_t n_modules;
    uint64_t bytes;   /* of all factors and vectors, before sharing */
    uint8_t hash[32]; /* SHA-256 over the files' bytes and the task: the content identity */
    uint32_t n_tasks; /* adapters the file holds, of which this is one: path "FOLDER#task=N" */
    uint32_t task;
    char architecture[64]; /* of the base, where the file says so (GGUF), else "" */
    oclora_blob *blobs;    /* owned memory of the factors */
    size_t n_blobs;
    size_t blob_capacity;
    oclora_map map; /* of a compact file, where the factors lie; zeroed for all others */
} oclora_adapter_image;

enum { OCLORA_NAMING_PEFT = 1, OCLORA_NAMING_GGUF = 2 };

/* Drops the modules that `wanted` answers false for, before the image is added to a pool. Their
 * factors' memory goes with the image. */
void oclora_adapter_image_keep(oclora_adapter_image *image,
                               bool (*wanted)(void *user, const char *name), void *user);

void oclora_adapter_image_destroy(oclora_adapter_image *image); /* NULL and half-built allowed */

#endif
