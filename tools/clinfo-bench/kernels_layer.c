/* kernels_layer.c - linear layers at model sizes: the base product, what adapters add to it, and
 * three layers of one input in one launch. */
#include "tools/clinfo-bench/kernels.h"
#include "tools/clinfo-bench/layer.h"

#include "host/op/fused.h"

#include <string.h>

typedef struct model_case {
    const char *name;
    bool quick;
    oclora_type type;
    uint32_t d, rows, n_adapters, rank;
    uint32_t layers; /* of one input; up to OCLORA_GROUP_WEIGHTS */
    bool bias, routed, multiply;
} model_case;

/* clang-format off: one case a line */
static const model_case cases[] = {
    {"base_q4_1_1024_decode_1", true, OCLORA_TYPE_Q4_1, 1024, 1, .layers = 1},
    {"base_q4_1_1024_decode_8", true, OCLORA_TYPE_Q4_1, 1024, 8, .layers = 1},
    {"base_f16_1024_decode_1", true, OCLORA_TYPE_F16, 1024, 1, .layers = 1},
    {"lora_f16_1024_r16_decode_8", true, OCLORA_TYPE_Q4_1, 1024, 8, 8, 16, .layers = 1},
    {"base_q8_0_2048_decode_1", false, OCLORA_TYPE_Q8_0, 2048, 1, .layers = 1},
    {"base_q4_0_2048_decode_32", false, OCLORA_TYPE_Q4_0, 2048, 32, .layers = 1},
    {"base_q4_1_2048_prefill_128", false, OCLORA_TYPE_Q4_1, 2048, 128, .layers = 1},
    {"lora_f16_2048_r16_decode_32", false, OCLORA_TYPE_Q4_1, 2048, 32, 32, 16, .layers = 1},
    {"lora_f16_2048_r64_prefill_128", false, OCLORA_TYPE_Q4_1, 2048, 128, 4, 64, .layers = 1},
    {"bias_q4_1_1024_decode_8", false, OCLORA_TYPE_Q4_1, 1024, 8, .layers = 1, .bias = true},
    {"routed_f16_1024_r16_decode_8", false, OCLORA_TYPE_Q4_1, 1024, 8, 4, 16, 1, .routed = true},
    {"multiply_q4_1_1024_decode_8", false, OCLORA_TYPE_Q4_1, 1024, 8, 4, 16, 1, .multiply = true},
    {"three_q4_1_1024_decode_8", false, OCLORA_TYPE_Q4_1, 1024, 8, .layers = 3},
    {"three_lora_f16_1024_r16_decode_8", false, OCLORA_TYPE_Q4_1, 1024, 8, 8, 16, .layers = 3},
};
/* clang-format on */

typedef struct model_layers {
    bench_layer layer[OCLORA_GROUP_WEIGHTS];
    oclora_group_call call; /* of a group */
    oclora_stream *stream;
    uint32_t flags;
} model_layers;

static oclora_status run_layer(void *user, oclora_error *err)
{
    model_layers *l = user;
    return bench_layer_run(&l->layer[0], l->flags, err);
}

static oclora_status run_group(void *user, oclora_error *err)
{
    model_layers *l = user;
    return oclora_linear_group(l->stream, &l->call, l->layer[0].lanes, err);
}

/* Adapters of a group are those of its first layer: all have one shape. */
static oclora_status create(model_layers *l, selftest *t, const model_case *c, oclora_error *err)
{
    bench_layer_plan plan = {.type = c->type,
                             .factor = OCLORA_TYPE_F16,
                             .d_in = c->d,
                             .d_out = c->d,
                             .rows = c->rows,
                             .n_adapters = c->n_adapters,
                             .bias = c->bias,
                             .routed = c->routed,
                             .multiply = c->multiply};
    for (uint32_t k = 0; k < c->n_adapters; k++) plan.ranks[k] = c->rank;
    l->stream = t->stream;
    l->flags = c->n_adapters && !c->multiply ? OCLORA_LINEAR_DELTA_ONLY : 0;
    l->call.count = c->layers;
    l->call.rows = c->rows;
    for (uint32_t i = 0; i < l->call.count; i++) {
        OCLORA_TRY(bench_layer_create(&l->layer[i], t, &plan, err));
        plan.n_adapters = 0;
        l->call.weight[i] = l->layer[i].weight;
        l->call.y[i] = l->layer[i].y.view;
        l->call.work[i] = l->layer[0].work;
    }
    l->call.x = l->layer[0].x.view;
    return OCLORA_OK;
}

static void measure(selftest *t, const model_case *c, model_layers *l)
{
    const double rows = c->rows, d = c->d, layers = l->call.count;
    const bool delta = (l->flags & OCLORA_LINEAR_DELTA_ONLY) && c->layers == 1;
    double bytes = rows * d * 4 * (1 + layers + (delta ? 1 : 0));
    double operations = 2 * rows * d * 2.0 * c->rank * layers;
    if (c->n_adapters) bytes += (double)l->layer[0].factor_bytes * layers;
    if (!delta) {
        bytes += (double)l->layer[0].weight->bytes * layers;
        operations += 2 * rows * d * d * layers;
    }
    const bench_work work = {c->layers > 1 ? run_group : run_layer, l, bytes, operations};
    bench_time_work(t, &work);
}

static void run_case(selftest *t, const model_case *c)
{
    oclora_error err = {0};
    model_layers l;
    memset(&l, 0, sizeof l);
    oclora_status status = create(&l, t, c, &err);
    if (status)
        bench_report_case_error(t, "", status, &err);
    else
        measure(t, c, &l);
    for (int i = 0; i < OCLORA_GROUP_WEIGHTS; i++) bench_layer_destroy(&l.layer[i]);
}

oclora_status bench_model_layers(selftest *t, oclora_error *err)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (t->child->mode == BENCH_QUICK && !cases[i].quick) continue;
        if (!bench_begin(t->child, cases[i].name)) continue;
        OCLORA_TRY(oclora_stream_create(&t->stream, t->context, err));
        run_case(t, &cases[i]);
        oclora_stream_destroy(t->stream);
        t->stream = NULL;
    }
    return OCLORA_OK;
}
