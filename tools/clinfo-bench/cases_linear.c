/* cases_linear.c - self-test of the adapted linear layer: base product over every panel type, then
 * adapters of several ranks and factor types, mixtures and rows without any, in one batch. */
#include "tools/clinfo-bench/layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct linear_case {
    const char *name;
    const char *kernel; /* what is tested beyond the base product */
    bool quick;
    oclora_type type;
    uint32_t d_in, d_out, rows;
    bool adapters;
    oclora_type factor;
    bool multiply, routed;
    bool paired, scaled;
    bool tiles; /* two launches where one would do, as for many rows */
} linear_case;

#define BASE(TYPE, text, in, out, rows, q)                                                         \
    {                                                                                              \
        "panel_" text, "matmul_panel", q, OCLORA_TYPE_##TYPE, in, out, rows, false,                \
            .factor = OCLORA_TYPE_F32                                                              \
    }
#define ADAPTED(FACTOR, text, in, out, rows, q)                                                    \
    {                                                                                              \
        "linear_lora_" text, "lora_expand", q, OCLORA_TYPE_F32, in, out, rows, true,               \
            .factor = OCLORA_TYPE_##FACTOR                                                         \
    }
#define TILES(FACTOR, text, in, out, rows, q)                                                      \
    {                                                                                              \
        "linear_tiles_" text, "lora_shrink", q, OCLORA_TYPE_F32, in, out, rows, true,              \
            .factor = OCLORA_TYPE_##FACTOR, .tiles = true                                          \
    }

static const linear_case cases[] = {
    BASE(F32, "f32_one_row", 96, 80, 1, true),
    BASE(F32, "f32_four_rows", 96, 80, 4, false),
    BASE(F32, "f32", 96, 80, 9, false),
    BASE(F32, "f32_many_rows", 288, 80, 133, false),
    BASE(F16, "f16_one_row", 96, 80, 1, false),
    BASE(F16, "f16_four_rows", 96, 80, 4, false),
    BASE(F16, "f16", 96, 80, 9, true),
    BASE(F16, "f16_many_rows", 288, 80, 133, false),
    BASE(BF16, "bf16_one_row", 96, 80, 1, false),
    BASE(BF16, "bf16_four_rows", 96, 80, 4, false),
    BASE(BF16, "bf16", 96, 80, 9, false),
    BASE(BF16, "bf16_many_rows", 288, 80, 133, false),
    BASE(Q8_0, "q8_0_one_row", 96, 80, 1, false),
    BASE(Q8_0, "q8_0_four_rows", 96, 80, 4, false),
    BASE(Q8_0, "q8_0", 96, 80, 9, true),
    BASE(Q8_0, "q8_0_many_rows", 288, 80, 133, false),
    BASE(Q4_0, "q4_0_one_row", 96, 80, 1, false),
    BASE(Q4_0, "q4_0_four_rows", 96, 80, 4, false),
    BASE(Q4_0, "q4_0", 96, 80, 9, true),
    BASE(Q4_0, "q4_0_many_rows", 288, 80, 133, false),
    BASE(Q4_1, "q4_1_one_row", 96, 80, 1, false),
    BASE(Q4_1, "q4_1_four_rows", 96, 80, 4, false),
    BASE(Q4_1, "q4_1", 96, 80, 9, true),
    BASE(Q4_1, "q4_1_many_rows", 288, 80, 133, false),
    BASE(Q5_0, "q5_0_one_row", 96, 80, 1, false),
    BASE(Q5_0, "q5_0_four_rows", 96, 80, 4, false),
    BASE(Q5_0, "q5_0", 96, 80, 9, true),
    BASE(Q5_0, "q5_0_many_rows", 288, 80, 133, false),
    BASE(Q5_1, "q5_1_one_row", 96, 80, 1, false),
    BASE(Q5_1, "q5_1_four_rows", 96, 80, 4, false),
    BASE(Q5_1, "q5_1", 96, 80, 9, true),
    BASE(Q5_1, "q5_1_many_rows", 288, 80, 133, false),
    BASE(Q4_K, "q4_K_one_row", 256, 80, 1, false),
    BASE(Q4_K, "q4_K_four_rows", 256, 80, 4, false),
    BASE(Q4_K, "q4_K", 256, 80, 9, true),
    BASE(Q4_K, "q4_K_many_rows", 512, 80, 133, false),
    BASE(Q5_K, "q5_K_one_row", 256, 80, 1, false),
    BASE(Q5_K, "q5_K_four_rows", 256, 80, 4, false),
    BASE(Q5_K, "q5_K", 256, 80, 9, true),
    BASE(Q5_K, "q5_K_many_rows", 512, 80, 133, false),
    BASE(Q6_K, "q6_K_one_row", 256, 80, 1, false),
    BASE(Q6_K, "q6_K_four_rows", 256, 80, 4, false),
    BASE(Q6_K, "q6_K", 256, 80, 9, true),
    BASE(Q6_K, "q6_K_many_rows", 512, 80, 133, false),
    BASE(F32, "f32_three_panels", 160, 48, 37, false),
    BASE(F16, "f16_three_panels", 160, 48, 37, false),
    BASE(BF16, "bf16_three_panels", 160, 48, 37, false),
    ADAPTED(F32, "f32", 96, 80, 11, true),
    ADAPTED(F16, "f16", 96, 80, 11, true),
    ADAPTED(BF16, "bf16", 64, 48, 5, false),
    ADAPTED(Q8_0, "q8_0", 96, 80, 11, false),
    TILES(F32, "f32", 96, 80, 11, true),
    TILES(F16, "f16", 96, 80, 11, false),
    TILES(BF16, "bf16", 96, 80, 11, false),
    TILES(Q8_0, "q8_0", 96, 80, 11, true),
    {"linear_multiply", "rowscale", true, OCLORA_TYPE_F16, 96, 80, 11, true,
     .factor = OCLORA_TYPE_F32, .multiply = true},
    {"linear_with_bias", "linear_bias", true, OCLORA_TYPE_F32, 96, 80, 5, true,
     .factor = OCLORA_TYPE_F32},
    {"linear_route", "lora_select", true, OCLORA_TYPE_F32, 96, 80, 11, true,
     .factor = OCLORA_TYPE_F16, .routed = true},
    {"linear_pairs", "lora_select", true, OCLORA_TYPE_F32, 96, 80, 11, true,
     .factor = OCLORA_TYPE_F32, .paired = true},
    {"linear_scaled", "lora_shrink", true, OCLORA_TYPE_F32, 96, 80, 11, true,
     .factor = OCLORA_TYPE_F16, .scaled = true},
};

static void run_case(selftest *t, const linear_case *c, const char *subject)
{
    oclora_error err = {0};
    bench_layer layer = {0};
    case_verdict verdict;
    double began = bench_now();
    bench_layer_plan plan = {.type = c->type,
                             .d_in = c->d_in,
                             .d_out = c->d_out,
                             .rows = c->rows,
                             .factor = c->factor,
                             .bias = !strcmp(c->kernel, "linear_bias"),
                             .multiply = c->multiply,
                             .routed = c->routed,
                             .paired = c->paired,
                             .scaled = c->scaled};
    if (c->adapters) {
        static const uint32_t ranks[BENCH_LAYER_ADAPTERS] = {1, 5, 16, 67};
        memcpy(plan.ranks, ranks, sizeof ranks);
        plan.n_adapters = BENCH_LAYER_ADAPTERS;
        plan.mixed = true;
    }
    double *expected = calloc((size_t)c->rows * c->d_out, sizeof *expected);
    oclora_status status = bench_layer_create(&layer, t, &plan, &err);
    if (!status && !expected) status = oclora_fail_memory(&err, 0, "a reference");
    if (!status) status = bench_layer_run(&layer, c->tiles ? OCLORA_LINEAR_TILES : 0, &err);
    if (!status) status = bench_layer_reference(&layer, expected, &err);
    if (!status) status = bench_judge(t, &layer.y, expected, &verdict, &err);
    if (status)
        bench_report_case_error(t, subject, status, &err);
    else
        bench_report_case(t, subject, &verdict, 1e-11, bench_now() - began);
    bench_layer_destroy(&layer);
    free(expected);
}

void bench_linear_cases(selftest *t)
{
    char subject[56];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        t->random = 5000 + i;
        if (t->child->mode == BENCH_QUICK && !cases[i].quick) continue;
        const linear_case *c = &cases[i];
        if (c->adapters)
            snprintf(subject, sizeof subject, "%s", c->kernel);
        else
            snprintf(subject, sizeof subject, "%s:TYPE=%u", c->kernel, c->type);
        if (bench_begin_case(t->child, c->name, subject)) run_case(t, c, subject);
    }
}
