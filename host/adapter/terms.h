/* terms.h - what every adapter file becomes: one set of terms per adapted module.
 *
 * For row x of a module with base product f(x) = W x (no bias), an adapter k gives
 *
 *   f_k(x) = u o W x  +  beta o B^T M (scale o A P x)  +  c            (additive kinds)
 *   f_k(x) = sum_j mul_u[j] o W (mul_v[j] o x)  +  c                   (multiplicative kinds, n_mul > 0)
 *
 * with A [rank, d_in/group], B kept rank-major [rank, d_out], P the sum over `group` neighbouring
 * inputs, M an optional [rank, rank] core. A row with weighted adapters gets
 * f(x) + sum_k w_k (f_k(x) - f(x)). Scales stay f32 beside the factors. Pure data, no OpenCL. */
#ifndef OCLORA_ADAPTER_TERMS_H
#define OCLORA_ADAPTER_TERMS_H

#include "host/core/env.h"

#include <stdint.h>

enum { OCLORA_RANK_MAX = 1024, OCLORA_DIM_MAX = 1 << 20 };

/* rows x cols values of `type` (F32, F16, BF16 or Q8_0), rows contiguous, 16-byte aligned. */
typedef struct oclora_factor {
    oclora_type type;
    uint32_t rows;
    uint32_t cols;
    void *data; /* owned by the image */
    uint8_t hash[32]; /* SHA-256 of type, shape and values: equal factors share device memory */
} oclora_factor;

/* A top-k router inside the layer: logits = gate x; MeteoRA. n_experts = 0: none. */
typedef struct oclora_router {
    uint32_t kind;       /* 0 none, 1 MeteoRA top-k softmax, 2 conditional MixLoRA */
    uint32_t n_experts;
    uint32_t top_k;
    float temperature;
    oclora_factor gate;  /* [n_experts, d_in] */
} oclora_router;

typedef struct oclora_module {
    char *name;      /* in the file's own naming without "base_model.model." */
    uint32_t d_in;
    uint32_t d_out;
    uint32_t rank;   /* 0: no low-rank part */
    uint32_t group;  /* >= 1 */
    oclora_factor a; /* [rank, d_in / group] */
    oclora_factor b; /* [rank, d_out] */
    float *scale;    /* [rank], includes alpha / rank and any diagonal; NULL iff rank == 0 */
    float *core;     /* [rank, rank] row-major or NULL */
    float *u;        /* [d_out] or NULL = 1 */
    float *beta;     /* [d_out] or NULL = 1 */
    float *c;        /* [d_out] or NULL = 0 */
    uint32_t n_mul;
    float *mul_u;    /* [n_mul, d_out] or NULL */
    float *mul_v;    /* [n_mul, d_in] or NULL */
    float *magnitude; /* DoRA: [d_out], turned into u and beta when the base is known */
    oclora_router router;
} oclora_module;

typedef struct oclora_adapter_image {
    oclora_env env;
    oclora_kind kind;
    uint32_t naming;    /* OCLORA_NAMING_* of module names */
    oclora_module *modules; /* sorted by name, unique */
    size_t n_modules;
    uint64_t bytes;     /* of all factors and vectors, before sharing */
    uint8_t hash[32];   /* SHA-256 over the files' bytes: the adapter's content identity */
} oclora_adapter_image;

enum { OCLORA_NAMING_PEFT = 1, OCLORA_NAMING_GGUF = 2 };

void oclora_adapter_image_destroy(oclora_adapter_image *image); /* NULL and half-built allowed */

#endif
