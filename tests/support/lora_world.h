/* lora_world.h - a small adapted layer for tests: a base weight, adapters with every kind of term,
 * the rows of a batch, and what they must give in double precision. */
#ifndef OCLORA_TESTS_LORA_WORLD_H
#define OCLORA_TESTS_LORA_WORLD_H

#include "host/op/lanes.h"
#include "support/harness.h"

enum { WORLD_POOL_BYTES = 8 << 20, WORLD_ADAPTERS = 8, WORLD_PAD = 3, WORLD_ENTRIES = 3 };

typedef struct world_adapter {
    oclora_lane lane;
    float *a, *b; /* values as stored: [rank][d_in / group], [rank][d_out] */
    float *scale, *core, *u, *beta, *c;
    float *mul_u, *mul_v, *gate;
} world_adapter;

typedef struct world {
    const oclora_test_device *device;
    oclora_base *base;
    oclora_buffer *w_buffer, *x_buffer, *y_buffer, *pool;
    const oclora_weight *weight;
    unsigned char *pool_bytes;
    uint64_t pool_used;
    world_adapter adapters[WORLD_ADAPTERS];
    uint32_t n_adapters, d_in, d_out, n_rows;
    oclora_lane_table *table;
    float *values, *x, *y0; /* y0: what y holds before, if DELTA_ONLY is set */
    uint32_t flags, chunk_rows;
    const uint32_t *runs; /* lengths of runs of rows with the same adapters, or NULL */
    double tolerance;     /* max error over max value */
} world;

enum { WITH_U = 1, WITH_BETA = 2, WITH_C = 4, WITH_CORE = 8 };

/* At most 64 rows. */
void world_open(world *w, const oclora_test_device *device, uint32_t d_in, uint32_t d_out,
                uint32_t n_rows);
void world_close(world *w);

void world_add(world *w, uint32_t rank, uint32_t group, oclora_type type_a, oclora_type type_b,
               uint32_t with);
/* A multiplicative adapter; `with` 0 to 3: bit 0 mul_u, bit 1 mul_v are there. */
void world_add_mul(world *w, uint32_t n_mul, uint32_t with);
/* An adapter with a top-k router. */
void world_add_routed(world *w, uint32_t n_experts, uint32_t expert_rank, uint32_t top_k,
                      oclora_type type_gate);

/* Draws a batch of mixtures, runs it, and checks: values, untouched padding, every row bitwise the
 * same alone, and rows of weight 0 bitwise the base product. Closes the world. */
void world_check(world *w);

#endif
