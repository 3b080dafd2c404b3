/* Fused steps give the bits of the nodes one by one, and fusing stops where memory forbids it. */
#include "graph/world.h"
#include "host/graph/runner_private.h"

enum { LAYERS = 2, EDGES = 4 }; /* selection (2), last norm, head */

static uint32_t count_kind(const oclora_plan *plan, uint32_t kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->n_steps; i++) count += plan->steps[i].kind == kind;
    return count;
}

/* Every node that does work is in exactly one step, and steps keep their places' order. */
static void check_complete(const oclora_plan *plan)
{
    uint32_t seen[BUILDER_NODES] = {0};
    for (uint32_t i = 0; i < plan->n_steps; i++) {
        if (i > 0) CHECK(plan->steps[i - 1].at < plan->steps[i].at);
        for (uint32_t m = 0; m < OCLORA_STEP_MEMBERS; m++)
            if (plan->steps[i].member[m] >= 0) seen[plan->steps[i].member[m]]++;
    }
    for (uint32_t i = 0; i < plan->graph.n_nodes; i++)
        CHECK_INT(seen[i], plan->graph.nodes[i].op != OCLORA_OP_NONE);
}

typedef struct counts {
    uint32_t steps, norms, ropes;
} counts;

static counts counts_of(const builder *b)
{
    oclora_plan *plan = NULL;
    oclora_error err = {0};
    counts c = {0, 0, 0};
    if (!CHECK_OK(oclora_plan_create(&plan, oclora_test_env(), &b->graph, true, &err), &err))
        return c;
    check_complete(plan);
    c.steps = plan->n_steps;
    c.norms = count_kind(plan, OCLORA_STEP_NORM);
    c.ropes = count_kind(plan, OCLORA_STEP_ROPE);
    oclora_plan_destroy(plan);
    return c;
}

static void steps_on(const oclora_test_device *device)
{
    world w = {0};
    if (world_open(&w, device)) {
        builder_llama g;
        const world_batch batch = {0, 2, 1, 0, true, 0};
        builder *b = world_graph(&w, &batch, &g);
        counts whole = counts_of(b);
        CHECK_INT(whole.steps, LAYERS * 9 + EDGES);
        CHECK_INT(whole.norms, LAYERS * 2 + 1);
        CHECK_INT(whole.ropes, LAYERS);

        /* The normed rows one place beside the sum's: rows would overwrite each other. */
        int32_t y = g.ffn_in[0];
        int32_t norm = b->nodes[b->tensors[y].producer].src[0];
        int32_t sum = b->nodes[b->tensors[norm].producer].src[0];
        uint64_t kept = b->tensors[y].view.offset;
        b->tensors[y].view.offset = b->tensors[sum].view.offset + WIDTH * 4;
        CHECK_INT(counts_of(b).norms, whole.norms - 1);
        b->tensors[y].view.offset = b->tensors[sum].view.offset; /* exactly there: allowed */
        CHECK_INT(counts_of(b).norms, whole.norms);
        b->tensors[y].view.offset = kept;

        /* q's rotation lands where v's product is written in between: it must not be delayed. */
        int32_t q = g.q[0];
        kept = b->tensors[q].view.offset;
        for (uint32_t i = 0; i < b->graph.n_nodes; i++)
            if (b->nodes[i].op == OCLORA_OP_MUL_MAT &&
                b->tensors[b->nodes[i].src[0]].weight == w.weight[4])
                b->tensors[q].view.offset = b->tensors[b->nodes[i].dst].view.offset;
        CHECK_INT(counts_of(b).steps, whole.steps); /* gate comes later: no matter */
        b->tensors[q].view.offset = b->tensors[g.k_cache[0]].view.offset;
        CHECK(counts_of(b).steps > whole.steps);
        b->tensors[q].view.offset = kept;
        CHECK_INT(counts_of(b).steps, whole.steps);
        free(b);
    }
    world_close(&w);
}

static int32_t product_of(const world *w, const builder *b, uint32_t weight, uint32_t layer)
{
    for (uint32_t i = 0; i < b->graph.n_nodes; i++) {
        const oclora_node *node = &b->nodes[i];
        if (node->op == OCLORA_OP_MUL_MAT && b->tensors[node->src[0]].weight == w->weight[weight] &&
            layer-- == 0)
            return node->dst;
    }
    return -1;
}

static void put(builder *b, int32_t tensor, uint64_t offset)
{
    uint64_t from = b->tensors[tensor].view.offset;
    for (uint32_t i = 0; i < b->graph.n_tensors; i++)
        if (b->tensors[i].root == tensor) b->tensors[i].view.offset += offset - from;
}

/* As llama.cpp's graphs are: q is rotated before v's product, which takes q's memory; later
 * attention takes all of it. */
static void reuse(builder *b, const world *w, const builder_llama *g)
{
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        int32_t q = product_of(w, b, 0, layer);
        int32_t rope = b->tensors[g->q[layer]].producer;
        int32_t v = b->tensors[product_of(w, b, 2, layer)].producer;
        oclora_node early = b->nodes[rope];
        for (int32_t i = rope; i > v; i--) {
            b->nodes[i] = b->nodes[i - 1];
            b->tensors[b->nodes[i].dst].producer = i;
        }
        b->nodes[v] = early;
        b->tensors[early.dst].producer = v;
        /* The reshape before the rope moves with it: views do no work, so its place is no matter.
         */
        put(b, product_of(w, b, 2, layer), b->tensors[q].view.offset);
        put(b, b->tensors[g->o_in[layer]].root, b->tensors[q].view.offset);
    }
}

static void reuse_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    world w = {0};
    if (world_open(&w, device)) {
        const world_batch batch = {0, STREAMS, 1, 0, true, 0};
        float logits[3][STREAMS * VOCAB];
        for (uint32_t run = 0; run < 3; run++) { /* as it is, reused and fused, reused and not */
            builder_llama g;
            builder *b = world_graph(&w, &batch, &g);
            w.runner->fuse = run != 2;
            oclora_plan_cache_clear(&w.runner->plans);
            if (run > 0) reuse(b, &w, &g);
            if (run > 0) CHECK_INT(counts_of(b).steps, LAYERS * 9 + EDGES);
            CHECK_OK(oclora_runner_run(w.runner, NULL, &b->graph, &err), &err);
            world_read(&w, b, g.logits, logits[run], sizeof logits[run]);
            CHECK(memcmp(logits[run], logits[0], sizeof logits[0]) == 0);
            free(b);
        }
        /* Were q's product an output, it could not be moved. */
        builder_llama g;
        builder *b = world_graph(&w, &batch, &g);
        reuse(b, &w, &g);
        b->tensors[product_of(&w, b, 0, 0)].flags |= OCLORA_TENSOR_OUTPUT;
        CHECK(counts_of(b).steps > LAYERS * 9 + EDGES);
        free(b);
    }
    world_close(&w);
}

static void test_reuse(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, reuse_on);
}

static void test_steps(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, steps_on);
}

/* All that a graph computed: everything in memory. */
static uint8_t *memory_after(world *w, oclora_runner *runner, const world_batch *batch)
{
    oclora_error err = {0};
    builder_llama g;
    uint8_t *all = malloc(WORLD_BYTES);
    if (all == NULL) abort();
    CHECK_OK(oclora_stream_fill(w->device->stream, w->memory, 0, WORLD_BYTES, 0, &err), &err);
    builder *b = world_graph(w, batch, &g);
    CHECK_OK(oclora_runner_run(runner, w->session, &b->graph, &err), &err);
    CHECK_OK(oclora_stream_read(w->device->stream, w->memory, 0, all, WORLD_BYTES, &err), &err);
    free(b);
    return all;
}

static void compare(world *w, const world_batch *batch)
{
    w->runner->fuse = 1;
    oclora_plan_cache_clear(&w->runner->plans);
    uint8_t *fused = memory_after(w, w->runner, batch);
    w->runner->fuse = 0;
    oclora_plan_cache_clear(&w->runner->plans);
    uint8_t *single = memory_after(w, w->runner, batch);
    CHECK(memcmp(fused, single, WORLD_BYTES) == 0);
    free(fused);
    free(single);
}

static void bits_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    world w = {0};
    if (world_open(&w, device)) {
        oclora_adapter_handle a = world_adapter(&w, "a", 0x7f, 5, NULL);
        const oclora_weighted_adapter one = {a, 1.0f, 0};
        for (int mapped = 0; mapped < 2; mapped++) {
            if (mapped) CHECK_OK(oclora_session_map(w.session, 1, &one, 1, &err), &err);
            const world_batch batches[] = {{1, 1, 1, 2, true, 0},  {0, 4, 1, 5, true, 0},
                                           {0, 4, 3, 0, true, 0},  {0, 2, 9, 0, true, 0},
                                           {0, 4, 2, 1, false, 0}, {0, 2, 5, 0, false, 0}};
            for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
                compare(&w, &batches[i]);
        }
    }
    world_close(&w);
}

static void test_bits(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, bits_on);
}

/* Counts, not times: launches of one token and of a batch may not grow. */
static void launches_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    world w = {0};
    if (world_open(&w, device)) {
        float logits[STREAMS * VOCAB];
        oclora_adapter_handle a = world_adapter(&w, "a", 0x7f, 5, NULL);
        const oclora_weighted_adapter one = {a, 1.0f, 0};
        const world_batch batches[] = {{0, 1, 1, 0, true, 0}, {0, 4, 1, 0, true, 0}};
        for (int mapped = 0; mapped < 2; mapped++) {
            if (mapped) CHECK_OK(oclora_session_map(w.session, 0, &one, 1, &err), &err);
            for (size_t i = 0; i < 2; i++) {
                CHECK_OK(world_run(&w, w.session, &batches[i], logits, &err), &err);
                oclora_session_stats stats;
                oclora_session_get_stats(w.session, &stats);
                CHECK_INT(stats.last_rows, batches[i].streams);
                /* Seven adapted products a layer, each at most a shrink and an expand. */
                CHECK_LE(stats.last_launches, LAYERS * (9 + (mapped ? 14 : 0)) + EDGES);
            }
        }
    }
    world_close(&w);
}

static void test_launches(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, launches_on);
}

int main(void)
{
    const oclora_test tests[] = {{"what is put together", test_steps},
                                 {"memory an allocator uses twice", test_reuse},
                                 {"the same bits as one by one", test_bits},
                                 {"launches", test_launches}};
    return oclora_test_main("graph fuse", tests, sizeof tests / sizeof tests[0]);
}
