/* scale.c - thousands of adapters registered, and a new one while others decode. */
#include "tools/bench/suites.h"

#ifdef OCLORA_BENCH_LLAMA
#include "tools/bench/scale.h"
#else
enum { SCALE_CASES = 4 };
#endif

const bench_case bench_scale_cases[SCALE_CASES] = {
    {"scale", "zipf-over-64-of-2000", "tokens/s", "5 adapters", .94, .98},
    {"scale", "zipf-over-2000", "tokens/s", "5 adapters", 0, 0},
    {"scale", "load-to-first-token", "ms", "the limit", 1, 2.5},
    {"scale", "others-while-loading", "ms a step", "no loading", .909, .952},
};

void bench_scale_list(const bench_options *options)
{
    for (size_t i = 0; i < SCALE_CASES; i++)
        if (bench_wanted(options, "scale", bench_scale_cases[i].name))
            bench_report_list(&bench_scale_cases[i]);
}

#ifdef OCLORA_BENCH_LLAMA
static bool pair_wanted(const bench_options *options, size_t first)
{
    return bench_wanted(options, "scale", bench_scale_cases[first].name) ||
           bench_wanted(options, "scale", bench_scale_cases[first + 1].name);
}

int bench_scale(bench_report *report)
{
    if (pair_wanted(report->options, SCALE_LOAD_TIME)) bench_scale_load(report);
    if (pair_wanted(report->options, SCALE_ZIPF_FIT)) bench_scale_zipf(report);
    return BENCH_EXIT_OK;
}
#else
int bench_scale(bench_report *report)
{
    for (size_t i = 0; i < SCALE_CASES; i++)
        if (bench_wanted(report->options, "scale", bench_scale_cases[i].name))
            bench_report_missing(report, &bench_scale_cases[i], "built without OCLORA_LLAMA_DIR");
    return BENCH_EXIT_OK;
}
#endif
