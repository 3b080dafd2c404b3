/* The pool's promises, one by one: budget, order of eviction, pins, names, handles, sharing. */
#include "images.h"

enum { D_IN = 64, D_OUT = 32, MODULES = 2, RANK = 4 };

static image_spec spec_of(uint32_t seed)
{
    const image_spec spec = {MODULES, D_IN, D_OUT, RANK, seed, seed + 1000};
    return spec;
}

typedef struct fixture {
    test_base base;
    oclora_pool *pool;
    oclora_stream *stream;
} fixture;

/* A pool with room for exactly `count` separate adapters of spec_of's shape. */
static bool open_pool(fixture *f, const oclora_test_device *device, uint32_t count)
{
    oclora_error err = {0};
    const image_spec spec = spec_of(0);
    memset(f, 0, sizeof *f);
    f->stream = device->stream;
    const bool ok = base_make(&f->base, device->context, 3, D_IN, D_OUT) &&
                    CHECK_OK(oclora_pool_create(&f->pool, device->context, f->base.base,
                                                256 + count * image_bytes(&spec), &err),
                             &err);
    if (ok) pool_zero(f->stream, f->pool);
    return ok;
}

static void close_pool(fixture *f)
{
    oclora_pool_destroy(f->pool);
    base_free(&f->base);
}

static oclora_adapter_handle add(fixture *f, const char *name, uint32_t seed)
{
    oclora_error err = {0};
    oclora_adapter_handle handle = 0;
    const image_spec spec = spec_of(seed);
    CHECK_OK(oclora_pool_add(f->pool, name, image_make(&spec), &handle, &err), &err);
    CHECK(handle != 0);
    return handle;
}

static uint32_t state_of(fixture *f, oclora_adapter_handle handle)
{
    oclora_error err = {0};
    oclora_adapter_info info = {0};
    CHECK_OK(oclora_pool_info(f->pool, handle, &info, &err), &err);
    return info.state;
}

static void use_once(fixture *f, oclora_adapter_handle handle)
{
    oclora_error err = {0};
    CHECK_OK(oclora_pool_acquire(f->pool, &handle, 1, &err), &err);
    oclora_pool_release(f->pool, &handle, 1);
}

static oclora_pool_stats stats_of(fixture *f)
{
    oclora_pool_stats stats;
    oclora_pool_get_stats(f->pool, &stats);
    return stats;
}

static void order_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    fixture f;
    if (!open_pool(&f, device, 2)) return;
    oclora_adapter_handle a = add(&f, "a", 1), b = add(&f, "b", 2), c = add(&f, "c", 3);
    CHECK_INT(stats_of(&f).used_bytes, 0);
    CHECK_INT(state_of(&f, a), OCLORA_ADAPTER_HOST);
    use_once(&f, a);
    use_once(&f, b);
    use_once(&f, a); /* now b is the oldest */
    use_once(&f, c);
    CHECK_INT(state_of(&f, a), OCLORA_ADAPTER_RESIDENT);
    CHECK_INT(state_of(&f, b), OCLORA_ADAPTER_HOST);
    CHECK_INT(state_of(&f, c), OCLORA_ADAPTER_RESIDENT);
    CHECK_INT(stats_of(&f).evictions, 1);
    CHECK_INT(stats_of(&f).uploads, 3);
    CHECK_LE(stats_of(&f).used_bytes, stats_of(&f).budget_bytes);

    /* A pinned one and one in use stay; there is no third place. */
    CHECK_OK(oclora_pool_pin(f.pool, a, &err), &err);
    CHECK_OK(oclora_pool_acquire(f.pool, &c, 1, &err), &err);
    CHECK_STATUS(oclora_pool_acquire(f.pool, &b, 1, &err), OCLORA_POOL_FULL, &err);
    const image_spec spec = spec_of(2);
    char needed[32];
    snprintf(needed, sizeof needed, "needs %llu bytes", (unsigned long long)image_bytes(&spec));
    CHECK_CONTAINS(err.text, "'b'");
    CHECK_CONTAINS(err.text, needed);
    CHECK_CONTAINS(err.text, " are free");
    CHECK_INT(state_of(&f, b), OCLORA_ADAPTER_HOST);
    oclora_adapter_info info = {0};
    CHECK_OK(oclora_pool_info(f.pool, b, &info, &err), &err);
    CHECK_INT(info.uses, 0);

    /* A set that does not fit whole holds nothing of itself. */
    oclora_pool_release(f.pool, &c, 1);
    const oclora_adapter_handle both[2] = {b, c};
    CHECK_STATUS(oclora_pool_acquire(f.pool, both, 2, &err), OCLORA_POOL_FULL, &err);
    CHECK_OK(oclora_pool_info(f.pool, c, &info, &err), &err);
    CHECK_INT(info.uses, 0);
    CHECK_OK(oclora_pool_unpin(f.pool, a, &err), &err);
    CHECK_STATUS(oclora_pool_unpin(f.pool, a, &err), OCLORA_WRONG_STATE, &err);
    CHECK_OK(oclora_pool_acquire(f.pool, both, 2, &err), &err);
    oclora_pool_release(f.pool, both, 2);
    close_pool(&f);
}

static void contents_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    fixture f;
    if (!open_pool(&f, device, 1)) return;
    const image_spec one = spec_of(1), two = spec_of(2);
    oclora_adapter_handle a = add(&f, "a", 1), b = add(&f, "b", 2);
    CHECK_INT(pool_nonzero(f.stream, f.pool), 0);
    for (int round = 0; round < 2; round++) {
        use_once(&f, a);
        for (uint32_t m = 0; m < MODULES; m++) CHECK(lane_holds(f.stream, f.pool, a, &one, m));
        use_once(&f, b); /* evicts a */
        for (uint32_t m = 0; m < MODULES; m++) CHECK(lane_holds(f.stream, f.pool, b, &two, m));
        oclora_lane lane;
        CHECK_INT(oclora_pool_lane(f.pool, a, 0, &lane), OCLORA_WRONG_STATE);
        CHECK_INT(lane.a, 0);
    }
    /* Not adapted: zeros. */
    oclora_lane lane;
    CHECK_INT(oclora_pool_lane(f.pool, b, 2, &lane), OCLORA_OK);
    CHECK_INT(lane.rank, 0);
    /* Removed: nothing is left of it on the device. */
    CHECK(pool_nonzero(f.stream, f.pool) > 0);
    CHECK_OK(oclora_pool_remove(f.pool, b, &err), &err);
    CHECK_INT(pool_nonzero(f.stream, f.pool), 0);
    CHECK_INT(stats_of(&f).used_bytes, 0);
    close_pool(&f);
}

static void names_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    fixture f;
    if (!open_pool(&f, device, 2)) return;
    const oclora_adapter_handle a = add(&f, "a", 1);
    oclora_adapter_handle found = 0, other = 5;
    CHECK_OK(oclora_pool_find(f.pool, "a", &found, &err), &err);
    CHECK(found == a);
    CHECK_STATUS(oclora_pool_find(f.pool, "b", &found, &err), OCLORA_ADAPTER_NOT_LOADED, &err);
    CHECK_CONTAINS(err.text, "'b'");

    CHECK(add(&f, "a", 1) == a); /* the same contents: the same adapter */
    CHECK_INT(stats_of(&f).n_adapters, 1);
    const image_spec different = spec_of(9);
    oclora_adapter_image *image = image_make(&different);
    CHECK_STATUS(oclora_pool_add(f.pool, "a", image, &other, &err), OCLORA_ALREADY_EXISTS, &err);
    CHECK(other == 5);
    CHECK_STATUS(oclora_pool_add(f.pool, "", image, &other, &err), OCLORA_INVALID_ARGUMENT, &err);
    const image_spec same = spec_of(1);
    oclora_adapter_image *other_kind = image_make(&same);
    other_kind->kind = OCLORA_KIND_HIRA;
    CHECK_STATUS(oclora_pool_add(f.pool, "a", other_kind, &other, &err), OCLORA_ALREADY_EXISTS,
                 &err);
    oclora_adapter_image_destroy(other_kind);

    /* Unloaded while in use or pinned: refused. */
    CHECK_OK(oclora_pool_acquire(f.pool, &a, 1, &err), &err);
    CHECK_STATUS(oclora_pool_remove(f.pool, a, &err), OCLORA_ADAPTER_IN_USE, &err);
    oclora_pool_release(f.pool, &a, 1);
    CHECK_OK(oclora_pool_pin(f.pool, a, &err), &err);
    CHECK_STATUS(oclora_pool_remove(f.pool, a, &err), OCLORA_ADAPTER_IN_USE, &err);
    CHECK_OK(oclora_pool_unpin(f.pool, a, &err), &err);
    CHECK_OK(oclora_pool_remove(f.pool, a, &err), &err);

    /* The name, the slot, other contents: the old handle still names nothing. */
    CHECK_OK(oclora_pool_add(f.pool, "a", image, &other, &err), &err);
    CHECK((uint32_t)other == (uint32_t)a && other != a);
    oclora_lane lane;
    oclora_adapter_info info;
    uint32_t count = 0;
    use_once(&f, other);
    CHECK_STATUS(oclora_pool_acquire(f.pool, &a, 1, &err), OCLORA_STALE_HANDLE, &err);
    CHECK_STATUS(oclora_pool_pin(f.pool, a, &err), OCLORA_STALE_HANDLE, &err);
    CHECK_STATUS(oclora_pool_unpin(f.pool, a, &err), OCLORA_STALE_HANDLE, &err);
    CHECK_STATUS(oclora_pool_remove(f.pool, a, &err), OCLORA_STALE_HANDLE, &err);
    CHECK_STATUS(oclora_pool_info(f.pool, a, &info, &err), OCLORA_STALE_HANDLE, &err);
    CHECK_STATUS(oclora_pool_targets(f.pool, a, NULL, &count, &err), OCLORA_STALE_HANDLE, &err);
    CHECK_INT(oclora_pool_lane(f.pool, a, 0, &lane), OCLORA_STALE_HANDLE);
    const oclora_adapter_handle mixed[2] = {other, a};
    CHECK_STATUS(oclora_pool_acquire(f.pool, mixed, 2, &err), OCLORA_STALE_HANDLE, &err);
    CHECK_OK(oclora_pool_info(f.pool, other, &info, &err), &err);
    CHECK_INT(info.uses, 0);
    /* A handle of another pool, same slot and generation, is no handle here. */
    fixture g;
    if (open_pool(&g, device, 1)) {
        CHECK_OK(oclora_pool_remove(g.pool, add(&g, "a", 1), &err), &err);
        const oclora_adapter_handle foreign = add(&g, "a", 1);
        CHECK_INT(foreign >> 32, other >> 32);
        CHECK_STATUS(oclora_pool_acquire(g.pool, &other, 1, &err), OCLORA_STALE_HANDLE, &err);
        CHECK_STATUS(oclora_pool_acquire(f.pool, &foreign, 1, &err), OCLORA_STALE_HANDLE, &err);
        close_pool(&g);
    }
    CHECK_STATUS(oclora_pool_acquire(f.pool, &(oclora_adapter_handle){0}, 1, &err),
                 OCLORA_STALE_HANDLE, &err);
    CHECK_STATUS(oclora_pool_acquire(f.pool, &(oclora_adapter_handle){~0ull}, 1, &err),
                 OCLORA_STALE_HANDLE, &err);
    close_pool(&f);
}

static void sharing_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    fixture f;
    if (!open_pool(&f, device, 8)) return;
    oclora_adapter_handle handles[10];
    const uint64_t a_bytes = MODULES * rounded(RANK * D_IN * 2);
    const uint64_t b_bytes = MODULES * rounded(RANK * D_OUT * 2);
    for (uint32_t i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", i);
        const image_spec spec = {MODULES, D_IN, D_OUT, RANK, 7, 50 + i}; /* one A for all */
        CHECK_OK(oclora_pool_add(f.pool, name, image_make(&spec), &handles[i], &err), &err);
    }
    CHECK_OK(oclora_pool_acquire(f.pool, handles, 10, &err), &err);
    /* A and the vectors once, ten B. */
    CHECK_INT(stats_of(&f).used_bytes, a_bytes + 10 * b_bytes + rounded(MODULES * 64));
    oclora_lane first, last;
    CHECK_INT(oclora_pool_lane(f.pool, handles[0], 1, &first), OCLORA_OK);
    CHECK_INT(oclora_pool_lane(f.pool, handles[9], 1, &last), OCLORA_OK);
    CHECK(first.a == last.a && first.b != last.b && first.scale == last.scale);
    oclora_pool_release(f.pool, handles, 10);
    /* Whoever brought the shared factor may go: the others keep it. */
    for (uint32_t i = 0; i < 9; i++) {
        CHECK_OK(oclora_pool_remove(f.pool, handles[i], &err), &err);
        const image_spec spec = {MODULES, D_IN, D_OUT, RANK, 7, 59};
        CHECK(lane_holds(f.stream, f.pool, handles[9], &spec, 1));
    }
    CHECK_INT(stats_of(&f).used_bytes, a_bytes + b_bytes + rounded(MODULES * 64));
    CHECK_OK(oclora_pool_remove(f.pool, handles[9], &err), &err);
    CHECK_INT(stats_of(&f).used_bytes, 0);
    CHECK_INT(pool_nonzero(f.stream, f.pool), 0);
    close_pool(&f);
}

static void add_refused(fixture *f, const image_spec *spec, oclora_status status, const char *part)
{
    oclora_error err = {0};
    oclora_adapter_handle handle = 77;
    oclora_adapter_image *image = image_make(spec);
    CHECK_STATUS(oclora_pool_add(f->pool, "r", image, &handle, &err), status, &err);
    CHECK_CONTAINS(err.text, part);
    CHECK(handle == 77);
    oclora_adapter_image_destroy(image);
}

static void refusals_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    fixture f;
    if (!open_pool(&f, device, 2)) return;
    const image_spec missing = {9, D_IN, D_OUT, RANK, 1, 2};
    const image_spec wide = {1, D_IN, D_OUT + 1, RANK, 1, 2};
    const image_spec large = {3, D_IN, D_OUT, 16, 1, 2};
    add_refused(&f, &missing, OCLORA_MODULE_MISMATCH, "m3, m4, m5, m6, ...; 3 match");
    add_refused(&f, &wide, OCLORA_SHAPE_MISMATCH, "m0");
    add_refused(&f, &large, OCLORA_POOL_FULL, "the whole pool has");
    oclora_adapter_image *empty = NULL;
    oclora_adapter_handle handle = 0;
    CHECK_OK(oclora_image_create(&empty, oclora_test_env(), &err), &err);
    CHECK_STATUS(oclora_pool_add(f.pool, "e", empty, &handle, &err), OCLORA_MODULE_MISMATCH, &err);
    oclora_adapter_image_destroy(empty);
    oclora_pool *pool = NULL;
    CHECK_STATUS(oclora_pool_create(&pool, device->context, f.base.base, 256, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK(pool == NULL);
    CHECK_INT(stats_of(&f).n_adapters, 0);

    uint32_t ids[2] = {9, 9}, count = 0;
    handle = add(&f, "a", 1);
    CHECK_OK(oclora_pool_targets(f.pool, handle, NULL, &count, &err), &err);
    CHECK_INT(count, 2);
    count = 1;
    CHECK_STATUS(oclora_pool_targets(f.pool, handle, ids, &count, &err), OCLORA_INVALID_ARGUMENT,
                 &err);
    count = 2;
    CHECK_OK(oclora_pool_targets(f.pool, handle, ids, &count, &err), &err);
    CHECK(ids[0] == 0 && ids[1] == 1);
    close_pool(&f);
}

/* Weight m<number> forgotten and registered anew, as when a host loads its model again. */
static void replace_weight(fixture *f, uint32_t number)
{
    oclora_error err = {0};
    char name[16];
    const oclora_weight *made = NULL;
    snprintf(name, sizeof name, "m%u", number);
    oclora_base_remove(f->base.base, oclora_base_find(f->base.base, name));
    CHECK_OK(oclora_base_add(f->base.base, name, OCLORA_TYPE_F32, D_IN, D_OUT, f->base.buffer,
                             number * (uint64_t)(D_IN * D_OUT * 4), &made, &err),
             &err);
}

static void rewrite_weight(fixture *f, uint32_t number)
{
    char name[16];
    snprintf(name, sizeof name, "m%u", number);
    oclora_base_change(f->base.base);
    oclora_base_rewritten(f->base.base, oclora_base_find(f->base.base, name));
    oclora_base_let_go(f->base.base);
}

/* An adapter is not served on weights it was not bound to; it names the one that changed. */
static void changed_base_on(const oclora_test_device *device)
{
    static void (*const change[2])(fixture *, uint32_t) = {replace_weight, rewrite_weight};
    for (int i = 0; i < 2; i++) {
        oclora_error err = {0};
        fixture f;
        if (!open_pool(&f, device, 3)) return;
        const oclora_adapter_handle a = add(&f, "a", 1), held = add(&f, "held", 2);
        CHECK_OK(oclora_pool_acquire(f.pool, &held, 1, &err), &err);
        use_once(&f, a);
        change[i](&f, 2); /* which neither adapts */
        use_once(&f, a);
        change[i](&f, 1);
        CHECK_STATUS(oclora_pool_acquire(f.pool, &a, 1, &err), OCLORA_WRONG_STATE, &err);
        CHECK_CONTAINS(err.text, "'a': the base weight of m1");
        CHECK_STATUS(oclora_pool_pin(f.pool, a, &err), OCLORA_WRONG_STATE, &err);
        const oclora_weight *const weights[2] = {oclora_base_find(f.base.base, "m0"),
                                                 oclora_base_find(f.base.base, "m1")};
        CHECK_OK(oclora_pool_check(f.pool, &held, 1, weights[0], &err), &err);
        CHECK_STATUS(oclora_pool_check(f.pool, &held, 1, weights[1], &err), OCLORA_WRONG_STATE,
                     &err);
        CHECK_CONTAINS(err.text, "'held': the base weight of m1");
        const image_spec spec = spec_of(1);
        oclora_adapter_handle again = 5;
        oclora_adapter_image *image = image_make(&spec);
        CHECK_STATUS(oclora_pool_add(f.pool, "a", image, &again, &err), OCLORA_WRONG_STATE, &err);
        CHECK(again == 5);
        CHECK_OK(oclora_pool_remove(f.pool, a, &err), &err);
        CHECK_OK(oclora_pool_add(f.pool, "a", image, &again, &err), &err);
        CHECK_OK(oclora_pool_acquire(f.pool, &again, 1, &err), &err);
        oclora_lane lane;
        CHECK_INT(oclora_pool_lane(f.pool, again, weights[1]->id, &lane), OCLORA_OK);
        CHECK_INT(lane.rank, RANK);
        oclora_pool_release(f.pool, &again, 1);
        oclora_pool_release(f.pool, &held, 1);
        close_pool(&f);
    }
}

static void test_order(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, order_on);
}
static void test_contents(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, contents_on);
}
static void test_names(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, names_on);
}
static void test_sharing(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, sharing_on);
}
static void test_refusals(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refusals_on);
}

static void test_changed_base(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, changed_base_on);
}

static void test_leaks(void)
{
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"budget, order of eviction, pins, uses", test_order},
        {"contents after upload, eviction and reload; cleared memory", test_contents},
        {"names, generations, stale handles", test_names},
        {"shared factors count once", test_sharing},
        {"refusals name what is wrong", test_refusals},
        {"base weights that were freed or written anew", test_changed_base},
        {"no memory is left", test_leaks},
    };
    return oclora_test_main("pool", tests, sizeof tests / sizeof *tests);
}
