/* kernels.c - the project's kernels at model sizes: time, bytes, operations. The parent sets them
 * beside the measured limits. */
#include "tools/clinfo-bench/layer.h"

#include <stdlib.h>
#include <string.h>

typedef struct model_case {
    const char *name;
    bool quick;
    oclora_type type;
    uint32_t d, rows, n_adapters, rank;
} model_case;

static const model_case cases[] = {
    {"base_q4_1_1024_decode_1", true, OCLORA_TYPE_Q4_1, 1024, 1, 0, 0},
    {"base_q4_1_1024_decode_8", true, OCLORA_TYPE_Q4_1, 1024, 8, 0, 0},
    {"base_f16_1024_decode_1", true, OCLORA_TYPE_F16, 1024, 1, 0, 0},
    {"lora_f16_1024_r16_decode_8", true, OCLORA_TYPE_Q4_1, 1024, 8, 8, 16},
    {"base_q8_0_2048_decode_1", false, OCLORA_TYPE_Q8_0, 2048, 1, 0, 0},
    {"base_q4_0_2048_decode_32", false, OCLORA_TYPE_Q4_0, 2048, 32, 0, 0},
    {"base_q4_1_2048_prefill_128", false, OCLORA_TYPE_Q4_1, 2048, 128, 0, 0},
    {"lora_f16_2048_r16_decode_32", false, OCLORA_TYPE_Q4_1, 2048, 32, 32, 16},
    {"lora_f16_2048_r64_prefill_128", false, OCLORA_TYPE_Q4_1, 2048, 128, 4, 64},
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one call, best of groups. */
static oclora_status time_layer(bench_layer *layer, uint32_t flags, int rounds, double *best,
                                double *spread, oclora_error *err)
{
    double times[32], began = 0, once = 0;
    oclora_stream *stream = layer->t->stream;
    for (int i = 0; i < 2; i++) { /* the first compiles */
        began = bench_now();
        OCLORA_TRY(bench_layer_run(layer, flags, err));
        OCLORA_TRY(oclora_stream_finish(stream, err));
        once = bench_now() - began;
    }
    int count = once < 2e-3 ? (int)(2e-3 / once) + 1 : 1;
    for (int i = 0; i < rounds; i++) {
        began = bench_now();
        for (int k = 0; k < count; k++) OCLORA_TRY(bench_layer_run(layer, flags, err));
        OCLORA_TRY(oclora_stream_finish(stream, err));
        times[i] = (bench_now() - began) / count;
        if (i >= 2 && times[i] * count > 2.0) rounds = i + 1;
    }
    qsort(times, (size_t)rounds, sizeof *times, compare_doubles);
    *best = times[0];
    *spread = times[rounds / 2] / times[0] - 1;
    return OCLORA_OK;
}

static void run_case(selftest *t, const model_case *c)
{
    oclora_error err = {0};
    bench_layer layer = {0};
    double best = 0, spread = 0;
    bench_layer_plan plan = {.type = c->type,
                             .factor = OCLORA_TYPE_F16,
                             .d_in = c->d,
                             .d_out = c->d,
                             .rows = c->rows,
                             .n_adapters = c->n_adapters};
    for (uint32_t k = 0; k < c->n_adapters; k++) plan.ranks[k] = c->rank;
    uint32_t flags = c->n_adapters ? OCLORA_LINEAR_DELTA_ONLY : 0;
    oclora_status status = bench_layer_create(&layer, t, &plan, &err);
    if (!status)
        status =
            time_layer(&layer, flags, t->child->mode == BENCH_QUICK ? 7 : 15, &best, &spread, &err);
    if (status) {
        bench_report_case_error(t, c->n_adapters ? "lora_expand" : "matmul_panel", status, &err);
    } else {
        double rows = (double)c->rows, d = (double)c->d;
        double bytes = rows * d * 4 * (c->n_adapters ? 3 : 2) +
                       (c->n_adapters ? (double)layer.factor_bytes : (double)layer.weight->bytes);
        double operations = 2 * rows * d * (c->n_adapters ? 2.0 * c->rank : d);
        json_t *item = json_pack(
            "{s:s, s:s, s:f, s:f, s:f, s:f}", "kernel",
            c->n_adapters ? "lora_shrink, lora_expand" : "matmul_panel", "class",
            t->child->device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu", "value", best * 1e6,
            "spread_percent", spread * 100, "bytes", bytes, "operations", operations);
        json_object_set_new(item, "unit", json_string("us"));
        bench_result(t->child, "info", item, "%s", "");
    }
    bench_layer_destroy(&layer);
}

oclora_status bench_step_kernels(bench_child *child, oclora_error *err)
{
    selftest t = {.child = child, .random = 20262};
    child->device_class = child->device.device_class;
    const oclora_context_options options = {.ignore_quirks = 1};
    OCLORA_TRY(oclora_context_create(&t.context, &child->env, &child->device, &options, err));
    OCLORA_TRY(oclora_stream_create(&t.stream, t.context, err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (child->mode == BENCH_QUICK && !cases[i].quick) continue;
        if (bench_begin(child, cases[i].name)) run_case(&t, &cases[i]);
    }
    return OCLORA_OK;
}
