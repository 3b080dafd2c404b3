/* Files, batches and graphs without any device: every allocation (the host's, and those of the
 * libraries that read files) and every system call fails, for an adapter of every kind, a work
 * list, a plan and a map. */
#include "fault/loop.h"
#include "graph/builder.h"
#include "host/adapter/load.h"
#include "host/batch/batch.h"
#include "host/graph/plan.h"
#include "host/graph/session.h"

#include <stdio.h>

/* The pool is played by these: what a map holds on to are numbers. */
enum { WEIGHTS = 8 };
static long pinned;

oclora_status oclora_pool_pin(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err)
{
    (void)pool, (void)handle, (void)err;
    pinned++;
    return OCLORA_OK;
}
oclora_status oclora_pool_unpin(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err)
{
    (void)pool, (void)handle, (void)err;
    pinned--;
    return OCLORA_OK;
}
oclora_status oclora_pool_targets(oclora_pool *pool, oclora_adapter_handle handle, uint32_t *ids,
                                  uint32_t *count, oclora_error *err)
{
    (void)pool, (void)err;
    if (ids != NULL) ids[0] = (uint32_t)(handle % WEIGHTS);
    *count = 1;
    return OCLORA_OK;
}
oclora_base *oclora_pool_base(oclora_pool *pool)
{
    (void)pool;
    return NULL;
}
uint32_t oclora_base_id_limit(oclora_base *base)
{
    (void)base;
    return WEIGHTS;
}

static void *host_alloc(void *user, size_t size, size_t align)
{
    return fault_host_alloc(user, size, align);
}
static const oclora_env env = {.alloc = host_alloc, .release = fault_host_release};

static oclora_status told(oclora_status status, const oclora_error *err, char *text)
{
    if (status != OCLORA_OK) snprintf(text, 512, "%s", err->text);
    return status;
}

static bool never_lost(void *user)
{
    (void)user;
    return false;
}

/* One adapter: read, and made narrower. */
typedef struct file_life {
    char path[512];
    oclora_adapter_image *image;
} file_life;

static void file_begin(void *user)
{
    ((file_life *)user)->image = NULL;
}

static oclora_status file_load(file_life *l, char *text)
{
    oclora_error err = {0};
    return told(oclora_adapter_load(&l->image, &env, l->path, OCLORA_STORE_AUTO, &err), &err, text);
}

static oclora_status file_step(void *user, int number, char *text)
{
    file_life *l = user;
    oclora_error err = {0};
    if (l->image == NULL) OCLORA_TRY(file_load(l, text));
    if (number == 0) return OCLORA_OK;
    const oclora_status status =
        told(oclora_adapter_narrow(l->image, OCLORA_STORE_Q8_0, &err), &err, text);
    if (status == OCLORA_OK) return OCLORA_OK;
    oclora_adapter_image_destroy(l->image); /* after a failure nothing else is allowed */
    l->image = NULL;
    return status;
}

static void file_end(void *user)
{
    oclora_adapter_image_destroy(((file_life *)user)->image);
}

/* Whether the case can be read and narrowed when nothing fails. */
static bool can_live(file_life *l)
{
    char text[512] = "";
    file_begin(l);
    oclora_status status = file_step(l, 0, text);
    if (status == OCLORA_OK) status = file_step(l, 1, text);
    file_end(l);
    return status == OCLORA_OK;
}

static const char *const cases[] = {"lora",
                                    "lora_f16",
                                    "lora_bf16",
                                    "lora_bias",
                                    "lora_rank_pattern_regex",
                                    "rslora",
                                    "dora",
                                    "cola",
                                    "rac_lora",
                                    "delta_lora",
                                    "xgblora",
                                    "lotr",
                                    "vera",
                                    "sharelora",
                                    "melora",
                                    "qalora_avg",
                                    "qalora_peft",
                                    "hira",
                                    "ia3",
                                    "meteora",
                                    "flora_r4",
                                    "mtl_lora#task=1",
                                    "bora#task=0",
                                    "dlp_lora#task=1",
                                    "xlora_static#task=2",
                                    "mixlora_conditional_ifs"};

static void test_files(void)
{
    static const int codes[1] = {0};
    const bool full = fault_loop_full();
    const fault_effort some = {1, full ? 1 : 3, full ? 50 : 2, full ? 1 : 5};
    size_t lived = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file_life l;
        snprintf(l.path, sizeof l.path, "%s/golden/%s", OCLORA_TEST_DATA, cases[i]);
        if (!can_live(&l)) continue; /* not narrowed, or another folder of cases */
        const fault_life life = {cases[i],   2,        file_begin, file_step,
                                 never_lost, file_end, &l,         false};
        fault_loop_run(&life, FAULT_FROM_HOST, codes, 1, &some);
        fault_loop_run(&life, FAULT_FROM_MEMORY, codes, 1, &some);
        fault_loop_run(&life, FAULT_FROM_SYSTEM, codes, 1, &some);
        lived++;
    }
    printf("  %zu of %zu adapters\n", lived, sizeof cases / sizeof cases[0]);
    CHECK(lived > 15);
}

/* A batch, a graph's plan, and a map. */
typedef struct graph_life {
    builder *b;
    oclora_plan_cache plans;
    oclora_session *session;
    oclora_worklist list;
} graph_life;

static void graph_begin(void *user)
{
    graph_life *l = user;
    memset(&l->plans, 0, sizeof l->plans);
    memset(&l->list, 0, sizeof l->list);
    l->session = NULL;
}

static oclora_status make_list(graph_life *l, oclora_error *err)
{
    static const uint32_t start[6] = {0, 2, 2, 3, 5, 6}, adapter[6] = {0, 1, 1, 0, 1, 2};
    static const uint32_t instance[5] = {0, 0, 1, 0, 1};
    static const float weight[6] = {1, 0.5f, 1, 1, 0.5f, 2};
    const oclora_batch batch = {5, 3, start, adapter, weight, instance};
    return oclora_worklist_build(&l->list, &env, &batch, 2, err);
}

static oclora_status map(graph_life *l, uint32_t seq, oclora_adapter_handle handle,
                         oclora_error *err)
{
    const oclora_weighted_adapter two[2] = {{handle, 1.0f, 0}, {handle + 1, 0.5f, 0}};
    return oclora_session_map(l->session, seq, two, 2, err);
}

static oclora_status graph_do(graph_life *l, int number, oclora_error *err)
{
    const oclora_weighted_adapter all = {3, 1.0f, 0};
    oclora_plan *plan = NULL;
    if (number > 3 && l->session == NULL) /* where all goes on failing */
        return oclora_fail(err, OCLORA_WRONG_STATE, "an earlier step failed");
    switch (number) {
    case 0:
        return make_list(l, err);
    case 1:
        return oclora_plan_cache_get(&l->plans, &env, &l->b->graph, true, &plan, err);
    case 2:
        return oclora_plan_cache_get(&l->plans, &env, &l->b->graph, false, &plan, err);
    case 3:
        return oclora_session_create(&l->session, &env, NULL, err);
    case 4:
        return map(l, 0, 1, err);
    case 5:
        return map(l, 7, 5, err);
    case 6:
        return map(l, 0, 3, err);
    default:
        return oclora_session_map_all(l->session, &all, 1, err);
    }
}

/* A map that fails leaves the one before as it was. */
static oclora_status graph_step(void *user, int number, char *text)
{
    graph_life *l = user;
    oclora_error err = {0};
    const long before = pinned;
    const oclora_status status = graph_do(l, number, &err);
    if (status != OCLORA_OK) CHECK_INT(pinned, before);
    return told(status, &err, text);
}

static void graph_end(void *user)
{
    graph_life *l = user;
    oclora_worklist_free(&l->list);
    oclora_plan_cache_clear(&l->plans);
    oclora_session_destroy(l->session);
    CHECK_INT(pinned, 0);
}

static void test_graph(void)
{
    static const int codes[1] = {0};
    const fault_effort all = {1, 1, fault_loop_full() ? 2000 : 100, 1};
    builder_model m = {.width = 24,
                       .heads = 4,
                       .kv_heads = 2,
                       .head = 6,
                       .ffn = 48,
                       .vocab = 20,
                       .tokens = 4,
                       .outputs = 2,
                       .cells = 8,
                       .streams = 4,
                       .batch_streams = 2,
                       .n_kv = 8,
                       .layers = 2,
                       .flash = true};
    graph_life l = {.b = builder_new()};
    builder_llama_graph(l.b, &m);
    const fault_life life = {"graph", 8, graph_begin, graph_step, never_lost, graph_end, &l, false};
    fault_loop_run(&life, FAULT_FROM_HOST, codes, 1, &all);
    fault_loop_run(&life, FAULT_FROM_SYSTEM, codes, 1, &all);
    free(l.b);
}

int main(void)
{
    static const oclora_test tests[] = {{"adapters of every kind", test_files},
                                        {"batches, plans and maps", test_graph}};
    if (fault_loop_layer() == NULL) return 77;
    /* The engine is part of this program; its own allocations go through the host's callback. */
    if (!fault_memory_watch("", false) || !fault_memory_watch("libjansson.so", true) ||
        !fault_memory_watch("libpcre2-8.so", true) || !fault_memory_watch("libcrypto.so", false))
        return 1;
    const int status = oclora_test_main("fault_unit", tests, sizeof tests / sizeof *tests);
    fault_loop_summary("without a device");
    return status;
}
