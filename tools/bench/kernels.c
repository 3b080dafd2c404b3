/* kernels.c - single layers beside BLAS libraries and beside the device's own read rate. */
#include "tools/bench/suites.h"

#include "tools/bench/growth.h"
#include "tools/bench/onednn.h"
#include "tools/bench/peers.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct kernels {
    bench_report *report;
    bench_device device;
    bench_openblas openblas;
    bench_clblast clblast;
    bool has_openblas, has_clblast;
    bench_limits limits;
    bool one_core; /* this process is pinned */
} kernels;

typedef enum peer_kind {
    PEER_OPENBLAS,
    PEER_SGEMM,
    PEER_CLBLAST_BATCHED,
    PEER_CLBLAST_GEMV,
    PEER_PROBE_DELTA,
    PEER_PROBE_BASE,
    PEER_PROBE_DELTA_CACHED,
    PEER_PROBE_BASE_CACHED,
    PEER_ONEDNN_F32,
    PEER_ONEDNN_S8
} peer_kind;

/* More than caches hold: so many bytes are gone through before a layer comes round again. */
enum { FOOTPRINT = 256 << 20 };

typedef struct kernel_case {
    bench_case base;
    peer_kind peer;
    uint32_t cores; /* 1: only on one CPU, in a process of its own; 0: as the process is */
    bench_shape shape;
} kernel_case;

#define CASE(name, peer, must, aim, kind, cores, ...)                                              \
    {                                                                                              \
        {"kernels", name, "us a layer", peer, must, aim}, kind, cores, __VA_ARGS__                 \
    }
#define READS   "read probe of the same bytes, "
#define LOOP    "OpenBLAS, adapter by adapter, f32"
#define SGEMM   "OpenBLAS sgemm, dequantised weight"
#define DNN_F32 "oneDNN matmul, dequantised weight packed before"
#define DNN_S8  "oneDNN matmul of 8-bit integers, x rounded before"

/* Adapters of 32 rows, each row another, of one layer of a large model. */
#define DECODE(name, peer, must, aim, kind, cores, type)                                           \
    CASE("decode-" name, peer, must, aim, kind, cores,                                             \
         {4096, {4096}, 32, 32, 16, OCLORA_TYPE_F32, OCLORA_TYPE_##type})
/* A base product alone. */
#define BASE(name, peer, must, aim, kind, type, rows, in, out)                                     \
    CASE(name, peer, must, aim, kind, 0, {in, {out}, rows, 0, 0, OCLORA_TYPE_##type, 0})
#define BASE_SGEMM(name, type, rows, must, aim)                                                    \
    BASE("base-" name "-" #rows "-rows", SGEMM, must, aim, PEER_SGEMM, type, rows, 576, 1536)
#define BASE_DNN(name, type, rows, label, peer, kind)                                              \
    BASE("base-" name "-" #rows "-rows-onednn" label, peer, 0, 0, kind, type, rows, 576, 1536)
/* Beside the read rate: many layers in turns, from memory, and one again and again, from a cache.
 */
#define OF_READ_RATE(name, must, aim, kind, ...)                                                   \
    CASE(name "-of-read-rate", READS "from memory", must, aim, kind, 0, __VA_ARGS__),              \
        CASE(name "-of-read-rate-cached", READS "from a cache", must, aim, kind##_CACHED, 0,       \
             __VA_ARGS__)
#define DECODE_READ(name, type)                                                                    \
    OF_READ_RATE("decode-" name, .90, .95, PEER_PROBE_DELTA,                                       \
                 {4096, {4096}, 32, 32, 16, OCLORA_TYPE_F32, OCLORA_TYPE_##type})
#define MATVEC_READ(name, type, must, aim)                                                         \
    OF_READ_RATE("matvec-" name, must, aim, PEER_PROBE_BASE,                                       \
                 {4096, {4096}, 1, 0, 0, OCLORA_TYPE_##type, 0})

static const kernel_case cases[] = {
    DECODE_READ("f16", F16),
    DECODE_READ("f32", F32),
    DECODE("f16-openblas-one-core", LOOP, 1.6, 1.8, PEER_OPENBLAS, 1, F16),
    DECODE("f16-openblas", LOOP, 1.8, 2.0, PEER_OPENBLAS, 0, F16),
    DECODE("f16-clblast-batched", "CLBlast SgemmBatched, f32", 30, 50, PEER_CLBLAST_BATCHED, 0,
           F16),
    DECODE("f16-clblast-gemv", "CLBlast Sgemv, adapter by adapter", 5, 10, PEER_CLBLAST_GEMV, 0,
           F16),
    CASE("prefill-512x4-r64-openblas", LOOP, 1.0, 1.3, PEER_OPENBLAS, 0,
         {4096, {4096}, 512, 4, 64, OCLORA_TYPE_F32, OCLORA_TYPE_F16}),
    CASE("small-qkv-openblas", LOOP, 1.2, 1.5, PEER_OPENBLAS, 0,
         {576, {576, 192, 192}, 16, 16, 8, OCLORA_TYPE_F32, OCLORA_TYPE_F16}),
    BASE_SGEMM("q4_1", Q4_1, 8, 3.0, 3.5),
    BASE_SGEMM("q4_1", Q4_1, 16, 2.2, 2.5),
    BASE_SGEMM("q4_1", Q4_1, 64, 1.3, 1.5),
    BASE_SGEMM("q8_0", Q8_0, 8, 3.0, 3.5),
    BASE_SGEMM("q8_0", Q8_0, 16, 2.2, 2.5),
    BASE_SGEMM("q8_0", Q8_0, 64, 1.3, 1.5),
    BASE_SGEMM("f16", F16, 8, 3.0, 3.5),
    BASE_SGEMM("f16", F16, 16, 2.2, 2.5),
    BASE_SGEMM("f16", F16, 64, 1.3, 1.5),
    BASE("base-q4_1-8-rows-4096", SGEMM, 0, 0, PEER_SGEMM, Q4_1, 8, 4096, 4096),
    BASE_DNN("q4_1", Q4_1, 8, "", DNN_F32, PEER_ONEDNN_F32),
    BASE_DNN("q4_1", Q4_1, 64, "", DNN_F32, PEER_ONEDNN_F32),
    BASE_DNN("q4_1", Q4_1, 512, "", DNN_F32, PEER_ONEDNN_F32),
    BASE_DNN("q8_0", Q8_0, 8, "-s8", DNN_S8, PEER_ONEDNN_S8),
    BASE_DNN("q8_0", Q8_0, 64, "-s8", DNN_S8, PEER_ONEDNN_S8),
    BASE_DNN("q8_0", Q8_0, 512, "-s8", DNN_S8, PEER_ONEDNN_S8),
    MATVEC_READ("q8_0", Q8_0, .65, .80),
    MATVEC_READ("q4_0", Q4_0, .50, .60),
    MATVEC_READ("q4_1", Q4_1, .50, .60),
};

static uint32_t threads(const kernels *k)
{
    return k->one_core ? 1 : k->device.info.compute_units;
}

typedef union peer {
    bench_loop loop;
    bench_sgemm gemm;
    bench_cl_loop cl;
    bench_probe probe;
    bench_dnn dnn;
} peer;

static bool open_loop(peer *p, kernels *k, const kernel_case *c, bench_layer *layer)
{
    (void)c;
    return bench_loop_open(&p->loop, &k->openblas, layer, threads(k));
}

static bool open_gemm(peer *p, kernels *k, const kernel_case *c, bench_layer *layer)
{
    (void)c;
    return bench_sgemm_open(&p->gemm, &k->openblas, layer, threads(k));
}

static bool open_cl(peer *p, kernels *k, const kernel_case *c, bench_layer *layer)
{
    return bench_cl_loop_open(&p->cl, &k->clblast, layer, c->peer == PEER_CLBLAST_BATCHED);
}

static bool open_dnn(peer *p, kernels *k, const kernel_case *c, bench_layer *layer)
{
    return bench_dnn_open(&p->dnn, layer, c->peer == PEER_ONEDNN_S8, threads(k));
}

/* The probe reads as many bytes as the layer moves: factors or weight, x, and y (in the adapters'
 * case read and written); from as many places. */
static bool open_probe(peer *p, kernels *k, const kernel_case *c, bench_layer *layer)
{
    const bench_shape *s = &c->shape;
    const bool cached = c->peer == PEER_PROBE_DELTA_CACHED || c->peer == PEER_PROBE_BASE_CACHED;
    const double bytes = s->adapters ? bench_layer_bytes(layer)
                                     : (double)layer->weight[0]->bytes + 4.0 * s->rows * s->d_in +
                                           4.0 * s->rows * s->d_out[0];
    const uint32_t places = cached ? 1 : (uint32_t)(FOOTPRINT / bytes) + 1;
    return bench_layer_spread(layer, places) &&
           bench_probe_open(&p->probe, &k->device, (uint64_t)bytes, places);
}

static double loop_error(peer *p, bench_layer *layer)
{
    return bench_loop_error(&p->loop, layer);
}

static double gemm_error(peer *p, bench_layer *layer)
{
    return bench_sgemm_error(&p->gemm, layer);
}

static double dnn_error(peer *p, bench_layer *layer)
{
    return bench_dnn_error(&p->dnn, layer);
}

static void close_loop(peer *p)
{
    bench_loop_close(&p->loop);
}

static void close_gemm(peer *p)
{
    bench_sgemm_close(&p->gemm);
}

static void close_cl(peer *p)
{
    bench_cl_loop_close(&p->cl);
}

static void close_probe(peer *p)
{
    bench_probe_close(&p->probe);
}

static void close_dnn(peer *p)
{
    bench_dnn_close(&p->dnn);
}

/* Sums in f32 differ in order; anything above AGREES is another result. x in 8 bits is. */
#define AGREES    1e-3
#define AGREES_S8 3e-2

/* Libraries are called as hosts call them, so ours runs as graphs run it. The read probe is a
 * kernel launched by itself, so ours is, too. */
typedef struct peer_way {
    bool (*open)(peer *p, kernels *k, const kernel_case *c, bench_layer *layer);
    bool (*ours)(void *layer, uint32_t repeats);
    bool (*theirs)(void *p, uint32_t repeats);
    double (*error)(peer *p, bench_layer *layer); /* NULL: there are no results to compare */
    double agrees;
    void (*close)(peer *p);
} peer_way;

static const peer_way ways[] = {
    [PEER_OPENBLAS] = {open_loop, bench_layer_delta_graph, bench_loop_run, loop_error, AGREES,
                       close_loop},
    [PEER_SGEMM] = {open_gemm, bench_layer_base_graph, bench_sgemm_run, gemm_error, AGREES,
                    close_gemm},
    [PEER_CLBLAST_BATCHED] = {open_cl, bench_layer_delta_graph, bench_cl_loop_run, NULL, 0,
                              close_cl},
    [PEER_CLBLAST_GEMV] = {open_cl, bench_layer_delta_graph, bench_cl_loop_run, NULL, 0, close_cl},
    [PEER_PROBE_DELTA] = {open_probe, bench_layer_delta, bench_probe_run, NULL, 0, close_probe},
    [PEER_PROBE_BASE] = {open_probe, bench_layer_base, bench_probe_run, NULL, 0, close_probe},
    [PEER_PROBE_DELTA_CACHED] = {open_probe, bench_layer_delta, bench_probe_run, NULL, 0,
                                 close_probe},
    [PEER_PROBE_BASE_CACHED] = {open_probe, bench_layer_base, bench_probe_run, NULL, 0,
                                close_probe},
    [PEER_ONEDNN_F32] = {open_dnn, bench_layer_base_graph, bench_dnn_run, dnn_error, AGREES,
                         close_dnn},
    [PEER_ONEDNN_S8] = {open_dnn, bench_layer_base_graph, bench_dnn_run, dnn_error, AGREES_S8,
                        close_dnn},
};

enum { WARM_CALLS = 3, WARM_REPEATS = 4 }; /* a chain is there at the third */

static void against(kernels *k, const kernel_case *c, bench_layer *layer)
{
    const peer_way *way = &ways[c->peer];
    peer p;
    if (!way->open(&p, k, c, layer)) {
        bench_report_missing(k->report, &c->base, "the peer could not be set up");
        return;
    }
    bool ready = true;
    for (int i = 0; i < WARM_CALLS && ready; i++) ready = way->ours(layer, WARM_REPEATS);
    const double error = way->error ? way->error(&p, layer) : 0;
    const bench_side ours = {way->ours, layer}, theirs = {way->theirs, &p};
    bench_duel duel;
    if (way->error && !(error >= 0 && error < way->agrees))
        bench_report_missing(k->report, &c->base, "the results differ by %.3g of the largest",
                             error);
    else if (ready && bench_duel_run(&duel, &ours, &theirs, &k->limits))
        bench_report_times(k->report, &c->base, &duel, 1e6);
    else
        bench_report_missing(k->report, &c->base, "a contender failed");
    way->close(&p);
}

/* NULL, or which package the peer comes from. */
static const char *lacks(const kernels *k, peer_kind kind)
{
    switch (kind) {
    case PEER_OPENBLAS:
    case PEER_SGEMM:
        return k->has_openblas ? NULL : "OpenBLAS is not installed (libopenblas-dev)";
    case PEER_CLBLAST_BATCHED:
    case PEER_CLBLAST_GEMV:
        return k->has_clblast ? NULL : "CLBlast is not installed (libclblast-dev)";
    case PEER_ONEDNN_F32:
    case PEER_ONEDNN_S8:
        return bench_dnn_built() ? NULL : "built without oneDNN 2 (tools/setup onednn, then cmake)";
    default:
        return NULL;
    }
}

static void run_case(kernels *k, const kernel_case *c)
{
    bench_layer layer;
    const char *missing = lacks(k, c->peer);
    if (missing) {
        bench_report_missing(k->report, &c->base, "%s", missing);
        return;
    }
    if (c->cores == 1 && !k->one_core) {
        bench_pinned_again(k->report, &c->base);
        return;
    }
    bench_progress("%s: %s", c->base.suite, c->base.name);
    if (!bench_layer_open(&layer, &k->device, &c->shape)) {
        bench_report_missing(k->report, &c->base, "%s", k->device.err.text);
        return;
    }
    against(k, c, &layer);
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
    bench_dnn_begin(k.one_core ? 1 : (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
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
