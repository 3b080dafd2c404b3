/* What an adapter is bound to: the weight of each module's name, whatever the order of both. */
#include "images.h"

enum { D_IN = 64, D_OUT = 32, RANK = 4, PLACES = 4, POOLS = 4000 };

typedef struct fixture {
    oclora_base *base;
    oclora_buffer *buffer;
    oclora_pool *pool;
    oclora_stream *stream;
    uint32_t n_weights;
} fixture;

static const oclora_weight *add_weight(fixture *f, const char *name, uint32_t d_in, uint32_t d_out)
{
    oclora_error err = {0};
    const oclora_weight *weight = NULL;
    const uint64_t at = f->n_weights++ * (uint64_t)(D_IN * D_OUT * 4);
    CHECK_OK(
        oclora_base_add(f->base, name, OCLORA_TYPE_F32, d_in, d_out, f->buffer, at, &weight, &err),
        &err);
    return weight;
}

static bool open_fixture(fixture *f, const oclora_test_device *device)
{
    oclora_error err = {0};
    memset(f, 0, sizeof *f);
    f->stream = device->stream;
    return CHECK_OK(oclora_base_create(&f->base, device->context, &err), &err) &&
           CHECK_OK(
               oclora_buffer_create(&f->buffer, device->context, PLACES * D_IN * D_OUT * 4, &err),
               &err) &&
           CHECK_OK(oclora_stream_fill(f->stream, f->buffer, 0, PLACES * D_IN * D_OUT * 4, 0, &err),
                    &err) &&
           CHECK_OK(oclora_stream_finish(f->stream, &err), &err) &&
           CHECK_OK(oclora_pool_create(&f->pool, device->context, f->base, 1 << 16, &err), &err);
}

static void close_fixture(fixture *f)
{
    oclora_pool_destroy(f->pool);
    oclora_base_destroy(f->base);
    oclora_buffer_destroy(f->buffer);
}

static oclora_adapter_handle take(fixture *f, oclora_adapter_image *image)
{
    oclora_error err = {0};
    oclora_adapter_handle handle = 0;
    CHECK_OK(oclora_pool_add(f->pool, "a", image, &handle, &err), &err);
    CHECK_OK(oclora_pool_acquire(f->pool, &handle, 1, &err), &err);
    oclora_pool_release(f->pool, &handle, 1);
    return handle;
}

static void refuse(fixture *f, oclora_adapter_image *image, oclora_status status, const char *part)
{
    oclora_error err = {0};
    oclora_adapter_handle handle = 5;
    CHECK_STATUS(oclora_pool_add(f->pool, "r", image, &handle, &err), status, &err);
    CHECK_CONTAINS(err.text, part);
    CHECK(handle == 5);
    oclora_adapter_image_destroy(image);
}

static const image_spec spec = {2, D_IN, D_OUT, RANK, 1, 2};

/* Weights come in another order than modules, others between them. */
static void order_on(const oclora_test_device *device)
{
    fixture f;
    oclora_lane lane;
    if (open_fixture(&f, device)) {
        add_weight(&f, "first", D_IN, D_OUT);
        const uint32_t second = add_weight(&f, "m1.weight", D_IN, D_OUT)->id;
        const uint32_t between = add_weight(&f, "between", D_IN, D_OUT)->id;
        const uint32_t first = add_weight(&f, "m0", D_IN, D_OUT)->id;
        const oclora_adapter_handle a = take(&f, image_make(&spec));
        const uint32_t ids[2] = {first, second};
        for (uint32_t m = 0; m < 2; m++) {
            uint8_t got[2];
            oclora_error err = {0};
            CHECK_INT(oclora_pool_lane(f.pool, a, ids[m], &lane), OCLORA_OK);
            CHECK_OK(oclora_stream_read(f.stream, oclora_pool_buffer(f.pool), lane.a, got, 2, &err),
                     &err);
            CHECK(got[0] == image_byte(spec.seed_a, m, 0) &&
                  got[1] == image_byte(spec.seed_a, m, 1));
        }
        CHECK_INT(oclora_pool_lane(f.pool, a, between, &lane), OCLORA_OK);
        CHECK_INT(lane.rank, 0);
        CHECK_INT(oclora_pool_lane(f.pool, a, 0, &lane), OCLORA_OK);
        CHECK_INT(lane.rank, 0);
    }
    close_fixture(&f);
}

/* One weight for two modules, two weights for one. */
static void ambiguous_on(const oclora_test_device *device)
{
    fixture f;
    if (open_fixture(&f, device)) {
        add_weight(&f, "m0.weight", D_IN, D_OUT);
        oclora_adapter_image *image = image_make(&spec);
        oclora_module *module = &image->modules[1];
        memcpy((char *)module->name, "m0", 3);
        refuse(&f, image, OCLORA_MODULE_MISMATCH, "two modules");
        add_weight(&f, "m1", D_IN, D_OUT);
        add_weight(&f, "m1", D_IN, D_OUT);
        refuse(&f, image_make(&spec), OCLORA_AMBIGUOUS_WEIGHT, "m1");
    }
    close_fixture(&f);
}

/* Contents that differ are two, also when the heads of their hashes are equal. */
static void keys_on(const oclora_test_device *device)
{
    fixture f;
    if (open_fixture(&f, device)) {
        add_weight(&f, "m0", D_IN, D_OUT);
        add_weight(&f, "m1", D_IN, D_OUT);
        oclora_adapter_image *image = image_make(&spec);
        memcpy(image->modules[1].a.hash, image->modules[0].a.hash, 8);
        memcpy(image->modules[1].b.hash, image->modules[0].b.hash, 8);
        const oclora_adapter_handle a = take(&f, image);
        for (uint32_t m = 0; m < 2; m++) CHECK(lane_holds(f.stream, f.pool, a, &spec, m));
    }
    close_fixture(&f);
}

/* An adapter that scales a bias was computed from the bias too. */
static void bias_on(const oclora_test_device *device)
{
    fixture f;
    oclora_error err = {0};
    if (open_fixture(&f, device)) {
        add_weight(&f, "m0", D_IN, D_OUT);
        add_weight(&f, "m1", D_IN, D_OUT);
        const oclora_weight *bias = add_weight(&f, "m0.bias", D_OUT, 1);
        oclora_adapter_image *image = image_make(&spec);
        image->modules[0].scales_bias = true;
        image->modules[0].u = oclora_alloc(&image->env, D_OUT, sizeof(float));
        const oclora_adapter_handle a = take(&f, image);
        add_weight(&f, "other", D_IN, 1);
        oclora_base_remove(f.base, oclora_base_find(f.base, "other"));
        CHECK_OK(oclora_pool_acquire(f.pool, &a, 1, &err), &err);
        oclora_pool_release(f.pool, &a, 1);
        oclora_base_change(f.base);
        oclora_base_rewritten(f.base, bias);
        oclora_base_let_go(f.base);
        CHECK_STATUS(oclora_pool_acquire(f.pool, &a, 1, &err), OCLORA_WRONG_STATE, &err);
        CHECK_CONTAINS(err.text, "m0");
    }
    close_fixture(&f);
}

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* No two pools of a context give the same handle, also after one is gone. */
static void marks_on(const oclora_test_device *device)
{
    fixture f;
    oclora_error err = {0};
    uint32_t *low = calloc(POOLS, sizeof *low), equal = 0;
    if (low != NULL && open_fixture(&f, device)) {
        add_weight(&f, "m0", D_IN, D_OUT);
        add_weight(&f, "m1", D_IN, D_OUT);
        for (uint32_t i = 0; i < POOLS; i++) {
            oclora_pool *pool = NULL;
            oclora_adapter_handle handle = 0;
            CHECK_OK(oclora_pool_create(&pool, device->context, f.base, 1 << 14, &err), &err);
            CHECK_OK(oclora_pool_add(pool, "a", image_make(&spec), &handle, &err), &err);
            low[i] = (uint32_t)handle;
            oclora_pool_destroy(pool);
        }
        qsort(low, POOLS, sizeof *low, by_value);
        for (uint32_t i = 1; i < POOLS; i++) equal += low[i] == low[i - 1];
        CHECK_INT(equal, 0);
    }
    close_fixture(&f);
    free(low);
}

static void test_marks(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, marks_on);
}

static void test_order(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, order_on);
}
static void test_ambiguous(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, ambiguous_on);
}
static void test_keys(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, keys_on);
}
static void test_bias(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, bias_on);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"weights and modules in any order", test_order},
        {"two modules or two weights", test_ambiguous},
        {"equal heads of hashes", test_keys},
        {"a bias that changed", test_bias},
        {"handles of many pools", test_marks},
    };
    return oclora_test_main("pool_bind", tests, sizeof tests / sizeof *tests);
}
