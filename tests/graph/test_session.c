/* The pool is played by the functions below, so that no device is needed and failures can be
 * ordered. */
#include "host/graph/session_private.h"
#include "support/harness.h"

#include <math.h>
#include <pthread.h>

enum { ADAPTERS = 40, WEIGHTS = 12 };
static long pins[ADAPTERS + 1]; /* by handle; handle h targets weight h % WEIGHTS */
static uint64_t stale;          /* handles from here on are stale */
static uint64_t full;           /* pinning this one fails */
static pthread_mutex_t pin_lock = PTHREAD_MUTEX_INITIALIZER;

oclora_status oclora_pool_pin(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err)
{
    (void)pool;
    if (handle >= stale) return oclora_fail(err, OCLORA_STALE_HANDLE, "gone");
    if (handle == full) return oclora_fail(err, OCLORA_POOL_FULL, "no room");
    pthread_mutex_lock(&pin_lock);
    pins[handle]++;
    pthread_mutex_unlock(&pin_lock);
    return OCLORA_OK;
}

oclora_status oclora_pool_unpin(oclora_pool *pool, oclora_adapter_handle handle, oclora_error *err)
{
    (void)pool;
    (void)err;
    pthread_mutex_lock(&pin_lock);
    pins[handle]--;
    pthread_mutex_unlock(&pin_lock);
    return OCLORA_OK;
}

oclora_status oclora_pool_targets(oclora_pool *pool, oclora_adapter_handle handle, uint32_t *ids,
                                  uint32_t *count, oclora_error *err)
{
    (void)pool;
    (void)err;
    if (ids != NULL) ids[0] = (uint32_t)(handle % WEIGHTS);
    *count = 1;
    return OCLORA_OK;
}

oclora_base *oclora_pool_base(oclora_pool *pool)
{
    (void)pool;
    return NULL;
}

uint32_t oclora_base_id_limit(oclora_base *base)
{
    (void)base;
    return WEIGHTS;
}

static oclora_session *session_new(void)
{
    oclora_session *session = NULL;
    oclora_error err = {0};
    stale = ADAPTERS + 1;
    full = 0;
    CHECK_OK(oclora_session_create(&session, oclora_test_env(), NULL, &err), &err);
    return session;
}

static long all_pins(void)
{
    long sum = 0;
    for (int i = 0; i <= ADAPTERS; i++) sum += pins[i];
    return sum;
}

static void test_map(void)
{
    oclora_error err = {0};
    oclora_session *s = session_new();
    CHECK(!oclora_session_is_mapped(s));
    const oclora_weighted_adapter one = {7, 0.5f, 0};
    const oclora_weighted_adapter mix[4] = {{9, 1.0f, 0}, {3, 0.25f, 0}, {9, -0.75f, 0}, {5, 0, 0}};
    CHECK_OK(oclora_session_map(s, 2, &one, 1, &err), &err);
    CHECK_OK(oclora_session_map(s, 0, mix, 4, &err), &err);
    CHECK_OK(oclora_session_map(s, 255, NULL, 0, &err), &err);
    CHECK(oclora_session_is_mapped(s));

    oclora_assignment *a = oclora_session_snapshot(s);
    CHECK_INT(a->mode, OCLORA_MAP_SEQUENCES);
    CHECK_INT(a->n_handles, 4);
    for (uint32_t i = 1; i < a->n_handles; i++) CHECK(a->handles[i - 1] < a->handles[i]);
    CHECK_INT(a->start[1] - a->start[0], 3);
    CHECK_INT(a->handles[a->adapter[0]], 9);
    CHECK(a->weight[0] == 0.25f);
    CHECK_INT(a->handles[a->adapter[1]], 3);
    CHECK_INT(a->handles[a->adapter[2]], 5);
    CHECK_INT(a->start[2], a->start[1]);
    CHECK_INT(a->handles[a->adapter[a->start[2]]], 7);
    CHECK_INT(a->start[OCLORA_SEQUENCE_MAX], 4);
    CHECK(oclora_assignment_targets(a, 9) && oclora_assignment_targets(a, 7));
    CHECK(!oclora_assignment_targets(a, 8) && !oclora_assignment_targets(a, 1000));
    CHECK_INT(all_pins(), 4);

    /* A running graph keeps the state it took. */
    CHECK_OK(oclora_session_map(s, 2, NULL, 0, &err), &err);
    CHECK_INT(pins[7], 0);
    CHECK_INT(a->n_handles, 4);
    oclora_session_drop(s, a);

    CHECK_OK(oclora_session_map_all(s, &one, 1, &err), &err);
    a = oclora_session_snapshot(s);
    CHECK_INT(a->mode, OCLORA_MAP_ALL);
    CHECK_INT(a->n_handles, 1);
    oclora_session_drop(s, a);
    CHECK_INT(all_pins(), 1);
    /* A sequence mapped after "all" starts from nothing. */
    CHECK_OK(oclora_session_map(s, 1, NULL, 0, &err), &err);
    CHECK_INT(all_pins(), 0);
    CHECK(oclora_session_is_mapped(s));
    oclora_session_clear(s);
    CHECK(!oclora_session_is_mapped(s));
    oclora_session_destroy(s);
    CHECK_INT(all_pins(), 0);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

static void test_errors(void)
{
    oclora_error err = {0};
    oclora_session *s = session_new();
    oclora_weighted_adapter good = {4, 1.0f, 0};
    CHECK_OK(oclora_session_map(s, 1, &good, 1, &err), &err);
    oclora_weighted_adapter many[OCLORA_MIXTURE_MAX + 1] = {{0}};
    oclora_weighted_adapter bad[2] = {{5, 1.0f, 0}, {0, 1.0f, 0}};
    CHECK_STATUS(oclora_session_map(s, 256, &good, 1, &err), OCLORA_INVALID_ARGUMENT, &err);
    CHECK_STATUS(oclora_session_map(s, 0, many, OCLORA_MIXTURE_MAX + 1, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_STATUS(oclora_session_map(s, 0, bad, 2, &err), OCLORA_ADAPTER_NOT_LOADED, &err);
    bad[1].handle = 6;
    bad[1].weight = (float)NAN;
    CHECK_STATUS(oclora_session_map(s, 0, bad, 2, &err), OCLORA_INVALID_ARGUMENT, &err);
    bad[1].weight = 1.0f;
    full = 6;
    CHECK_STATUS(oclora_session_map(s, 1, bad, 2, &err), OCLORA_POOL_FULL, &err);
    full = 0;
    stale = 6;
    CHECK_STATUS(oclora_session_map_all(s, bad, 2, &err), OCLORA_STALE_HANDLE, &err);
    /* Nothing changed by any of them. */
    oclora_assignment *a = oclora_session_snapshot(s);
    CHECK_INT(a->mode, OCLORA_MAP_SEQUENCES);
    CHECK_INT(a->n_handles, 1);
    CHECK_INT(a->handles[0], 4);
    oclora_session_drop(s, a);
    CHECK_INT(all_pins(), 1);
    CHECK_INT(pins[4], 1);

    CHECK_INT(oclora_session_last_error(s, NULL), OCLORA_OK);
    oclora_fail(&err, OCLORA_SINGLE_STREAM, "one stream");
    oclora_session_note(s, &err, true);
    oclora_error last = {0};
    CHECK_INT(oclora_session_last_error(s, &last), OCLORA_SINGLE_STREAM);
    CHECK_CONTAINS(last.text, "one stream");
    oclora_session_stats stats;
    oclora_session_get_stats(s, &stats);
    CHECK_INT(stats.refusals, 1);
    CHECK_INT(stats.graphs, 0);
    oclora_session_destroy(s);
    CHECK_INT(all_pins(), 0);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

static void test_two_contexts(void)
{
    oclora_error err = {0};
    oclora_session *s = session_new();
    const oclora_weighted_adapter one = {7, 1.0f, 0};
    oclora_session_attach(s);
    CHECK_OK(oclora_session_map(s, 0, &one, 1, &err), &err);
    CHECK_OK(oclora_session_check(s, true, &err), &err);
    oclora_session_attach(s);
    CHECK_STATUS(oclora_session_check(s, true, &err), OCLORA_SESSION_CONFLICT, &err);
    CHECK_OK(oclora_session_check(s, false, &err), &err);
    CHECK_STATUS(oclora_session_map(s, 1, &one, 1, &err), OCLORA_SESSION_CONFLICT, &err);
    oclora_session_detach(s);
    CHECK_OK(oclora_session_map(s, 1, &one, 1, &err), &err);
    oclora_session_destroy(s);
    CHECK_INT(all_pins(), 0);
}

/* Snapshots while another thread changes the map: each is one whole state. */
static void *change(void *session)
{
    for (int i = 0; i < 300; i++) {
        oclora_weighted_adapter pair[2] = {{(uint64_t)(1 + i % 30), 1, 0},
                                           {(uint64_t)(2 + i % 30), 1, 0}};
        (void)oclora_session_map(session, (uint32_t)(i % 3), pair, 2, NULL);
        if (i % 7 == 0) oclora_session_clear(session);
    }
    return NULL;
}

static void test_threads(void)
{
    oclora_session *s = session_new();
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, change, s), 0);
    for (int i = 0; i < 300; i++) {
        oclora_assignment *a = oclora_session_snapshot(s);
        CHECK_INT(a->start[OCLORA_SEQUENCE_MAX] % 2, 0);
        if (a->n_handles > 0) CHECK(a->handles[a->adapter[0]] != 0);
        oclora_session_drop(s, a);
    }
    pthread_join(thread, NULL);
    oclora_session_destroy(s);
    CHECK_INT(all_pins(), 0);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    const oclora_test tests[] = {{"the map and its snapshots", test_map},
                                 {"errors change nothing", test_errors},
                                 {"two contexts", test_two_contexts},
                                 {"a map changed while read", test_threads}};
    return oclora_test_main("graph session", tests, sizeof tests / sizeof tests[0]);
}
