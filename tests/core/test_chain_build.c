/* Graphs before, while and after their chain is compiled beside them: the same bits, whatever
 * becomes of the stream, the compilation or the process meanwhile. */
#include "core/chain_world.h"
#include "host/core/program.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_GRAPHS = 200 };

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

/* A process that exits while its chain is compiled: test_core_chain_build DEVICE MILLISECONDS. */
static char **arguments;
static oclora_context *leaving;

static void at_exit(void)
{
    oclora_context_quiet(leaving);
}

static void watch_exit(void)
{
    atexit(at_exit);
}

static void test_leave(void)
{
    const oclora_context_options options = {.cache_dir = "", .drivers_work = watch_exit};
    oclora_test_device own = {NULL, NULL, NULL, 0};
    oclora_error err = {0};
    oclora_device info;
    bool ok =
        CHECK_OK(oclora_device_find(oclora_test_env(), arguments[1], &info, &err), &err) &&
        CHECK_OK(oclora_context_create(&leaving, oclora_test_env(), &info, &options, &err), &err) &&
        CHECK_OK(oclora_stream_create(&own.stream, leaving, &err), &err);
    if (!ok) return;
    own.context = leaving;
    tune(leaving, OCLORA_TUNE_CHAIN_BUILD_AT, 1);
    ok = open_world(&own);
    CHECK(ok && !chained_graph(own.stream));
    pause_ms(strtol(arguments[2], NULL, 10));
    exit(CU_get_number_of_failures() > 0);
}

static void exits(const oclora_test_device *test)
{
    static const char *const after_ms[] = {"0", "30", "200", "300", "400"};
    char device[16];
    snprintf(device, sizeof device, "%u", (unsigned)test->device->index);
    for (size_t i = 0; i < sizeof after_ms / sizeof after_ms[0]; i++) {
        int state = -1;
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            execl("/proc/self/exe", "test_core_chain_build", device, after_ms[i], (char *)NULL);
            _exit(127);
        }
        if (CHECK(child > 0)) waitpid(child, &state, 0);
        CHECK_INT(state, 0);
    }
}

static void test_exits(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, exits);
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {{"compiled beside graphs", test_beside},
                                        {"gone while compiled", test_gone},
                                        {"two streams compile the same", test_two_streams},
                                        {"loaded from disk", test_loaded},
                                        {"impossible to compile", test_impossible},
                                        {"exit while compiled", test_exits}};
    static const oclora_test leave[] = {{"leave", test_leave}};
    arguments = argv;
    if (argc == 3) return oclora_test_main("core_chain_build", leave, 1) != 0 ? 1 : 2;
    return oclora_test_main("core_chain_build", tests, sizeof tests / sizeof tests[0]);
}
