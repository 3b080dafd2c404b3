#include "graph/world.h"

#include <math.h>

static bool same_bits(const float *a, const float *b, size_t count)
{
    return memcmp(a, b, count * sizeof *a) == 0;
}

static void map_rows(world *w, oclora_adapter_handle a, oclora_adapter_handle b)
{
    oclora_error err = {0};
    const oclora_weighted_adapter one = {a, 1.0f, 0};
    const oclora_weighted_adapter two = {b, 1.0f, 0};
    const oclora_weighted_adapter mix[2] = {{a, 0.5f, 0}, {b, -0.25f, 0}};
    CHECK_OK(oclora_session_map(w->session, 0, &one, 1, &err), &err);
    CHECK_OK(oclora_session_map(w->session, 1, &two, 1, &err), &err);
    CHECK_OK(oclora_session_map(w->session, 2, NULL, 0, &err), &err);
    CHECK_OK(oclora_session_map(w->session, 3, mix, 2, &err), &err);
}

/* Prompts of three tokens, then one more token each: logits of both, by sequence. */
static void decode(world *w, oclora_session *session, uint32_t first, uint32_t streams, bool flash,
                   float *logits)
{
    oclora_error err = {0};
    const world_batch prompt = {first, streams, 3, 0, flash, 0};
    const world_batch next = {first, streams, 1, 3, flash, 0};
    CHECK_OK(world_run(w, session, &prompt, logits, &err), &err);
    CHECK_OK(world_run(w, session, &next, logits + streams * VOCAB, &err), &err);
}

static void check_finite(const float *values, size_t count)
{
    size_t bad = 0;
    for (size_t i = 0; i < count; i++) bad += !isfinite(values[i]);
    CHECK_INT(bad, 0);
}

/* Every row as alone; base rows as without any adapter; the context-wide map as the single one. */
static void check_rows(world *w, oclora_adapter_handle a, oclora_adapter_handle b, bool flash)
{
    oclora_error err = {0};
    float base[2 * STREAMS * VOCAB], mapped[2 * STREAMS * VOCAB], alone[2 * VOCAB];
    oclora_session_clear(w->session);
    decode(w, NULL, 0, STREAMS, flash, base);
    check_finite(base, 2 * STREAMS * VOCAB);
    map_rows(w, a, b);
    decode(w, w->session, 0, STREAMS, flash, mapped);
    check_finite(mapped, 2 * STREAMS * VOCAB);
    for (uint32_t s = 0; s < STREAMS; s++) {
        decode(w, w->session, s, 1, flash, alone);
        for (uint32_t step = 0; step < 2; step++) {
            const float *row = mapped + (step * STREAMS + s) * VOCAB;
            CHECK(same_bits(row, alone + step * VOCAB, VOCAB));
            CHECK_INT(same_bits(row, base + (step * STREAMS + s) * VOCAB, VOCAB), s == 2);
        }
    }
    const oclora_weighted_adapter one = {a, 1.0f, 0};
    CHECK_OK(oclora_session_map_all(w->session, &one, 1, &err), &err);
    float all[2 * STREAMS * VOCAB];
    decode(w, w->session, 0, STREAMS, flash, all);
    for (uint32_t step = 0; step < 2; step++) {
        CHECK(same_bits(all + step * STREAMS * VOCAB, mapped + step * STREAMS * VOCAB, VOCAB));
        CHECK(!same_bits(all + (step * STREAMS + 1) * VOCAB, mapped + (step * STREAMS + 1) * VOCAB,
                         VOCAB));
    }
}

/* The served adapter is the merged weight's function. */
static void check_merged(world *w, float **merged, bool flash)
{
    world other = {0};
    memcpy(other.values, merged, sizeof other.values);
    memset(merged, 0, sizeof other.values);
    other.embd = malloc((size_t)STREAMS * CELLS * WIDTH * sizeof *other.embd);
    if (other.embd == NULL) abort();
    memcpy(other.embd, w->embd, (size_t)STREAMS * CELLS * WIDTH * sizeof *other.embd);
    if (world_open(&other, w->device)) {
        float served[2 * STREAMS * VOCAB], expected[2 * STREAMS * VOCAB];
        decode(w, w->session, 0, STREAMS, flash, served);
        decode(&other, NULL, 0, STREAMS, flash, expected);
        double reference[2 * STREAMS * VOCAB];
        for (size_t i = 0; i < 2 * STREAMS * VOCAB; i++) reference[i] = expected[i];
        CHECK_LE(oclora_test_nmse(served, reference, 2 * STREAMS * VOCAB), 1e-7);
    }
    world_close(&other);
}

static void rows_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    world w = {0};
    float *merged[WORLD_WEIGHTS] = {0};
    if (world_open(&w, device)) {
        for (uint32_t i = 0; i < WORLD_WEIGHTS; i++) {
            size_t bytes = (size_t)world_shape[i].in * world_shape[i].out * 4;
            merged[i] = malloc(bytes);
            if (merged[i] == NULL) abort();
            memcpy(merged[i], w.values[i], bytes);
        }
        oclora_adapter_handle a = world_adapter(&w, "a", 0x7f, 4, merged);
        oclora_adapter_handle b = world_adapter(&w, "b", 0xc1, 7, NULL);
        check_rows(&w, a, b, false);
        check_rows(&w, a, b, true);
        const oclora_weighted_adapter one = {a, 1.0f, 0};
        CHECK_OK(oclora_session_map_all(w.session, &one, 1, &err), &err);
        check_merged(&w, merged, true);
        oclora_session_stats stats;
        oclora_session_get_stats(w.session, &stats);
        CHECK(stats.graphs > 0 && stats.adapted_graphs > 0 && stats.launches > 0);
        CHECK(stats.rows > stats.adapted_rows);
        CHECK_INT(stats.refusals, 0);
        CHECK_INT(stats.last_rows, STREAMS);
    }
    for (uint32_t i = 0; i < WORLD_WEIGHTS; i++) free(merged[i]);
    world_close(&w);
}

static void test_rows(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, rows_on);
}

/* Runs the graph, which must be refused so, with nothing enqueued. */
static void refuse(world *w, const oclora_graph *graph, oclora_status expected, const char *part)
{
    oclora_error err = {0};
    oclora_error last = {0};
    oclora_session_stats before, after;
    oclora_session_get_stats(w->session, &before);
    uint64_t launches = oclora_stream_get_stats(w->device->stream).launches;
    CHECK_STATUS(oclora_runner_run(w->runner, w->session, graph, &err), expected, &err);
    CHECK_CONTAINS(err.text, part);
    CHECK_INT(oclora_stream_get_stats(w->device->stream).launches, launches);
    oclora_session_get_stats(w->session, &after);
    CHECK_INT(after.refusals, before.refusals + 1);
    CHECK_INT(after.graphs, before.graphs);
    CHECK_INT(oclora_session_last_error(w->session, &last), expected);
    CHECK_CONTAINS(last.text, part);
}

static void refuse_caches(world *w)
{
    builder_llama g;
    world_batch batch = {0, 2, 1, 0, true, 1};
    batch.streams = 1;
    builder *b = world_graph(w, &batch, &g);
    refuse(w, &b->graph, OCLORA_SINGLE_STREAM, "one stream");
    free(b);

    batch = (world_batch){0, 2, 1, 0, true, 0};
    b = world_graph(w, &batch, &g);
    int64_t index[2] = {1, STREAMS * CELLS};
    world_write(w, b, g.k_index, index, sizeof index);
    refuse(w, &b->graph, OCLORA_ROWS_UNKNOWN, "token 1");
    index[1] = -1;
    world_write(w, b, g.k_index, index, sizeof index);
    refuse(w, &b->graph, OCLORA_ROWS_UNKNOWN, "token 1");
    index[1] = 3 * CELLS; /* V says 1 */
    world_write(w, b, g.k_index, index, sizeof index);
    refuse(w, &b->graph, OCLORA_ROWS_UNKNOWN, "different streams");
    free(b);

    b = world_graph(w, &batch, &g);
    const int32_t ids[2] = {0, 2};
    world_write(w, b, g.ids, ids, sizeof ids);
    refuse(w, &b->graph, OCLORA_ROWS_UNKNOWN, "selected row 1");
    /* The cache elsewhere: products only. */
    for (uint32_t i = 0; i < b->graph.n_nodes; i++)
        if (b->nodes[i].op == OCLORA_OP_SET_ROWS) b->nodes[i].op = OCLORA_OP_NONE;
    refuse(w, &b->graph, OCLORA_WEIGHT_NOT_ON_DEVICE, "K cache");
    free(b);
}

static void refuse_graphs(world *w)
{
    builder_llama g;
    const world_batch batch = {0, 2, 1, 0, true, 0};
    builder *b = world_graph(w, &batch, &g);
    /* An operator nobody computes. */
    int32_t none = builder_leaf(b, OCLORA_TYPE_I8, 5, 1, 1, 1);
    builder_op(b, OCLORA_OP_ARGSORT, none, -1, 5, 1, 1, 1);
    refuse(w, &b->graph, OCLORA_NOT_SUPPORTED, "argsort");
    free(b);
    b = world_graph(w, &batch, &g);
    /* A target on rows that are no tokens, and one with a scale of its own. */
    int32_t matrix = builder_weight(b, w->weight[0]);
    builder_mul_mat(b, matrix, builder_leaf(b, OCLORA_TYPE_F32, WIDTH, 2, 1, 1));
    refuse(w, &b->graph, OCLORA_ROWS_UNKNOWN, "q.weight");
    free(b);
    b = world_graph(w, &batch, &g);
    matrix = builder_weight(b, w->weight[0]);
    int32_t y = builder_mul_mat(b, matrix, g.attn_in[0]);
    builder_same(b, OCLORA_OP_MUL, y, builder_leaf(b, OCLORA_TYPE_F32, 1, 1, 1, 1));
    refuse(w, &b->graph, OCLORA_NOT_SUPPORTED, "scale");
    free(b);
    b = world_graph(w, &batch, &g);
    /* A second context in the session. */
    oclora_error err = {0};
    oclora_runner *second = NULL;
    CHECK_OK(oclora_runner_create(&second, w->device->stream, &err), &err);
    CHECK_STATUS(oclora_runner_bind(second, w->session, &err), OCLORA_SESSION_CONFLICT, &err);
    refuse(w, &b->graph, OCLORA_SESSION_CONFLICT, "session");
    oclora_runner_destroy(second);
    CHECK_OK(oclora_runner_run(w->runner, w->session, &b->graph, &err), &err);
    free(b);
}

static void refusals_on(const oclora_test_device *device)
{
    world w = {0};
    if (world_open(&w, device)) {
        oclora_adapter_handle a = world_adapter(&w, "a", 0x7f, 4, NULL);
        oclora_adapter_handle b = world_adapter(&w, "b", 0xc1, 7, NULL);
        map_rows(&w, a, b);
        refuse_caches(&w);
        refuse_graphs(&w);
    }
    world_close(&w);
}

static void test_refusals(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refusals_on);
}

/* A changed map is served with the next graph, also when an adapter has moved in the pool. */
static void changes_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    world w = {0};
    if (world_open(&w, device)) {
        oclora_adapter_handle a = world_adapter(&w, "a", 0x7f, 4, NULL);
        oclora_adapter_handle b = world_adapter(&w, "b", 0x7f, 180, NULL);
        oclora_adapter_handle c = world_adapter(&w, "c", 0x7f, 160, NULL);
        const world_batch batch = {0, STREAMS, 1, 0, true, 0};
        float first[STREAMS * VOCAB], again[STREAMS * VOCAB], others[STREAMS * VOCAB];
        const oclora_weighted_adapter maps[3] = {{a, 1.0f, 0}, {b, 1.0f, 0}, {c, 1.0f, 0}};
        for (int round = 0; round < 3; round++) {
            CHECK_OK(oclora_session_map(w.session, 1, &maps[0], 1, &err), &err);
            CHECK_OK(world_run(&w, w.session, &batch, round ? again : first, &err), &err);
            if (round) CHECK(same_bits(first, again, STREAMS * VOCAB));
            CHECK_OK(oclora_session_map(w.session, 1, &maps[1], 1, &err), &err);
            CHECK_OK(world_run(&w, w.session, &batch, others, &err), &err);
            CHECK(!same_bits(first + VOCAB, others + VOCAB, VOCAB));
            CHECK(same_bits(first, others, VOCAB));
            oclora_session_clear(w.session);
            CHECK_OK(oclora_session_map(w.session, 1, &maps[2], 1, &err), &err);
            CHECK_OK(world_run(&w, w.session, &batch, others, &err), &err);
            oclora_session_clear(w.session);
        }
        oclora_pool_stats stats;
        oclora_pool_get_stats(w.pool, &stats);
        CHECK(stats.evictions > 0);
        /* Unloaded: the map that names it is gone, and so is the handle. */
        CHECK_OK(oclora_pool_remove(w.pool, a, &err), &err);
        CHECK_STATUS(oclora_session_map(w.session, 1, &maps[0], 1, &err), OCLORA_STALE_HANDLE,
                     &err);
        CHECK_OK(world_run(&w, w.session, &batch, others, &err), &err);
    }
    world_close(&w);
}

static void test_changes(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, changes_on);
}

int main(void)
{
    const oclora_test tests[] = {{"rows alone and in company", test_rows},
                                 {"refusals enqueue nothing", test_refusals},
                                 {"a map that changes", test_changes}};
    return oclora_test_main("graph runner", tests, sizeof tests / sizeof tests[0]);
}
