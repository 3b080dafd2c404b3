/* The allocator of host/adapter/pool_arena.c against a map of its granules. */
#include "host/adapter/pool_arena.h"

#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

enum { G = OCLORA_ARENA_GRANULE };

static void test_bounds(void)
{
    oclora_error err = {0};
    oclora_arena arena = {0};
    CHECK_STATUS(oclora_arena_init(&arena, oclora_test_env(), G, G, &err), OCLORA_INVALID_ARGUMENT,
                 &err);
    CHECK_STATUS(oclora_arena_init(&arena, oclora_test_env(), G, 2 * G - 1, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_OK(oclora_arena_init(&arena, oclora_test_env(), G, 5 * G + 17, &err), &err);
    CHECK_INT(arena.free_bytes, 4 * G);
    uint64_t a = 0, b = 0, c = 77;
    CHECK_OK(oclora_arena_take(&arena, 1, &a, &err), &err);
    CHECK_INT(a, G);
    CHECK_OK(oclora_arena_take(&arena, 3 * G, &b, &err), &err);
    CHECK_INT(b, 2 * G);
    CHECK_INT(arena.free_bytes, 0);
    CHECK_STATUS(oclora_arena_take(&arena, 1, &c, &err), OCLORA_POOL_FULL, &err);
    CHECK_INT(c, 77);
    CHECK_STATUS(oclora_arena_take(&arena, UINT64_MAX, &c, &err), OCLORA_POOL_FULL, &err);
    CHECK(oclora_arena_give(&arena, b, 3 * G));
    CHECK(!oclora_arena_give(&arena, b, 3 * G));
    CHECK(!oclora_arena_give(&arena, b + G, G));
    CHECK(!oclora_arena_give(&arena, a + 1, G));
    CHECK(!oclora_arena_give(&arena, 0, G));
    CHECK(!oclora_arena_give(&arena, a, UINT64_MAX));
    CHECK(!oclora_arena_give(&arena, a, 2 * G));
    CHECK(oclora_arena_give(&arena, a, 200));
    CHECK_INT(arena.n_holes, 1);
    CHECK_INT(oclora_arena_largest(&arena), 4 * G);
    oclora_arena_free(&arena);
    oclora_arena_free(&arena);
}

/* The smallest hole that fits is used, not the first. */
static void test_best_fit(void)
{
    oclora_error err = {0};
    oclora_arena arena = {0};
    uint64_t at[5];
    static const uint64_t sizes[5] = {4 * G, G, 2 * G, G, 8 * G};
    CHECK_OK(oclora_arena_init(&arena, oclora_test_env(), 0, 16 * G, &err), &err);
    for (int i = 0; i < 5; i++) CHECK_OK(oclora_arena_take(&arena, sizes[i], &at[i], &err), &err);
    CHECK(oclora_arena_give(&arena, at[0], sizes[0]));
    CHECK(oclora_arena_give(&arena, at[2], sizes[2]));
    uint64_t got = 0;
    CHECK_OK(oclora_arena_take(&arena, 2 * G - 3, &got, &err), &err);
    CHECK_INT(got, at[2]);
    CHECK_OK(oclora_arena_take(&arena, 3 * G, &got, &err), &err);
    CHECK_INT(got, at[0]);
    CHECK_STATUS(oclora_arena_take(&arena, 2 * G, &got, &err), OCLORA_POOL_FULL, &err);
    CHECK_CONTAINS(err.text, "256");
    oclora_arena_free(&arena);
}

enum { GRANULES = 300, STEPS = 100000 };

typedef struct model {
    bool taken[GRANULES];
    uint64_t offset[GRANULES];
    uint64_t bytes[GRANULES];
    size_t count;
} model;

static size_t largest_run(const model *m)
{
    size_t run = 0, best = 0;
    for (size_t i = 0; i < GRANULES; i++) {
        run = m->taken[i] ? 0 : run + 1;
        if (run > best) best = run;
    }
    return best;
}

static size_t runs(const model *m)
{
    size_t count = 0;
    for (size_t i = 0; i < GRANULES; i++) count += !m->taken[i] && (i == 0 || m->taken[i - 1]);
    return count;
}

static void model_mark(model *m, uint64_t offset, uint64_t bytes, bool taken)
{
    for (uint64_t g = offset / G; g < (offset + bytes + G - 1) / G; g++) {
        CHECK(m->taken[g] != taken);
        m->taken[g] = taken;
    }
}

static void model_step(oclora_arena *arena, model *m)
{
    oclora_error err = {0};
    if (m->count > 0 && oclora_test_random() % 2 == 0) {
        const size_t i = oclora_test_random() % m->count;
        CHECK(oclora_arena_give(arena, m->offset[i], m->bytes[i]));
        model_mark(m, m->offset[i], m->bytes[i], false);
        m->count--;
        m->offset[i] = m->offset[m->count];
        m->bytes[i] = m->bytes[m->count];
        return;
    }
    const uint64_t bytes = 1 + oclora_test_random() % (24 * G);
    uint64_t offset = 0;
    const oclora_status status = oclora_arena_take(arena, bytes, &offset, &err);
    CHECK_INT(status, (bytes + G - 1) / G <= largest_run(m) ? OCLORA_OK : OCLORA_POOL_FULL);
    if (status != OCLORA_OK) return;
    model_mark(m, offset, bytes, true);
    m->offset[m->count] = offset;
    m->bytes[m->count++] = bytes;
}

static void test_random(void)
{
    oclora_error err = {0};
    oclora_arena arena = {0};
    model *m = calloc(1, sizeof *m);
    CHECK_OK(oclora_arena_init(&arena, oclora_test_env(), 0, (uint64_t)GRANULES * G, &err), &err);
    for (int step = 0; step < STEPS; step++) {
        model_step(&arena, m);
        if (step % 100 == 0) {
            size_t free_granules = 0;
            for (size_t i = 0; i < GRANULES; i++) free_granules += !m->taken[i];
            CHECK_INT(arena.free_bytes, free_granules * G);
            CHECK_INT(oclora_arena_largest(&arena), largest_run(m) * G);
            CHECK_INT(arena.n_blocks, m->count);
            CHECK_INT(arena.n_holes, runs(m)); /* none empty, none beside another */
        }
    }
    while (m->count > 0) {
        m->count--;
        CHECK(oclora_arena_give(&arena, m->offset[m->count], m->bytes[m->count]));
    }
    CHECK_INT(arena.n_holes, 1);
    CHECK_INT(arena.free_bytes, (uint64_t)GRANULES * G);
    oclora_arena_free(&arena);
    free(m);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"ranges, rounding and refusals", test_bounds},
        {"best fit", test_best_fit},
        {"random operations against a map", test_random},
    };
    return oclora_test_main("pool_arena", tests, sizeof tests / sizeof *tests);
}
