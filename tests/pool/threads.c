/* Several threads load, pin, use and unload the adapters of one pool that has room for few of them.
 * Whoever holds an adapter must find exactly that adapter's bytes, whatever the others do; and
 * every device call fails once. Built with its own copy of the pool under ThreadSanitizer, over a
 * fake device. Usage: pool_threads [operations per thread] */
#include "fake_device.h"
#include "images.h"

#include <pthread.h>
#include <stdatomic.h>

enum { D_IN = 64, D_OUT = 32, NAMES = 16, THREADS = 4 };

typedef struct known {
    oclora_adapter_handle handle;
    image_spec spec;
} known;

static struct {
    pthread_mutex_t mutex; /* of the table: what a caller of the library would keep */
    known table[NAMES];
    oclora_pool *pool;
    long operations;
    atomic_long held, refused, stale, wrong;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static uint32_t next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static known look_up(uint32_t i)
{
    pthread_mutex_lock(&shared.mutex);
    const known found = shared.table[i];
    pthread_mutex_unlock(&shared.mutex);
    return found;
}

static void set(uint32_t i, known value)
{
    pthread_mutex_lock(&shared.mutex);
    shared.table[i] = value;
    pthread_mutex_unlock(&shared.mutex);
}

/* The factors of module m as they lie in the fake device's memory. */
static bool bytes_are(oclora_adapter_handle handle, const image_spec *spec, uint32_t m)
{
    oclora_lane lane;
    const uint8_t *memory = fake_memory(oclora_pool_buffer(shared.pool));
    if (oclora_pool_lane(shared.pool, handle, m, &lane) != OCLORA_OK || lane.rank != spec->rank)
        return false;
    for (uint64_t i = 0; i < spec->rank * D_IN * 2u; i++)
        if (memory[lane.a + i] != image_byte(spec->seed_a, m, i)) return false;
    for (uint64_t i = 0; i < spec->rank * D_OUT * 2u; i++)
        if (memory[lane.b + i] != image_byte(spec->seed_b, m + 100, i)) return false;
    return true;
}

static void wrong(const char *what, oclora_status status)
{
    if (atomic_fetch_add(&shared.wrong, 1) < 10)
        fprintf(stderr, "wrong: %s (%s)\n", what, oclora_status_name(status));
}

static void do_load(uint32_t i, uint32_t *state)
{
    static const uint32_t ranks[3] = {2, 4, 8};
    char name[16];
    snprintf(name, sizeof name, "n%u", i);
    const image_spec spec = {
        2, D_IN, D_OUT, ranks[next(state) % 3], next(state) % 5, 100 + next(state) % 1000};
    oclora_adapter_image *image = image_make(&spec);
    oclora_adapter_handle handle = 0;
    const oclora_status status = oclora_pool_add(shared.pool, name, image, &handle, NULL);
    if (status == OCLORA_OK) {
        set(i, (known){handle, spec});
        return;
    }
    oclora_adapter_image_destroy(image);
    if (status != OCLORA_ALREADY_EXISTS) wrong("load", status);
}

static void do_unload(uint32_t i)
{
    const known k = look_up(i);
    const oclora_status status = oclora_pool_remove(shared.pool, k.handle, NULL);
    if (status != OCLORA_OK && status != OCLORA_ADAPTER_IN_USE && status != OCLORA_STALE_HANDLE)
        wrong("unload", status);
    if (status == OCLORA_OK && oclora_pool_pin(shared.pool, k.handle, NULL) != OCLORA_STALE_HANDLE)
        wrong("an unloaded adapter was pinned", OCLORA_OK);
}

static void do_use(uint32_t *state)
{
    oclora_adapter_handle handles[3];
    known use[3];
    const uint32_t count = 1 + next(state) % 3;
    for (uint32_t k = 0; k < count; k++) {
        use[k] = look_up(next(state) % NAMES);
        handles[k] = use[k].handle;
    }
    const oclora_status status = oclora_pool_acquire(shared.pool, handles, count, NULL);
    if (status == OCLORA_POOL_FULL) atomic_fetch_add(&shared.refused, 1);
    if (status == OCLORA_STALE_HANDLE) atomic_fetch_add(&shared.stale, 1);
    if (status != OCLORA_OK) {
        if (status != OCLORA_POOL_FULL && status != OCLORA_STALE_HANDLE) wrong("use", status);
        return;
    }
    atomic_fetch_add(&shared.held, 1);
    for (uint32_t k = 0; k < count; k++)
        if (!bytes_are(handles[k], &use[k].spec, next(state) % 2))
            wrong("a held adapter has another's bytes", OCLORA_OK);
    oclora_pool_release(shared.pool, handles, count);
}

static void do_pin(uint32_t i)
{
    const known k = look_up(i);
    const oclora_status status = oclora_pool_pin(shared.pool, k.handle, NULL);
    if (status == OCLORA_OK) {
        if (!bytes_are(k.handle, &k.spec, 0)) wrong("a pinned adapter", status);
        if (oclora_pool_unpin(shared.pool, k.handle, NULL) != OCLORA_OK) wrong("unpin", status);
    } else if (status != OCLORA_POOL_FULL && status != OCLORA_STALE_HANDLE) {
        wrong("pin", status);
    }
}

static void *work(void *user)
{
    uint32_t state = 0x9e3779b9u * (1 + *(const uint32_t *)user);
    for (long n = 0; n < shared.operations; n++) {
        oclora_pool_stats stats;
        const uint32_t i = next(&state) % NAMES;
        switch (next(&state) % 8) {
        case 0:
            do_load(i, &state);
            break;
        case 1:
            if (next(&state) % 6 == 0) do_unload(i);
            break;
        case 2:
            do_pin(i);
            break;
        case 3:
            oclora_pool_get_stats(shared.pool, &stats);
            if (stats.used_bytes > stats.budget_bytes) wrong("over budget", OCLORA_OK);
            break;
        default:
            do_use(&state);
        }
    }
    return NULL;
}

static test_base base;

static void test_threads(void)
{
    oclora_error err = {0};
    oclora_context *context = fake_context(oclora_test_env());
    fake_fail_at(0, false);
    if (!base_make(&base, context, 2, D_IN, D_OUT) ||
        !CHECK_OK(oclora_pool_create(&shared.pool, context, base.base, 10 * 1024, &err), &err))
        return;
    pthread_t threads[THREADS];
    uint32_t numbers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, work, &numbers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    oclora_pool_stats stats;
    oclora_pool_get_stats(shared.pool, &stats);
    printf(
        "  %ld operations by %d threads: %ld held, %ld refused for room, %ld stale, %llu uploads, "
        "%llu evictions\n",
        shared.operations * THREADS, THREADS, shared.held, shared.refused, shared.stale,
        (unsigned long long)stats.uploads, (unsigned long long)stats.evictions);
    CHECK_INT(shared.wrong, 0);
    CHECK(shared.held > 100 && stats.evictions > 100);
    for (uint32_t i = 0; i < NAMES; i++)
        oclora_pool_remove(shared.pool, shared.table[i].handle, NULL);
    oclora_pool_get_stats(shared.pool, &stats);
    CHECK_INT(stats.used_bytes, 0);
    const uint8_t *memory = fake_memory(oclora_pool_buffer(shared.pool));
    uint64_t dirty = 0;
    for (uint64_t i = 0; i < oclora_buffer_bytes(oclora_pool_buffer(shared.pool)); i++)
        dirty += memory[i] != 0;
    CHECK_INT(dirty, 0);
    oclora_pool_destroy(shared.pool);
    base_free(&base);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

/* Bytes that are not zero outside the resident adapters' blocks: every other byte must be. */
static uint64_t dirty_bytes(const oclora_adapter_handle *handles, const image_spec *specs,
                            int count)
{
    const uint64_t bytes = oclora_buffer_bytes(oclora_pool_buffer(shared.pool));
    const uint8_t *memory = fake_memory(oclora_pool_buffer(shared.pool));
    uint8_t *mine = calloc(1, (size_t)bytes);
    for (int k = 0; k < count; k++) {
        for (uint32_t m = 0; m < 2; m++) {
            oclora_lane lane;
            if (oclora_pool_lane(shared.pool, handles[k], m, &lane) != OCLORA_OK) continue;
            memset(mine + lane.a, 1, specs[k].rank * D_IN * 2u);
            memset(mine + lane.b, 1, specs[k].rank * D_OUT * 2u);
            memset(mine + lane.scale, 1, specs[k].rank * 4u);
        }
    }
    uint64_t dirty = 0;
    for (uint64_t i = 0; i < bytes; i++) dirty += memory[i] != 0 && mine[i] == 0;
    free(mine);
    return dirty;
}

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
    shared.pool = NULL;
    if (!base_make(&base, context, 2, D_IN, D_OUT)) return 0;
    fake_fail_at(n, sticky);
    if (oclora_pool_create(&shared.pool, context, base.base, budget, &err) == OCLORA_OK) {
        for (int k = 0; k < 4; k++) {
            oclora_adapter_image *image = image_make(&specs[k]);
            CHECK_OK(oclora_pool_add(shared.pool, names[k], image, &handles[k], &err), &err);
        }
        const bool first = oclora_pool_acquire(shared.pool, &handles[1], 1, &err) == OCLORA_OK;
        if (oclora_pool_acquire(shared.pool, &handles[0], 1, &err) == OCLORA_OK)
            oclora_pool_release(shared.pool, &handles[0], 1);
        const oclora_status second = oclora_pool_acquire(shared.pool, &handles[2], 1, &err);
        if (second != OCLORA_OK) CHECK_CONTAINS(err.text, "on purpose");
        if (first)
            CHECK(bytes_are(handles[1], &specs[1], 0) && bytes_are(handles[1], &specs[1], 1));
        if (second == OCLORA_OK) oclora_pool_release(shared.pool, &handles[2], 1);
        if (oclora_pool_remove(shared.pool, handles[0], &err) != OCLORA_OK) CHECK(false);
        if (sticky) {
            for (int i = 0; i < 20; i++)
                if (oclora_pool_acquire(shared.pool, &handles[2], 1, &err) == OCLORA_OK)
                    oclora_pool_release(shared.pool, &handles[2], 1);
        }
        /* The device works again: so does the pool, and nothing is left lying about. */
        fake_fail_at(0, false);
        oclora_adapter_info info;
        CHECK_OK(oclora_pool_acquire(shared.pool, &handles[3], 1, &err), &err);
        CHECK_INT(dirty_bytes(handles, specs, 4), 0);
        oclora_pool_release(shared.pool, &handles[3], 1);
        CHECK_OK(oclora_pool_acquire(shared.pool, &handles[2], 1, &err), &err);
        CHECK_OK(oclora_pool_info(shared.pool, handles[2], &info, &err), &err);
        CHECK_INT(info.state, OCLORA_ADAPTER_RESIDENT);
        CHECK(bytes_are(handles[2], &specs[2], 0) && bytes_are(handles[2], &specs[2], 1));
        if (first) CHECK(bytes_are(handles[1], &specs[1], 1));
        CHECK_INT(dirty_bytes(handles, specs, 4), 0);
    }
    fake_fail_at(0, false);
    oclora_pool_destroy(shared.pool);
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

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {
        {"several threads, each finds its own adapters", test_threads},
        {"every device call fails once, or from then on", test_faults},
    };
    shared.operations = argc > 1 ? strtol(argv[1], NULL, 10) : 25000;
    return oclora_test_main("pool_threads", tests, sizeof tests / sizeof *tests);
}
