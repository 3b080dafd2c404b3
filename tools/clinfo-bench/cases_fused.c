/* cases_fused.c - self-test of the kernels that do several operators in one launch. */
#include "tools/clinfo-bench/layer.h"

#include "host/op/fused.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NORM_WIDTH = 331, NORM_ROWS = 3, HEAD = 64, TOKENS = 5, HEADS = 3, CACHE_ROWS = 9 };

/* Judges several outputs as one case: the first that is wrong, or the last. */
static oclora_status judge_all(selftest *t, case_tensor *const *outputs, double *const *expected,
                               int count, double bound, case_verdict *verdict, oclora_error *err)
{
    for (int i = 0; i < count; i++) {
        OCLORA_TRY(bench_judge(t, outputs[i], expected[i], verdict, err));
        if (!verdict->finite || !verdict->in_place || verdict->nmse > bound) break;
    }
    return OCLORA_OK;
}

static oclora_status run_add_norm(selftest *t, case_tensor *in, case_tensor *out,
                                  case_verdict *verdict, oclora_error *err)
{
    static double sum[NORM_WIDTH * NORM_ROWS], scaled[NORM_WIDTH * NORM_ROWS];
    static double y[NORM_WIDTH * NORM_ROWS];
    const case_source rows = {OCLORA_TYPE_F32, {NORM_WIDTH, NORM_ROWS, 1, 1}, FILL_UNIFORM, 0};
    const case_source weight = {OCLORA_TYPE_F32, {NORM_WIDTH, 1, 1, 1}, FILL_POSITIVE, 0};
    OCLORA_TRY(bench_make_source(t, &rows, false, &in[0], err));
    OCLORA_TRY(bench_make_source(t, &rows, false, &in[1], err));
    OCLORA_TRY(bench_make_source(t, &weight, false, &in[2], err));
    for (int i = 0; i < 3; i++)
        OCLORA_TRY(bench_make_output(t, OCLORA_TYPE_F32, rows.ne, &out[i], err));
    oclora_norm_call call = {.a = in[0].view,
                             .b = in[1].view,
                             .weight = in[2].view,
                             .sum = out[0].view,
                             .scaled = out[1].view,
                             .y = out[2].view,
                             .eps = 1e-5f};
    if (!oclora_add_norm_fits(&call))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "the engine declines this add and norm");
    OCLORA_TRY(oclora_add_norm(t->stream, &call, err));
    for (int r = 0; r < NORM_ROWS; r++) {
        double squares = 0;
        for (int i = r * NORM_WIDTH; i < (r + 1) * NORM_WIDTH; i++) {
            sum[i] = (double)in[0].values[i] + (double)in[1].values[i];
            squares += sum[i] * sum[i];
        }
        for (int i = 0; i < NORM_WIDTH; i++) {
            double *value = &scaled[r * NORM_WIDTH + i];
            *value = sum[r * NORM_WIDTH + i] / sqrt(squares / NORM_WIDTH + 1e-5);
            y[r * NORM_WIDTH + i] = *value * (double)in[2].values[i];
        }
    }
    case_tensor *const outputs[] = {&out[0], &out[1], &out[2]};
    double *const expected[] = {sum, scaled, y};
    return judge_all(t, outputs, expected, 3, 1e-11, verdict, err);
}

/* Rotated k goes to the rows of a cache that the index names; the others keep their sevens. */
static oclora_status run_rope_store(selftest *t, case_tensor *in, case_tensor *out,
                                    case_verdict *verdict, oclora_error *err)
{
    static double cache[HEAD * HEADS * CACHE_ROWS], turned[HEAD * HEADS * TOKENS];
    static float sevens[HEAD * HEADS * CACHE_ROWS];
    const case_source k = {OCLORA_TYPE_F32, {HEAD, HEADS, TOKENS, 1}, FILL_UNIFORM, 0};
    const case_source index = {OCLORA_TYPE_I64, {TOKENS, 1, 1, 1}, FILL_INDEX, CACHE_ROWS};
    const case_source positions = {OCLORA_TYPE_I32, {TOKENS, 1, 1, 1}, FILL_POSITION, 0};
    const uint64_t cache_ne[4] = {HEAD * HEADS, CACHE_ROWS, 1, 1};
    OCLORA_TRY(bench_make_source(t, &k, false, &in[0], err));
    OCLORA_TRY(bench_make_source(t, &index, false, &in[1], err));
    OCLORA_TRY(bench_make_source(t, &positions, false, &in[2], err));
    OCLORA_TRY(bench_make_output(t, OCLORA_TYPE_F32, k.ne, &out[0], err));
    OCLORA_TRY(bench_make_output(t, OCLORA_TYPE_F32, cache_ne, &out[1], err));
    for (size_t i = 0; i < sizeof sevens / sizeof *sevens; i++) cache[i] = sevens[i] = 7;
    OCLORA_TRY(oclora_stream_write(t->stream, out[1].view.buffer, out[1].view.offset, sevens,
                                   sizeof sevens, err));
    const oclora_node_params params = {
        .variant = 2, .i = {HEAD, 2048}, .f = {10000.0f, 1.0f, 0, 1.0f, 32.0f, 1.0f}};
    const oclora_rope_call call = {.k = in[0].view,
                                   .k_out = out[0].view,
                                   .k_index = in[1].view,
                                   .k_cache = out[1].view,
                                   .positions = in[2].view,
                                   .params = params};
    if (!oclora_rope_store_fits(&call))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "the engine declines this rope and store");
    OCLORA_TRY(oclora_rope_store(t->stream, &call, err));
    const op_case alone = {
        .op = OCLORA_OP_ROPE, .n_src = 2, .params = params, .dst_ne = {HEAD, HEADS, TOKENS, 1}};
    const case_tensor sources[CASE_SOURCES] = {in[0], in[2]};
    bench_reference(&alone, sources, turned);
    for (int r = 0; r < TOKENS; r++)
        memcpy(cache + (size_t)in[1].values[r] * HEAD * HEADS, turned + r * HEAD * HEADS,
               HEAD * HEADS * sizeof *cache);
    case_tensor *const outputs[] = {&out[1]};
    double *const expected[] = {cache};
    return judge_all(t, outputs, expected, 1, 1e-8, verdict, err);
}

/* Three layers of one input, of one shape, so that one set of adapters fits all. */
static oclora_status run_group(selftest *t, bench_layer *layers, uint32_t rows, uint32_t adapters,
                               case_verdict *verdict, oclora_error *err)
{
    enum { COUNT = OCLORA_GROUP_WEIGHTS };
    oclora_group_call call = {.count = COUNT, .rows = rows};
    bench_layer_plan plan = {.type = OCLORA_TYPE_Q4_1,
                             .factor = OCLORA_TYPE_F16,
                             .d_in = 96,
                             .d_out = 128,
                             .rows = rows,
                             .n_adapters = adapters,
                             .ranks = {adapters == 1 ? 67 : 1, 5, 16, 8},
                             .mixed = adapters != 1};
    case_tensor *outputs[COUNT];
    double *expected[COUNT] = {NULL};
    oclora_status status = OCLORA_OK;
    for (int i = 0; i < COUNT && !status; i++) {
        status = bench_layer_create(&layers[i], t, &plan, err);
        plan.n_adapters = 0; /* those of the first serve all */
        call.weight[i] = layers[i].weight;
        call.y[i] = layers[i].y.view;
        call.work[i] = layers[0].work;
        outputs[i] = &layers[i].y;
    }
    call.x = layers[0].x.view;
    if (!status) status = oclora_linear_group(t->stream, &call, layers[0].lanes, err);
    for (int i = 0; i < COUNT && !status; i++) {
        bench_layer view = layers[0];
        view.w = layers[i].w;
        expected[i] = calloc((size_t)plan.rows * plan.d_out, sizeof **expected);
        status = expected[i] ? bench_layer_reference(&view, expected[i], err)
                             : oclora_fail_memory(err, 0, "a reference");
    }
    if (!status) status = judge_all(t, outputs, expected, COUNT, 1e-11, verdict, err);
    for (int i = 0; i < COUNT; i++) free(expected[i]);
    return status;
}

typedef enum fused_kind {
    ADD_NORM,
    ROPE_STORE,
    GROUP,
    GROUP_TILE,
    GROUP_ADAPTED,
    GROUP_BLOCKS /* whole chunks of one adapter */
} fused_kind;

static void run_case(selftest *t, fused_kind kind, const char *kernel, double bound)
{
    oclora_error err = {0};
    case_tensor in[3], out[3];
    bench_layer layers[OCLORA_GROUP_WEIGHTS];
    case_verdict verdict;
    double began = bench_now();
    memset(in, 0, sizeof in);
    memset(out, 0, sizeof out);
    memset(layers, 0, sizeof layers);
    const uint32_t rows = kind == GROUP ? 3 : kind == GROUP_ADAPTED ? 5 : OCLORA_GROUP_ROWS;
    const uint32_t adapters = kind == GROUP_ADAPTED  ? BENCH_LAYER_ADAPTERS
                              : kind == GROUP_BLOCKS ? 1
                                                     : 0;
    oclora_status status = kind == ADD_NORM ? run_add_norm(t, in, out, &verdict, &err)
                           : kind == ROPE_STORE
                               ? run_rope_store(t, in, out, &verdict, &err)
                               : run_group(t, layers, rows, adapters, &verdict, &err);
    if (status)
        bench_report_case_error(t, kernel, status, &err);
    else
        bench_report_case(t, kernel, &verdict, bound, bench_now() - began);
    for (int i = 0; i < 3; i++) {
        bench_free_tensor(&in[i]);
        bench_free_tensor(&out[i]);
        bench_layer_destroy(&layers[i]);
    }
}

void bench_fused_cases(selftest *t)
{
    static const struct {
        const char *name, *kernel;
        fused_kind kind;
        double bound;
    } cases[] = {
        {"add_norm", "norm", ADD_NORM, 1e-11},
        {"rope_store", "rope", ROPE_STORE, 1e-8},
        {"linear_group", "matmul_panel_group", GROUP, 1e-11},
        {"linear_group_tile", "matmul_panel_group", GROUP_TILE, 1e-11},
        {"linear_group_lora", "lora_fused", GROUP_ADAPTED, 1e-11},
        {"linear_group_lora_blocks", "lora_fused", GROUP_BLOCKS, 1e-11},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* The GPU class adds adapters to a group in two launches. */
        const bool apart =
            cases[i].kind >= GROUP_ADAPTED && t->child->device_class == OCLORA_CLASS_GPU;
        const char *kernel = apart ? "lora_expand" : cases[i].kernel;
        t->random = 7000 + i;
        if (bench_begin_case(t->child, cases[i].name, kernel))
            run_case(t, cases[i].kind, kernel, cases[i].bound);
    }
}
