#include "graph/builder.h"
#include "host/graph/rows.h"
#include "support/harness.h"

static builder_model model(uint64_t tokens, uint64_t outputs, uint64_t batch_streams, bool flash)
{
    builder_model m = {.width = 24,
                       .heads = 4,
                       .kv_heads = 2,
                       .head = 6,
                       .ffn = 40,
                       .vocab = 50,
                       .tokens = tokens,
                       .outputs = outputs,
                       .cells = 32,
                       .streams = 4,
                       .batch_streams = batch_streams,
                       .n_kv = 32,
                       .flash = flash,
                       .layers = 2};
    return m;
}

static const oclora_weight *fake_weights(builder_model *m, oclora_weight w[8])
{
    const struct {
        const char *name;
        uint64_t in, out;
    } of[8] = {{"q", m->width, m->head * m->heads},
               {"k", m->width, m->head * m->kv_heads},
               {"v", m->width, m->head * m->kv_heads},
               {"o", m->head * m->heads, m->width},
               {"gate", m->width, m->ffn},
               {"up", m->width, m->ffn},
               {"down", m->ffn, m->width},
               {"output", m->width, m->vocab}};
    const oclora_weight **slot[8] = {&m->q,    &m->k,  &m->v,    &m->o,
                                     &m->gate, &m->up, &m->down, &m->output};
    for (uint32_t i = 0; i < 8; i++) {
        memset(&w[i], 0, sizeof w[i]);
        w[i].id = i;
        w[i].d_in = (uint32_t)of[i].in;
        w[i].d_out = (uint32_t)of[i].out;
        *slot[i] = &w[i];
    }
    return w;
}

static bool is_flat(const oclora_row_plan *plan, const builder *b, int32_t t, uint32_t kind)
{
    return plan->labels[t].kind == kind &&
           oclora_rows_are_flat(&plan->labels[t], &b->tensors[t].view);
}

static void check_llama(builder_model m)
{
    oclora_weight weights[8];
    fake_weights(&m, weights);
    builder *b = builder_new();
    builder_llama g = builder_llama_graph(b, &m);
    oclora_row_plan plan;
    oclora_error err = {0};
    CHECK_OK(oclora_row_plan_build(&plan, oclora_test_env(), &b->graph, &err), &err);
    CHECK_INT(plan.n_tokens, m.tokens);
    CHECK_INT(plan.n_caches, m.flash ? 2 : 1);
    CHECK_INT(plan.caches[0].index_tensor, g.k_index);
    CHECK_INT(plan.caches[0].cells, m.cells);
    CHECK_INT(plan.caches[0].streams, m.streams);
    CHECK_INT(plan.n_selections, 1);
    CHECK_INT(plan.selections[0], g.ids);
    CHECK(is_flat(&plan, b, g.embd, OCLORA_ROWS_TOKENS));
    for (uint32_t l = 0; l < m.layers; l++) {
        CHECK(is_flat(&plan, b, g.attn_in[l], OCLORA_ROWS_TOKENS));
        CHECK(is_flat(&plan, b, g.o_in[l], OCLORA_ROWS_TOKENS));
        CHECK_INT(plan.labels[g.q[l]].kind, OCLORA_ROWS_TOKENS);
        CHECK(!oclora_rows_are_flat(&plan.labels[g.q[l]], &b->tensors[g.q[l]].view));
        uint32_t kind = l + 1 == m.layers ? OCLORA_ROWS_SELECTED : OCLORA_ROWS_TOKENS;
        CHECK(is_flat(&plan, b, g.ffn_in[l], kind));
        CHECK(is_flat(&plan, b, g.down_in[l], kind));
    }
    CHECK(is_flat(&plan, b, g.head_in, OCLORA_ROWS_SELECTED));
    CHECK_INT(plan.labels[g.head_in].ids, g.ids);
    CHECK_INT(plan.labels[g.k_cache[0]].kind, OCLORA_ROWS_OTHER);
    CHECK_INT(plan.labels[g.mask].kind, OCLORA_ROWS_OTHER);
    oclora_row_plan_free(&plan);
    free(b);
}

static void test_llama(void)
{
    for (int flash = 0; flash < 2; flash++)
        for (int rotated = 0; rotated < 2; rotated++) {
            const uint64_t shapes[][3] = {{12, 3, 3}, {12, 12, 1}, {1, 1, 1}, {5, 2, 1},
                                          {4, 4, 4},  {2, 1, 1},   {6, 4, 2}, {2, 2, 2}};
            for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
                builder_model m = model(shapes[i][0], shapes[i][1], shapes[i][2], flash);
                m.rotated = rotated;
                check_llama(m);
            }
        }
}

/* Two caches of different size (sliding windows): both are found and must agree. */
static void test_two_caches(void)
{
    builder_model m = model(3, 3, 1, false);
    builder *b = builder_new();
    m.layers = 1;
    builder_llama g = builder_llama_graph(b, &m);
    int32_t index = builder_leaf(b, OCLORA_TYPE_I64, 3, 1, 1, 1);
    int32_t cache = builder_leaf(b, OCLORA_TYPE_F16, 12, 8, 4, 1);
    int32_t rows = builder_reshape(b, g.q[0], 12, 6, 1, 1);
    builder_set_rows(b, cache, builder_leaf(b, OCLORA_TYPE_F32, 12, 3, 1, 1), index);
    (void)rows;
    oclora_row_plan plan;
    oclora_error err = {0};
    CHECK_OK(oclora_row_plan_build(&plan, oclora_test_env(), &b->graph, &err), &err);
    CHECK_INT(plan.n_caches, 2);
    const int64_t a[3] = {5, 32 * 2, 32 * 3 + 31};
    const int64_t c[3] = {7, 8 * 2 + 1, 8 * 3};
    const int64_t differs[3] = {7, 8 * 1, 8 * 3};
    const int64_t far[3] = {7, 8 * 2, 8 * 4};
    const int64_t negative[3] = {-1, 8 * 2, 8 * 3};
    const int64_t *both[2] = {a, c};
    uint32_t streams[3] = {9, 9, 9};
    CHECK_OK(oclora_row_streams(&plan, both, streams, &err), &err);
    CHECK_INT(streams[0], 0);
    CHECK_INT(streams[1], 2);
    CHECK_INT(streams[2], 3);
    both[1] = differs;
    CHECK_STATUS(oclora_row_streams(&plan, both, streams, &err), OCLORA_ROWS_UNKNOWN, &err);
    CHECK_CONTAINS(err.text, "different streams");
    both[1] = far;
    CHECK_STATUS(oclora_row_streams(&plan, both, streams, &err), OCLORA_ROWS_UNKNOWN, &err);
    both[0] = negative;
    CHECK_STATUS(oclora_row_streams(&plan, both, streams, &err), OCLORA_ROWS_UNKNOWN, &err);
    oclora_row_plan_free(&plan);

    /* A write of another count of rows makes the tokens unknown. */
    int32_t more = builder_leaf(b, OCLORA_TYPE_I64, 4, 1, 1, 1);
    builder_set_rows(b, cache, builder_leaf(b, OCLORA_TYPE_F32, 12, 4, 1, 1), more);
    CHECK_OK(oclora_row_plan_build(&plan, oclora_test_env(), &b->graph, &err), &err);
    CHECK_INT(plan.n_caches, 0);
    CHECK_INT(plan.n_tokens, 0);
    CHECK_STATUS(oclora_row_streams(&plan, both, streams, &err), OCLORA_ROWS_UNKNOWN, &err);
    oclora_row_plan_free(&plan);
    free(b);
}

/* Rows that go to the cells of one stream, or to every second cell: their indices count from there.
 */
static void test_part_of_cache(void)
{
    static const struct {
        uint64_t offset, rows, step;
    } cases[] = {{0, 32, 1}, {0, 8, 1}, {8, 8, 1}, {8, 24, 1}, {0, 16, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        builder *b = builder_new();
        const int32_t cache = builder_leaf(b, OCLORA_TYPE_F16, 12, 8, 4, 1);
        const int32_t index = builder_leaf(b, OCLORA_TYPE_I64, 3, 1, 1, 1);
        const uint64_t row = 24, step = row * cases[i].step;
        const uint64_t ne[4] = {12, cases[i].rows, 1, 1};
        const uint64_t nb[4] = {2, step, step * ne[1], step * ne[1]};
        const int32_t view = builder_view(b, cache, ne, nb, row * cases[i].offset);
        builder_set_rows(b, view, builder_leaf(b, OCLORA_TYPE_F32, 12, 3, 1, 1), index);
        oclora_row_plan plan;
        oclora_error err = {0};
        CHECK_OK(oclora_row_plan_build(&plan, oclora_test_env(), &b->graph, &err), &err);
        CHECK_INT(plan.n_caches, i == 0);
        CHECK_INT(plan.n_tokens, i == 0 ? 3 : 0);
        oclora_row_plan_free(&plan);
        free(b);
    }
}

typedef struct fixture {
    builder *b;
    builder_model m;
    builder_llama g;
    oclora_row_plan plan;
} fixture;

static fixture fixture_new(void)
{
    fixture f = {.b = builder_new(), .m = model(6, 2, 2, true)};
    f.m.layers = 1;
    f.g = builder_llama_graph(f.b, &f.m);
    return f;
}

static uint32_t kind_of(fixture *f, int32_t tensor)
{
    oclora_error err = {0};
    CHECK_OK(oclora_row_plan_build(&f->plan, oclora_test_env(), &f->b->graph, &err), &err);
    uint32_t kind = f->plan.labels[tensor].kind;
    if (!oclora_rows_are_flat(&f->plan.labels[tensor], &f->b->tensors[tensor].view))
        kind = OCLORA_ROWS_OTHER;
    oclora_row_plan_free(&f->plan);
    return kind;
}

/* What must not pass for rows of tokens. */
static void test_refused(void)
{
    fixture f = fixture_new();
    builder *b = f.b;
    int32_t x = f.g.attn_in[0];

    /* A leaf of as many rows as tokens that is not where the tokens come from. */
    CHECK_INT(kind_of(&f, builder_leaf(b, OCLORA_TYPE_F32, 24, 6, 1, 1)), OCLORA_ROWS_OTHER);
    int32_t states = builder_leaf(b, OCLORA_TYPE_F32, 24, 6, 1, 1);
    CHECK_INT(kind_of(&f, builder_same(b, OCLORA_OP_RMS_NORM, states, -1)), OCLORA_ROWS_OTHER);
    /* Rows of all tokens joined with selected rows, of equal count or not. */
    int32_t two = builder_op(b, OCLORA_OP_GET_ROWS, x, f.g.ids, 24, 2, 1, 1);
    CHECK_INT(kind_of(&f, two), OCLORA_ROWS_SELECTED);
    int32_t other_ids = builder_leaf(b, OCLORA_TYPE_I32, 2, 1, 1, 1);
    int32_t others = builder_op(b, OCLORA_OP_GET_ROWS, x, other_ids, 24, 2, 1, 1);
    CHECK_INT(kind_of(&f, builder_same(b, OCLORA_OP_ADD, two, others)), OCLORA_ROWS_OTHER);
    /* A selection of a selection, and one by computed ids. */
    CHECK_INT(kind_of(&f, builder_op(b, OCLORA_OP_GET_ROWS, two, other_ids, 24, 2, 1, 1)),
              OCLORA_ROWS_OTHER);
    int32_t computed = builder_same(b, OCLORA_OP_COPY, other_ids, -1);
    CHECK_INT(kind_of(&f, builder_op(b, OCLORA_OP_GET_ROWS, x, computed, 24, 2, 1, 1)),
              OCLORA_ROWS_OTHER);
    /* Transposed, partly seen, cut across, joined along the tokens. */
    CHECK_INT(kind_of(&f, builder_permute(b, x, 1, 0, 2, 3)), OCLORA_ROWS_OTHER);
    const uint64_t some[4] = {24, 5, 1, 1};
    CHECK_INT(kind_of(&f, builder_view(b, x, some, b->tensors[x].view.nb, 96)), OCLORA_ROWS_OTHER);
    const uint64_t shifted[4] = {24, 6, 1, 1};
    CHECK_INT(kind_of(&f, builder_view(b, x, shifted, b->tensors[x].view.nb, 4)),
              OCLORA_ROWS_OTHER);
    CHECK_INT(kind_of(&f, builder_reshape(b, x, 36, 4, 1, 1)), OCLORA_ROWS_OTHER);
    int32_t joined = builder_op(b, OCLORA_OP_CONCAT, x, x, 24, 12, 1, 1);
    b->nodes[b->graph.n_nodes - 1].params.i[0] = 1;
    CHECK_INT(kind_of(&f, joined), OCLORA_ROWS_OTHER);
    /* A product by something that belongs to tokens. */
    CHECK_INT(kind_of(&f, builder_mul_mat(b, f.g.attn_in[0], x)), OCLORA_ROWS_OTHER);
    /* Rows written over by a permutation of themselves. */
    fixture h = fixture_new();
    int32_t rows = builder_same(h.b, OCLORA_OP_SCALE, h.g.attn_in[0], -1);
    int32_t target = builder_permute(h.b, rows, 1, 0, 2, 3);
    h.b->tensors[target].view.ne[0] = 24;
    h.b->tensors[target].view.ne[1] = 6;
    int32_t index = builder_leaf(h.b, OCLORA_TYPE_I64, 6, 1, 1, 1);
    builder_set_rows(h.b, target, h.g.attn_in[0], index);
    CHECK_INT(kind_of(&h, rows), OCLORA_ROWS_OTHER);
    free(h.b);
    free(b);
}

/* What must pass. */
static void test_followed(void)
{
    fixture f = fixture_new();
    builder *b = f.b;
    int32_t x = f.g.attn_in[0];
    /* q, k and v as slices of one product. */
    int32_t qkv = builder_mul_mat(b, builder_leaf(b, OCLORA_TYPE_F32, 24, 48, 1, 1), x);
    const uint64_t ne[4] = {6, 2, 6, 1};
    const uint64_t nb[4] = {4, 24, 192, 1152};
    int32_t k = builder_view(b, qkv, ne, nb, 96);
    CHECK_INT(kind_of(&f, k), OCLORA_ROWS_OTHER); /* not flat: heads lie between */
    int32_t rows = builder_op(b, OCLORA_OP_COPY, k, -1, 12, 6, 1, 1);
    CHECK_INT(kind_of(&f, rows), OCLORA_ROWS_TOKENS);
    /* Experts' outputs: tokens in dimension 2, one expert seen as rows. */
    int32_t experts = builder_leaf(b, OCLORA_TYPE_F32, 24, 10, 3, 1);
    int32_t in = builder_reshape(b, x, 24, 1, 6, 1);
    int32_t out = builder_op(b, OCLORA_OP_MUL_MAT_ID, experts, in, 10, 2, 6, 1);
    const uint64_t one[4] = {10, 6, 1, 1};
    const uint64_t step[4] = {4, 80, 480, 480};
    CHECK_INT(kind_of(&f, builder_view(b, out, one, step, 40)), OCLORA_ROWS_TOKENS);
    /* An embedding table on the device, when it feeds the cache. */
    builder *e = builder_new();
    int32_t table = builder_leaf(e, OCLORA_TYPE_F16, 12, 100, 1, 1);
    int32_t ids = builder_leaf(e, OCLORA_TYPE_I32, 5, 1, 1, 1);
    int32_t embd = builder_op(e, OCLORA_OP_GET_ROWS, table, ids, 12, 5, 1, 1);
    int32_t cache = builder_leaf(e, OCLORA_TYPE_F16, 12, 8, 2, 1);
    builder_set_rows(e, cache, embd, builder_leaf(e, OCLORA_TYPE_I64, 5, 1, 1, 1));
    fixture h = {.b = e};
    CHECK_INT(kind_of(&h, embd), OCLORA_ROWS_TOKENS);
    free(e);
    free(b);
}

static void test_bad_graphs(void)
{
    builder *b = builder_new();
    int32_t x = builder_leaf(b, OCLORA_TYPE_F32, 4, 4, 1, 1);
    builder_same(b, OCLORA_OP_ADD, x, x);
    oclora_row_plan plan;
    oclora_error err = {0};
    b->nodes[0].src[1] = 99;
    CHECK_STATUS(oclora_row_plan_build(&plan, oclora_test_env(), &b->graph, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    b->nodes[0].src[1] = 0;
    b->nodes[0].src[0] = -1;
    CHECK_STATUS(oclora_row_plan_build(&plan, oclora_test_env(), &b->graph, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    b->nodes[0].src[0] = 0;
    b->tensors[0].root = 7;
    CHECK_STATUS(oclora_row_plan_build(&plan, oclora_test_env(), &b->graph, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    free(b);
}

int main(void)
{
    const oclora_test tests[] = {{"a llama's rows", test_llama},
                                 {"two caches", test_two_caches},
                                 {"part of a cache", test_part_of_cache},
                                 {"rows that cannot be known", test_refused},
                                 {"rows that can be followed", test_followed},
                                 {"graphs that are not graphs", test_bad_graphs}};
    return oclora_test_main("graph rows", tests, sizeof tests / sizeof tests[0]);
}
