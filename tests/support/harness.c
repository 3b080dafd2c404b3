#include "support/harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    size_t ran, skipped;
    bool skip_this;
    uint64_t seed;
    uint32_t random[4];
} state;

static atomic_long live_allocations;

static void *count_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    void *ptr = aligned_alloc(align, size);
    if (ptr) atomic_fetch_add(&live_allocations, 1);
    return ptr;
}

static void count_release(void *user, void *ptr)
{
    (void)user;
    if (ptr) atomic_fetch_sub(&live_allocations, 1);
    free(ptr);
}

static void log_to_stderr(void *user, int32_t level, const char *text, size_t length)
{
    (void)user;
    (void)level;
    fprintf(stderr, "  log: %.*s\n", (int)length, text);
}

const oclora_env *oclora_test_env(void)
{
    static const oclora_env env = {.alloc = count_alloc,
                                   .release = count_release,
                                   .log = log_to_stderr,
                                   .log_level = OCLORA_LOG_WARN};
    return &env;
}

long oclora_test_live_allocations(void)
{
    return atomic_load(&live_allocations);
}

static void seed_random(void)
{
    const char *text = getenv("OCLORA_TEST_SEED");
    state.seed = text ? strtoull(text, NULL, 0) : 20261;
    uint64_t z = state.seed;
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        z += 0x9e3779b97f4a7c15u;
        uint64_t v = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
        state.random[i] = (uint32_t)(v >> 32);
    }
}

static uint32_t rotate(uint32_t value, int by)
{
    return (value << by) | (value >> (32 - by));
}

uint32_t oclora_test_random(void)
{
    uint32_t *s = state.random;
    uint32_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 11);
    return result;
}

float oclora_test_uniform(void)
{
    return (float)((int32_t)(oclora_test_random() >> 8) - (1 << 23)) / (float)(1 << 23);
}

void oclora_test_fill(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) values[i] = oclora_test_uniform();
}

void oclora_test_poison(void *memory, size_t bytes)
{
    memset(memory, 0xff, bytes);
}

double oclora_test_nmse(const float *actual, const double *reference, size_t count)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(actual[i])) return INFINITY;
        double difference = (double)actual[i] - reference[i];
        error += difference * difference;
        norm += reference[i] * reference[i];
    }
    return norm > 0 ? error / norm : (error > 0 ? INFINITY : 0);
}

double oclora_test_max_error(const float *actual, const double *reference, size_t count)
{
    double error = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(actual[i])) return INFINITY;
        error = fmax(error, fabs((double)actual[i] - reference[i]));
        largest = fmax(largest, fabs(reference[i]));
    }
    return largest > 0 ? error / largest : (error > 0 ? INFINITY : 0);
}

static bool report(bool ok, const char *file, int line, const char *fmt, ...) OCLORA_PRINTF(4, 5);
static bool report(bool ok, const char *file, int line, const char *fmt, ...)
{
    char text[900] = "";
    if (!ok) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        fprintf(stderr, "%s:%d: %s\n", file, line, text);
    }
    CU_assertImplementation(ok ? CU_TRUE : CU_FALSE, (unsigned)line, text, file, "", CU_FALSE);
    return ok;
}

bool oclora_check_true(bool holds, const char *what, const char *file, int line)
{
    return report(holds, file, line, "%s does not hold", what);
}

bool oclora_check_int(long long actual, long long expected, const char *what, const char *file,
                      int line)
{
    return report(actual == expected, file, line, "%s is %lld, expected %lld", what, actual,
                  expected);
}

/* Every refusal that a test asked for, to the file that OCLORA_TEST_REFUSALS names: what no test asks
 * for is found by tests/adapter/named_errors.py. */
static void keep_refusal(oclora_status status, const oclora_error *err)
{
    const char *path = getenv("OCLORA_TEST_REFUSALS");
    FILE *file = path != NULL && err != NULL && status != OCLORA_OK ? fopen(path, "a") : NULL;
    if (file == NULL) return;
    fprintf(file, "%s %s\n", oclora_status_name(status), err->text);
    fclose(file);
}

bool oclora_check_status(oclora_status actual, oclora_status expected, const oclora_error *err,
                         const char *what, const char *file, int line)
{
    if (actual == expected) keep_refusal(actual, err);
    return report(actual == expected, file, line, "%s gave %s, expected %s%s%s", what,
                  oclora_status_name(actual), oclora_status_name(expected),
                  err && actual ? ": " : "", err && actual ? err->text : "");
}

bool oclora_check_le(double actual, double bound, const char *what, const char *file, int line)
{
    return report(actual <= bound, file, line, "%s is %g, bound %g", what, actual, bound);
}

bool oclora_check_contains(const char *text, const char *part, const char *file, int line)
{
    return report(text && strstr(text, part), file, line, "'%s' does not contain '%s'",
                  text ? text : "(null)", part);
}

void oclora_test_skip(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("  skipped: ");
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
    state.skip_this = true;
}

static void run_on(const oclora_device *device, uint32_t device_class,
                   void (*run)(const oclora_test_device *device))
{
    oclora_error err = {0};
    oclora_context_options options = {.device_class = device_class, .cache_dir = OCLORA_TEST_CACHE};
    oclora_test_device test = {device, NULL, NULL, device_class};
    long before = oclora_test_live_allocations();
    printf("  on %s / %s, %s class\n", device->platform, device->name,
           device_class == OCLORA_CLASS_CPU ? "CPU" : "GPU");
    fflush(stdout);
    if (CHECK_OK(oclora_context_create(&test.context, oclora_test_env(), device, &options, &err),
                 &err) &&
        CHECK_OK(oclora_stream_create(&test.stream, test.context, &err), &err))
        run(&test);
    oclora_stream_destroy(test.stream);
    oclora_context_destroy(test.context);
    CHECK_INT(oclora_test_live_allocations() - before, 0);
}

static bool device_wanted(const oclora_device *device)
{
    char name[256];
    const char *wanted = getenv("OCLORA_TEST_DEVICE");
    snprintf(name, sizeof name, "%s / %s", device->platform, device->name);
    return !wanted || strstr(name, wanted);
}

static bool class_wanted(uint32_t device_class)
{
    const char *wanted = getenv("OCLORA_TEST_CLASS");
    return !wanted || !strcmp(wanted, device_class == OCLORA_CLASS_CPU ? "cpu" : "gpu");
}

void oclora_test_each_device(int classes, void (*run)(const oclora_test_device *device))
{
    oclora_error err = {0};
    oclora_device *devices = NULL;
    size_t count = 0, used = 0;
    if (!CHECK_OK(oclora_devices_list(oclora_test_env(), &devices, &count, &err), &err)) return;
    for (size_t i = 0; i < count; i++) {
        if (!device_wanted(&devices[i])) continue;
        used++;
        const uint32_t own = devices[i].device_class;
        const uint32_t other = own == OCLORA_CLASS_CPU ? OCLORA_CLASS_GPU : OCLORA_CLASS_CPU;
        const bool both = classes == OCLORA_TEST_BOTH_CLASSES;
        if (!both || class_wanted(own)) run_on(&devices[i], own, run);
        if (both && class_wanted(other)) run_on(&devices[i], other, run);
    }
    oclora_release(oclora_test_env(), devices);
    if (!used) oclora_test_skip("none of %zu installed OpenCL devices was asked for", count);
}

static void finish_test(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
    (void)suite;
    state.ran++;
    state.skipped += state.skip_this;
    printf("%s %s\n", failure ? "FAILED " : state.skip_this ? "skipped" : "ok     ", test->pName);
    fflush(stdout);
}

static void start_test(const CU_pTest test, const CU_pSuite suite)
{
    (void)suite;
    state.skip_this = false;
    printf("run     %s\n", test->pName);
    fflush(stdout);
}

int oclora_test_main(const char *suite, const oclora_test *tests, size_t count)
{
    seed_random();
    if (CU_initialize_registry() != CUE_SUCCESS) return 2;
    CU_pSuite handle = CU_add_suite(suite, NULL, NULL);
    bool added = handle != NULL;
    for (size_t i = 0; added && i < count; i++)
        added = CU_add_test(handle, tests[i].name, tests[i].run) != NULL;
    CU_set_test_start_handler(start_test);
    CU_set_test_complete_handler(finish_test);
    bool ran = added && CU_run_all_tests() == CUE_SUCCESS;
    unsigned failures = CU_get_number_of_failures();
    printf("%s: %u checks, %u failed; %zu tests, %zu skipped\n", suite, CU_get_number_of_asserts(),
           failures, state.ran, state.skipped);
    if (failures) printf("seed: OCLORA_TEST_SEED=%llu\n", (unsigned long long)state.seed);
    CU_cleanup_registry();
    if (!ran || failures) return 1;
    return state.ran && state.ran == state.skipped ? 77 : 0;
}
