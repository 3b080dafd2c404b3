/* Graphs in chains and without: the same bits. */
#include "core/chain_world.h"

enum { GRAPHS = 5 };

/* Enqueued kernels of the last of some graphs; all its launches if there was no chain. */
static uint64_t last_graph(void)
{
    uint64_t before = 0;
    for (int i = 0; i < GRAPHS; i++) {
        before = oclora_stream_get_stats(w.stream).enqueues;
        graph();
    }
    return oclora_stream_get_stats(w.stream).enqueues - before;
}

static void chains(const oclora_test_device *test)
{
    const uint32_t steps[] = {64, 2, 1000, 1};
    const char *vendor = oclora_tune_vendor(test->device);
    const bool known = vendor[0] && oclora_context_class(test->context) == OCLORA_CLASS_CPU;
    const bool pays = oclora_context_tuned(test->context, OCLORA_TUNE_CHAIN_STEPS) > 1;
    tune(test->context, OCLORA_TUNE_CHAIN_WAIT_AT, 2);
    for (int i = 0; i < 4 && open_world(test); i++) {
        if (known) tune(test->context, OCLORA_TUNE_CHAIN_STEPS, steps[i]);
        const uint64_t enqueues = last_graph();
        printf("%s: chains of %u, %u enqueues for %d launches\n", test->device->platform,
               (unsigned)steps[i], (unsigned)enqueues, LAUNCHES);
        if (known && pays && steps[i] == 64) CHECK(enqueues < LAUNCHES / 10);
        if (known && pays && steps[i] == 2) CHECK(enqueues < LAUNCHES * 2 / 3);
        if (!known || steps[i] == 1) CHECK(enqueues > LAUNCHES * 9 / 10);
        close_world();
    }
}

static void test_chains(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, chains);
}

/* More rows than chains are for. */
static void many_rows(const oclora_test_device *test)
{
    if (!open_world(test)) return;
    const uint64_t before = oclora_stream_get_stats(w.stream).enqueues;
    for (int g = 0; g < 4; g++) {
        oclora_stream_chain_begin(w.stream, 5000);
        for (int i = 0; i < 20; i++) launch(2, 0, 1);
        CHECK_INT(oclora_stream_chain_end(w.stream, NULL), OCLORA_OK);
    }
    CHECK_INT(oclora_stream_get_stats(w.stream).enqueues - before, 80);
    transfer(2, 1, 0);
    close_world();
}

static void test_many_rows(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, many_rows);
}

/* What was kept back when a stream goes is not lost, and nothing is left of it. */
static void destroyed_open(const oclora_test_device *test)
{
    oclora_error err = {0};
    if (!open_world(test)) return;
    tune(test->context, OCLORA_TUNE_CHAIN_WAIT_AT, 2);
    CHECK_OK(oclora_stream_create(&w.stream, test->context, &err), &err);
    for (int g = 0; g < 4; g++) {
        oclora_stream_chain_begin(w.stream, 1);
        for (int i = 0; i < 20; i++) launch(2, 0, 1);
        if (g < 3) CHECK_OK(oclora_stream_chain_end(w.stream, &err), &err);
    }
    CHECK_OK(oclora_stream_finish(w.stream, &err), &err);
    launch(2, 1, 2);
    transfer(2, 2, 0);
    oclora_stream_destroy(w.stream);
    close_world();
}

static void test_destroyed_open(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, destroyed_open);
}

int main(void)
{
    static const oclora_test tests[] = {{"chains", test_chains},
                                        {"many rows", test_many_rows},
                                        {"destroyed while open", test_destroyed_open}};
    return oclora_test_main("core_chain", tests, sizeof tests / sizeof tests[0]);
}
