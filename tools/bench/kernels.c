/* kernels.c - single layers beside BLAS libraries and beside the device's own read rate. */
#include "tools/bench/suites.h"

#include "tools/bench/growth.h"
#include "tools/bench/peers.h"

#include <stdio.h>
#include <string.h>

typedef struct kernels {
    bench_report *report;
    bench_device device;
    bench_openblas openblas;
    bench_clblast clblast;
    bool has_openblas, has_clblast;
    bench_limits limits;
    bool one_core; /* this process is pinned */
} kernels;

enum {
    PEER_OPENBLAS,
    PEER_SGEMM,
    PEER_CLBLAST_BATCHED,
    PEER_CLBLAST_GEMV,
    PEER_PROBE_DELTA,
    PEER_PROBE_BASE
};

typedef struct kernel_case {
    bench_case base;
    uint32_t peer;
    uint32_t cores; /* 1: only on one CPU, in a process of its own; 0: as the process is */
    bench_shape shape;
} kernel_case;

#define DECODE(type)                                                                               \
    {                                                                                              \
        4096, {4096}, 32, 32, 16, OCLORA_TYPE_F32, type                                            \
    }
#define BASE(type, rows, in, out)                                                                  \
    {                                                                                              \
        in, {out}, rows, 0, 0, type, 0                                                             \
    }
#define US          "us a layer"
#define DEQUANTISED "OpenBLAS sgemm, dequantised weight"
#define LOOP        "OpenBLAS, adapter by adapter, f32"

static const kernel_case cases[] = {
    {{"kernels", "decode-f16-of-read-rate", US, "read probe of the same bytes", .90, .95},
     PEER_PROBE_DELTA,
     0,
     DECODE(OCLORA_TYPE_F16)},
    {{"kernels", "decode-f32-of-read-rate", US, "read probe of the same bytes", .90, .95},
     PEER_PROBE_DELTA,
     0,
     DECODE(OCLORA_TYPE_F32)},
    {{"kernels", "decode-f16-openblas-one-core", US, LOOP, 1.6, 1.8},
     PEER_OPENBLAS,
     1,
     DECODE(OCLORA_TYPE_F16)},
    {{"kernels", "decode-f16-openblas", US, LOOP, 1.8, 2.0},
     PEER_OPENBLAS,
     0,
     DECODE(OCLORA_TYPE_F16)},
    {{"kernels", "decode-f16-clblast-batched", US, "CLBlast SgemmBatched, f32", 30, 50},
     PEER_CLBLAST_BATCHED,
     0,
     DECODE(OCLORA_TYPE_F16)},
    {{"kernels", "decode-f16-clblast-gemv", US, "CLBlast Sgemv, adapter by adapter", 5, 10},
     PEER_CLBLAST_GEMV,
     0,
     DECODE(OCLORA_TYPE_F16)},
    {{"kernels", "prefill-512x4-r64-openblas", US, LOOP, 1.0, 1.3},
     PEER_OPENBLAS,
     0,
     {4096, {4096}, 512, 4, 64, OCLORA_TYPE_F32, OCLORA_TYPE_F16}},
    {{"kernels", "small-qkv-openblas", US, LOOP, 1.2, 1.5},
     PEER_OPENBLAS,
     0,
     {576, {576, 192, 192}, 16, 16, 8, OCLORA_TYPE_F32, OCLORA_TYPE_F16}},
    {{"kernels", "base-q4_1-8-rows", US, DEQUANTISED, 3.0, 3.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_Q4_1, 8, 576, 1536)},
    {{"kernels", "base-q4_1-16-rows", US, DEQUANTISED, 2.2, 2.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_Q4_1, 16, 576, 1536)},
    {{"kernels", "base-q4_1-64-rows", US, DEQUANTISED, 1.3, 1.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_Q4_1, 64, 576, 1536)},
    {{"kernels", "base-q8_0-8-rows", US, DEQUANTISED, 3.0, 3.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_Q8_0, 8, 576, 1536)},
    {{"kernels", "base-q8_0-16-rows", US, DEQUANTISED, 2.2, 2.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_Q8_0, 16, 576, 1536)},
    {{"kernels", "base-q8_0-64-rows", US, DEQUANTISED, 1.3, 1.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_Q8_0, 64, 576, 1536)},
    {{"kernels", "base-f16-8-rows", US, DEQUANTISED, 3.0, 3.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_F16, 8, 576, 1536)},
    {{"kernels", "base-f16-16-rows", US, DEQUANTISED, 2.2, 2.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_F16, 16, 576, 1536)},
    {{"kernels", "base-f16-64-rows", US, DEQUANTISED, 1.3, 1.5},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_F16, 64, 576, 1536)},
    {{"kernels", "base-q4_1-8-rows-4096", US, DEQUANTISED, 0, 0},
     PEER_SGEMM,
     0,
     BASE(OCLORA_TYPE_Q4_1, 8, 4096, 4096)},
    {{"kernels", "matvec-q8_0-of-read-rate", US, "read probe of the weight's bytes", .65, .80},
     PEER_PROBE_BASE,
     0,
     BASE(OCLORA_TYPE_Q8_0, 1, 4096, 4096)},
    {{"kernels", "matvec-q4_0-of-read-rate", US, "read probe of the weight's bytes", .50, .60},
     PEER_PROBE_BASE,
     0,
     BASE(OCLORA_TYPE_Q4_0, 1, 4096, 4096)},
    {{"kernels", "matvec-q4_1-of-read-rate", US, "read probe of the weight's bytes", .50, .60},
     PEER_PROBE_BASE,
     0,
     BASE(OCLORA_TYPE_Q4_1, 1, 4096, 4096)},
};

/* Sums in f32 differ in order; anything above is another result. */
static const double AGREES = 1e-3;

static void report_duel(kernels *k, const kernel_case *c, const bench_side *ours,
                        const bench_side *peer)
{
    bench_duel duel;
    if (bench_duel_run(&duel, ours, peer, &k->limits))
        bench_report_times(k->report, &c->base, &duel, 1e6);
    else
        bench_report_missing(k->report, &c->base, "a contender failed");
}

static bool agree(kernels *k, const kernel_case *c, double error)
{
    if (error >= 0 && error < AGREES) return true;
    bench_report_missing(k->report, &c->base, "the results differ by %.3g of the largest", error);
    return false;
}

static uint32_t threads(const kernels *k)
{
    return k->one_core ? 1 : k->device.info.compute_units;
}

static void against_openblas(kernels *k, const kernel_case *c, bench_layer *layer)
{
    bench_loop loop;
    if (!bench_loop_open(&loop, &k->openblas, layer, threads(k))) {
        bench_report_missing(k->report, &c->base, "out of memory");
        return;
    }
    bench_side ours = {bench_layer_delta, layer}, peer = {bench_loop_run, &loop};
    if (agree(k, c, bench_loop_error(&loop, layer))) report_duel(k, c, &ours, &peer);
    bench_loop_close(&loop);
}

static void against_sgemm(kernels *k, const kernel_case *c, bench_layer *layer)
{
    bench_sgemm gemm;
    if (!bench_sgemm_open(&gemm, &k->openblas, layer, threads(k))) {
        bench_report_missing(k->report, &c->base, "out of memory");
        return;
    }
    bench_side ours = {bench_layer_base, layer}, peer = {bench_sgemm_run, &gemm};
    if (agree(k, c, bench_sgemm_error(&gemm, layer))) report_duel(k, c, &ours, &peer);
    bench_sgemm_close(&gemm);
}

static void against_clblast(kernels *k, const kernel_case *c, bench_layer *layer)
{
    bench_cl_loop loop;
    if (!bench_cl_loop_open(&loop, &k->clblast, layer, c->peer == PEER_CLBLAST_BATCHED)) {
        bench_report_missing(k->report, &c->base, "out of memory");
        return;
    }
    bench_side ours = {bench_layer_delta, layer}, peer = {bench_cl_loop_run, &loop};
    report_duel(k, c, &ours, &peer);
    bench_cl_loop_close(&loop);
}

/* The probe reads as many bytes as the layer moves: factors or weight, x, and y (in the adapters'
 * case read and written). */
static void against_probe(kernels *k, const kernel_case *c, bench_layer *layer)
{
    const bool delta = c->peer == PEER_PROBE_DELTA;
    const bench_shape *s = &c->shape;
    double bytes = delta ? bench_layer_bytes(layer)
                         : (double)layer->weight[0]->bytes + 4.0 * s->rows * s->d_in +
                               4.0 * s->rows * s->d_out[0];
    bench_probe probe;
    if (!bench_probe_open(&probe, &k->device, (uint64_t)bytes)) {
        bench_report_missing(k->report, &c->base, "the probe failed");
        return;
    }
    bench_side ours = {delta ? bench_layer_delta : bench_layer_base, layer};
    bench_side peer = {bench_probe_run, &probe};
    report_duel(k, c, &ours, &peer);
    bench_probe_close(&probe);
}

static bool has_peer(kernels *k, const kernel_case *c)
{
    bool blas = c->peer == PEER_OPENBLAS || c->peer == PEER_SGEMM;
    bool cl = c->peer == PEER_CLBLAST_BATCHED || c->peer == PEER_CLBLAST_GEMV;
    if (blas && !k->has_openblas)
        bench_report_missing(k->report, &c->base, "OpenBLAS is not installed (libopenblas-dev)");
    else if (cl && !k->has_clblast)
        bench_report_missing(k->report, &c->base, "CLBlast is not installed (libclblast-dev)");
    else
        return true;
    return false;
}

static void run_case(kernels *k, const kernel_case *c)
{
    bench_layer layer;
    if (!has_peer(k, c)) return;
    if (c->cores == 1 && !k->one_core) {
        bench_pinned_again(k->report, &c->base);
        return;
    }
    bench_progress("%s: %s", c->base.suite, c->base.name);
    if (!bench_layer_open(&layer, &k->device, &c->shape)) {
        bench_report_missing(k->report, &c->base, "%s", k->device.err.text);
        return;
    }
    switch (c->peer) {
    case PEER_OPENBLAS:
        against_openblas(k, c, &layer);
        break;
    case PEER_SGEMM:
        against_sgemm(k, c, &layer);
        break;
    case PEER_PROBE_DELTA:
    case PEER_PROBE_BASE:
        against_probe(k, c, &layer);
        break;
    default:
        against_clblast(k, c, &layer);
        break;
    }
    bench_layer_close(&layer);
}

static size_t n_cases(void)
{
    return sizeof cases / sizeof cases[0];
}

void bench_kernels_list(const bench_options *options)
{
    for (size_t i = 0; i < n_cases(); i++)
        if (bench_wanted(options, "kernels", cases[i].base.name)) bench_report_list(&cases[i].base);
    bench_growth_list(options);
}

static bool any_wanted(const bench_options *options)
{
    for (size_t i = 0; i < n_cases(); i++)
        if (bench_wanted(options, "kernels", cases[i].base.name)) return true;
    return bench_growth_wanted(options);
}

int bench_kernels(bench_report *report)
{
    const bench_options *o = report->options;
    if (!any_wanted(o)) return BENCH_EXIT_OK;
    kernels k = {.report = report, .limits = bench_limits_of(o->quick), .one_core = o->pin >= 0};
    /* First, so that its threads do not inherit a place that an OpenCL runtime gives this one. */
    k.has_openblas = bench_openblas_open(&k.openblas);
    if (!bench_device_open(&k.device, o->device, OCLORA_CLASS_AUTO)) {
        bench_device_close(&k.device);
        return BENCH_EXIT_ENVIRONMENT;
    }
    k.has_clblast = bench_clblast_open(&k.clblast);
    printf("device: %s / %s, %u units%s\n", k.device.info.platform, k.device.info.name,
           (unsigned)k.device.info.compute_units, k.one_core ? ", process on one CPU" : "");
    if (k.has_openblas) printf("%s\n", k.openblas.config());
    for (size_t i = 0; i < n_cases(); i++)
        if (bench_wanted(o, "kernels", cases[i].base.name)) run_case(&k, &cases[i]);
    if (bench_growth_wanted(o)) bench_growth(report, &k.device);
    bench_device_close(&k.device);
    return BENCH_EXIT_OK;
}
