/* Random operations on a pool beside a simple model of what must be true. OCLORA_TEST_FULL=1 makes
 * ten times as many. */
#include "images.h"

enum { D_IN = 64, D_OUT = 32, NAMES = 24, HOLDS = 4, HOLD_SIZE = 3 };

typedef struct entry {
    oclora_adapter_handle handle; /* 0: not loaded */
    oclora_adapter_handle old;    /* of the last one under this name */
    image_spec spec;
    uint32_t pins;
    uint32_t uses;
    uint32_t state;
    uint64_t last_use;
} entry;

typedef struct model {
    oclora_pool *pool;
    oclora_stream *stream;
    entry entries[NAMES];
    struct {
        uint32_t names[HOLD_SIZE];
        uint32_t count;
    } holds[HOLDS];
    uint64_t clock;
    uint64_t refused;
    uint64_t checked;
} model;

static uint32_t pick(uint32_t n)
{
    return oclora_test_random() % n;
}

/* Distinct device bytes of the resident adapters: A is shared by seed and rank, so are the vectors
 * by rank and modules. */
static uint64_t expected_bytes(const model *m)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < NAMES; i++) {
        const entry *e = &m->entries[i];
        if (e->handle == 0 || e->state != OCLORA_ADAPTER_RESIDENT) continue;
        uint64_t own[3] = {rounded(e->spec.rank * D_IN * 2), rounded(e->spec.rank * D_OUT * 2), 0};
        own[2] = rounded((e->spec.rank * 4 + 63) / 64 * 64 * e->spec.n_modules);
        uint64_t modules[3] = {e->spec.n_modules, e->spec.n_modules, 1};
        for (uint32_t j = 0; j < i; j++) {
            const entry *o = &m->entries[j];
            if (o->handle == 0 || o->state != OCLORA_ADAPTER_RESIDENT ||
                o->spec.rank != e->spec.rank)
                continue;
            const uint64_t rest =
                e->spec.n_modules > o->spec.n_modules ? e->spec.n_modules - o->spec.n_modules : 0;
            if (o->spec.seed_a == e->spec.seed_a && rest < modules[0]) modules[0] = rest;
            if (o->spec.seed_b == e->spec.seed_b && rest < modules[1]) modules[1] = rest;
            if (o->spec.n_modules == e->spec.n_modules) modules[2] = 0;
        }
        for (int k = 0; k < 3; k++) bytes += own[k] * modules[k];
    }
    return bytes;
}

static uint32_t state_of(model *m, uint32_t i)
{
    oclora_error err = {0};
    oclora_adapter_info info = {0};
    if (!CHECK_OK(oclora_pool_info(m->pool, m->entries[i].handle, &info, &err), &err)) return 0;
    CHECK_INT(info.pins, m->entries[i].pins);
    CHECK_INT(info.uses, m->entries[i].uses);
    return info.state;
}

/* After an operation: what left the device was idle and older than every idle one that stayed. */
static void check_evictions(model *m, bool full)
{
    uint64_t youngest_gone = 0;
    uint32_t before[NAMES];
    for (uint32_t i = 0; i < NAMES; i++) {
        entry *e = &m->entries[i];
        before[i] = e->state;
        if (e->handle != 0) e->state = state_of(m, i);
        if (e->handle == 0 || before[i] != OCLORA_ADAPTER_RESIDENT || e->state == before[i])
            continue;
        CHECK_INT(e->pins, 0);
        CHECK_INT(e->uses, 0);
        if (e->last_use > youngest_gone) youngest_gone = e->last_use;
    }
    for (uint32_t i = 0; i < NAMES; i++) {
        const entry *e = &m->entries[i];
        if (e->handle == 0 || e->state != OCLORA_ADAPTER_RESIDENT) continue;
        /* What the operation itself wanted was held while it ran. */
        const bool idle = e->pins == 0 && e->uses == 0 && e->last_use != m->clock;
        if (idle) CHECK_LE(youngest_gone, e->last_use);
        CHECK_INT(idle && full, false); /* room is refused only when nobody idle is left */
    }
    oclora_pool_stats stats;
    oclora_pool_get_stats(m->pool, &stats);
    CHECK_LE(stats.used_bytes, stats.budget_bytes);
    CHECK_INT(stats.used_bytes, expected_bytes(m));
}

static void op_load(model *m, uint32_t i)
{
    static const uint32_t ranks[4] = {1, 4, 8, 16};
    oclora_error err = {0};
    entry *e = &m->entries[i];
    char name[16];
    snprintf(name, sizeof name, "n%u", i);
    image_spec spec = {1 + pick(2), D_IN, D_OUT, ranks[pick(4)], 1 + pick(6), 100 + pick(400)};
    oclora_adapter_image *image = image_make(&spec);
    oclora_adapter_handle handle = 0;
    const oclora_status status = oclora_pool_add(m->pool, name, image, &handle, &err);
    if (e->handle != 0 && memcmp(&spec, &e->spec, sizeof spec) != 0) {
        CHECK_STATUS(status, OCLORA_ALREADY_EXISTS, &err);
        oclora_adapter_image_destroy(image);
        return;
    }
    CHECK_OK(status, &err);
    if (e->handle != 0) {
        CHECK(handle == e->handle);
        return;
    }
    CHECK(handle != e->old);
    e->handle = handle;
    e->spec = spec;
    e->state = OCLORA_ADAPTER_HOST;
    e->last_use = 0;
}

static void op_unload(model *m, uint32_t i)
{
    oclora_error err = {0};
    entry *e = &m->entries[i];
    if (e->handle == 0) {
        CHECK_STATUS(oclora_pool_remove(m->pool, e->old, &err), OCLORA_STALE_HANDLE, &err);
        return;
    }
    const bool busy = e->pins > 0 || e->uses > 0;
    CHECK_STATUS(oclora_pool_remove(m->pool, e->handle, &err),
                 busy ? OCLORA_ADAPTER_IN_USE : OCLORA_OK, &err);
    if (busy) return;
    e->old = e->handle;
    e->handle = 0;
    e->state = 0;
}

static void op_pin(model *m, uint32_t i)
{
    oclora_error err = {0};
    entry *e = &m->entries[i];
    m->clock++;
    const oclora_status status = oclora_pool_pin(m->pool, e->handle ? e->handle : e->old, &err);
    if (e->handle == 0) {
        CHECK_INT(status, OCLORA_STALE_HANDLE);
        return;
    }
    e->last_use = m->clock;
    if (status == OCLORA_OK) e->pins++;
    if (status != OCLORA_OK) CHECK_INT(status, OCLORA_POOL_FULL);
    m->refused += status != OCLORA_OK;
    check_evictions(m, status == OCLORA_POOL_FULL);
    if (status == OCLORA_OK) CHECK_INT(e->state, OCLORA_ADAPTER_RESIDENT);
}

static void op_unpin(model *m, uint32_t i)
{
    oclora_error err = {0};
    entry *e = &m->entries[i];
    const oclora_status status = oclora_pool_unpin(m->pool, e->handle ? e->handle : e->old, &err);
    CHECK_INT(status, e->handle == 0 ? OCLORA_STALE_HANDLE
                                     : (e->pins > 0 ? OCLORA_OK : OCLORA_WRONG_STATE));
    if (status == OCLORA_OK) e->pins--;
}

static void op_acquire(model *m, uint32_t h)
{
    oclora_error err = {0};
    oclora_adapter_handle handles[HOLD_SIZE];
    bool stale = false;
    const uint32_t count = 1 + pick(HOLD_SIZE);
    for (uint32_t k = 0; k < count; k++) {
        const uint32_t i = pick(NAMES);
        const entry *e = &m->entries[i];
        m->holds[h].names[k] = i;
        handles[k] = e->handle ? e->handle : e->old;
        stale = stale || e->handle == 0;
    }
    m->clock++;
    const oclora_status status = oclora_pool_acquire(m->pool, handles, count, &err);
    CHECK(stale ? status == OCLORA_STALE_HANDLE
                : status == OCLORA_OK || status == OCLORA_POOL_FULL);
    m->refused += status == OCLORA_POOL_FULL;
    for (uint32_t k = 0; k < count && !stale; k++) {
        entry *e = &m->entries[m->holds[h].names[k]];
        e->last_use = m->clock;
        if (status == OCLORA_OK) e->uses++;
    }
    check_evictions(m, status == OCLORA_POOL_FULL);
    if (status != OCLORA_OK) return;
    m->holds[h].count = count;
    for (uint32_t k = 0; k < count; k++) {
        const entry *e = &m->entries[m->holds[h].names[k]];
        CHECK_INT(e->state, OCLORA_ADAPTER_RESIDENT);
        if (pick(50) > 0) continue;
        m->checked++;
        lane_holds(m->stream, m->pool, e->handle, &e->spec, pick(e->spec.n_modules));
    }
}

static void op_release(model *m, uint32_t h)
{
    oclora_adapter_handle handles[HOLD_SIZE];
    m->clock++;
    for (uint32_t k = 0; k < m->holds[h].count; k++) {
        entry *e = &m->entries[m->holds[h].names[k]];
        handles[k] = e->handle;
        e->uses--;
        e->last_use = m->clock;
    }
    oclora_pool_release(m->pool, handles, m->holds[h].count);
    m->holds[h].count = 0;
}

static void step(model *m)
{
    const uint32_t i = pick(NAMES), h = pick(HOLDS);
    switch (pick(8)) {
    case 0:
        op_load(m, i);
        break;
    case 1:
        op_unload(m, i);
        break;
    case 2:
        if (m->entries[i].pins < 2 && pick(3) == 0) op_pin(m, i);
        break;
    case 3:
        op_unpin(m, i);
        break;
    default:
        if (m->holds[h].count > 0)
            op_release(m, h);
        else
            op_acquire(m, h);
    }
}

static long operations(void)
{
    const char *full = getenv("OCLORA_TEST_FULL");
    return full != NULL && full[0] == '1' ? 1000000 : 100000;
}

static bool done;

static void random_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    test_base base = {0};
    model *m = calloc(1, sizeof *m);
    if (done) { /* one runtime is enough: nothing here depends on it */
        free(m);
        return;
    }
    done = true;
    m->stream = device->stream;
    if (!base_make(&base, device->context, 2, D_IN, D_OUT) ||
        !CHECK_OK(oclora_pool_create(&m->pool, device->context, base.base, 24 * 1024, &err), &err))
        return;
    pool_zero(m->stream, m->pool);
    const long steps = operations();
    for (long s = 0; s < steps && CU_get_number_of_failures() == 0; s++) step(m);
    for (uint32_t h = 0; h < HOLDS; h++) op_release(m, h);
    for (uint32_t i = 0; i < NAMES; i++) {
        while (m->entries[i].pins > 0) op_unpin(m, i);
        op_unload(m, i);
    }
    CHECK_INT(expected_bytes(m), 0);
    CHECK_INT(pool_nonzero(m->stream, m->pool), 0);
    oclora_pool_stats stats;
    oclora_pool_get_stats(m->pool, &stats);
    CHECK_INT(stats.used_bytes, 0);
    CHECK_INT(stats.n_adapters, 0);
    printf(
        "  %ld operations, %llu uploads, %llu evictions, %llu refused for room, %llu read back\n",
        steps, (unsigned long long)stats.uploads, (unsigned long long)stats.evictions,
        (unsigned long long)m->refused, (unsigned long long)m->checked);
    CHECK(stats.evictions > 100 && m->refused > 10 && m->checked > 10);
    oclora_pool_destroy(m->pool);
    base_free(&base);
    free(m);
}

static void test_random(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, random_on);
}

static void test_leaks(void)
{
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"random operations beside a model", test_random},
        {"no memory is left", test_leaks},
    };
    return oclora_test_main("pool_residency", tests, sizeof tests / sizeof *tests);
}
