/* A plan is used again only for the same graph: whatever it was made of must be equal. */
#include "graph/builder.h"
#include "host/graph/plan.h"
#include "support/harness.h"

enum { WIDTH = 32, ROWS = 3 };

typedef struct fixture {
    builder *b;
    oclora_plan_cache cache;
    oclora_weight weight;
    int32_t matrix, x, product, norm;
} fixture;

static void open_fixture(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->b = builder_new();
    f->weight = (oclora_weight){.name = "w", .d_in = WIDTH, .d_out = WIDTH, .id = 4};
    f->matrix = builder_weight(f->b, &f->weight);
    f->b->tensors[f->matrix].weight_id = f->weight.id;
    f->x = builder_leaf(f->b, OCLORA_TYPE_F32, WIDTH, ROWS, 1, 1);
    f->product = builder_mul_mat(f->b, f->matrix, f->x);
    f->norm = builder_norm(f->b, f->product, builder_leaf(f->b, OCLORA_TYPE_F32, WIDTH, 1, 1, 1));
}

static void close_fixture(fixture *f)
{
    oclora_plan_cache_clear(&f->cache);
    free(f->b);
}

/* Whether a new plan was made. */
static bool is_new(fixture *f)
{
    oclora_error err = {0};
    oclora_plan *plan = NULL;
    const uint64_t built = f->cache.built;
    CHECK_OK(oclora_plan_cache_get(&f->cache, oclora_test_env(), &f->b->graph, true, &plan, &err),
             &err);
    CHECK(plan != NULL && oclora_plan_matches(plan, &f->b->graph));
    return f->cache.built != built;
}

static void test_same(void)
{
    fixture f;
    open_fixture(&f);
    CHECK(is_new(&f));
    CHECK(!is_new(&f));
    close_fixture(&f);
}

static void test_other(void)
{
    fixture f;
    open_fixture(&f);
    CHECK(is_new(&f));
    /* A weight that was freed, and another whose record came to lie at its address. */
    f.weight.id = 9;
    f.b->tensors[f.matrix].weight_id = 9;
    CHECK(is_new(&f));
    CHECK(!is_new(&f));
    f.b->tensors[f.x].view.offset += 128;
    CHECK(is_new(&f));
    f.b->tensors[f.x].view.nb[1] += 4;
    CHECK(is_new(&f));
    f.b->tensors[f.x].flags ^= OCLORA_TENSOR_OUTPUT;
    CHECK(is_new(&f));
    f.b->nodes[f.b->tensors[f.product].producer].params.i[3]++;
    CHECK(is_new(&f));
    f.b->nodes[f.b->tensors[f.norm].producer].params.f[0] += 1.0f;
    CHECK(is_new(&f));
    f.b->nodes[f.b->tensors[f.norm].producer].params.f[0] -= 1.0f;
    CHECK(!is_new(&f)); /* the one before is still known */
    close_fixture(&f);
}

/* The least recently used one is forgotten, and only that. */
static void test_many(void)
{
    fixture f;
    open_fixture(&f);
    for (uint32_t i = 0; i < OCLORA_PLANS; i++) {
        f.b->tensors[f.x].view.offset = 4096 + 128 * i;
        CHECK(is_new(&f));
    }
    f.b->tensors[f.x].view.offset = 4096;
    CHECK(!is_new(&f));
    f.b->tensors[f.x].view.offset = 0;
    CHECK(is_new(&f)); /* in place of number 1 */
    f.b->tensors[f.x].view.offset = 4096;
    CHECK(!is_new(&f));
    f.b->tensors[f.x].view.offset = 4096 + 128;
    CHECK(is_new(&f));
    close_fixture(&f);
}

static void test_leaks(void)
{
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"the same graph", test_same},
        {"other graphs", test_other},
        {"many graphs", test_many},
        {"no memory is left", test_leaks},
    };
    return oclora_test_main("graph plan", tests, sizeof tests / sizeof *tests);
}
