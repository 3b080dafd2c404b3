/* Several threads load, pin, use, hold and unload the adapters of one pool that has room for few of
 * them, on a device that fails now and then; a model beside it decides what each call may answer.
 * Whoever holds an adapter must find exactly that adapter's bytes, whatever the others do; and when
 * all rest, everything else in the memory is zero. Built with its own copy of the pool under
 * ThreadSanitizer, over a fake device. Usage: pool_threads [operations per thread] */
#include "fake_look.h"
#include "model.h"

#include <stdatomic.h>

enum { D_IN = 64, D_OUT = 32, THREADS = 4, HOLDS = 2, HOLD_NAMES = 3, ROUNDS = 50, BUDGET = 10240 };

/* Work in flight: what a thread acquired some operations ago. */
typedef struct hold {
    uint32_t count;
    uint32_t names[HOLD_NAMES];
    uint32_t twice; /* the first is held twice */
    oclora_adapter_handle handles[HOLD_NAMES + 1];
    image_spec specs[HOLD_NAMES];
} hold;

typedef struct worker {
    uint32_t random;
    hold holds[HOLDS];
    oclora_adapter_handle pinned; /* 0: none */
    uint32_t pinned_name;
    image_spec pinned_spec;
} worker;

static struct {
    model m;
    oclora_pool *pool;
    pthread_barrier_t barrier;
    long operations;
    atomic_long calls, exact, held, full, stale, in_use, failed, looked, wrong;
} shared;

static uint32_t next(worker *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 17;
    w->random ^= w->random << 5;
    return w->random;
}

static void wrong(const char *what, oclora_status status)
{
    if (atomic_fetch_add(&shared.wrong, 1) < 10)
        fprintf(stderr, "wrong: %s (%s)\n", what, oclora_status_name(status));
}

static void expect(bool holds, const char *what, oclora_status status)
{
    if (!holds) wrong(what, status);
}

static void end(model_call *calls, uint32_t count)
{
    model_end(calls, count);
    bool exact = true;
    for (uint32_t i = 0; i < count; i++) exact = exact && model_quiet(&calls[i]);
    atomic_fetch_add(&shared.calls, 1);
    atomic_fetch_add(&shared.exact, exact);
}

static bool holds_name(const worker *w, uint32_t name)
{
    bool found = w->pinned != 0 && w->pinned_name == name;
    for (uint32_t h = 0; h < HOLDS; h++)
        for (uint32_t i = 0; i < w->holds[h].count; i++) found |= w->holds[h].names[i] == name;
    return found;
}

static void check_bytes(const hold *h)
{
    for (uint32_t i = 0; i < h->count; i++)
        for (uint32_t m = 0; m < h->specs[i].n_modules; m++)
            expect(look_holds(shared.pool, h->handles[i], &h->specs[i], m),
                   "a held adapter has another's bytes", OCLORA_OK);
}

static void do_load(worker *w, uint32_t name)
{
    static const uint32_t ranks[3] = {2, 4, 8};
    char text[16];
    snprintf(text, sizeof text, "n%u", name);
    const image_spec spec = {1 + next(w) % 2,    D_IN,        D_OUT,
                             ranks[next(w) % 3], next(w) % 5, 100 + next(w) % 2};
    oclora_adapter_image *image = image_make(&spec);
    oclora_adapter_handle handle = 0;
    model_call call = model_begin(&shared.m, name, MODEL_LOAD);
    const oclora_status status = oclora_pool_add(shared.pool, text, image, &handle, NULL);
    end(&call, 1);
    expect(model_loaded(&call, &spec, status, handle), "load", status);
    model_done(&call);
    if (status != OCLORA_OK) oclora_adapter_image_destroy(image);
}

static void do_unload(worker *w, uint32_t name)
{
    model_call call = model_begin(&shared.m, name, MODEL_REMOVE);
    const oclora_status status = oclora_pool_remove(shared.pool, call.before.handle, NULL);
    end(&call, 1);
    expect(model_removed(&call, status, holds_name(w, name)), "unload", status);
    model_done(&call);
    atomic_fetch_add(&shared.in_use, status == OCLORA_ADAPTER_IN_USE);
}

/* Whether an acquire of these names may have ended so. */
static bool may_end(const model_call *calls, uint32_t count, oclora_status status, bool failures)
{
    bool gone = false, dead = false, placed = true;
    for (uint32_t i = 0; i < count; i++) {
        gone = gone || model_may_be_gone(&calls[i]);
        dead = dead || !calls[i].before.live;
        placed = placed && !model_may_be_idle(&calls[i]);
    }
    if (dead || status == OCLORA_STALE_HANDLE) return status == OCLORA_STALE_HANDLE && gone;
    if (status == OCLORA_POOL_FULL) return !placed;
    if (status == OCLORA_OPENCL) return !placed && failures;
    return status == OCLORA_OK;
}

static void count_status(oclora_status status)
{
    atomic_fetch_add(&shared.held, status == OCLORA_OK);
    atomic_fetch_add(&shared.full, status == OCLORA_POOL_FULL);
    atomic_fetch_add(&shared.stale, status == OCLORA_STALE_HANDLE);
    atomic_fetch_add(&shared.failed, status == OCLORA_OPENCL);
}

static void do_acquire(worker *w, hold *h)
{
    model_call calls[HOLD_NAMES];
    uint32_t name = next(w) % MODEL_NAMES;
    const uint32_t count = 1 + next(w) % HOLD_NAMES, step = 1 + next(w) % 4;
    h->twice = next(w) % 4 == 0;
    for (uint32_t i = 0; i < count; i++, name = (name + step) % MODEL_NAMES) {
        calls[i] = model_begin(&shared.m, name, MODEL_USE);
        h->names[i] = name;
        h->handles[i] = calls[i].before.handle;
        h->specs[i] = calls[i].before.spec;
    }
    h->handles[count] = h->handles[0];
    const long failures = fake_failures();
    const oclora_status status =
        oclora_pool_acquire(shared.pool, h->handles, count + h->twice, NULL);
    end(calls, count);
    expect(may_end(calls, count, status, fake_failures() != failures), "acquire", status);
    for (uint32_t i = 0; i < count && status == OCLORA_OK; i++)
        expect(model_taken(&calls[i], 1 + (i == 0 && h->twice), 0), "an acquire", status);
    model_done(calls);
    count_status(status);
    if (status != OCLORA_OK) return;
    h->count = count;
    check_bytes(h);
}

static void do_release(hold *h)
{
    model_call calls[HOLD_NAMES];
    check_bytes(h);
    for (uint32_t i = 0; i < h->count; i++)
        calls[i] = model_drop(&shared.m, h->names[i], 1 + (i == 0 && h->twice), 0);
    oclora_pool_release(shared.pool, h->handles, h->count + h->twice);
    end(calls, h->count);
    model_done(calls);
    h->count = 0;
}

static void do_pin(worker *w, uint32_t name)
{
    model_call call = model_begin(&shared.m, name, MODEL_USE);
    const long failures = fake_failures();
    const oclora_status status = oclora_pool_pin(shared.pool, call.before.handle, NULL);
    end(&call, 1);
    expect(may_end(&call, 1, status, fake_failures() != failures), "pin", status);
    if (status == OCLORA_OK) expect(model_taken(&call, 0, 1), "a pin", status);
    model_done(&call);
    count_status(status);
    if (status != OCLORA_OK) return;
    w->pinned = call.before.handle;
    w->pinned_name = name;
    w->pinned_spec = call.before.spec;
}

static void do_unpin(worker *w)
{
    expect(look_holds(shared.pool, w->pinned, &w->pinned_spec, 0),
           "a pinned adapter has another's bytes", OCLORA_OK);
    model_call call = model_drop(&shared.m, w->pinned_name, 0, 1);
    const oclora_status status = oclora_pool_unpin(shared.pool, w->pinned, NULL);
    end(&call, 1);
    model_done(&call);
    expect(status == OCLORA_OK, "unpin", status);
    w->pinned = 0;
}

static void check_info(const model_call *call, const oclora_adapter_info *info)
{
    const model_name *was = &call->before;
    char text[16];
    snprintf(text, sizeof text, "n%u", call->name);
    expect(strcmp(info->name, text) == 0 && info->generation == was->handle >> 32 &&
               memcmp(info->hash, &was->spec, sizeof was->spec) == 0 &&
               info->rank_max == was->spec.rank && info->n_modules == was->spec.n_modules,
           "info of another adapter", OCLORA_OK);
    if (!model_may_be_idle(call))
        expect(info->state == OCLORA_ADAPTER_RESIDENT && info->pins + info->uses > 0,
               "in use and not resident", OCLORA_OK);
    if (model_quiet(call))
        expect(info->pins == was->pins && info->uses == was->held, "counts", OCLORA_OK);
}

/* Questions, which must agree with the model too. */
static void do_ask(uint32_t name)
{
    char text[16];
    oclora_adapter_info info;
    oclora_adapter_handle found = 0;
    snprintf(text, sizeof text, "n%u", name);
    model_call call = model_begin(&shared.m, name, MODEL_LOOK);
    const oclora_status status = oclora_pool_info(shared.pool, call.before.handle, &info, NULL);
    const oclora_status named = oclora_pool_find(shared.pool, text, &found, NULL);
    end(&call, 1);
    if (status == OCLORA_OK) {
        expect(call.before.live, "info of an unloaded adapter", status);
        check_info(&call, &info);
    } else {
        expect(status == OCLORA_STALE_HANDLE && model_may_be_gone(&call), "info", status);
    }
    if (!model_may_be_gone(&call))
        expect(named == OCLORA_OK && found == call.before.handle, "find", named);
    else if (model_quiet(&call))
        expect(named == OCLORA_ADAPTER_NOT_LOADED, "find of an unloaded adapter", named);
    model_done(&call);
    oclora_pool_stats stats;
    oclora_pool_get_stats(shared.pool, &stats);
    expect(stats.used_bytes <= stats.budget_bytes && stats.n_resident <= stats.n_adapters, "stats",
           OCLORA_OK);
}

static void step(worker *w)
{
    const uint32_t name = next(w) % MODEL_NAMES;
    hold *h = &w->holds[next(w) % HOLDS];
    switch (next(w) % 8) {
    case 0:
    case 1:
        do_load(w, name);
        break;
    case 2:
        do_unload(w, name);
        break;
    case 3:
        if (w->pinned == 0 && next(w) % 4 == 0)
            do_pin(w, name);
        else if (w->pinned != 0)
            do_unpin(w);
        break;
    case 4:
        do_ask(name);
        break;
    default:
        if (h->count > 0)
            do_release(h);
        else
            do_acquire(w, h);
    }
}

/* The blocks of all resident adapters; `blocks` gets 1 for each granule. */
static void mark_blocks(uint8_t *blocks, oclora_adapter_handle handle, const image_spec *spec)
{
    for (uint32_t m = 0; m < spec->n_modules; m++) {
        oclora_lane lane;
        if (oclora_pool_lane(shared.pool, handle, m, &lane) != OCLORA_OK) return;
        memset(blocks + lane.a / 256, 1, rounded(spec->rank * D_IN * 2u) / 256);
        memset(blocks + lane.b / 256, 1, rounded(spec->rank * D_OUT * 2u) / 256);
        blocks[lane.scale / 256] = 1;
    }
}

/* While all others wait: every byte of the memory is somebody's or zero, and every resident adapter
 * is whole. A load and unload of its own makes the pool clear what it could not clear before. */
static void look_at_all(void)
{
    oclora_error err = {0};
    uint8_t blocks[BUDGET / 256 + 1] = {0};
    oclora_adapter_handle handles[MODEL_NAMES], own = 0;
    image_spec specs[MODEL_NAMES];
    const image_spec spec = {1, D_IN, D_OUT, 2, 77, 78};
    fake_fail_every(0);
    CHECK_OK(oclora_pool_add(shared.pool, "looker", image_make(&spec), &own, &err), &err);
    CHECK_OK(oclora_pool_remove(shared.pool, own, &err), &err);
    for (uint32_t i = 0; i < MODEL_NAMES; i++) {
        const model_name *n = &shared.m.names[i];
        oclora_lane lane;
        handles[i] = n->handle;
        specs[i] = n->spec;
        const bool resident = oclora_pool_lane(shared.pool, n->handle, 0, &lane) == OCLORA_OK;
        CHECK_INT(n->in_flight, 0);
        CHECK(resident || n->held + n->pins == 0);
        if (!resident) continue;
        CHECK(n->live);
        for (uint32_t m = 0; m < n->spec.n_modules; m++)
            CHECK(look_holds(shared.pool, n->handle, &n->spec, m));
        mark_blocks(blocks, n->handle, &n->spec);
    }
    uint64_t used = 0;
    for (uint32_t i = 0; i < sizeof blocks; i++) used += blocks[i] * 256u;
    oclora_pool_stats stats;
    oclora_pool_get_stats(shared.pool, &stats);
    CHECK_INT(stats.used_bytes, used);
    CHECK_INT(look_dirty(shared.pool, handles, specs, MODEL_NAMES), 0);
    atomic_fetch_add(&shared.looked, 1);
    fake_fail_every(50);
}

static void *work(void *user)
{
    worker *w = user;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (long n = 0; n < shared.operations / ROUNDS; n++) step(w);
        if (pthread_barrier_wait(&shared.barrier) == PTHREAD_BARRIER_SERIAL_THREAD) look_at_all();
        pthread_barrier_wait(&shared.barrier);
    }
    for (uint32_t h = 0; h < HOLDS; h++)
        if (w->holds[h].count > 0) do_release(&w->holds[h]);
    if (w->pinned != 0) do_unpin(w);
    return NULL;
}

static void report(void)
{
    oclora_pool_stats stats;
    oclora_pool_get_stats(shared.pool, &stats);
    printf(
        "  %ld operations by %d threads; %ld of %ld calls met no other; %ld held, %ld refused for "
        "room, %ld stale, %ld unloads refused, %ld failed midway\n"
        "  %llu uploads, %llu evictions; all memory read %ld times\n",
        shared.operations * THREADS, THREADS, shared.exact, shared.calls, shared.held, shared.full,
        shared.stale, shared.in_use, shared.failed, (unsigned long long)stats.uploads,
        (unsigned long long)stats.evictions, shared.looked);
    CHECK_INT(shared.wrong, 0);
    CHECK(shared.exact > shared.calls / 10 && shared.exact < shared.calls);
    CHECK(shared.held > 100 && shared.full > 100 && shared.stale > 100 && shared.in_use > 100);
    CHECK(shared.failed > 10 && stats.evictions > 100);
    CHECK_INT(shared.looked, ROUNDS);
}

static void test_threads(void)
{
    oclora_error err = {0};
    test_base base;
    pthread_t threads[THREADS];
    static worker workers[THREADS];
    oclora_context *context = fake_context(oclora_test_env());
    fake_fail_at(0, false);
    if (!base_make(&base, context, 2, D_IN, D_OUT) || !CHECK(model_open(&shared.m)) ||
        !CHECK_OK(oclora_pool_create(&shared.pool, context, base.base, BUDGET, &err), &err))
        return;
    fake_fail_every(50);
    pthread_barrier_init(&shared.barrier, NULL, THREADS);
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i].random = 0x9e3779b9u * (1 + i);
        CHECK_INT(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    fake_fail_every(0);
    report();
    for (uint32_t i = 0; i < MODEL_NAMES; i++)
        oclora_pool_remove(shared.pool, shared.m.names[i].handle, NULL);
    CHECK_INT(look_dirty(shared.pool, NULL, NULL, 0), 0);
    oclora_pool_stats stats;
    oclora_pool_get_stats(shared.pool, &stats);
    CHECK_INT(stats.used_bytes, 0);
    oclora_pool_destroy(shared.pool);
    base_free(&base);
    model_close(&shared.m);
    pthread_barrier_destroy(&shared.barrier);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {
        {"several threads beside a model", test_threads},
    };
    shared.operations = argc > 1 ? strtol(argv[1], NULL, 10) : 25000;
    return oclora_test_main("pool_threads", tests, sizeof tests / sizeof *tests);
}
