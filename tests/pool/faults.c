/* What stays in the pool's memory when the device fails, or when room does. Built with its own copy
 * of the pool under AddressSanitizer, over a fake device. */
#include "fake_look.h"

#include "host/adapter/pool_private.h"

enum { D_IN = 64, D_OUT = 32, MODULES = 4 };

static test_base base;

static const image_spec specs[4] = {{2, D_IN, D_OUT, 4, 1, 11},
                                    {2, D_IN, D_OUT, 4, 2, 12},
                                    {2, D_IN, D_OUT, 8, 3, 13},
                                    {1, D_IN, D_OUT, 1, 4, 14}};

/* One life with room for two of three adapters, in which the n-th device call fails; the number of
 * calls that failed. `held` stays in use across the failure and must not change. */
static long faulty_life(long n, bool sticky)
{
    static const char *const names[4] = {"a", "b", "c", "d"};
    oclora_error err = {0};
    oclora_adapter_handle handles[4] = {0};
    const long before = fake_failures();
    uint64_t budget = 256 + image_bytes(&specs[1]) + image_bytes(&specs[2]);
    oclora_context *context = fake_context(oclora_test_env());
    fake_fail_at(0, false);
    oclora_pool *pool = NULL;
    if (!base_make(&base, context, 2, D_IN, D_OUT)) return 0;
    fake_fail_at(n, sticky);
    if (oclora_pool_create(&pool, context, base.base, budget, &err) == OCLORA_OK) {
        for (int k = 0; k < 4; k++) {
            oclora_adapter_image *image = image_make(&specs[k]);
            CHECK_OK(oclora_pool_add(pool, names[k], image, &handles[k], &err), &err);
        }
        const bool first = oclora_pool_acquire(pool, &handles[1], 1, &err) == OCLORA_OK;
        if (oclora_pool_acquire(pool, &handles[0], 1, &err) == OCLORA_OK)
            oclora_pool_release(pool, &handles[0], 1);
        const oclora_status second = oclora_pool_acquire(pool, &handles[2], 1, &err);
        if (second != OCLORA_OK) CHECK_CONTAINS(err.text, "on purpose");
        if (first)
            CHECK(look_holds(pool, handles[1], &specs[1], 0) &&
                  look_holds(pool, handles[1], &specs[1], 1));
        if (second == OCLORA_OK) oclora_pool_release(pool, &handles[2], 1);
        if (oclora_pool_remove(pool, handles[0], &err) != OCLORA_OK) CHECK(false);
        if (sticky) {
            for (int i = 0; i < 20; i++)
                if (oclora_pool_acquire(pool, &handles[2], 1, &err) == OCLORA_OK)
                    oclora_pool_release(pool, &handles[2], 1);
        }
        /* The device works again: so does the pool, and nothing is left lying about. */
        fake_fail_at(0, false);
        oclora_adapter_info info;
        CHECK_OK(oclora_pool_acquire(pool, &handles[3], 1, &err), &err);
        CHECK_INT(look_dirty(pool, handles, specs, 4), 0);
        oclora_pool_release(pool, &handles[3], 1);
        CHECK_OK(oclora_pool_acquire(pool, &handles[2], 1, &err), &err);
        CHECK_OK(oclora_pool_info(pool, handles[2], &info, &err), &err);
        CHECK_INT(info.state, OCLORA_ADAPTER_RESIDENT);
        CHECK(look_holds(pool, handles[2], &specs[2], 0) &&
              look_holds(pool, handles[2], &specs[2], 1));
        if (first) CHECK(look_holds(pool, handles[1], &specs[1], 1));
        CHECK_INT(look_dirty(pool, handles, specs, 4), 0);
    }
    fake_fail_at(0, false);
    oclora_pool_destroy(pool);
    base_free(&base);
    CHECK_INT(oclora_test_live_allocations(), 0);
    return fake_failures() - before;
}

static void test_faults(void)
{
    long faults = 0, lives = 0;
    for (int sticky = 0; sticky < 2; sticky++) {
        long hit = 1;
        for (long n = 1; hit > 0; n++) {
            hit = faulty_life(n, sticky);
            faults += hit;
            lives++;
        }
    }
    printf("  %ld device calls failed in %ld lives\n", faults, lives);
    CHECK(faults > 30);
}

/* A pool with room for `bytes`, over a base that has all modules. */
static oclora_pool *open_pool(uint64_t bytes)
{
    oclora_error err = {0};
    oclora_pool *pool = NULL;
    oclora_context *context = fake_context(oclora_test_env());
    fake_fail_at(0, false);
    if (base_make(&base, context, MODULES, D_IN, D_OUT))
        CHECK_OK(oclora_pool_create(&pool, context, base.base, 256 + bytes, &err), &err);
    return pool;
}

static void close_pool(oclora_pool *pool)
{
    oclora_pool_destroy(pool);
    base_free(&base);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

static oclora_adapter_handle add(oclora_pool *pool, const char *name, const image_spec *spec)
{
    oclora_error err = {0};
    oclora_adapter_handle handle = 0;
    CHECK_OK(oclora_pool_add(pool, name, image_make(spec), &handle, &err), &err);
    return handle;
}

/* `second` shares factors with `first` and takes them over, as their only user, when room is made
 * for it by evicting `first`. */
static const image_spec first_spec = {MODULES - 1, D_IN, D_OUT, 8, 1, 11};
static const image_spec second_spec = {MODULES, D_IN, D_OUT, 8, 1, 11};

static void test_taken_over_then_refused(void)
{
    oclora_error err = {0};
    const image_spec held_spec = {MODULES, D_IN, D_OUT, 8, 3, 13};
    oclora_pool *pool = open_pool(image_bytes(&held_spec) + image_bytes(&first_spec));
    const oclora_adapter_handle held = add(pool, "held", &held_spec);
    const oclora_adapter_handle first = add(pool, "first", &first_spec);
    const oclora_adapter_handle second = add(pool, "second", &second_spec);
    CHECK_OK(oclora_pool_acquire(pool, &held, 1, &err), &err);
    CHECK_OK(oclora_pool_acquire(pool, &first, 1, &err), &err);
    oclora_pool_release(pool, &first, 1);
    CHECK_STATUS(oclora_pool_acquire(pool, &second, 1, &err), OCLORA_POOL_FULL, &err);
    CHECK_INT(look_dirty(pool, &held, &held_spec, 1), 0);
    CHECK(look_holds(pool, held, &held_spec, 0));
    oclora_pool_release(pool, &held, 1);
    close_pool(pool);
}

/* Every write of the second's own factors fails in its turn. */
static void test_taken_over_then_failed(void)
{
    long failed = 0;
    for (long n = 1; n < 20; n++) {
        oclora_error err = {0};
        oclora_pool *pool = open_pool(image_bytes(&second_spec));
        const oclora_adapter_handle first = add(pool, "first", &first_spec);
        const oclora_adapter_handle second = add(pool, "second", &second_spec);
        CHECK_OK(oclora_pool_acquire(pool, &first, 1, &err), &err);
        oclora_pool_release(pool, &first, 1);
        fake_fail_at(n, false);
        const oclora_status status = oclora_pool_acquire(pool, &second, 1, &err);
        fake_fail_at(0, false);
        if (status == OCLORA_OK) {
            oclora_pool_release(pool, &second, 1);
        } else {
            failed++;
            CHECK_CONTAINS(err.text, "on purpose");
            CHECK_INT(look_dirty(pool, NULL, NULL, 0), 0);
            oclora_adapter_info info = {0};
            CHECK_OK(oclora_pool_info(pool, second, &info, &err), &err);
            CHECK_INT(info.state, OCLORA_ADAPTER_FAILED);
        }
        CHECK_OK(oclora_pool_acquire(pool, &second, 1, &err), &err);
        CHECK(look_holds(pool, second, &second_spec, MODULES - 1));
        CHECK_INT(look_dirty(pool, &second, &second_spec, 1), 0);
        oclora_pool_release(pool, &second, 1);
        close_pool(pool);
    }
    CHECK(failed > 4);
}

/* Memory of the test's own, of which the n-th piece from now on is not to be had. */
static long refuse_at, refused;

static size_t largest; /* piece asked for */

static void *take(void *user, size_t size, size_t align)
{
    (void)user;
    const oclora_env *env = oclora_test_env();
    if (size > largest) largest = size;
    if (refuse_at > 0 && --refuse_at == 0) {
        refused++;
        return NULL;
    }
    return env->alloc(env->alloc_user, size, align);
}

/* First and second by turns and together; @return how often memory was refused. */
static long hungry_life(long n)
{
    oclora_error err = {0};
    oclora_env env = *oclora_test_env();
    oclora_pool *pool = NULL;
    const long before = refused;
    env.alloc = take;
    refuse_at = 0;
    if (!base_make(&base, fake_context(&env), MODULES, D_IN, D_OUT) ||
        !CHECK_OK(oclora_pool_create(&pool, fake_context(&env), base.base,
                                     512 + image_bytes(&second_spec), &err),
                  &err))
        return 0;
    const oclora_adapter_handle handles[2] = {add(pool, "first", &first_spec),
                                              add(pool, "second", &second_spec)};
    const image_spec both[2] = {first_spec, second_spec};
    refuse_at = n;
    for (uint32_t i = 0; i < 6; i++) {
        const uint32_t first = i % 3 == 2 ? 0 : i % 3, count = i % 3 == 2 ? 2 : 1;
        const oclora_status status = oclora_pool_acquire(pool, handles + first, count, &err);
        CHECK_INT(look_dirty(pool, handles, both, 2), 0);
        if (status == OCLORA_OK) {
            CHECK(look_holds(pool, handles[first], &both[first], first + 2));
            oclora_pool_release(pool, handles + first, count);
        } else {
            CHECK_STATUS(status, OCLORA_OUT_OF_HOST_MEMORY, &err);
        }
    }
    CHECK_OK(oclora_pool_remove(pool, handles[n % 2], &err), &err);
    CHECK_INT(look_dirty(pool, handles, both, 2), 0);
    refuse_at = 0;
    close_pool(pool);
    return refused - before;
}

static void test_no_memory(void)
{
    long n = 1;
    while (hungry_life(n) > 0) n++;
    printf("  %ld allocations refused\n", refused);
    CHECK(refused > 8);
}

/* A device that never works again: trying for ever takes no more memory than trying at first. */
static void test_for_ever(void)
{
    oclora_error err = {0};
    oclora_env env = *oclora_test_env();
    oclora_pool *pool = NULL;
    env.alloc = take;
    if (!base_make(&base, fake_context(&env), MODULES, D_IN, D_OUT) ||
        !CHECK_OK(oclora_pool_create(&pool, fake_context(&env), base.base,
                                     256 + image_bytes(&second_spec), &err),
                  &err))
        return;
    const oclora_adapter_handle handle = add(pool, "second", &second_spec);
    fake_fail_at(1, true);
    for (int i = 0; i < 10; i++) CHECK(oclora_pool_acquire(pool, &handle, 1, &err) != OCLORA_OK);
    largest = 0;
    for (int i = 0; i < 5000; i++) CHECK(oclora_pool_acquire(pool, &handle, 1, &err) != OCLORA_OK);
    CHECK_LE(largest, 4096);
    fake_fail_at(0, false);
    CHECK_OK(oclora_pool_acquire(pool, &handle, 1, &err), &err);
    CHECK_INT(look_dirty(pool, &handle, &second_spec, 1), 0);
    oclora_pool_release(pool, &handle, 1);
    close_pool(pool);
}

/* After its last generation a slot is never used again: no handle comes twice. */
static void test_last_generation(void)
{
    oclora_error err = {0};
    oclora_pool *pool = open_pool(image_bytes(&second_spec));
    const oclora_adapter_handle early = add(pool, "a", &first_spec);
    CHECK_OK(oclora_pool_remove(pool, early, &err), &err);
    pool->slots[oclora_pool_slot_of(early)].generation = UINT32_MAX;
    const oclora_adapter_handle last = add(pool, "a", &first_spec);
    CHECK_INT(oclora_pool_slot_of(last), oclora_pool_slot_of(early));
    CHECK_INT(last >> 32, UINT32_MAX);
    CHECK_OK(oclora_pool_remove(pool, last, &err), &err);
    const oclora_adapter_handle next = add(pool, "a", &first_spec);
    CHECK(oclora_pool_slot_of(next) != oclora_pool_slot_of(early));
    CHECK_STATUS(oclora_pool_acquire(pool, &last, 1, &err), OCLORA_STALE_HANDLE, &err);
    CHECK_STATUS(oclora_pool_acquire(pool, &early, 1, &err), OCLORA_STALE_HANDLE, &err);
    close_pool(pool);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"every device call fails once, or from then on", test_faults},
        {"shared factors taken over by an adapter that then finds no room",
         test_taken_over_then_refused},
        {"shared factors taken over by an adapter whose upload fails", test_taken_over_then_failed},
        {"every allocation fails once while adapters come and go", test_no_memory},
        {"a device that fails for ever", test_for_ever},
        {"a slot's last generation", test_last_generation},
    };
    return oclora_test_main("pool_faults", tests, sizeof tests / sizeof *tests);
}
