/* Graphs of random launches, of which each needs what earlier ones did, with transfers between
 * them: what they leave is what a loop on the host computes, bit by bit, in chains and without, and
 * while chains are compiled. */
#include "host/core/program.h"
#include "support/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { BUFFERS = 30, COUNT = 16 * 37, LAUNCHES = 400, GRAPHS = 5, MOST_GRAPHS = 200 };

typedef struct world {
    oclora_stream *stream;
    oclora_buffer *device[BUFFERS];
    float host[BUFFERS][COUNT];
} world;

static world w; /* too large for the stack */

static const oclora_kernel_ref kernels[3][3] = {
    {{"probe", "probe_fill", ""},
     {"probe", "probe_fill", "-DPROBE_WIDTH=4"},
     {"probe", "probe_fill", "-DPROBE_WIDTH=16"}},
    {{"probe", "probe_copy", ""},
     {"probe", "probe_copy", "-DPROBE_WIDTH=4"},
     {"probe", "probe_copy", "-DPROBE_WIDTH=16"}},
    {{"probe", "probe_axpy", ""},
     {"probe", "probe_axpy", "-DPROBE_WIDTH=4"},
     {"probe", "probe_axpy", "-DPROBE_WIDTH=16"}},
};
static const uint32_t widths[3] = {1, 4, 16};

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(oclora_test_random() % limit);
}

/* One launch over `count` floats from `first` on. */
static void launch(uint32_t kind, uint32_t x, uint32_t y)
{
    oclora_error err = {0};
    const uint32_t width = below(3), first = 16 * below(20), count = 16 * (1 + below(16));
    const float a = (float)below(5) * 0.25f - 0.5f;
    const size_t items = count / widths[width], one = 1;
    oclora_arg args[5] = {oclora_arg_buffer(w.device[x]), oclora_arg_u64(4 * first),
                          oclora_arg_buffer(w.device[y]), oclora_arg_u64(4 * first),
                          oclora_arg_f32(a)};
    uint32_t from = kind == 0 ? 2 : 0, n = kind == 0 ? 3 : kind == 1 ? 4 : 5;
    CHECK_OK(oclora_stream_launch(w.stream, &kernels[kind][width], args + from, n, 1, &items, &one,
                                  &err),
             &err);
    for (uint32_t i = first; i < first + count; i++) {
        if (kind == 0) w.host[y][i] = a;
        if (kind == 1) w.host[y][i] = w.host[x][i];
        if (kind == 2) w.host[y][i] = fmaf(a, w.host[x][i], w.host[y][i]);
    }
}

static void transfer(uint32_t kind, uint32_t x, uint32_t y)
{
    oclora_error err = {0};
    static float back[COUNT];
    switch (kind) {
    case 0:
        oclora_test_fill(w.host[y], COUNT);
        CHECK_OK(oclora_stream_write(w.stream, w.device[y], 0, w.host[y], sizeof back, &err), &err);
        return;
    case 1:
        CHECK_OK(oclora_stream_copy(w.stream, w.device[x], 0, w.device[y], 0, sizeof back, &err),
                 &err);
        memcpy(w.host[y], w.host[x], sizeof back);
        return;
    default:
        CHECK_OK(oclora_stream_read(w.stream, w.device[x], 0, back, sizeof back, &err), &err);
        CHECK(!memcmp(back, w.host[x], sizeof back));
    }
}

static void graph(void)
{
    oclora_error err = {0};
    oclora_stream_chain_begin(w.stream, 1);
    for (int i = 0; i < LAUNCHES; i++) {
        const uint32_t x = below(BUFFERS), y = (x + 1 + below(BUFFERS - 1)) % BUFFERS;
        if (below(100) == 0)
            transfer(below(3), x, y);
        else
            launch(below(8) ? 2 : below(2), x, y);
    }
    CHECK_OK(oclora_stream_chain_end(w.stream, &err), &err);
    for (uint32_t i = 0; i < BUFFERS; i++) transfer(2, i, 0);
}

static bool open_world(const oclora_test_device *test)
{
    oclora_error err = {0};
    bool ok = true;
    w.stream = test->stream;
    for (uint32_t i = 0; i < BUFFERS; i++) {
        w.device[i] = NULL;
        ok = CHECK_OK(oclora_buffer_create(&w.device[i], test->context, sizeof w.host[i], &err),
                      &err) &&
             ok;
        if (ok) transfer(0, 0, i);
    }
    return ok;
}

static void close_world(void)
{
    for (uint32_t i = 0; i < BUFFERS; i++) oclora_buffer_destroy(w.device[i]);
}

static void tune(oclora_context *context, oclora_tune_param param, uint32_t value)
{
    oclora_error err = {0};
    CHECK_OK(oclora_context_tune(context, param, value, &err), &err);
}

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

/* ---- compiled beside graphs ---- */

/* Warnings that a context gave. */
typedef struct warnings {
    unsigned count;
    char last[200];
} warnings;

static void keep_warning(void *user, int32_t level, const char *text, size_t length)
{
    warnings *kept = user;
    (void)level;
    kept->count++;
    snprintf(kept->last, sizeof kept->last, "%.*s", (int)length, text);
}

/* A context of its own on the device, in which chains run and nothing else is on disk but what
 * `cache_dir` ("": nothing) has. False where chains do not run. */
static bool open_own(const oclora_test_device *test, const char *cache_dir, warnings *kept,
                     oclora_test_device *own)
{
    oclora_error err = {0};
    oclora_env env = *oclora_test_env();
    const oclora_context_options options = {.cache_dir = cache_dir};
    *own = (oclora_test_device){test->device, NULL, NULL, test->device_class};
    *kept = (warnings){0};
    env.log = keep_warning;
    env.log_user = kept;
    if (!oclora_stream_chains(test->stream)) return false;
    if (!CHECK_OK(oclora_context_create(&own->context, &env, test->device, &options, &err), &err) ||
        !CHECK_OK(oclora_stream_create(&own->stream, own->context, &err), &err))
        return false;
    tune(own->context, OCLORA_TUNE_CHAIN_STEPS, 64);
    return open_world(own);
}

static void close_own(oclora_test_device *own)
{
    close_world();
    oclora_stream_destroy(own->stream);
    oclora_context_destroy(own->context);
}

static void pause_ms(long ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Whether a graph ran in chains. */
static bool chained_graph(oclora_stream *stream)
{
    w.stream = stream;
    const uint64_t before = oclora_stream_get_stats(stream).enqueues;
    graph();
    const uint64_t enqueues = oclora_stream_get_stats(stream).enqueues - before;
    CHECK(enqueues > LAUNCHES * 9 / 10 || enqueues < LAUNCHES / 10);
    return enqueues < LAUNCHES / 10;
}

/* The number of graphs up to the first that ran in chains; now and then the stream has a rest. */
static int until_chained(oclora_stream *stream)
{
    int count = 1;
    while (!chained_graph(stream) && count < MOST_GRAPHS) pause_ms(count++ % 4 ? 20 : 1200);
    return count;
}

static void beside(const oclora_test_device *test)
{
    oclora_test_device own;
    warnings kept;
    if (!open_own(test, "", &kept, &own)) return;
    tune(own.context, OCLORA_TUNE_CHAIN_BUILD_AT, 3);
    const int count = until_chained(own.stream);
    printf("    graph %d was the first in chains\n", count);
    CHECK(count > 4 && count < MOST_GRAPHS);
    for (int i = 0; i < 3; i++) CHECK(chained_graph(own.stream));
    CHECK_INT(kept.count, 0);
    close_own(&own);
}

static void test_beside(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, beside);
}

/* Streams that go while their chain is compiled: at its begin, and later. */
static void gone(const oclora_test_device *test)
{
    static const long after_ms[] = {0, 150, 700};
    for (size_t i = 0; i < sizeof after_ms / sizeof after_ms[0]; i++) {
        oclora_test_device own;
        warnings kept;
        if (!open_own(test, "", &kept, &own)) return;
        tune(own.context, OCLORA_TUNE_CHAIN_BUILD_AT, 1);
        CHECK(!chained_graph(own.stream));
        pause_ms(after_ms[i]);
        close_own(&own);
        CHECK_INT(kept.count, 0);
    }
}

static void test_gone(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, gone);
}

static void two_streams(const oclora_test_device *test)
{
    oclora_test_device own;
    warnings kept;
    oclora_error err = {0};
    oclora_stream *other = NULL;
    if (!open_own(test, "", &kept, &own)) return;
    CHECK_OK(oclora_stream_create(&other, own.context, &err), &err);
    tune(own.context, OCLORA_TUNE_CHAIN_BUILD_AT, 1);
    CHECK(!chained_graph(own.stream) && !chained_graph(other));
    CHECK(until_chained(own.stream) < MOST_GRAPHS && until_chained(other) < MOST_GRAPHS);
    CHECK(chained_graph(own.stream) && chained_graph(other));
    CHECK_INT(kept.count, 0);
    oclora_stream_destroy(other);
    close_own(&own);
}

static void test_two_streams(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, two_streams);
}

/* What one context left on disk another one loads, without compiling. */
static void loaded(const oclora_test_device *test)
{
    const char *folder = OCLORA_BUILD_DIR "/test-cache";
    oclora_test_device own;
    warnings kept;
    if (!open_own(test, folder, &kept, &own)) return;
    tune(own.context, OCLORA_TUNE_CHAIN_WAIT_AT, 2);
    CHECK_INT(until_chained(own.stream), 3);
    close_own(&own);
    if (!open_own(test, folder, &kept, &own)) return;
    CHECK(!chained_graph(own.stream));
    const oclora_program_stats before = oclora_context_program_stats(own.context);
    const int count = until_chained(own.stream);
    const oclora_program_stats after = oclora_context_program_stats(own.context);
    CHECK(count < (int)oclora_context_tuned(own.context, OCLORA_TUNE_CHAIN_BUILD_AT) / 2);
    CHECK_INT(after.loaded - before.loaded, 1);
    CHECK_INT(after.compiled - before.compiled, 0);
    close_own(&own);
}

static void test_loaded(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, loaded);
}

/* A kernel that compiles alone, but not in a chain. */
static void impossible_graph(oclora_stream *stream)
{
    static const oclora_kernel_ref kernel = {"probe", "probe_fill", "-Dchain_item=+"};
    oclora_error err = {0};
    const size_t items = COUNT, one = 1;
    const uint64_t before = oclora_stream_get_stats(stream).enqueues;
    oclora_stream_chain_begin(stream, 1);
    for (uint32_t i = 0; i < 10; i++) {
        const float value = (float)oclora_test_random();
        const oclora_arg args[3] = {oclora_arg_buffer(w.device[i]), oclora_arg_u64(0),
                                    oclora_arg_f32(value)};
        for (uint32_t k = 0; k < COUNT; k++) w.host[i][k] = value;
        CHECK_OK(oclora_stream_launch(stream, &kernel, args, 3, 1, &items, &one, &err), &err);
    }
    CHECK_OK(oclora_stream_chain_end(stream, &err), &err);
    for (uint32_t i = 0; i < 10; i++) transfer(2, i, 0);
    CHECK_INT(oclora_stream_get_stats(stream).enqueues - before, 10);
}

static void impossible(const oclora_test_device *test)
{
    for (int wait = 0; wait < 2; wait++) {
        oclora_test_device own;
        warnings kept;
        if (!open_own(test, "", &kept, &own)) return;
        tune(own.context, wait ? OCLORA_TUNE_CHAIN_WAIT_AT : OCLORA_TUNE_CHAIN_BUILD_AT, 2);
        impossible_graph(own.stream);
        CHECK_INT(kept.count, 0);
        for (int i = 0; i < MOST_GRAPHS && kept.count == 0; i++) {
            impossible_graph(own.stream);
            pause_ms(20);
        }
        for (int i = 0; i < 5; i++) impossible_graph(own.stream);
        CHECK_INT(kept.count, 1);
        CHECK_CONTAINS(kept.last, "launches stay single");
        close_own(&own);
    }
}

static void test_impossible(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, impossible);
}

int main(void)
{
    static const oclora_test tests[] = {{"chains", test_chains},
                                        {"many rows", test_many_rows},
                                        {"destroyed while open", test_destroyed_open},
                                        {"compiled beside graphs", test_beside},
                                        {"gone while compiled", test_gone},
                                        {"two streams compile the same", test_two_streams},
                                        {"loaded from disk", test_loaded},
                                        {"impossible to compile", test_impossible}};
    return oclora_test_main("core_chain", tests, sizeof tests / sizeof tests[0]);
}
