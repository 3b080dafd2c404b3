/* tune_bits.c - no value of a tuning parameter may change a result: on every device and with both
 * classes of kernels, the least, the greatest and two more values of each give the bits that the
 * table's value gives, and those agree with double precision. */
#include "support/harness.h"
#include "tools/tune/tune.h"

#include <stdio.h>

static void check_value(bench_device *device, const tune_expected *expected, uint32_t param,
                        uint32_t value)
{
    if (!CHECK(tune_same_bits(expected, device, param, value)))
        printf("%s = %u\n", oclora_tune_infos[param].name, (unsigned)value);
}

static void check_param(bench_device *device, uint32_t param)
{
    const uint32_t table = oclora_context_tuned(device->context, (oclora_tune_param)param);
    const oclora_tune_info *info = &oclora_tune_infos[param];
    const uint32_t *tried = tune_candidates((oclora_tune_param)param);
    tune_expected expected;
    oclora_error err = {0};
    if (table == 0 || *tried == 0 || !CHECK(tune_expect(&expected, device, param, table))) return;
    check_value(device, &expected, param, info->least);
    check_value(device, &expected, param, info->most);
    check_value(device, &expected, param, tried[0]);
    check_value(device, &expected, param, tried[1]);
    tune_expected_free(&expected);
    CHECK_OK(oclora_context_tune(device->context, (oclora_tune_param)param, table, &err), &err);
}

static void bits_on(const oclora_test_device *test)
{
    char index[16];
    bench_device device;
    snprintf(index, sizeof index, "%u", (unsigned)test->device->index);
    if (CHECK(bench_device_open(&device, index, test->device_class)))
        for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++) check_param(&device, i);
    bench_device_close(&device);
}

static void test_bits(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, bits_on);
}

/* Every parameter that says how has something to measure it on, and every value tried is allowed.
 */
static void test_jobs(void)
{
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++) {
        uint32_t jobs = 0, values = 0;
        const bool when = i == OCLORA_TUNE_CHAIN_BUILD_AT || i == OCLORA_TUNE_CHAIN_WAIT_AT;
        for (const tune_job *job = tune_jobs; job->name; job++) jobs += job->param == i;
        CHECK(when ? jobs == 0 : jobs > 0 && jobs <= 8);
        for (const uint32_t *v = tune_candidates((oclora_tune_param)i); *v; v++, values++)
            for (uint32_t c = OCLORA_CLASS_CPU; c <= OCLORA_CLASS_GPU; c++)
                CHECK(!(oclora_tune_infos[i].classes >> c & 1) || oclora_tune_valid(c, i, *v));
        CHECK(when ? values == 0 : values >= 2);
    }
}

int main(void)
{
    static const oclora_test tests[] = {{"jobs", test_jobs}, {"bits", test_bits}};
    return oclora_test_main("tune_bits", tests, sizeof tests / sizeof tests[0]);
}
